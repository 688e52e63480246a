package main

import (
	"bytes"
	"html"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/parser"
	"github.com/akkospace/pushdoctor/remedy"
	"github.com/akkospace/pushdoctor/samples"
	"github.com/akkospace/pushdoctor/store"
	"github.com/akkospace/pushdoctor/web"
)

// The bytes that secrets are made of.
const (
	hexDigits = "0123456789abcdef"
	capitals  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	letters   = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// secretKinds are the kinds that redact promises to know: what stands before and behind a secret is what it knows it by.
// The prefixes are made of pieces, so that no scanner of repositories takes them for real ones.
var secretKinds = []struct {
	before, alphabet string
	size             int
	after            string
	alone            bool // known by its shape: it can be a user, or a part of an image's name
}{
	{"ghp" + "_", letters, 36, "", true},
	{"ghs" + "_", letters, 36, "", true},
	{"gho" + "_", letters, 36, "", true},
	{"github" + "_pat_", letters + "_", 82, "", true},
	{"AKIA", capitals, 16, "", true},
	{"eyJ" + "hbGciOiJSUzI1NiJ9" + ".eyJ", letters + "_-.", 80, "", true},
	{"aws_secret_access_key=", letters + "/+", 40, "", false},
	{"AWS_SESSION_TOKEN=", letters + "/+", 300, "==", false},
	{"aws configure set aws_secret_access_key ", letters + "/+", 40, "", false},
	{`{"auths":{"ghcr.io":{"auth":"`, letters + "/+", 40, `=="}}}`, false},
	{`{\"username\":\"octo\",\"identitytoken\":\"`, letters, 40, `\"}`, false},
	{"https://octo:", letters, 24, "@registry.example.test/v2/", false},
	{"https://", letters, 40, "@github.com/octo-lab/api", false},
	{"https://s3.example.test/a?X-Amz-Date=20260301T000000Z&X-Amz-Signature=", hexDigits, 64, "&X-Amz-Expires=300", false},
	{"https://blob.example.test/a?se=2026-03-01&sig=", letters + "%", 44, "%3D&sp=r", false},
	{"https://ghcr.io/v2/octo-lab/api/blobs/uploads/7?_state=", letters + "-_", 60, "&digest=sha256%3A0f", false},
	{"docker login -u octo -p ", letters, 20, " ghcr.io", false},
	{"docker login ghcr.io --username octo --password ", letters, 20, "", false},
	{"Authorization: Bearer ", letters + "-_", 40, "", false},
	{`-H "Authorization: Basic `, letters, 40, `="`, false},
	{"password: ", letters, 20, "", false},
	{"DOCKER_PASSWORD=", letters, 20, "", false},
}

// The places where a secret can be planted.
const (
	inLine  = iota // any
	ownLine        // before any
	inDecisive
	inStep // its title
	inUser
	inEnv
	inImage
	placesEnd
)

// A garden is a sample, and where its finding stands; line is 0 where it has none.
type garden struct {
	name, log, image string
	line             int
}

func gardens(t testing.TB) []garden {
	t.Helper()
	names, err := fs.Glob(samples.Logs, "*.log")
	if err != nil || len(names) == 0 {
		t.Fatal("no samples", err)
	}
	var all []garden
	for _, name := range names {
		data, err := fs.ReadFile(samples.Logs, name)
		if err != nil {
			t.Fatal(err)
		}
		report, err := classifier.Builtin().Classify(parser.New(bytes.NewReader(data)))
		if err != nil {
			t.Fatal(err)
		}
		g := garden{name: name, log: string(data)}
		for _, f := range report.Findings {
			g.line, g.image = f.Line, f.Image
		}
		all = append(all, g)
	}
	return all
}

var stamped = regexp.MustCompile(`^\x{feff}?\d{4}-\d\d-\d\dT[\d:.]+Z `)

// into puts a secret between two words of a line, behind so many bytes of other words.
func into(line, secret string, at, pad int) string {
	from := len(stamped.FindString(line))
	end := strings.TrimSuffix(line, "\x1b[0m")
	cuts := []int{len(end)}
	for i := from; i < len(end); i++ {
		if end[i] == ' ' {
			cuts = append(cuts, i)
		}
	}
	i := cuts[at%len(cuts)]
	return line[:i] + " " + strings.Repeat("no ", pad/len("no ")) + secret + " " + line[i:]
}

// plant puts a secret into the sample at the place. at says where in a line, row which line, where the place leaves that open.
func (g garden) plant(place int, before, value, after string, alone bool, row, at, pad int) string {
	secret := before + value + after
	lines := strings.Split(strings.TrimSuffix(g.log, "\n"), "\n")
	row %= len(lines)
	decisive := row
	if g.line > 0 {
		decisive = g.line - 1
	}
	step := decisive
	for step > 0 && !strings.Contains(lines[step], "##[group]Run ") {
		step--
	}
	stamp := strings.TrimPrefix(stamped.FindString(lines[step]), "\ufeff")
	if place == inImage && (!alone || g.image == "") {
		place = inDecisive
	}
	switch place {
	case inDecisive:
		lines[decisive] = into(lines[decisive], secret, at, pad)
	case inStep:
		lines[step] = into(lines[step], secret, at, pad)
	case inUser:
		if !alone {
			secret = "octo " + secret
		}
		if i := slices.IndexFunc(lines, func(s string) bool { return strings.Contains(s, "  username: ") }); i >= 0 && at%2 == 0 {
			name, _, _ := strings.Cut(lines[i], "username: ")
			lines[i] = name + "username: " + secret
			break
		}
		login := "docker login ghcr.io -u " + secret + " --password-stdin"
		lines = slices.Insert(lines, step, stamp+"##[group]Run "+login, stamp+"\x1b[36;1m"+login+"\x1b[0m", stamp+"##[endgroup]", stamp+"Login Succeeded")
	case inEnv:
		env := step
		for env < len(lines)-1 && !strings.HasSuffix(lines[env], "##[endgroup]") {
			env++
		}
		lines = slices.Insert(lines, env, stamp+"env:", stamp+"  SETTING: "+secret)
	case inImage:
		image := g.image
		if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
			image = image[:i]
		}
		if at%2 == 0 {
			image = image[:strings.LastIndexByte(image, '/')+1] + secret + ":dev"
		} else {
			image += ":" + secret
		}
		return strings.ReplaceAll(g.log, g.image, image)
	case ownLine:
		lines = slices.Insert(lines, row, stamp+secret)
	default:
		lines[row] = into(lines[row], secret, at, pad)
	}
	return strings.Join(lines, "\n") + "\n"
}

// Red where a secret of a log, or a part of it that is long enough to help, comes out of any of our mouths, or gets into
// the store: where a way out takes a text of the log without redaction, or redacts it only after the name or the prefix
// was cut off by which the secret is known.
func FuzzSecrets(f *testing.F) {
	all := gardens(f)
	for kind := range secretKinds {
		for place := range placesEnd {
			if place == inImage && !secretKinds[kind].alone {
				continue
			}
			n := kind*placesEnd + place
			sample := n % len(all)
			for place >= inDecisive && all[sample].image == "" {
				sample = (sample + 1) % len(all)
			}
			f.Add(uint64(n), uint8(kind), uint8(place), uint8(sample), uint16(n*31), uint8(n), uint16(n%4*150))
		}
	}
	// A blob within the sentence that names the image in quotes: its value once came out as the image.
	for at := range uint8(12) {
		f.Add(uint64(at), uint8(9), uint8(inDecisive), uint8(slices.IndexFunc(all, func(g garden) bool { return g.name == "ghcr-upper-case-name.log" })), uint16(0), at, uint16(0))
	}
	f.Fuzz(func(t *testing.T, seed uint64, kind, place, sample uint8, row uint16, at uint8, pad uint16) {
		k, g := secretKinds[int(kind)%len(secretKinds)], all[int(sample)%len(all)]
		r := rand.New(rand.NewPCG(seed, 1))
		value := make([]byte, k.size)
		for i := range value {
			value[i] = k.alphabet[r.IntN(len(k.alphabet))]
		}
		// The ends are no punctuation, which may stay, and a password without a digit may be a word.
		for i, c := range map[int]byte{0: k.alphabet[10], 1: '7', k.size - 2: '5', k.size - 1: k.alphabet[12]} {
			value[i] = c
		}
		log := g.plant(int(place)%placesEnd, k.before, string(value), k.after, k.alone, int(row), int(at), int(pad))
		language := languages[int(sample)%len(languages)]
		for name, text := range outputs(t, log, language) {
			// Of 15 bytes on end, some piece of eight is whole.
			for piece := range slices.Chunk(value, 8) {
				if len(piece) < 8 || strings.Contains(g.log, string(piece)) {
					continue
				}
				if i := strings.Index(text, string(piece)); i >= 0 {
					t.Fatalf("%s, place %d: %q shows in %s: %q", g.name, place%placesEnd, k.before+string(value), name, text[max(0, i-200):min(len(text), i+200)])
				}
			}
		}
	})
}

// outputs are all that comes of a log.
func outputs(t *testing.T, log, language string) map[string]string {
	t.Helper()
	out := map[string]string{}
	program := func(stdin string, args ...string) {
		got := call{args: args, stdin: stdin}.run(t)
		if got.status > exitFound {
			t.Fatalf("%v: status %d: %s%s", args, got.status, got.stdout, got.stderr)
		}
		name := strings.Join(args, " ")
		out[name], out["stderr of "+name] = got.stdout, got.stderr
	}
	for _, format := range formats {
		program(log, "diagnose", "--explain", "--lang", language, "--format", format, "-")
	}

	ended := time.Now().Truncate(time.Second)
	path := filepath.Join(t.TempDir(), "pushdoctor.db")
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.PutRepository(store.Repository{ID: 7, Name: "octo-lab/api", LiveSince: ended.Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	report, err := classifier.Builtin().Classify(parser.New(strings.NewReader(log)))
	if err != nil {
		t.Fatal(err)
	}
	reading := store.Reading{
		Job: pushdoctor.Job{
			Repository: "octo-lab/api", RepositoryID: 7, Workflow: "image.yml", RunID: 5, RunAttempt: 1, JobID: 9, Name: "image",
			Conclusion: "failure", StartedAt: ended.Add(-time.Minute), CompletedAt: ended,
		},
		Result: store.ResultFindings, Facts: report.Facts, Findings: report.Findings, Pushed: map[pushdoctor.Registry]int{}, Bytes: int64(len(log)),
	}
	for _, image := range report.Facts.Pushed {
		reading.Pushed[classifier.RegistryOf(image)]++
	}
	if _, err := db.Record(reading); err != nil {
		t.Fatal(err)
	}
	found, err := db.Find(store.Query{Limit: 100})
	if err != nil || len(found) != len(report.Findings) {
		t.Fatalf("%d of %d findings are in the store: %v", len(found), len(report.Findings), err)
	}
	registry := exporter.NewRegistry()
	exporter.New(registry, db, exporter.Options{})
	quiet := slog.New(slog.DiscardHandler)
	handler := web.Handler(web.Options{Store: db, Metrics: exporter.Handler(registry, quiet), Log: quiet})
	get := func(path string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("Accept", "application/openmetrics-text") // has exemplars
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: status %d: %s", path, w.Code, w.Body)
		}
		out[path] = html.UnescapeString(w.Body.String())
	}
	get("/metrics")
	get("/?lang=" + language)
	get("/api/v1/findings?since=1d&lang=" + language)
	for _, s := range found {
		get("/findings/" + s.ID + "?lang=" + language)
		b, err := web.AppendJSON(nil, s, remedy.Language(language), "")
		if err != nil {
			t.Fatal(err)
		}
		out["JSON of "+s.ID] = string(b)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, how := range [][]string{{"--format", "table"}, {"--format", "csv"}, {"--format", "json"}} {
		program("", append([]string{"findings", "--store", path}, how...)...)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out["the store"] = string(data)
	return out
}
