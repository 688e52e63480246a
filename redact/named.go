package redact

import (
	"slices"
	"strings"
)

// names are the ends of the names of secrets, in lower case and without "-", "_" and ".".
var names = []string{
	"password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "accesskey",
	"privatekey", "secretkey", "signingkey", "encryptionkey", "accountkey", "sharedkey", "authkey",
	"credential", "registryauth", "amzsignature", "googsignature", "jfrogartapi",
}

// words are what stands behind such a name and is no secret: the rights of a token, a
// setting, and how a sentence about it goes on.
var words = wordSet(`
	read write none admin true false null nil yes no on off undefined empty unset
	required missing invalid expired unknown unexpected denied unauthorized forbidden failed error
	via and or is are was be has must may can cannot should will would with without to from in into
	for of by as at the a an not only instead if when that this flag flags option options argument
	parameter value values file stdin string environment variable input inputs provided given found set
	eof bearer basic read-only read-write default optional anonymous exchange request response
	expiration validation authentication authorization login actions dependabot ok success`)

func wordSet(s string) map[string]bool {
	set := make(map[string]bool)
	for word := range strings.FieldsSeq(s) {
		set[word] = true
	}
	return set
}

// harmless reports whether v stands where a secret would and is none: nothing, a mask, a word of
// words, or the name of a variable.
func harmless(v string) bool {
	if strings.Trim(v, "*") == "" || opensHarmless(v) {
		return true
	}
	if name, ok := strings.CutPrefix(v, "$"); ok {
		name = strings.TrimSuffix(strings.TrimPrefix(name, "{"), "}")
		return strings.Trim(name, upper+digit+"_") == ""
	}
	const longest = len("authentication")
	return len(v) <= longest && words[strings.ToLower(v)]
}

// opensHarmless reports whether v begins with a mask, or with what a workflow or a shell puts
// in the place of a secret.
func opensHarmless(v string) bool {
	return strings.HasPrefix(v, mask) || strings.HasPrefix(v, "${{") || strings.HasPrefix(v, "$(")
}

// guessed reports whether v looks made by a machine, or by a person for a machine: it
// decides where only a sentence stands before it, "fetch oauth token: unexpected status".
func guessed(v string) bool {
	if len(v) < 6 || strings.HasSuffix(v, ":") || strings.Contains(v, "://") || strings.HasPrefix(v, "sha256:") {
		return false
	}
	var up, low, num, name bool
	for i := range len(v) {
		switch c := v[i]; {
		case 'A' <= c && c <= 'Z':
			up = true
		case 'a' <= c && c <= 'z':
			low = true
		case '0' <= c && c <= '9':
			num = true
		case c == '/' || c == '.' || c == ':':
			name = true
		}
	}
	if name { // the name of a host, an image or a file is lower case, or short
		return len(v) >= 20 && up && low && num
	}
	return num && (up || low)
}

const (
	maxKey  = 64
	maxUser = 256
)

// A key is the name before a separator.
type key struct {
	from, to int
	quoted   bool
	norm     [maxKey]byte // its end holds the name in lower case, without "-", "_" and "."
	n        int          // where that begins
}

// is reports whether the name is s, ends whether it ends with s.
func (k *key) is(s string) bool   { return string(k.norm[k.n:]) == s }
func (k *key) ends(s string) bool { return len(s) <= maxKey-k.n && string(k.norm[maxKey-len(s):]) == s }

// named marks the value of the pair whose separator is s[i:next], and returns its end, or 0.
func (sc *scanner) named(i, next int) int {
	s := sc.s
	k, ok := keyBefore(s, i)
	if !ok {
		return 0
	}
	equals := s[i] != ':'
	if !equals && (k.is("cookie") || k.is("setcookie")) {
		if end := sc.cookies(k, next); end > 0 {
			return end
		}
	}
	if !k.secret(s, equals) && (equals || !k.short(s) || k.is("pass") || !ownLine(s, k.from)) {
		return 0 // "PASS: TestPush" is a result
	}
	before := byte(' ')
	if k.from > 0 {
		before = s[k.from-1]
	}
	if !equals && !k.quoted && (before == '/' || before == '@') {
		return 0 // the end of a path: "https://ghcr.io/token: 403"
	}

	v := next
	for v < len(s) && (s[v] == '=' || s[v] == '>') && equals { // "==" and "=>"
		v++
	}
	spaced := v < len(s) && blank[s[v]]
	if spaced && equals && !blank[s[i-1]] {
		return 0 // "TOKEN= command"
	}
	for v < len(s) && blank[s[v]] {
		v++
	}
	// What is no secret must be known before its end is looked for, or "token=$(token=$(" would
	// be read to the end of the line from each of its signs.
	creds := k.ends("creds")
	switch {
	case v == len(s), s[v] == '{', s[v] == '[', s[v] == ':', opensHarmless(s[v:]):
		return 0
	case k.ends("pwd") && strings.HasPrefix(strings.TrimLeft(s[v:min(len(s), v+3)], `\"'`), "/"):
		return 0 // the shell's working directory
	case creds && !strings.Contains(s[v:min(len(s), v+maxUser)], ":"):
		return 0
	case !equals && !k.quoted && !spaced:
		// "Password:x" is a struct that Go printed; "octo/secret:v1" is an image, whose name is lower case.
		if s[k.from:k.to] == strings.ToLower(s[k.from:k.to]) && !inMap(s, k.from) {
			return 0
		}
	}
	from, to, quoted := value(s, v, s[i] == '%')
	text := s[from:to]
	if harmless(text) {
		return 0
	}
	switch {
	case creds:
		return sc.userPassword(from, to)
	case equals, k.quoted, !spaced:
	case k.norm[k.n] == 'x' || k.is("privatetoken") || k.is("jobtoken"): // a header
	case ownLine(s, k.from):
		// A row of "with:" or "env:" as the runner echoes it, or a line of a YAML file; else a sentence.
		if !quoted && strings.Trim(s[wordEnd(s, from):], " \t\r\n") != "" && !guessed(text) {
			return 0
		}
	default:
		if !guessed(rawWord(s, from, to, quoted)) {
			return 0
		}
	}
	return sc.add(from, to)
}

// keyBefore reads the name that ends before the separator at s[i].
func keyBefore(s string, i int) (key, bool) {
	to := i
	if to > 0 && s[i] == '=' && s[to-1] == ':' { // ":="
		to--
	}
	for n := 0; to > 0 && s[to-1] == ' ' && n < 8; n++ {
		to--
	}
	k := key{to: to}
	if to > 0 && (s[to-1] == '"' || s[to-1] == '\'') {
		k.quoted = true
		k.to--
		if k.to > 0 && s[k.to-1] == '\\' {
			k.to--
		}
	}
	k.from = k.to
	k.n = maxKey
	for k.from > 0 && keyByte[s[k.from-1]] && k.n > 0 {
		k.from--
		c := s[k.from]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != '-' && c != '_' && c != '.' {
			k.n--
			k.norm[k.n] = c
		}
		// Most names are none of ours: the last byte tells.
		if k.n == maxKey-1 && !lastByte[c] {
			return key{}, false
		}
	}
	if k.n == maxKey {
		return key{}, false
	}
	if k.quoted && (k.from == 0 || s[k.from-1] != '"' && s[k.from-1] != '\'') {
		return key{}, false // Get "https://ghcr.io/token": EOF
	}
	return k, true
}

var lastByte = bytesOf("dtnylhgsewi")

// secret reports whether the value of k is a secret. Some names are those of secrets only before
// "=" or in quotes.
func (k *key) secret(s string, equals bool) bool {
	if slices.ContainsFunc(names, k.ends) {
		return true
	}
	if k.is("creds") || k.ends("creds") && strings.HasPrefix(s[k.from:], "--") {
		return true
	}
	if !equals && !k.quoted {
		return false
	}
	switch string(k.norm[k.n:]) {
	case "sig", "signature", "xcsrf", "cookie", "setcookie":
		return true
	}
	return k.short(s) || strings.EqualFold(s[k.from:k.to], "_state")
}

// short reports whether the last word of the name is one that is too short to be known without
// what separates it: "GH_PAT", and not "compat".
func (k *key) short(s string) bool {
	for _, word := range [...]string{"auth", "pass", "pat", "pw"} {
		if k.ends(word) {
			before := k.to - len(word) - 1
			return k.is(word) || before >= k.from && strings.IndexByte("-_.", s[before]) >= 0
		}
	}
	return false
}

// value finds the value that begins at s[i], without its quotes.
func value(s string, i int, escaped bool) (from, to int, quoted bool) {
	open := ""
	switch {
	case s[i] == '"' || s[i] == '\'' || s[i] == '`':
		open = s[i : i+1]
	case strings.HasPrefix(s[i:], `\"`) || strings.HasPrefix(s[i:], `\'`):
		open = s[i : i+2]
	}
	if open != "" {
		from = i + len(open)
		if n := closing(s[from:], open); n >= 0 {
			return from, from + n, true
		}
		i = from
	}
	for to = i; to < len(s) && !wordStop[s[to]]; to++ {
		switch s[to] {
		case ',', ';', '&', '\\':
			if ends(s[to:]) {
				return i, i + len(trimmed(s[i:to])), false
			}
		case '%':
			if escaped && strings.HasPrefix(s[to:], "%26") {
				return i, to, false
			}
		case '<':
			if strings.HasPrefix(s[to:], mask) {
				return i, to, false
			}
		}
	}
	return i, i + len(trimmed(s[i:to])), false
}

// closing returns where the quote open is closed in s, or -1.
func closing(s, open string) int {
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], open):
			return i
		case s[i] == '\\':
			i++
		}
	}
	return -1
}

// wordEnd returns where the word that begins at s[i] ends: at a blank, a quote or a pipe.
func wordEnd(s string, i int) int {
	for i < len(s) && !wordStop[s[i]] {
		i++
	}
	return i
}

var wordStop = bytesOf(" \t\r\n\"'`|")

// ends reports whether a value ends before s, which begins with ",", ";", "&" or "\":
// a password may hold these, but not followed by the next pair.
func ends(s string) bool {
	if s[0] == '\\' {
		return len(s) > 1 && strings.IndexByte(`nrt"'u`, s[1]) >= 0
	}
	to := keyByte.run(s[:min(len(s), maxKey)], 1)
	return to > 1 && to < len(s) && (s[to] == '=' || s[to] == ':')
}

// rawWord is the value with the punctuation behind it, which tells a sentence from a secret.
func rawWord(s string, from, to int, quoted bool) string {
	if quoted {
		return s[from:to]
	}
	if to < len(s) && s[to] == ':' {
		to++
	}
	return s[from:to]
}

// ownLine reports whether only blanks stand before s[i]: the beginning, an indentation, or
// the tab behind the columns of gh.
func ownLine(s string, i int) bool {
	return i == 0 || s[i-1] == '\t' || i >= 2 && s[i-1] == ' ' && (s[i-2] == ' ' || s[i-2] == 'Z')
}

// inMap reports whether s[i] begins a key in a map that Go printed: map[user:octo token:x].
func inMap(s string, i int) bool {
	near := s[max(0, i-256):i]
	open := strings.LastIndex(near, "map[")
	return open >= 0 && !strings.Contains(near[open:], "]")
}

// cookies marks what stands behind "Cookie:" or "Set-Cookie:", pairs with blanks between them, and returns its end,
// or 0. v is where the value begins; without a pair it is a sentence about a cookie.
func (sc *scanner) cookies(k key, v int) int {
	s := sc.s
	for v < len(s) && (s[v] == ' ' || s[v] == '\t') {
		v++
	}
	stop := "\r\n"
	switch {
	case v < len(s) && s[v] == '[': // http.Header, as Go prints it
		v++
		stop = "]\r\n"
	case !k.quoted && k.from > 0 && strings.IndexByte("\"'`", s[k.from-1]) >= 0: // curl -H "Cookie: ..."
		stop = s[k.from-1:k.from] + "\r\n"
	}
	name, _, pair := strings.Cut(s[v:min(len(s), v+maxUser)], "=")
	if !pair || strings.ContainsAny(name, " \t\r\n") {
		return 0
	}
	if k.quoted && stop == "\r\n" {
		from, to, _ := value(s, v, false)
		return sc.add(from, to)
	}
	to := len(s)
	if n := strings.IndexAny(s[v:], stop); n >= 0 {
		to = v + n
	}
	return sc.add(v, to)
}

// configured marks the value behind the blank s[i] in "aws configure set aws_secret_access_key x", and returns its end, or 0.
func (sc *scanner) configured(i int) int {
	s := sc.s
	if i == 0 || s[i-1] != 'y' && s[i-1] != 'n' ||
		!strings.HasSuffix(s[:i], "aws_secret_access_key") && !strings.HasSuffix(s[:i], "aws_session_token") {
		return 0
	}
	from := blank.run(s, i)
	if from == len(s) || opensHarmless(s[from:]) || !command(s, i, "configure set") {
		return 0
	}
	from, to, _ := value(s, from, false)
	if harmless(s[from:to]) {
		return 0
	}
	return sc.add(from, to)
}

// userPassword marks the part behind the colon of user:password at s[from:to].
func (sc *scanner) userPassword(from, to int) int {
	user, password, ok := strings.Cut(sc.s[from:to], ":")
	if !ok || harmless(password) || strings.Trim(user+password, digit) == "" {
		return 0
	}
	return sc.add(from+len(user)+1, to)
}

// authorization marks the credentials behind the scheme that ends before the blank s[i], as in
// "Authorization: Bearer x", and returns their end, or 0. Without the header's name they must look made by
// a machine: "Bearer realm=...", "Basic authentication".
func (sc *scanner) authorization(i int) int {
	s := sc.s
	n := 0
	for n < 6 && i-n > 0 && alnum[s[i-n-1]] {
		n++
	}
	scheme := s[i-n : i]
	bare := strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "basic")
	if !bare && !strings.EqualFold(scheme, "token") {
		return 0
	}
	before := strings.TrimRight(s[max(0, i-n-32):i-n], ` :="'[\`)
	const header = "authorization"
	named := len(before) >= len(header) && strings.EqualFold(before[len(before)-len(header):], header)
	if !named && !bare {
		return 0
	}
	from := blank.run(s, i)
	if from == len(s) {
		return 0
	}
	from, to, _ := value(s, from, false)
	text := s[from:to]
	if harmless(text) || !named && (len(text) < 16 || strings.Contains(text, `="`) || !guessed(text)) {
		return 0
	}
	if strings.HasPrefix(strings.ToLower(text), "realm=") {
		return 0
	}
	return sc.add(from, to)
}

// flag marks the value of the option that begins at s[i] and is followed by a blank, as in
// "--password x" or "docker login -p x", and returns its end, or 0. named sees those with "=".
func (sc *scanner) flag(i int) int {
	s := sc.s
	if i > 0 && !blank[s[i-1]] && s[i-1] != '"' && s[i-1] != '\'' {
		return 0
	}
	to := keyByte.run(s, i)
	name := s[i:to]
	if len(name) > maxKey || len(name) < 2 {
		return 0
	}
	if rest, ok := strings.CutPrefix(name, "-p"); ok && rest != "" && s[i+1] != '-' && command(s, i, "login") && !strings.Contains(rest, "assword") {
		return sc.add(i+2, i+2+len(rest))
	}
	if name == "--password-stdin" {
		sc.echoed(i)
		sc.hereString(to)
		return 0
	}
	from := to
	for from < len(s) && (blank[s[from]] || from == to && (s[from] == '"' || s[from] == '\'' || s[from] == ',')) {
		from++
	}
	if from == to || from == len(s) || s[from] == '-' {
		return 0
	}
	from, end, quoted := value(s, from, false)
	text := s[from:end]
	if !quoted { // what ends the command stays, or the next option would become part of it
		text = strings.TrimRight(text, operators)
		end = from + len(text)
	}
	if harmless(text) || !quoted && text != "" && strings.IndexByte(operators, text[0]) >= 0 {
		return 0
	}
	pair := false
	switch {
	case name == "-p":
		if !command(s, i, "login") {
			return 0
		}
	case name == "-u" || name == "--user" || name == "--proxy-user":
		if !command(s, i, "curl") {
			return 0
		}
		pair = true
	case strings.HasSuffix(name, "creds"):
		pair = true
	case strings.HasPrefix(name, "--"):
		k, ok := keyBefore(s, to)
		if !ok || !k.secret(s, false) || isMount(text) || !quoted && strings.HasSuffix(s[from:min(len(s), end+1)], ":") {
			return 0
		}
	default:
		return 0
	}
	if pair {
		return sc.userPassword(from, end)
	}
	return sc.add(from, end)
}

// hereString marks what a script hands to the login whose --password-stdin ends at s[i]: docker login --password-stdin <<< "x".
func (sc *scanner) hereString(i int) {
	s := sc.s
	between, _, ok := strings.Cut(s[i:min(len(s), i+1024)], "<<<")
	if !ok || strings.ContainsAny(between, ";|&\n") {
		return
	}
	from := blank.run(s, i+len(between)+len("<<<"))
	if from == len(s) || opensHarmless(s[from:]) {
		return
	}
	if from, to, _ := value(s, from, false); !harmless(s[from:to]) {
		sc.add(from, to)
	}
}

// echoed marks what a script writes into the login at s[i]: echo "x" | docker login --password-stdin, or with printf.
func (sc *scanner) echoed(i int) {
	const echo, printf = "echo ", "printf "
	from := max(0, i-1024)
	near := sc.s[from:i]
	n, p := strings.LastIndex(near, echo), strings.LastIndex(near, printf)
	switch {
	case p > n:
		from += p + len(printf)
	case n >= 0:
		from += n + len(echo)
	default:
		return
	}
	text, _, ok := strings.Cut(sc.s[from:i], "|")
	if !ok || strings.ContainsAny(text, ";&") {
		return
	}
	body := strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(text, " "), "-n "), ` "'`)
	if strings.HasPrefix(body, "%") { // the format of printf
		_, body, _ = strings.Cut(body, " ")
		body = strings.TrimLeft(body, ` "'`)
	}
	from += len(text) - len(body)
	if body = strings.TrimRight(body, ` "'\`); !harmless(body) {
		sc.add(from, from+len(body))
	}
}

// isMount reports whether v is the value of BuildKit's --secret, which names a secret.
func isMount(v string) bool {
	return strings.HasPrefix(v, "id=") || strings.HasPrefix(v, "type=") || strings.HasPrefix(v, "source=")
}

// command reports whether the option at s[i] belongs to a command with this word in it.
func command(s string, i int, word string) bool {
	near := s[max(0, i-1024):i]
	n := strings.LastIndex(near, word)
	return n >= 0 && !endsCommand(near[n:])
}

// endsCommand reports whether a command ends within s: at an operator of the shell with a blank at its side. One within a word
// may be part of a password that somebody forgot to quote.
func endsCommand(s string) bool {
	for i := range len(s) {
		if strings.IndexByte(operators, s[i]) >= 0 && (i > 0 && blank[s[i-1]] || i+1 == len(s) || blank[s[i+1]]) {
			return true
		}
	}
	return false
}

const operators = ";|&"
