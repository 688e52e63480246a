package redact

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The bodies of secrets in these tests are made of pieces, so that no scanner of
// repositories takes them for real ones.
var (
	long   = strings.Repeat("aB3dE5gH", 5)
	hexes  = strings.Repeat("0f1e2d3c", 8)
	jwt    = "eyJ" + "hbGciOiJSUzI1NiJ9" + ".eyJ" + "zdWIiOiJvY3RvIn0" + ".c2ln-bmF0_dXJl"
	gh     = "ghp" + "_" + long[:36]
	akid   = "AKIA" + "QRSTUVWX23456723"
	awsKey = "wJal" + "rXUtnFEMI/K7MDENG+bPxRfiCYz3"
)

// A line must come out as want; every "<redacted>" in want stands for a secret.
func TestString(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		// By shape.
		{gh, "<redacted>"},
		{"using gho_" + long + " here", "using <redacted> here"},
		{"(ghs_" + long + ")", "(<redacted>)"},
		{"ghs_" + jwt + ".", "<redacted>."},
		{"token github_pat_11AAAAAAA0" + long + "_x, done", "token <redacted>, done"},
		{akid + " and ASIA" + akid[4:], "<redacted> and <redacted>"},
		{"got " + jwt + ": expired", "got <redacted>: expired"},
		{`{"ServerError":"` + jwt + `"}`, `{"ServerError":"<redacted>"}`},
		{"dckr_pat_" + long[:27] + " dckr_oat_" + long[:27], "<redacted> <redacted>"},
		{"glpat-" + long[:20] + " gldt-" + long[:20] + " glcbt-64_" + long[:20], "<redacted> <redacted> <redacted>"},
		{"npm_" + long[:36] + " pypi-AgEIcHlwaS5vcmc" + long, "<redacted> <redacted>"},
		{"xoxb" + "-123456789012-" + long[:24], "<redacted>"},
		{"ya29." + long + " AIza" + long[:35], "<redacted> <redacted>"},
		{"hvs." + long[:24] + " HRKU-" + long[:36], "<redacted> <redacted>"},
		{"-----BEGIN RSA " + "PRIVATE KEY-----MIIE" + long + "-----END RSA PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----<redacted>-----END RSA PRIVATE KEY-----"},
		{"-----BEGIN " + "PRIVATE KEY-----\nMIIE" + long, "-----BEGIN PRIVATE KEY-----<redacted>"},
		{`\nghp_` + long, `\n<redacted>`},
		{"%3D" + akid + "%26", "%3D<redacted>%26"},

		// By name.
		{"aws_secret_access_key=" + awsKey, "aws_secret_access_key=<redacted>"},
		{"AWS_SESSION_TOKEN=" + long + "== next", "AWS_SESSION_TOKEN=<redacted> next"},
		{"aws_secret_access_key = " + awsKey, "aws_secret_access_key = <redacted>"},
		{"  docker-password: hunter", "  docker-password: <redacted>"},
		{"password: hunter2", "password: <redacted>"},
		{"login with password: hunter2 as octo", "login with password: <redacted> as octo"},
		{`"password": "hunter two"`, `"password": "<redacted>"`},
		{`{"username":"octo","password":"hunt\"er","email":""}`, `{"username":"octo","password":"<redacted>","email":""}`},
		{`msg="{\"password\":\"hunter\",\"a\":1}"`, `msg="{\"password\":\"<redacted>\",\"a\":1}"`},
		{"map[password:hunter username:octo]", "map[password:<redacted> username:octo]"},
		{"{Username:octo Password:hunter Auth:}", "{Username:octo Password:<redacted> Auth:}"},
		{"export CR_PAT=hunter; docker login", "export CR_PAT=<redacted>; docker login"},
		{"--build-arg NPM_TOKEN=hunter --push", "--build-arg NPM_TOKEN=<redacted> --push"},
		{"type=gha,token=hunter,url=https://cache.example.test/", "type=gha,token=<redacted>,url=https://cache.example.test/"},
		{"DOCKER_PASS='hunter two' docker", "DOCKER_PASS='<redacted>' docker"},
		{"PASSWORD=a,b;c", "PASSWORD=<redacted>"},
		{"client_secret=hunter&scope=x", "client_secret=<redacted>&scope=x"},
		{"access_token%3Dhunter%26scope%3Dx", "access_token%3D<redacted>%26scope%3Dx"},
		{"AccountName=octo;AccountKey=" + long + "==;EndpointSuffix=core", "AccountName=octo;AccountKey=<redacted>;EndpointSuffix=core"},
		{"//registry.example.test/:_authToken=hunter", "//registry.example.test/:_authToken=<redacted>"},
		{`{"auths":{"ghcr.io":{"auth":"b2N0bzpodW50ZXI="}}}`, `{"auths":{"ghcr.io":{"auth":"<redacted>"}}}`},
		{`"identitytoken": "hunter"`, `"identitytoken": "<redacted>"`},
		{"X-Registry-Auth: b2N0bzpodW50ZXI=", "X-Registry-Auth: <redacted>"},
		{"> X-Vault-Token: hunter", "> X-Vault-Token: <redacted>"},
		{"Authorization: Bearer hunter", "Authorization: Bearer <redacted>"},
		{"authorization: token hunter", "authorization: token <redacted>"},
		{`-H "Authorization: Basic b2N0bzpodW50ZXI="`, `-H "Authorization: Basic <redacted>"`},
		{"map[Authorization:[Basic b2N0bzpodW50ZXI=]]", "map[Authorization:[Basic <redacted>]]"},
		{"sent bearer " + hexes, "sent bearer <redacted>"},
		{"AWS4-HMAC-SHA256 Credential=" + akid + "/20260301/eu-west-1/ecr/aws4_request, SignedHeaders=host, Signature=" + hexes,
			"AWS4-HMAC-SHA256 Credential=<redacted>, SignedHeaders=host, Signature=<redacted>"},

		{"  GH_PAT: hunter", "  GH_PAT: <redacted>"},
		{"DOCKERHUB_PW=hunter docker", "DOCKERHUB_PW=<redacted> docker"},
		{"  DOCKERHUB_PW: hunter", "  DOCKERHUB_PW: <redacted>"},
		{"  docker-pass: hunter", "  docker-pass: <redacted>"},
		{"  pat: hunter", "  pat: <redacted>"},
		{"  NPM_AUTH: b2N0bzpodW50ZXI=", "  NPM_AUTH: <redacted>"},
		{"\t  auth: dXNlcjpodW50ZXIy", "\t  auth: <redacted>"},
		{"> X-JFrog-Art-Api: hunter", "> X-JFrog-Art-Api: <redacted>"},
		{`curl -H "X-JFrog-Art-Api:hunter" https://x.example.test`, `curl -H "X-JFrog-Art-Api:<redacted>" https://x.example.test`},
		{"> Cookie: sid=hunter; user=\"octo\"; x", "> Cookie: <redacted>"},
		{"< set-cookie: sid=hunter; Path=/; HttpOnly\r\n< Date: today", "< set-cookie: <redacted>\r\n< Date: today"},
		{`curl -H "Cookie: sid=hunter; a=b" https://x.example.test`, `curl -H "Cookie: <redacted>" https://x.example.test`},
		{"map[Accept:[*/*] Cookie:[sid=hunter; a=b] Via:[x]]", "map[Accept:[*/*] Cookie:[<redacted>] Via:[x]]"},
		{`{"Set-Cookie":"sid=hunter; Path=/","Via":"x"}`, `{"Set-Cookie":"<redacted>","Via":"x"}`},
		{`{"Set-Cookie":["sid=hunter; Path=/","b=hunter"],"Via":"x"}`, `{"Set-Cookie":[<redacted>],"Via":"x"}`},

		// By command.
		{"aws configure set aws_secret_access_key hunter", "aws configure set aws_secret_access_key <redacted>"},
		{`aws configure set --profile ci aws_session_token "hunter" && x`, `aws configure set --profile ci aws_session_token "<redacted>" && x`},
		{`docker login -u octo --password-stdin <<< "hunter two"`, `docker login -u octo --password-stdin <<< "<redacted>"`},
		{"docker login --password-stdin ghcr.io <<<hunter && make", "docker login --password-stdin ghcr.io <<<<redacted> && make"},
		{"printf hunter | docker login --password-stdin", "printf <redacted> | docker login --password-stdin"},
		{`printf '%s\n' "hunter two" | docker login --password-stdin`, `printf '%s\n' "<redacted>" | docker login --password-stdin`},
		{`echo a; printf "%s" hunter|docker login --password-stdin`, `echo a; printf "%s" <redacted>|docker login --password-stdin`},

		// By option.
		{"docker login -u octo -p hunter ghcr.io", "docker login -u octo -p <redacted> ghcr.io"},
		{"docker login ghcr.io -u octo -phunter", "docker login ghcr.io -u octo -p<redacted>"},
		{"docker login --username octo --password hunter ghcr.io", "docker login --username octo --password <redacted> ghcr.io"},
		{"docker login --password=hunter ghcr.io", "docker login --password=<redacted> ghcr.io"},
		{`docker login -p "hunter two"`, `docker login -p "<redacted>"`},
		{`echo "hunter two" | docker login -u octo --password-stdin`, `echo "<redacted>" | docker login -u octo --password-stdin`},
		{"echo -n hunter|docker login --password-stdin", "echo -n <redacted>|docker login --password-stdin"},
		{"skopeo copy --dest-creds octo:hunter a b", "skopeo copy --dest-creds octo:<redacted> a b"},
		{"skopeo copy --dest-creds=octo:hunter a b", "skopeo copy --dest-creds=octo:<redacted> a b"},
		{"curl -u octo:hunter https://registry.example.test", "curl -u octo:<redacted> https://registry.example.test"},

		// In addresses.
		{"https://octo:hunter@registry.example.test/v2/", "https://octo:<redacted>@registry.example.test/v2/"},
		{"https://octo:hun@ter@registry.example.test/v2/", "https://octo:<redacted>@registry.example.test/v2/"},
		{"https://octo:hun/ter@registry.example.test/v2/", "https://octo:<redacted>@registry.example.test/v2/"},
		{"https://" + hexes + "@github.com/octo-lab/api", "https://<redacted>@github.com/octo-lab/api"},
		{"https://" + hexes + ":x-oauth-basic@github.com/octo-lab/api", "https://<redacted>:x-oauth-basic@github.com/octo-lab/api"},
		{"https://x-access-token:" + gh + "@github.com/octo-lab/api.git: not found", "https://x-access-token:<redacted>@github.com/octo-lab/api.git: not found"},
		{"https://ghcr.io/v2/octo-lab/api/blobs/uploads/7?_state=hunter&digest=sha256%3A" + hexes + ": 403 Forbidden",
			"https://ghcr.io/v2/octo-lab/api/blobs/uploads/7?_state=<redacted>&digest=sha256%3A" + hexes + ": 403 Forbidden"},
		{`Patch "/v2/x/blobs/uploads/7?_state=hunter": EOF`, `Patch "/v2/x/blobs/uploads/7?_state=<redacted>": EOF`},
		{"https://blob.example.test/a?se=2026-03-01&sig=hunter%3D&sp=r.", "https://blob.example.test/a?se=2026-03-01&sig=<redacted>&sp=r."},
		{"https://s3.example.test/a?X-Amz-Credential=hunter&X-Amz-Date=20260301T000000Z&X-Amz-Signature=hunter&X-Amz-Security-Token=hunter",
			"https://s3.example.test/a?X-Amz-Credential=<redacted>&X-Amz-Date=20260301T000000Z&X-Amz-Signature=<redacted>&X-Amz-Security-Token=<redacted>"},
		{`{"url":"https://cdn.example.test/a?Expires=1\u0026Signature=hunter\u0026x=y: timeout"}`, `{"url":"https://cdn.example.test/a?Expires=1\u0026Signature=<redacted>\u0026x=<redacted>: timeout"}`},
		{"https://ghcr.io/token?account=octo&scope=repository%3Aocto%2Fapi%3Apull", "https://ghcr.io/token?account=<redacted>&scope=repository%3Aocto%2Fapi%3Apull"},
		{"https://x.example.test/?a=<redacted>&b=hunter", "https://x.example.test/?a=<redacted>&b=<redacted>"},

		// The first pass takes the password, the second sees a user alone before the first "@".
		{"https://octo@mail.example.test:hunter@registry.example.test", "https://<redacted>@mail.example.test:<redacted>@registry.example.test"},

		// Two that overlap are one.
		{"https://x.example.test/?token=" + gh, "https://x.example.test/?token=<redacted>"},
		{"GITHUB_TOKEN=" + gh + "é", "GITHUB_TOKEN=<redacted>"},
	} {
		if got := String(test.in); got != test.want {
			t.Errorf("String(%q)\n got %q\nwant %q", test.in, got, test.want)
		}
	}
}

// What the diagnosis rests on must stay readable: a rule that takes a sentence about a
// token for a token turns one of these red.
func TestStringLeaves(t *testing.T) {
	for _, line := range []string{
		"",
		"unauthorized: authentication required",
		"denied: permission_denied: The token provided does not match expected scopes.",
		"denied: permission_denied: write_package",
		"failed to fetch oauth token: unexpected status from GET request to https://ghcr.io/token?scope=repository%3Aocto%2Fapi%3Apull&service=ghcr.io: 403 Forbidden",
		`failed to authorize: failed to fetch anonymous token: Get "https://ghcr.io/token?scope=repository%3Aocto%2Fapi%3Apull&service=ghcr.io": dial tcp 203.0.113.7:443: i/o timeout`,
		`Post "https://auth.example.test/oauth/token": 401 Unauthorized`,
		"https://auth.example.test/oauth/token: 401 Unauthorized", "https://auth.example.test/oauth/token: oauth2 refused",
		"error getting token: 403 Forbidden",
		"oauth2: cannot fetch token: 401 Unauthorized",
		"getting token: oauth2: server said no",
		"no token in bearer response",
		"unable to retrieve auth token: invalid username/password: unauthorized",
		"Error: Password: required",
		"invalid token: sha256:" + hexes,
		"Id-token: write", "Packages: write", "  Id-token: none", "token: write",
		"github-token: ***", "  password: ***", `"password":"***"`, "PASSWORD=***", "https://***:***@github.com/octo-lab/api",
		"https://***@github.com/octo-lab/api", "AUTHORIZATION: basic ***", "docker login -u *** -p ***",
		"  password: ${{ secrets.GITHUB_TOKEN }}", `password: "${{ secrets.GITHUB_TOKEN }}"`, "docker login -u octo -p $TOKEN", `--password "${TOKEN}"`, "TOKEN=$(cat file)",
		"WARNING! Using --password via the CLI is insecure. Use --password-stdin.",
		"Must provide --username with --password-stdin", `echo "$TOKEN" | docker login --password-stdin`, "echo ${{ secrets.CR_PAT }} | docker login --password-stdin", "echo login; docker login --password-stdin",
		"docker login --password-stdin < token.txt", `docker login --password-stdin <<< "$TOKEN"`, "docker login --password-stdin <<< ${{ secrets.CR_PAT }}",
		"docker login --password-stdin <<<$(cat token)", "docker login --password-stdin < token.txt; cat <<< hello", `printf '%s' "$TOKEN" | docker login --password-stdin`,
		"printf %s | docker login --password-stdin", "aws configure set region eu-west-1", "aws configure set aws_secret_access_key $AWS_KEY", "the aws_secret_access_key setting",
		"  path: x", "  compat: 1", "  author: x", "  pattern: x", "  bypass: x", "path=x", "compat=1", "author=x", "bypass=x", "  PASS: TestPush", "  auth: none", "  GH_PAT: ***", "  auth: ${{ secrets.AUTH }}",
		"checking auth: x", "  auth: connection refused by peer", "rest-api: x", "show: x", "  new: x", "error reading cookie: unexpected EOF", "Cookie: ***",
		"--secret id=npm,src=.npmrc", "--mount=type=secret,id=token", "  secret-files: |",
		"docker run -p 8080:80 -u 1000:1000 registry.example.test/octo/api", "mkdir -p dist/assets1", "docker login ghcr.io && mkdir -p dist1",
		"sha256:" + hexes, "commit " + hexes[:40], "ghcr.io/octo-lab/api@sha256:" + hexes,
		"ghcr.io/octo-lab/vault-token:v1.2.3", "octo/secret:sha-0f1e2d3", "push docker.io/octo/password:latest2",
		"https://ghcr.io:443/v2/octo/api@sha256:" + hexes, "git@github.com:octo-lab/api.git", "ssh://git@github.com/octo-lab/api",
		`WWW-Authenticate: Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:octo/api:pull"`,
		"Bearer authentication", "Basic authentication-required", "basic auth credentials",
		"persist-credentials: true", "PWD=/home/runner/work", "npm_config_cache=/tmp", "pypi-publish@release/v1", "keyJsonConfigurationFilePath",
		"-----BEGIN " + "PRIVATE KEY-----", "-----BEGIN CERTIFICATE-----MIIC", "really? no", "cache-key: build-1a2b3c4d", "TOKEN=", `TOKEN=""`, "[[ -z $TOKEN ]]",
		"credentials: exit status 1", "signature: invalid", "\xff\xfe token \x00", "Secret source: Actions",
	} {
		if got := String(line); got != line {
			t.Errorf("String(%q)\n got %q", line, got)
		}
	}
}

// planted are the kinds of secrets: what stands before the secret, how it is made, and what
// stands behind it.
var planted = []struct {
	kind, before, alphabet string
	size                   int
	after                  string
}{
	{"GitHub token", "ghp_", upper + lower + digit, 36, ""},
	{"GitHub installation token", "ghs_eyJ", upper + lower + digit + "-_.", 200, ""},
	{"fine-grained token", "github_pat_", upper + lower + digit + "_", 82, ""},
	{"access key id", "AKIA", upper + digit, 16, ""},
	{"JWT", ".eyJ", upper + lower + digit + "-_", 60, ""},
	{"Docker Hub token", "dckr_pat_", upper + lower + digit + "-_", 27, ""},
	{"GitLab token", "glpat-", upper + lower + digit + "-_", 20, ""},
	{"password of an address", "https://octo:", upper + lower + digit + "!$%&*+=:@", 24, "@ghcr.io/v2/"},
	{"query parameter", "https://ghcr.io/v2/?_state=", upper + lower + digit + "%-_=", 40, "&n=1"},
	{"named", " AWS_SECRET_ACCESS_KEY=", upper + lower + digit + "/+", 40, " "},
	{"JSON", `"password":"`, upper + lower + digit + "!$%&/()=?{}[] ,;:", 24, `"`},
	{"JSON in a string", `\"identitytoken\":\"`, upper + lower + digit + "!$%&/()=?{}[] ,;:", 24, `\"`},
	{"header", " Authorization: Bearer ", upper + lower + digit + "-_/+=", 40, " "},
	{"option", " docker login --password ", upper + lower + digit + "!%+/@", 16, " "},
}

// body makes a secret. The ends are letters: punctuation there may stay.
func body(r *rand.Rand, alphabet string, size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	b[0], b[1], b[size-2], b[size-1] = 'Q', '7', 'x', 'K'
	if strings.Trim(alphabet, upper+digit) == "" {
		b[size-2] = 'X'
	}
	return string(b)
}

// noise makes text around a secret. It has the bytes at which the scan stops.
func noise(r *rand.Rand) string {
	words := []string{" ", "push", "ghcr.io/octo-lab/api:v1", ": ", "403 Forbidden", "é", "世", "\xff", "sha256:" + hexes, "#12 0.3", "denied", "(", ")", ",", "***", "?", "%", "\t", "A", "tokens"}
	var b strings.Builder
	for range r.IntN(8) {
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.String()
}

// No secret survives wherever it stands, redacting twice changes nothing, and all bytes
// that are left stand in the text in the same order.
func TestPlanted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range planted {
		t.Run(p.kind, func(t *testing.T) {
			for range 5000 {
				secret := body(r, p.alphabet, p.size)
				before, after := noise(r), noise(r)
				if p.after == "" && after != "" {
					after = " " + after
				}
				text := before + p.before + secret + p.after + after
				got := String(text)
				if strings.Contains(got, secret) || strings.Contains(got, secret[4:len(secret)-4]) {
					t.Fatalf("String(%q)\nshows %q\nin %q", text, secret, got)
				}
				if err := check(text, got); err != nil {
					t.Fatal(err)
				}
				if p.after != "" && !strings.HasSuffix(got, strings.TrimLeft(after, ".,;:)]}>")) && !strings.Contains(after, "?") {
					t.Fatalf("String(%q)\ntook away %q\nin %q", text, after, got)
				}
			}
		})
	}
}

// check holds what must be true of every text.
func check(text, got string) error {
	if again := String(got); again != got {
		return fmt.Errorf("String(%q)\n is %q\nthen %q", text, got, again)
	}
	if utf8.ValidString(text) && !utf8.ValidString(got) {
		return fmt.Errorf("String(%q) = %q: no longer UTF-8", text, got)
	}
	rest := text
	for part := range strings.SplitSeq(got, mask) {
		_, behind, ok := strings.Cut(rest, part)
		if !ok {
			return fmt.Errorf("String(%q) = %q: %q is not of the text", text, got, part)
		}
		rest = behind
	}
	return nil
}

func FuzzString(f *testing.F) {
	f.Add("password: hunter2 https://a:b@c/?x=y&z=\\u0026 -p x")
	f.Add("docker login -p 'x' --token \"y\" Authorization: Basic z")
	f.Add("AKIAAKIAAKIAAKIAAKIAAKIA.eyJeyJ.eyJaaaaaaaaaaaaaaaaaaaaa%3Dtoken%3Dx%26")
	for _, p := range planted {
		f.Add(p.before + strings.Repeat("Q7", p.size) + p.after + p.before)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := check(text, String(text)); err != nil {
			t.Error(err)
		}
	})
}

// The time must not grow with the square of the text: each of these once made, or would make,
// every stop of the scan read to the end, which takes half a minute and more.
func TestStringIsLinear(t *testing.T) {
	for _, piece := range []string{
		"token=$(", "token=", "creds=", "--x-creds=", "creds=a:", "PWD=/", "pwd='/", "?a=b&", "?a", "://a:b", "://a:b<", "eyJ", ".eyJ", "ghp_", "ghs_.", "AKIA",
		`"token":"`, `"token":'`, `token: "`, `token: \"`, `token: '\`, " -p '", ` -p "`, ` -p \"`, " -p", "--password ", ` "-p 'x`, " docker login -p",
		"-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "Bearer ", "Authorization: ", "map[token:", "token:", "Token:", "token=,", "a=b,", "a,", `\"auth\":\"`,
		"%3D", "token%3D", "<redacted>", "token=<redacted>", "&_state=", "=", ":", "'", "?", "-", " ", "@", "https://@",
		"Cookie:", "Cookie: a=", "Cookie:[a=", `"Cookie: a=`, `"cookie":"a=`, "--password-stdin <<<", "--password-stdin <<< '", `--password-stdin <<< \"`, "printf %s ", "printf x|--password-stdin ",
		"aws configure set aws_session_token ", " aws_session_token '", "  auth: ", "_pat=",
	} {
		for _, before := range []string{"", "token: ", `x="`} {
			text := before + strings.Repeat(piece, (256<<10)/len(piece))
			start := time.Now()
			String(text)
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("256 KB of %q take %v", piece, took)
			}
		}
	}
}

func BenchmarkString(b *testing.B) {
	for _, test := range []struct{ name, text string }{
		{"plain", "#12 sha256:" + hexes + " 12.58MB / 30.44MB 2.1s"},
		{"sentence", "ERROR: failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://ghcr.io/token?scope=repository%3Aocto%2Fapi%3Apull&service=ghcr.io: 403 Forbidden"},
		{"secret", "Put https://ghcr.io/v2/octo-lab/api/blobs/uploads/7?_state=" + long + "&digest=sha256%3A" + hexes + ": 403 Forbidden"},
		{"64KB", strings.Repeat("#12 pushing layer, 403 Forbidden: ", 2000)},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.SetBytes(int64(len(test.text)))
			b.ReportAllocs()
			for b.Loop() {
				String(test.text)
			}
		})
	}
}
