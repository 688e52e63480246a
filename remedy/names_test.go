package remedy

import (
	"testing"

	"github.com/akkospace/pushdoctor"
)

// White-box: which rule a name breaks chooses the hint, but other words choose it too.
func TestJudge(t *testing.T) {
	const api = "ghcr.io/octo-lab/api:dev"
	for _, test := range []struct {
		registry               pushdoctor.Registry
		image, message, login  string
		wantRule, wantReplaced string
	}{
		{registry: "ghcr", image: api, wantRule: nameOK},
		{registry: "ghcr", image: "ghcr.io/octo-lab/api@sha256:0c1d", wantRule: nameOK},
		{registry: "ghcr", image: "", wantRule: nameUnknown},
		{registry: "ghcr", image: "ghcr.io/***/api:dev", wantRule: nameUnknown},
		{registry: "ghcr", image: "ghcr.io/Octo-Lab/API:dev", wantRule: nameUpperCase, wantReplaced: api},
		{registry: "ghcr", image: "ghcr.io/api:dev", wantRule: nameNoOwner, wantReplaced: api},
		{registry: "ghcr", image: "ghcr.io//api:dev", wantRule: nameEmptyPart, wantReplaced: api},
		{registry: "ghcr", image: "ghcr.io/:dev", wantRule: nameEmptyPart, wantReplaced: "ghcr.io/octo-lab/NAME:dev"},
		{registry: "ghcr", image: "ghcr.io/octo-lab/api:", wantRule: nameEmptyTag, wantReplaced: "ghcr.io/octo-lab/api:TAG"},
		{registry: "ghcr", image: "ghcr.io/octo-lab/api:refs/heads/fix/x", wantRule: nameBadTag, wantReplaced: "ghcr.io/octo-lab/api:refs-heads-fix-x"},
		{registry: "ghcr", image: "ghcr.io/octo-lab/api:-1a2b", wantRule: nameBadTag, wantReplaced: "ghcr.io/octo-lab/api:1a2b"},
		{registry: "ghcr", image: "ghcr.io/octo-lab/api:1.0+build", wantRule: nameBadTag, wantReplaced: "ghcr.io/octo-lab/api:1.0-build"},
		{registry: "ghcr", image: "ghcr.io/octo lab/api!:dev", wantRule: nameIllegal, wantReplaced: api},
		{registry: "ghcr", image: "https://ghcr.io/octo-lab/api:dev", wantRule: nameScheme, wantReplaced: api},
		{registry: "ghcr", image: "ghcr.io/ghcr.io/octo-lab/api:dev", wantRule: nameHostTwice, wantReplaced: api},
		{registry: "ghcr", image: "ghcr.io/octo-lab/api", message: "initiating upload to /v2/ghcr.io/octo-lab/api/blobs/uploads/ in ghcr.io", wantRule: nameHostTwice, wantReplaced: "ghcr.io/octo-lab/api:TAG"},
		// Each slip of a letter is one more name of the same host; a real neighbour is none.
		{registry: "other", image: "ghrc.io/octo-lab/api:dev", wantRule: nameWrongHost, wantReplaced: api},
		{registry: "other", image: "gchr.io/octo-lab/api:dev", wantRule: nameWrongHost, wantReplaced: api},
		{registry: "other", image: "ghcr.oi/octo-lab/api:dev", wantRule: nameWrongHost, wantReplaced: api},
		{registry: "other", image: "ghr.io/octo-lab/api:dev", wantRule: nameWrongHost, wantReplaced: api},
		{registry: "other", image: "ghccr.io/octo-lab/api:dev", wantRule: nameWrongHost, wantReplaced: api},
		{registry: "other", image: "docker.oi/octo/api:dev", wantRule: nameWrongHost, wantReplaced: "docker.io/octo/api:dev"},
		{registry: "other", image: "hub.docker.com/octo/api:dev", wantRule: nameWrongHost, wantReplaced: "docker.io/octo/api:dev"},
		{registry: "icr", image: "icr.io/octo/api:dev", wantRule: nameOK},
		{registry: "gcr", image: "gcr.io/octo/api:dev", wantRule: nameOK},
		{registry: "other", image: "lscr.io/octo/api:dev", wantRule: nameOK},
		{registry: "other", image: "registry.example.test/octo/api:dev", wantRule: nameOK},
		{registry: "ecr", image: "123456789012.dkr.ecr.eu-west-1.amazon.aws.com/shop:1", wantRule: nameWrongHost, wantReplaced: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1"},
		{registry: "ecr", image: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1", wantRule: nameOK},
		{
			registry: "ecr", image: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/x:1", message: "the repository with name '***.dkr.ecr.eu-west-1.amazonaws.com/shop' does not exist",
			wantRule: nameHostTwice, wantReplaced: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1",
		},
		{registry: "dockerhub", image: "octo/api:dev", wantRule: nameOK},
		{registry: "dockerhub", image: "octo/api:dev", login: "docker.io", wantRule: nameOK},
		{registry: "dockerhub", image: "octo/api:dev", login: "ghcr.io", wantRule: nameNoHost, wantReplaced: "ghcr.io/octo/api:dev"},
		{registry: "dockerhub", image: "api:dev", wantRule: nameNoOwner, wantReplaced: "OWNER/api:dev"},
		{registry: "dockerhub", image: "docker.io/octo/charts/api:1", wantRule: nameTooMany, wantReplaced: "docker.io/octo/api:1"},
		{registry: "gar", image: "europe-docker.pkg.dev/acme/api:1", wantRule: nameTooFew, wantReplaced: "europe-docker.pkg.dev/acme/REPOSITORY/api:1"},
		{registry: "gar", image: "europe-docker.pkg.dev/acme/apps/api:1", wantRule: nameOK},
		{registry: "artifactory", image: "octo.jfrog.io/api:1", wantRule: nameTooFew, wantReplaced: "octo.jfrog.io/REPOSITORY/api:1"},
		{registry: "local", image: "localhost:5000/api:1", wantRule: nameOK},
		{registry: "harbor", image: "harbor.example.test/ghcr.io/octo/api:1", message: "", wantRule: nameHostTwice, wantReplaced: "harbor.example.test/octo/api:1"},
	} {
		f := pushdoctor.Finding{Registry: test.registry, Image: test.image}
		if n := judge(f, test.message, "Octo-Lab", test.login); n.rule != test.wantRule || n.corrected != test.wantReplaced {
			t.Errorf("judge(%q, %q, login %q) = %s, %q, want %s, %q", test.image, test.message, test.login, n.rule, n.corrected, test.wantRule, test.wantReplaced)
		}
	}
}
