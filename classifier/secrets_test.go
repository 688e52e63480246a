package classifier_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/parser"
)

// Every kind of secret, planted wherever a failing line lets a stranger's text into a finding, stays out of it,
// of the facts and of what Explain says. The secrets are made of pieces, so that no scanner of repositories
// takes them for real ones.
func TestSecrets(t *testing.T) {
	const body = "Q7aB3dE5gHaB3dE5gHaB3dE5gHaB3dE5gHxK"
	logs := map[string]string{
		"answer":          "#14 exporting to image\n#14 ERROR: failed to push ghcr.io/octo-lab/api:1.4: denied: @ is refused\n",
		"far in the line": "ERROR: failed to push ghcr.io/octo-lab/api:1.4: denied: " + strings.Repeat("no ", 110) + "@ " + strings.Repeat("no ", 50) + "\n",
		"before the rest": "The push refers to repository [ghcr.io/octo-lab/api]\n" + strings.Repeat("no ", 110) + "@ received unexpected HTTP status: 503 Service Unavailable\n",
		"step":            "##[group]Run echo @ && docker push ghcr.io/octo-lab/api:1.4\n##[endgroup]\nThe push refers to repository [ghcr.io/octo-lab/api]\ndenied: denied\n",
		"body of HTML":    "The push refers to repository [ghcr.io/octo-lab/api]\nunknown: <html> @\n<title>502 Bad Gateway</title> @\n",
		"JSON":            "ERROR: failed to push ghcr.io/octo-lab/api:1.4: unknown: {\"errors\":[{\"code\":\"DENIED\",\"message\":\"@ \"}]}\n",
		"logger":          "time=\"2026-03-01T10:00:05Z\" level=fatal msg=\"writing blob: initiating layer upload to /v2/octo/api/blobs/uploads/ in ghcr.io: denied: @ \"\n",
		"login":           "##[group]Run echo x | docker login ghcr.io\n##[endgroup]\nError response from daemon: Get \"https://ghcr.io/v2/\": denied: @ \n",
		"user of a login": "##[group]Run docker login\n\x1b[36;1mdocker login ghcr.io -u @ --password-stdin\x1b[0m\n##[endgroup]\nLogin Succeeded\n#14 ERROR: failed to push ghcr.io/octo-lab/api:1.4: denied: denied\n",
		"ref":             "Job defined at: octo-lab/api/.github/workflows/image.yml@refs/heads/ @ \n#14 ERROR: failed to push ghcr.io/octo-lab/api:1.4: denied: denied\n",
		"rights":          "##[group]GITHUB_TOKEN Permissions\nContents: read @ \x07AAAA\n@: read\nPackages: @\n##[endgroup]\nSecret source: @\n#14 ERROR: failed to push ghcr.io/octo-lab/api:1.4: denied: permission_denied: write_package\n",
		"copies":          "#14 exporting to image\n#14 ERROR: failed to push ghcr.io/octo-lab/api:1.4: unknown: @ \nERROR: failed to solve: failed to push ghcr.io/octo-lab/api:1.4: denied: permission_denied: write_package @\n",
	}
	for _, secret := range []string{
		"ghp" + "_" + body, "gho" + "_" + body, "ghs_" + "eyJ" + body + ".eyJ" + body + "." + body, "github" + "_pat_11AAAAAAA0" + body + body[:20],
		"AKIA" + "QRSTUVWX23456723", "eyJ" + "hbGciOiJSUzI1NiJ9" + ".eyJ" + body + "." + body, "dckr_" + "pat_" + body[:27], "glpat" + "-" + body[:20],
		"aws_secret_access_key=" + body, "password: " + body, "AWS_SESSION_TOKEN=" + body, "Authorization: Bearer " + body, "--password " + body,
		"docker login -u octo -p " + body, "https://octo:" + body + "@ghcr.io/v2/", "https://ghcr.io/v2/octo/api/blobs/uploads/7?_state=" + body + "&n=1",
		"https://s3.example.test/a?X-Amz-Signature=" + body, `\"identitytoken\":\"` + body + `\"`,
	} {
		shown := body
		if !strings.Contains(secret, body) {
			shown = secret[8:]
		}
		for place, log := range logs {
			log = strings.ReplaceAll(log, "@", secret)
			report := classify(t, log)
			if len(report.Findings) == 0 {
				t.Errorf("%s: nothing was found beside %q", place, secret)
			}
			b, err := json.Marshal(report)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), shown) {
				t.Errorf("%s: %q shows in %s", place, secret, b)
			}
			var said strings.Builder
			if _, err := classifier.Builtin().Explain(parser.New(strings.NewReader(log)), &said); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(said.String(), shown) {
				t.Errorf("%s: Explain shows %q: %s", place, secret, said.String())
			}
		}
	}
}

// A request's address with credentials gives a finding its host and image without them, even where the address
// cannot be parsed as one.
func TestCredentialsInAddresses(t *testing.T) {
	for _, address := range []string{
		"https://octo:hunter2pass@registry.example.test/v2/octo/api/blobs/uploads/",
		"https://octo:hunter2pass%zz@registry.example.test/v2/octo/api/blobs/uploads/",
		"https://octo:hunter2pass@registry.example.test:port/v2/octo/api/manifests/1",
	} {
		for _, log := range []string{
			"Error: PUT " + address + ": DENIED: denied\n",
			"ERROR: failed to push registry.example.test/octo/api:1: unexpected status from PUT request to " + address + ": 403 Forbidden\n",
			"The push refers to repository [registry.example.test/octo/api]\nPut \"" + address + "\": EOF\n",
		} {
			b, err := json.Marshal(classify(t, log))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), "hunter2") {
				t.Errorf("%q\nshows the password in %s", log, b)
			}
		}
	}
}
