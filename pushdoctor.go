// Package pushdoctor holds the words that its other packages share: what a job's
// log says of the job (Facts), what failed in it (Finding), what is broken for how
// long (Group) and what to do about it (Hint). It has no behaviour beyond its closed sets, and it imports nothing.
//
// The sets are label values of metrics and field values of JSON, so a change of a
// value is a breaking change.
package pushdoctor

import (
	"slices"
	"time"
)

// A Registry says which product answered, or was to answer.
type Registry string

// The registries. RegistryOther is a host of a product that is not here;
// RegistryUnknown means that the log names no host.
const (
	RegistryGHCR           Registry = "ghcr"
	RegistryGitHubPackages Registry = "github_packages"
	RegistryDockerHub      Registry = "dockerhub"
	RegistryECR            Registry = "ecr"
	RegistryECRPublic      Registry = "ecr_public"
	RegistryGAR            Registry = "gar"
	RegistryGCR            Registry = "gcr"
	RegistryACR            Registry = "acr"
	RegistryGitLab         Registry = "gitlab"
	RegistryQuay           Registry = "quay"
	RegistryHarbor         Registry = "harbor"
	RegistryArtifactory    Registry = "artifactory"
	RegistryNexus          Registry = "nexus"
	RegistryDOCR           Registry = "docr"
	RegistryOCIR           Registry = "ocir"
	RegistryICR            Registry = "icr"
	RegistryLocal          Registry = "local"
	RegistryOther          Registry = "other"
	RegistryUnknown        Registry = "unknown"
)

// Registries are all registries, RegistryUnknown last.
var Registries = []Registry{
	RegistryGHCR, RegistryGitHubPackages, RegistryDockerHub, RegistryECR, RegistryECRPublic,
	RegistryGAR, RegistryGCR, RegistryACR, RegistryGitLab, RegistryQuay, RegistryHarbor,
	RegistryArtifactory, RegistryNexus, RegistryDOCR, RegistryOCIR, RegistryICR, RegistryLocal,
	RegistryOther, RegistryUnknown,
}

// A Client is the program that pushed.
type Client string

// The clients. ClientBuildx is BuildKit by any front end.
const (
	ClientDocker     Client = "docker"
	ClientBuildx     Client = "buildx"
	ClientCompose    Client = "compose"
	ClientPodman     Client = "podman"
	ClientBuildah    Client = "buildah"
	ClientSkopeo     Client = "skopeo"
	ClientCrane      Client = "crane"
	ClientKo         Client = "ko"
	ClientKaniko     Client = "kaniko"
	ClientOras       Client = "oras"
	ClientHelm       Client = "helm"
	ClientJib        Client = "jib"
	ClientPack       Client = "pack"
	ClientCosign     Client = "cosign"
	ClientGoreleaser Client = "goreleaser"
	ClientOther      Client = "other"
)

// Clients are all clients, ClientOther last.
var Clients = []Client{
	ClientDocker, ClientBuildx, ClientCompose, ClientPodman, ClientBuildah, ClientSkopeo,
	ClientCrane, ClientKo, ClientKaniko, ClientOras, ClientHelm, ClientJib, ClientPack,
	ClientCosign, ClientGoreleaser, ClientOther,
}

// An Operation is the part of a push that failed.
type Operation string

// The operations. OperationPush is a push of which the error does not show the part.
const (
	OperationLogin       Operation = "login"
	OperationToken       Operation = "token"        // the token endpoint
	OperationUpload      Operation = "upload"       // blobs
	OperationManifest    Operation = "manifest"     // the manifest or index, which makes the tag
	OperationCacheExport Operation = "cache_export" // the build cache that BuildKit pushes beside the image
	OperationReference   Operation = "reference"    // the name, before any request
	OperationSign        Operation = "sign"         // a signature, attestation or SBOM beside the image
	OperationPush        Operation = "push"
)

// Operations are all operations, OperationPush last.
var Operations = []Operation{
	OperationLogin, OperationToken, OperationUpload, OperationManifest, OperationCacheExport,
	OperationReference, OperationSign, OperationPush,
}

// A StatusSource says how an HTTP status is known.
type StatusSource string

// The sources of a status.
const (
	StatusExplicit StatusSource = "explicit" // the number stands in the log
	StatusImplied  StatusSource = "implied"  // by a registry error code
	StatusNone     StatusSource = "none"     // there was no answer, or none that the log shows
)

// An EvidenceKind says what a quoted line speaks of.
type EvidenceKind string

// The kinds of evidence.
const (
	EvidenceAnswer EvidenceKind = "answer" // the client's or the registry's own words
	EvidenceToken  EvidenceKind = "token"  // a row of the table of the job token's rights
	EvidenceLogin  EvidenceKind = "login"  // a login that was made, refused, or made to another host
	EvidenceFile   EvidenceKind = "file"   // the workflow file
)

// Evidence is one line of the log, as it stands there but for ANSI sequences and secrets:
// a secret is replaced by "<redacted>", and a long line is cut at its end.
type Evidence struct {
	Kind EvidenceKind `json:"kind"`
	Line int          `json:"line"` // counted from 1
	Text string       `json:"text"`
}

// A Login is one attempt to log in to a registry that the log shows.
type Login struct {
	Host string `json:"host"` // lower case, "docker.io" for Docker Hub, "***" where it is masked
	User string `json:"user,omitempty"`
	OK   bool   `json:"ok"`
	Line int    `json:"line"` // of the login's outcome, counted from 1
}

// Facts are what a job's log says of the job itself, apart from any failure.
// The zero value of a field means that the log does not say.
type Facts struct {
	// Token holds the rights of the job's GITHUB_TOKEN by lower-case scope ("contents": "read").
	// It is nil where the log has no table of them; where it has one, "packages" is always set.
	Token map[string]string `json:"token,omitempty"`
	// SecretSource is "Actions", "Dependabot", or "None" (a pull request from a fork).
	SecretSource string  `json:"secret_source,omitempty"`
	Logins       []Login `json:"logins,omitempty"`
	Repository   string  `json:"repository,omitempty"` // owner/name
	Ref          string  `json:"ref,omitempty"`        // refs/heads/main
	// Pushed are the images that the job pushed well, in order, each once.
	Pushed []string `json:"pushed,omitempty"`
	Runner string   `json:"runner,omitempty"` // "github-hosted" or "self-hosted"
	// Whole says that the log begins with the job's preamble: what is not in it did not happen.
	Whole bool `json:"whole,omitempty"`
	// TokenLine is the line of the token table that speaks of packages or, where none does, its first row.
	TokenLine Evidence `json:"-"`
}

// A Job says which job of which run a log belongs to. All of it comes from GitHub; it is empty for a file.
type Job struct {
	Repository  string    `json:"repository,omitempty"` // owner/name
	Workflow    string    `json:"workflow,omitempty"`   // the workflow file's base name
	RunID       int64     `json:"run_id,omitempty"`
	RunAttempt  int       `json:"run_attempt,omitempty"`
	JobID       int64     `json:"job_id,omitempty"`
	Name        string    `json:"job,omitempty"`
	Branch      string    `json:"branch,omitempty"`
	Event       string    `json:"event,omitempty"`
	URL         string    `json:"url,omitempty"`
	CompletedAt time.Time `json:"completed_at,omitzero"`

	RepositoryID   int64     `json:"-"`
	WorkflowID     int64     `json:"-"`
	Conclusion     string    `json:"-"`
	Runner         string    `json:"-"`
	HeadRepository string    `json:"-"`
	StartedAt      time.Time `json:"-"`
}

// Execution returns what identifies the job's execution through re-runs.
func (j Job) Execution() Execution {
	return Execution{RunID: j.RunID, Name: j.Name, StartedAt: j.StartedAt, Runner: j.Runner}
}

// A Finding is one failed attempt to get an image into a registry. However often the
// log prints a failure, and however often a client retries it, it is one Finding.
type Finding struct {
	Registry     Registry     `json:"registry"`
	Host         string       `json:"host"`  // "" where the log does not name it, "***" where it is masked
	Image        string       `json:"image"` // as far as the log names it
	Client       Client       `json:"client"`
	Operation    Operation    `json:"operation"`
	Status       int          `json:"status"` // 0: there was no answer, or none that the log shows
	StatusSource StatusSource `json:"status_source"`
	Cause        Cause        `json:"cause"`
	Confidence   float64      `json:"confidence"` // that Cause is right, in (0, 1]
	Recovered    bool         `json:"recovered"`  // the same job pushed the same image later
	Step         string       `json:"step"`       // the title of the step's group, "Run docker/build-push-action@v6"
	Line         int          `json:"line"`       // of the decisive answer, counted from 1
	Time         time.Time    `json:"time,omitzero"`
	Message      string       `json:"message"` // the answer without the client's frame, redacted and cut
	Rule         string       `json:"rule"`    // the id of the rule that decided
	Evidence     []Evidence   `json:"evidence"`
}

// A GroupState says whether something is broken still.
type GroupState string

// The states of a group.
const (
	GroupOpen  GroupState = "open"
	GroupFixed GroupState = "fixed" // a later execution of the job pushed the image well
	GroupStale GroupState = "stale" // there was no news for too long, or its repository, workflow or branch is gone
)

// GroupStates are all states of a group.
var GroupStates = []GroupState{GroupOpen, GroupFixed, GroupStale}

// A Group is one thing that is broken, or was: the pushes of one image by one job of one workflow on one watched ref, from
// the first failure that no retry cured to the first later execution that pushes the image well. What breaks
// again afterwards is another Group.
type Group struct {
	Repository string     `json:"repository"` // owner/name
	Workflow   string     `json:"workflow"`   // the workflow file's base name
	Ref        string     `json:"ref"`        // the branch or tag, or the pattern that admits it: "release/*"
	Registry   Registry   `json:"registry"`
	Job        string     `json:"job"`
	Image      string     `json:"image"` // lower case, without tag and digest; "" where the log names none that could be pushed
	State      GroupState `json:"state"`
	Cause      Cause      `json:"cause"`  // of the newest failure
	Status     int        `json:"status"` // of the newest failure; 0: there was no answer
	Failures   int        `json:"failures"`
	Opened     time.Time  `json:"opened_at"` // the end of the first job that failed
	Newest     time.Time  `json:"newest_at"` // the end of the last job that failed
	Finding    string     `json:"finding"`   // the id of the newest failure
	Closed     time.Time  `json:"closed_at,omitzero"`
	FixedRun   int64      `json:"fixed_run_id,omitempty"` // the run that pushed the image well
	FixedURL   string     `json:"fixed_url,omitempty"`    // its job's address
	Reason     string     `json:"reason,omitempty"`       // why it is stale, where somebody said so

	RepositoryID int64 `json:"-"`
}

// A Hint is one thing to do about a finding.
type Hint struct {
	ID         string   `json:"id"`
	Cause      Cause    `json:"cause"` // the cause that the hint cures
	Title      string   `json:"title"`
	Confidence float64  `json:"confidence"` // that doing it cures, in (0, 1]
	Steps      []string `json:"steps"`
	Patch      string   `json:"patch,omitempty"` // YAML or commands to paste
	Docs       []string `json:"docs,omitempty"`  // addresses
}

// Valid reports whether s is one of GroupStates.
func (s GroupState) Valid() bool { return slices.Contains(GroupStates, s) }

// Valid reports whether r is one of Registries.
func (r Registry) Valid() bool { return slices.Contains(Registries, r) }

// Valid reports whether c is one of Clients.
func (c Client) Valid() bool { return slices.Contains(Clients, c) }

// Valid reports whether o is one of Operations.
func (o Operation) Valid() bool { return slices.Contains(Operations, o) }

// A Run is one attempt of a workflow run, as GitHub lists it.
type Run struct {
	RepositoryID   int64
	Repository     string // owner/name, as GitHub spells it now
	ID             int64
	Attempt        int
	WorkflowID     int64
	Workflow       string // the workflow file's base name, "other" where it is not on the default branch, "" while that is not known
	WorkflowName   string
	Branch         string
	Event          string
	HeadRepository string // owner/name; another one than Repository for a fork's pull request
	HeadSHA        string
	Status         string // "completed" once it has ended
	Conclusion     string
	CreatedAt      time.Time // of the first attempt
	StartedAt      time.Time // of this attempt
	UpdatedAt      time.Time
	URL            string
	// Ref is what groups show of Branch: itself, or the pattern that admits it. It is "" where the run opens and closes none.
	// GitHub does not tell it; the collector does.
	Ref string
}

// An Execution identifies one execution of a job. A re-run of failed jobs carries the others over into
// the new attempt under new job ids: they are the same execution.
type Execution struct {
	RunID     int64
	Name      string // the job's
	StartedAt time.Time
	Runner    string
}

// A Cursor says how far a repository's history has been read.
type Cursor struct {
	// Through is the creation time up to which every run has ended and its executions have been read.
	Through time.Time
	// From is since when runs are listed. It is behind Through: a list whose address stays the same costs nothing while it has not changed.
	From time.Time
	// Swept is when the last 30 days were last asked as a whole, for re-runs of old runs.
	Swept time.Time
}
