package redact

import "strings"

// A shape is a kind of token that is known by how it begins.
type shape struct {
	prefix string
	min    int  // bytes of body, fewer are no token
	body   *set // maximal run
	word   bool // the prefix is short or a part of words: nothing alphanumeric may stand before it
}

var (
	upperDigit = bytesOf(upper + digit)
	wordByte   = bytesOf(upper + lower + digit + "_")
	urlByte    = bytesOf(upper + lower + digit + "_-")
	dotted     = bytesOf(upper + lower + digit + "_-.")
	base64Byte = bytesOf(upper + lower + digit + "_-.+/=")
)

// shapes holds the known shapes by the last byte of their prefix.
var shapes = byLastByte([]shape{
	// GitHub. An installation token (ghs_) may carry a JWT.
	{prefix: "ghp_", min: 16, body: wordByte},
	{prefix: "gho_", min: 16, body: wordByte},
	{prefix: "ghu_", min: 16, body: dotted},
	{prefix: "ghr_", min: 16, body: wordByte},
	{prefix: "ghs_", min: 16, body: dotted},
	{prefix: "github_pat_", min: 16, body: wordByte},
	// Registries and their clouds.
	{prefix: "dckr_pat_", min: 16, body: urlByte},
	{prefix: "dckr_oat_", min: 16, body: urlByte},
	{prefix: "AKIA", min: 16, body: upperDigit},
	{prefix: "ASIA", min: 16, body: upperDigit},
	{prefix: "ya29.", min: 16, body: dotted},
	{prefix: "AIz", min: 30, body: urlByte},
	{prefix: "GOCSPX-", min: 20, body: urlByte},
	{prefix: "dop_v1_", min: 32, body: alnum},
	{prefix: "doo_v1_", min: 32, body: alnum},
	{prefix: "dor_v1_", min: 32, body: alnum},
	{prefix: "glpat-", min: 16, body: dotted},
	{prefix: "gldt-", min: 16, body: dotted},
	{prefix: "glcbt-", min: 16, body: dotted},
	{prefix: "glrt-", min: 16, body: dotted},
	{prefix: "glptt-", min: 16, body: dotted},
	{prefix: "glft-", min: 16, body: dotted},
	{prefix: "glimt-", min: 16, body: dotted},
	{prefix: "glagent-", min: 16, body: dotted},
	{prefix: "glsoat-", min: 16, body: dotted},
	{prefix: "gloas-", min: 16, body: dotted},
	// What else a build carries. "npm_config_cache" and "pypi-publish" are no tokens.
	{prefix: "npm_", min: 30, body: alnum},
	{prefix: "pypi-", min: 32, body: urlByte},
	{prefix: "xoxa-", min: 10, body: urlByte},
	{prefix: "xoxb-", min: 10, body: urlByte},
	{prefix: "xoxc-", min: 10, body: urlByte},
	{prefix: "xoxd-", min: 10, body: urlByte},
	{prefix: "xoxe-", min: 10, body: urlByte},
	{prefix: "xoxe.", min: 10, body: dotted},
	{prefix: "xoxo-", min: 10, body: urlByte},
	{prefix: "xoxp-", min: 10, body: urlByte},
	{prefix: "xoxr-", min: 10, body: urlByte},
	{prefix: "xoxs-", min: 10, body: urlByte},
	{prefix: "xapp-", min: 20, body: urlByte},
	{prefix: "HRKU-", min: 20, body: urlByte},
	{prefix: "hvs.", min: 20, body: urlByte, word: true},
	{prefix: "hvb.", min: 20, body: urlByte, word: true},
	{prefix: "hvr.", min: 20, body: urlByte, word: true},
	{prefix: "hf_", min: 30, body: alnum, word: true},
	{prefix: "sk_live_", min: 16, body: alnum},
	{prefix: "rk_live_", min: 16, body: alnum},
	{prefix: "sk-ant-", min: 20, body: urlByte},
	{prefix: "sk-proj-", min: 20, body: urlByte},
	// Base64 of a JSON object: a JWT, the password of ECR, X-Registry-Auth, a whole config.json.
	// "keyJson" is a word.
	{prefix: "eyJ", min: 17, body: base64Byte, word: true},
	{prefix: ".eyJ", min: 17, body: base64Byte},
	{prefix: "ewoJ", min: 17, body: base64Byte, word: true},
	{prefix: "ewogI", min: 16, body: base64Byte, word: true},
})

func byLastByte(list []shape) (by [256][]shape) {
	for _, sh := range list {
		c := sh.prefix[len(sh.prefix)-1]
		by[c] = append(by[c], sh)
	}
	return by
}

// token marks the token of shape sh whose prefix ends with s[i], and returns its end, or 0.
func (sc *scanner) token(i int, sh *shape) int {
	s := sc.s
	from := i + 1 - len(sh.prefix)
	if from < 0 || s[from:i+1] != sh.prefix || sh.word && !boundary(s, from) {
		return 0
	}
	to := sh.body.run(s, i+1)
	to = i + 1 + len(strings.TrimRight(s[i+1:to], ".-"))
	if to-i-1 < sh.min {
		return 0
	}
	return sc.add(from, to)
}

// boundary reports whether a word can begin at s[i]: at the start, after a byte that
// is not alphanumeric, after a percent escape, and after the escape of a line end.
func boundary(s string, i int) bool {
	switch {
	case i == 0 || !alnum[s[i-1]]:
		return true
	case i >= 3 && s[i-3] == '%':
		return true
	}
	return i >= 2 && s[i-2] == '\\' && (s[i-1] == 'n' || s[i-1] == 't' || s[i-1] == 'r')
}

// pem marks what stands between the first line of a private key and its last, or
// the end, where s[i] begins the first line; it returns the end, or 0. It looks at no more than
// the marks: a key's first line alone holds no secret.
func (sc *scanner) pem(i int) int {
	const begin = "-----BEGIN "
	if !strings.HasPrefix(sc.s[i:], begin) {
		return 0
	}
	rest := sc.s[i+len(begin):]
	label, _, ok := strings.Cut(rest[:min(len(rest), 64)], "-----")
	if !ok || !strings.HasSuffix(label, "PRIVATE KEY") && !strings.HasSuffix(label, "PRIVATE KEY BLOCK") {
		return 0
	}
	from := i + len(begin) + len(label) + len("-----")
	to := len(sc.s)
	if n := strings.Index(sc.s[from:], "-----END"); n >= 0 {
		to = from + n
	}
	body := strings.Trim(sc.s[from:to], " \t\r\n")
	if body == "" || body == mask {
		return 0
	}
	return sc.add(from, to)
}
