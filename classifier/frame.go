package classifier

import (
	"regexp"
	"strings"

	"github.com/akkospace/pushdoctor"
)

// A frame is one piece of a client's wording. Several of them stand in a line, one inside
// the other: each gives its part, and what stands behind the last is the registry's.
type frame struct {
	literal string // lower case; re is tried only where it stands in the line
	re      *regexp.Regexp
	client  pushdoctor.Client
	strong  bool
	op      pushdoctor.Operation
	dir     direction
	flag    func(*answer)
	last    bool // of several hits the last counts: a request that led to another one
}

func failed(a *answer)    { a.failed = true }
func summary(a *answer)   { a.summary = true }
func anonymous(a *answer) { a.anonymous = true }

// ref matches an image reference as the clients print one, quoted or not.
const ref = `"?(?P<image>[^\s"',;]+?)"?`

// expr compiles a frame's expression. All are linear-time and ignore case: clients of different
// years write "Failed to push" and "failed to push".
func expr(s string) *regexp.Regexp {
	// A reference may hold a port: only a colon before a blank or at the end stands behind it.
	return regexp.MustCompile("(?i)" + strings.NewReplacer("REF: ", ref+`(?:: |:$)`, "REF:", ref+`(?:: |:$)`, "REF", ref,
		"PATH", strings.Replace(ref, "image", "repository", 1), "NNN", `(?P<status>[1-5]\d\d)\b`,
		"URL", `"?(?P<url>https?://[^\s"]+?)"?`).Replace(s))
}

// frames are the wordings of the clients. The order matters only where two frames give the same
// part: the later line in the table wins for the operation, the first hit in the text for the image.
// The shapes were seen by running each client against a registry with faults.
var frames = []frame{
	// What every BuildKit front end prints. https://github.com/moby/buildkit/blob/master/util/push/push.go
	{literal: "failed to solve", re: expr(`failed to solve(?: with frontend \S+)?:`), client: pushdoctor.ClientBuildx, strong: true, flag: summary},
	{literal: "buildx failed with", re: expr(`buildx failed with:`), client: pushdoctor.ClientBuildx, strong: true, flag: summary},
	{literal: "buildx call failed", re: expr(`buildx call failed with:`), client: pushdoctor.ClientBuildx, strong: true, flag: summary},
	{literal: "buildx bake failed", re: expr(`buildx bake failed with:`), client: pushdoctor.ClientBuildx, strong: true, flag: summary},
	{literal: "error: failed to build:", re: expr(`error: failed to build:`), client: pushdoctor.ClientBuildx, flag: summary},
	{literal: "failed to push ", re: expr(`failed to push "?(?P<image>[^\s"',;]*(?:[/.@]|:[^\s])[^\s"',;]*?)"?(?:(?: after \d+ tries)?: |:$|\s|$)`), dir: push, flag: failed},
	{literal: "failed to push ", re: regexp.MustCompile(`failed to push [^\s:]+(?:/|:[^\s])`), client: pushdoctor.ClientBuildx}, // in a script it has a capital
	{literal: "failed commit on ref", re: expr(`failed commit on ref "?(?:layer|config|intoto|blob|unknown)-`), client: pushdoctor.ClientBuildx, op: pushdoctor.OperationUpload, dir: push},
	{literal: "failed commit on ref", re: expr(`failed commit on ref "?(?:manifest|index)-`), client: pushdoctor.ClientBuildx, op: pushdoctor.OperationManifest, dir: push},
	{literal: "failed to copy: ", re: expr(`failed to copy: `), client: pushdoctor.ClientBuildx, op: pushdoctor.OperationUpload},
	{literal: "push access denied", re: expr(`push access denied, repository does not exist or may require authorization:`), client: pushdoctor.ClientBuildx, dir: push},
	{literal: "error writing ", re: expr(`error writing (?:layer|config|manifest|index|cache config|cache manifest) blob: `), client: pushdoctor.ClientBuildx, strong: true, op: pushdoctor.OperationCacheExport, dir: push, flag: failed},
	{literal: "error: failed to push ", re: expr(`error: failed to push `), client: pushdoctor.ClientBuildx},
	{literal: "failed to fetch anonymous token", re: expr(`failed to fetch anonymous token:`), client: pushdoctor.ClientBuildx, op: pushdoctor.OperationToken, flag: anonymous},
	{literal: "failed to authorize: ", re: expr(`failed to authorize: `), client: pushdoctor.ClientBuildx, op: pushdoctor.OperationToken},
	{literal: "failed to fetch oauth token", re: expr(`failed to fetch oauth token:`), client: pushdoctor.ClientBuildx, op: pushdoctor.OperationToken},
	{literal: "authorization status: ", re: expr(`authorization status: NNN(?:: authorization failed)?`), client: pushdoctor.ClientBuildx, op: pushdoctor.OperationToken},
	{literal: "failed to parse error response", re: expr(`failed to parse error response NNN`), client: pushdoctor.ClientBuildx},
	{literal: "push oci artifact", re: expr(`failed to push OCI artifact: `), client: pushdoctor.ClientCompose, strong: true, dir: push, flag: failed},
	{literal: "with docker:", re: expr(`pushing REF with docker:`), client: pushdoctor.ClientBuildx, dir: push},

	// docker push and docker login. https://github.com/moby/moby/blob/master/distribution/errors.go
	{literal: "error response from daemon", re: expr(`error response from daemon: `), client: pushdoctor.ClientDocker},
	{literal: "trying to push", re: expr(`status NNN trying to push repository PATH:`), client: pushdoctor.ClientDocker, dir: push},
	{literal: "trying to push", re: expr(`server error: NNN trying to push REF (?:blob|manifest)`), client: pushdoctor.ClientDocker, dir: push, op: pushdoctor.OperationUpload},
	{literal: "trying to initiate upload", re: expr(`unexpected NNN response status trying to initiate upload`), client: pushdoctor.ClientDocker, dir: push, op: pushdoctor.OperationUpload},
	{literal: "while uploading metadata", re: expr(`http code NNN while uploading metadata`), client: pushdoctor.ClientDocker, dir: push, op: pushdoctor.OperationUpload},
	{literal: "error pushing to registry", re: expr(`error pushing to registry:`), client: pushdoctor.ClientDocker, op: pushdoctor.OperationPush, dir: push, flag: failed},
	{literal: "with push after error", re: expr(`not continuing with push after error:`), client: pushdoctor.ClientDocker, op: pushdoctor.OperationPush, dir: push, flag: failed},
	{literal: "for push after error", re: expr(`attempting next endpoint for push after error:`), client: pushdoctor.ClientDocker, op: pushdoctor.OperationPush, dir: push, flag: failed},
	{literal: "login attempt to ", re: expr(`login attempt to URL failed with status: NNN`), client: pushdoctor.ClientDocker, op: pushdoctor.OperationLogin, dir: push},
	{literal: "no successful auth challenge", re: expr(`no successful auth challenge for URL`), client: pushdoctor.ClientDocker, op: pushdoctor.OperationLogin, dir: push},
	{literal: "token auth attempt for registry", re: expr(`token auth attempt for registry(?: URL: |: )`), client: pushdoctor.ClientDocker, op: pushdoctor.OperationToken},
	{literal: "error logging in to", re: expr(`error logging in to (?:v2 )?endpoint`), client: pushdoctor.ClientDocker, op: pushdoctor.OperationLogin, dir: push},
	{literal: "failed to put manifest", re: expr(`failed to put manifest REF: `), client: pushdoctor.ClientDocker, op: pushdoctor.OperationManifest, dir: push, flag: failed},
	{literal: "failed to mount blob ", re: expr(`failed to mount blob \S+ to REF: `), client: pushdoctor.ClientDocker, op: pushdoctor.OperationUpload, dir: push, flag: failed},
	{literal: "error from registry: ", re: expr(`(?:^|: )error from registry: `), client: pushdoctor.ClientDocker},
	{literal: "docker push ", re: expr(`docker push REF exited with error code \d+: `), client: pushdoctor.ClientDocker, dir: push, flag: failed},

	// containers/image: podman, buildah, skopeo. https://github.com/containers/image/blob/main/docker/docker_image_dest.go
	{literal: "pushing image ", re: expr(`pushing image "?[^\s"]+"? to "docker://(?P<image>[^\s"]+)":`), client: pushdoctor.ClientBuildah, strong: true, dir: push, flag: failed},
	{literal: "to the remote destination", re: expr(`copying image to the remote destination:`), client: pushdoctor.ClientPodman, dir: push, flag: failed},
	{literal: "trying to reuse blob", re: expr(`trying to reuse blob \S+ at destination:`), client: pushdoctor.ClientPodman, op: pushdoctor.OperationUpload, dir: push, flag: failed},
	{literal: "checking whether a blob", re: expr(`checking whether a blob \S+ exists in REF: `), client: pushdoctor.ClientPodman, op: pushdoctor.OperationUpload, dir: push},
	{literal: "from destination repository", re: expr(`(?:failed|not authorized) to read from destination repository PATH(?:: NNN|$|\s)`), client: pushdoctor.ClientPodman, op: pushdoctor.OperationUpload, dir: push, flag: failed},
	{literal: "writing blob: ", re: expr(`writing blob: `), client: pushdoctor.ClientPodman, op: pushdoctor.OperationUpload, dir: push, flag: failed},
	{literal: "initiating layer upload", re: expr(`initiating layer upload to (?P<path>/v2/\S+) in (?P<host>[^\s:]+(?::\d+)?): `), client: pushdoctor.ClientPodman, op: pushdoctor.OperationUpload, dir: push},
	{literal: "uploading layer ", re: expr(`uploading layer (?:chunked|to URL):`), client: pushdoctor.ClientPodman, op: pushdoctor.OperationUpload, dir: push},
	{literal: "writing manifest: ", re: expr(`writing manifest: `), client: pushdoctor.ClientPodman, op: pushdoctor.OperationManifest, dir: push, flag: failed},
	{literal: "uploading manifest", re: expr(`uploading manifest (?P<tag>\S+) to REF: `), client: pushdoctor.ClientPodman, op: pushdoctor.OperationManifest, dir: push, flag: failed},
	{literal: "pinging container registry", re: expr(`pinging (?:container|docker) registry (?P<host>[^\s:]+(?::\d+)?): `), client: pushdoctor.ClientPodman, op: pushdoctor.OperationPush},
	{literal: "bearer token: invalid status", re: expr(`requesting bearer? token: invalid status code from registry NNN`), client: pushdoctor.ClientPodman, op: pushdoctor.OperationToken},
	{literal: "unable to retrieve auth token", re: expr(`unable to retrieve auth token:`), client: pushdoctor.ClientPodman, op: pushdoctor.OperationToken},
	{literal: "status code from registry", re: expr(`invalid status code from registry NNN`), client: pushdoctor.ClientPodman},
	{literal: "normalizing name", re: expr(`normalizing name "(?P<image>[^"]*)"`), client: pushdoctor.ClientPodman, strong: true, op: pushdoctor.OperationReference, dir: push},
	{literal: "invalid image name", re: expr(`invalid image name "(?P<image>[^"]*)", unknown transport`), client: pushdoctor.ClientPodman, strong: true, op: pushdoctor.OperationReference, dir: push, flag: failed},
	{literal: "invalid destination name", re: expr(`invalid destination name docker://(?P<image>\S+?): `), client: pushdoctor.ClientSkopeo, strong: true, op: pushdoctor.OperationReference, dir: push, flag: failed},
	{literal: "logging into ", re: expr(`(?:error )?logging into "(?P<host>[^"\s]+)":`), client: pushdoctor.ClientPodman, op: pushdoctor.OperationLogin, dir: push},
	{literal: "authenticating creds for", re: expr(`authenticating creds for "(?P<host>[^"\s]+)":`), client: pushdoctor.ClientPodman, op: pushdoctor.OperationLogin, dir: push},
	{literal: "initializing destination", re: expr(`initializing destination docker://(?P<image>\S+?): `), client: pushdoctor.ClientPodman, dir: push, flag: failed},
	{literal: "notary server", re: expr(`error contacting notary server: `), client: pushdoctor.ClientDocker, op: pushdoctor.OperationSign, dir: push, flag: failed},
	{literal: "statuscode: ", re: expr(`statuscode: NNN`)},

	// go-containerregistry: crane, ko, kaniko, cosign, pack. https://github.com/google/go-containerregistry/blob/main/pkg/v1/remote/transport/error.go
	{literal: "http", re: expr(`\b(?P<method>GET|HEAD|POST|PUT|PATCH|DELETE) URL:? `), last: true},
	{literal: "error publishing ", re: expr(`error publishing (?:ko://\S+|REF): `), dir: push, flag: failed},
	{literal: "failed to publish images", re: expr(`failed to publish images:`), client: pushdoctor.ClientKo, strong: true, dir: push, flag: failed},
	{literal: "error publishing ko://", re: expr(`error publishing ko://`), client: pushdoctor.ClientKo, strong: true, dir: push, flag: failed},
	{literal: "error resolving image references", re: expr(`error resolving image references:`), client: pushdoctor.ClientKo, strong: true, dir: push, flag: failed},
	{literal: "writing sbom: ", re: expr(`writing sbom: `), op: pushdoctor.OperationSign, dir: push, flag: failed},
	{literal: "failed to push to destination", re: expr(`failed to push to destination REF: `), client: pushdoctor.ClientKaniko, strong: true, dir: push, flag: failed},
	{literal: "error checking push permission", re: expr(`error checking push permissions`), client: pushdoctor.ClientKaniko, strong: true, dir: push, flag: failed},
	{literal: "checking push permission for", re: expr(`checking push permission for "(?P<image>[^"]+)":`), client: pushdoctor.ClientKaniko, strong: true, dir: push, flag: failed},
	{literal: "creating push check transport", re: expr(`creating push check transport for (?P<host>\S+) failed:`), client: pushdoctor.ClientKaniko, strong: true, dir: push},
	{literal: "signing ", re: expr(`signing \[?(?:[^\s\]]+ )?(?P<image>[^\s\]]+)\]?: `), client: pushdoctor.ClientCosign, strong: true, op: pushdoctor.OperationSign, dir: push, flag: failed},
	{literal: "attaching ", re: expr(`attaching (?:attestation|signature|sbom)[^:]*: `), client: pushdoctor.ClientCosign, op: pushdoctor.OperationSign, dir: push, flag: failed},
	{literal: "registry read", re: expr(`failed to ensure registry read(?:/write)? access to REF:`), client: pushdoctor.ClientPack, strong: true, dir: push, flag: failed},
	{literal: "registry write access", re: expr(`failed to ensure registry write access to REF:`), client: pushdoctor.ClientPack, strong: true, dir: push, flag: failed},
	{literal: "validating registry ", re: expr(`validating registry (?:read|write|read/write) access:(?: ensure registry \S+ access to (?P<image>\S+)$)?`), client: pushdoctor.ClientPack, strong: true, dir: push, flag: failed},
	{literal: "failed to access previous image", re: expr(`failed to access previous image: (?:connect to repo store '(?P<image>[^\s']+)':)?`), client: pushdoctor.ClientPack, strong: true, op: pushdoctor.OperationManifest, dir: push, flag: failed},
	{literal: "unsupported status code", re: expr(`unsupported status code NNN`)},

	// oras-go: oras and helm. https://github.com/oras-project/oras-go/blob/main/registry/remote/errcode/errors.go
	{literal: "response status code ", re: expr(`response status code NNN`), client: pushdoctor.ClientOras},
	{literal: "error response from registry", re: expr(`error response from registry: `), client: pushdoctor.ClientOras, strong: true, flag: failed},
	{literal: "failed to validate the cred", re: expr(`failed to validate the credentials for (?P<host>[^\s:]+(?::\d+)?): `), client: pushdoctor.ClientOras, strong: true, op: pushdoctor.OperationLogin, dir: push, flag: failed},
	{literal: "on destination: ", re: expr(`failed to perform "(?P<verb>\w+)" on destination: `), client: pushdoctor.ClientHelm, dir: push, flag: failed},

	// jib. https://github.com/GoogleContainerTools/jib/tree/master/jib-core/src/main/java/com/google/cloud/tools/jib/registry
	{literal: "tried to push blob for", re: expr(`tried to push blob for REF with digest \S+ but failed because: `), client: pushdoctor.ClientJib, strong: true, op: pushdoctor.OperationUpload, dir: push, flag: failed},
	{literal: "tried to push image manifest", re: expr(`tried to push image manifest for REF but failed because: `), client: pushdoctor.ClientJib, strong: true, op: pushdoctor.OperationManifest, dir: push, flag: failed},
	{literal: "failed to authenticate with registry", re: expr(`failed to authenticate with registry REF because:(?: NNN)?`), client: pushdoctor.ClientJib, strong: true, op: pushdoctor.OperationToken, dir: push, flag: failed},
	{literal: "build image failed, perhaps", re: expr(`build image failed, perhaps you should make sure (?:you have permissions for (?P<image>\S+)|your credentials for '(?P<image2>[^\s']+)')`), client: pushdoctor.ClientJib, strong: true, dir: push, flag: failed},
	// https://github.com/GoogleContainerTools/jib/blob/master/jib-plugins-common/src/main/java/com/google/cloud/tools/jib/plugins/common/HelpfulSuggestions.java
	{literal: "build image failed, perhaps", re: expr(`build image failed, perhaps you should make sure (?:your Internet is up and that the registry you are pushing to exists|that the registry you configured exists/is spelled properly)(?:: (?:Connect to )?(?P<host>[\w.-]+(?::\d+)?)[: ])?`), client: pushdoctor.ClientJib, strong: true, dir: push, flag: failed},
	{literal: "unauthorized for ", re: expr(`unauthorized for (?P<image>[^\s]+?)(?:: NNN.*| \|.*)?$`), client: pushdoctor.ClientJib, dir: push, flag: func(a *answer) { a.failed, a.code = true, "unauthorized" }},
	{literal: "i/o error for image", re: expr(`i/o error for image \[(?P<image>[^\]]+)\]`), client: pushdoctor.ClientJib, strong: true, dir: push, flag: failed},
	{literal: "com.google.cloud.tools", re: expr(`com\.google\.cloud\.tools[.:]jib`), client: pushdoctor.ClientJib, strong: true},

	// regctl. https://github.com/regclient/regclient/tree/main/scheme/reg
	{literal: "failed to send blob", re: expr(`failed to send blob.*? ref REF: `), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationUpload, dir: push, flag: failed},
	{literal: "failed to access target registry", re: expr(`failed to access target registry:`), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationManifest, dir: push, flag: failed},
	{literal: "failed to ping registry", re: expr(`failed to ping registry (?P<host>[^\s:]+(?::\d+)?): `), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationLogin, dir: push, flag: failed},
	{literal: "failed to request manifest head", re: expr(`failed to request manifest head REF: `), client: pushdoctor.ClientOther, strong: true},
	{literal: "failed to put manifest", re: expr(`failed to put manifest REF: (?:request failed|retry limit|http do|unauthorized$)`), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationManifest, dir: push},
	{literal: "[http ", re: expr(`\[http NNN\]`), client: pushdoctor.ClientOther},

	// Others: goreleaser, .NET's SDK, OpenShift's builds, GitHub's attestations, Bazel's pusher, tart.
	{literal: "no such manifest: ", re: expr(`failed to create REF: (?:exit status \d+: )?no such manifest: `), dir: push, op: pushdoctor.OperationManifest, flag: failed},
	{literal: "failed to publish artifacts", re: expr(`failed to publish artifacts:`), client: pushdoctor.ClientGoreleaser, strong: true},
	{literal: "failed to publish artifacts", re: expr(`docker \w+(?: \w+)?: failed to publish artifacts:`), dir: push, flag: failed},
	{literal: "output registry", re: expr(`failed to push to (?:the )?output registry:?`), client: pushdoctor.ClientOther, strong: true, dir: push, flag: failed},
	{literal: "registry push failed; ", re: expr(`registry push failed; received status code '(?P<reason>[A-Za-z ]+)'`), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationManifest, dir: push, flag: failed},
	{literal: "failed to upload blob using", re: expr(`failed to upload blob using (?P<method>[A-Z]+) URL; received status code '(?P<reason>[A-Za-z ]+)'`), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationUpload, dir: push, flag: failed},
	{literal: "failed to push image: ", re: expr(`build error: failed to push image: `), client: pushdoctor.ClientOther, strong: true, dir: push, flag: failed},
	{literal: "ocierror: ", re: expr(`ocierror: `), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationSign, dir: push},
	{literal: "artifact to container registry", re: expr(`error uploading artifact to container registry`), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationSign, dir: push, flag: failed},
	{literal: ", received ", re: expr(`error fetching URL - expected \d+, received NNN`), client: pushdoctor.ClientOther, op: pushdoctor.OperationSign, dir: push},
	{literal: "token in bearer response", re: expr(`no token in bearer response`), op: pushdoctor.OperationToken, flag: failed},
	{literal: "token auth challenge", re: expr(`no scope specified for token auth challenge`), op: pushdoctor.OperationToken, flag: failed},
	{literal: "\"errordetail\"", re: expr(`\{"errorDetail":`), client: pushdoctor.ClientOther, strong: true},
	{literal: "{u'message'", re: expr(`\{u?'message': u?'`), client: pushdoctor.ClientOther, strong: true},
	{literal: "dockerjava", re: expr(`dockerjava`), client: pushdoctor.ClientOther, strong: true},
	{literal: "bad status during token exchange", re: expr(`bad status during token exchange: NNN`), op: pushdoctor.OperationToken, dir: push, client: pushdoctor.ClientOther, strong: true, flag: failed},
	{literal: "unexpectedhttpstatuscode", re: expr(`UnexpectedHTTPStatusCode\(when: "pushing manifest", code: NNN`), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationManifest, dir: push, flag: failed},
	{literal: "unexpectedhttpstatuscode", re: expr(`UnexpectedHTTPStatusCode\(when: "pushing blob[^"]*", code: NNN`), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationUpload, dir: push, flag: failed},
	{literal: "on the destination registry", re: expr(`failed to check the existence of the (?P<what>manifest|blob) of image PATH on the destination registry: \[NNN\]`), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationManifest, dir: push, flag: failed},
	{literal: "upload http", re: expr(`(?P<what>manifest|blob|layer) upload URL returned NNN`), client: pushdoctor.ClientOther, strong: true, dir: push, flag: failed},
	{literal: "image exists at remote", re: expr(`push: image exists at remote: get image: `), client: pushdoctor.ClientOther, strong: true, op: pushdoctor.OperationManifest, dir: push, flag: failed},
	{literal: "push status stream", re: expr(`error rendering push status stream: `), client: pushdoctor.ClientOther, dir: push, flag: failed},
	{literal: "oras push failed", re: expr(`oras push failed:`), client: pushdoctor.ClientOras, strong: true, dir: push, flag: failed},
	{literal: "push image", re: expr(`(?:could not|unable to|failed to|cannot) push image(?: to REF: |: )`), client: pushdoctor.ClientOther, dir: push, flag: failed},
	{literal: "pushing image ", re: expr(`(?:error )?pushing image REF: `), dir: push, flag: failed},
	{literal: "pushing image: ", re: expr(`(?:error|when) pushing image: `), dir: push, flag: failed},
	{literal: "failed to save image", re: expr(`failed to save image`), dir: push, flag: failed},
	{literal: "to the following tags", re: expr(`failed to write image to the following tags: \[REF: `), client: pushdoctor.ClientPack, strong: true, dir: push, flag: failed},
	{literal: "failed to copy ", re: expr(`failed to copy "[^"]+" to "(?P<image>[^"]+)": `), client: pushdoctor.ClientCrane, dir: push, flag: failed},
	{literal: "/push?tag=", re: expr(`/images/(?P<image>\S+)/push\?tag=`), client: pushdoctor.ClientOther, strong: true, dir: push, flag: failed}, // docker-py
	{literal: "push failed: ", re: expr(`push failed: `), dir: push, flag: failed},

	// HTTP: the numbers.
	{literal: "unexpected status from ", re: expr(`unexpected status from (?P<method>[A-Z]+) request to URL: NNN(?P<reason2> [A-Za-z][A-Za-z -]*)?`), client: pushdoctor.ClientBuildx},
	{literal: "unexpected response code", re: expr(`unexpected response code NNN [\w ]+ on (?P<method>[A-Z]+) URL`)},
	{literal: " http", re: expr(`\b(?P<method>GET|HEAD|POST|PUT|PATCH) URL NNN(?:"|$)`)},
	{literal: " http", re: expr(`\b(?P<method>GET|HEAD|POST|PUT|PATCH) URL: NNN [A-Z]`)},
	{literal: "error: ", re: expr(`NNN (?:client|server) error: [^:]* for url: URL$`)}, // Python's requests
	{literal: "unexpected status: ", re: expr(`unexpected status: NNN`), client: pushdoctor.ClientBuildx},
	{literal: "unexpected status code ", re: expr(`unexpected status code NNN`)},
	{literal: "unexpected http status: ", re: expr(`received unexpected http status: NNN`), client: pushdoctor.ClientDocker},
	{literal: "response body: ", re: expr(`error parsing http NNN response body: `), client: pushdoctor.ClientDocker},
	{literal: "failed with status: ", re: expr(`failed with status: NNN`)},
	{literal: "(code: ", re: expr(`\(code: NNN; headers`)},
	{literal: "because: ", re: expr(`because: NNN (?:unauthorized|forbidden|not found|bad request)`)},
	{literal: "issues/new: ", re: expr(`issues/new: NNN `)}, // jib ends its line with the status

	// What is no push, whatever else the line says.
	{literal: "failed to push some refs", re: expr(`failed to push some refs`), dir: pull}, // git
	{literal: "httpreadseeker", re: expr(`httpReadSeeker`), dir: pull},
	{literal: "error building \"ko://", re: expr(`error building "ko://`), dir: pull}, // the base image
	{literal: "failed to fetch the content", re: expr(`failed to fetch the content of`), dir: pull},
	{literal: "_test.go:", re: expr(`_test\.go:\d+:`), dir: pull}, // a test that prints
	{literal: "--- fail: ", re: expr(`^\s*--- fail: `), dir: pull},
	{literal: "docker: ", re: expr(`^docker: `), dir: pull}, // docker run
	{literal: "not found: manifest", re: expr(`manifest for \S+ not found`), dir: pull},
	{literal: "error processing tar file", re: expr(`error processing tar file`), dir: pull},                  // a build's context
	{literal: "cannot be pulled", re: expr(`cannot be pulled`), flag: func(a *answer) { a.pullWords = true }}, // Harbor says so to a push too
	{literal: "docker-export-", re: expr(`/docker-export-\d`), dir: pull},                                     // docker save
	{literal: "initialize builder", re: expr(`failed to initialize builder`), dir: pull},
	{literal: "pull access denied", re: expr(`pull access denied`), dir: pull},
	{literal: "failed to resolve ", re: expr(`failed to resolve (?:source metadata|reference|action)`), dir: pull},
	{literal: "load metadata for", re: expr(`load metadata for`), dir: pull},
	{literal: "cache importer", re: expr(`failed to configure \S+ cache importer`), dir: pull},
	{literal: "unexpected status code [", re: expr(`unexpected status code \[(?:manifests|blobs) `), dir: pull},
	{literal: "unexpected status code http", re: expr(`unexpected status code https?://\S+/(?:manifests|blobs)/`), dir: pull},
	{literal: "failed with status code [", re: expr(`failed with status code \[(?:manifests|blobs) `), dir: pull},
	{literal: "storing blob to file", re: expr(`storing blob to file`), dir: pull},
	{literal: "initializing ", re: expr(`initializing (?:source|image from source)`), dir: pull},
	{literal: "error pulling image", re: expr(`error pulling image`), dir: pull},
	{literal: "failed to pull", re: expr(`failed to pull`), dir: pull},
	{literal: "pulling image", re: expr(`pulling image`), dir: pull},
	{literal: "pull rate limit", re: expr(`pull rate limit`), flag: func(a *answer) { a.pullWords = true }}, // Docker Hub says so to a push too
	{literal: "docker pull", re: expr(`docker pull`), dir: pull},
	{literal: "tried to pull", re: expr(`tried to pull`), dir: pull},
	{literal: "registryclient.pull", re: expr(`RegistryClient\.\S*pull`), dir: pull},
	{literal: "pullblob", re: expr(`pullBlob|pullManifest`), dir: pull},
	{literal: "installation failed", re: expr(`installation failed:`), dir: pull},      // helm install
	{literal: "on source: ", re: expr(`failed to perform "\w+" on source`), dir: pull}, // oras copy
	{literal: "/tags/list", re: expr(`/tags/list`), dir: pull},
	{literal: "fulcio", re: expr(`fulcio`), dir: pull},
	{literal: "/api/v1/log/entries", re: expr(`/api/v1/log/entries`), dir: pull}, // Rekor
	{literal: "ambient oidc", re: expr(`fetching ambient oidc`), dir: pull},
	{literal: "/_apis/artifactcache", re: expr(`/_apis/artifactcache/`), dir: pull}, // type=gha
	{literal: "actionscacheservice", re: expr(`actionscacheservice`), dir: pull},
	{literal: "github.actions.results", re: expr(`twirp/github\.actions\.results`), dir: pull},
	{literal: "reserve cache", re: expr(`failed to reserve cache`), dir: pull},
	{literal: "/actions-cache/", re: expr(`blob\.core\.windows\.net/actions-cache/`), dir: pull},
	{literal: "npm.pkg.github.com", re: expr(`(?:npm|maven|nuget|rubygems)\.pkg\.github\.com`), dir: pull},
	{literal: "npm err", re: expr(`npm err(?:!|or) `), dir: pull},
	{literal: "remote: permission to", re: expr(`remote: permission to `), dir: pull}, // git
	{literal: "error building stage", re: expr(`error building stage`), dir: pull},    // kaniko's build
	{literal: "unable to find image", re: expr(`unable to find image '`), dir: pull},
	{literal: "back-off pulling", re: expr(`back-off pulling image`), dir: pull},
}

// literals are what a line must hold to be looked at, beside the rules' own.
func frameLiterals() []string {
	var out []string
	for _, f := range frames {
		if len(f.literal) >= minLiteral {
			out = append(out, f.literal)
		}
	}
	return append(out, `errors":[{`, `errors\":[{`, "/manifests/", "/blobs/", "/token?", "/jwt/auth?", `/v2/": `, `/v2/: `)
}

// codes are the error codes of registries as the clients print them, and the status that each implies.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
var codes = map[string]int{
	"denied": 403, "unauthorized": 401, "name unknown": 404, "name invalid": 400, "manifest unknown": 404,
	"manifest invalid": 400, "manifest blob unknown": 404, "blob unknown": 404, "blob upload unknown": 404,
	"blob upload invalid": 400, "digest invalid": 400, "size invalid": 400, "tag invalid": 400,
	"toomanyrequests": 429, "unsupported": 415, "range invalid": 0, "unknown": 0, "precondition": 0,
	"conflict": 0, "not found": 404, "forbidden": 403, "unknown blob": 404, "manifest unverified": 400,
	"invalid request": 0, "insufficient_scope": 401,
}

// bare matches an error code where docker and BuildKit print one: at the line's beginning, or behind a frame.
var bare = regexp.MustCompile(`(?im)(?:^|[:\]|>)] +|\t|\s{2,}|\("?|\bu?')(denied|unauthorized|name unknown|name invalid|manifest unknown|manifest invalid|manifest blob unknown|` +
	`blob unknown|blob upload unknown|blob upload invalid|digest invalid|size invalid|tag invalid|toomanyrequests|too many requests|unsupported|` +
	`range invalid|unknown blob|unknown|precondition|conflict|not found|insufficient_scope)(?:: |:$|$|'$| to registry)`)

// upper matches a code as go-containerregistry prints one.
var upper = regexp.MustCompile(`(?:^|: )([A-Z][A-Z]+(?:_[A-Z]+)*): `)

// jsonCode matches the code in the registry's own answer, also where it is quoted in a string.
var (
	jsonCode   = regexp.MustCompile(`\\*"code\\*":\s*\\*"([A-Z_]+)\\*"`)
	htmlTitle  = regexp.MustCompile(`(?i)<(?:title|h1)>\s*([1-5]\d\d) [A-Za-z]`)
	htmlBody   = regexp.MustCompile(`(?i)<html|<!doctype html|<head>|<\?xml`)
	vertexLine = regexp.MustCompile(`^#\d{1,5} `)
	transport  = regexp.MustCompile(`(?i)\b(?:Head|Get|Put|Post|Patch|Delete) "?https?://[^\s"]+"?: `)
)

// label matches what stands before an answer and is no part of it: BuildKit's number and clock, "ERROR: ".
var label = regexp.MustCompile(`^(?:#\d{1,5} )?(?:\d+\.\d+ )?(?:(?:ERROR|error|Error): )?`)

// reasons are the statuses that a client prints by name only.
var reasons = map[string]int{
	"unauthorized": 401, "forbidden": 403, "notfound": 404, "not found": 404, "badrequest": 400, "toomanyrequests": 429,
	"internalservererror": 500, "badgateway": 502, "serviceunavailable": 503, "gatewaytimeout": 504,
	"requestentitytoolarge": 413, "conflict": 409, "methodnotallowed": 405,
}
