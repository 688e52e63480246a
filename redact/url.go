package redact

import "strings"

var (
	authorityEnd = bytesOf("/?# \t\r\n\"'`<>\\|{}()[],;")
	addressEnd   = bytesOf(" \t\r\n\"'`<>\\|{}^")
	paramEnd     = bytesOf("&= \t\r\n\"'`<>\\|{}^")
)

// maxOdd bounds how far a password with a "/" in it is looked for.
const maxOdd = 256

// userinfo marks the secret before the "@" of an address whose authority begins at
// i, and returns its end, or 0.
func (sc *scanner) userinfo(i int) int {
	s := sc.s
	end := i
	for end < len(s) && !authorityEnd[s[end]] && !strings.HasPrefix(s[end:], mask) {
		end++
	}
	at := strings.LastIndexByte(s[i:end], '@')
	if at < 0 {
		at = oddAt(s[i:min(len(s), i+maxOdd)], end-i)
	}
	if at < 0 {
		return 0
	}
	user, password, ok := strings.Cut(s[i:i+at], ":")
	switch {
	case !ok && sc.plainUser(i, user), ok && harmless(password) && harmless(user):
		return 0
	case !ok, password == "" || password == "x-oauth-basic": // the token is the name
		return sc.add(i, i+len(user))
	case harmless(password):
		return 0
	}
	return sc.add(i+len(user)+1, i+at)
}

// oddAt finds the "@" behind a password that holds a "/" or another byte that should
// have been escaped. s begins with the authority, end is where that seems to end:
// in "octo:a/b@host" after "octo:a", which is no port.
func oddAt(s string, end int) int {
	if end >= len(s) || s[end] == '<' || blank[s[end]] {
		return -1
	}
	_, port, ok := strings.Cut(s[:end], ":")
	if !ok || strings.Trim(port, digit) == "" {
		return -1
	}
	return strings.LastIndexByte(s[:addressRun(s, end)], '@')
}

func addressRun(s string, i int) int {
	for i < len(s) && !addressEnd[s[i]] {
		i++
	}
	return i
}

// plainUser reports whether the user before "@" at s[i] without a password is a name.
// Over HTTP it is a token more often than a name.
func (sc *scanner) plainUser(i int, user string) bool {
	return user == "" || user == "git" || harmless(user) || strings.HasSuffix(sc.s[:i], "ssh://")
}

// readable are the query parameters whose values are shown: they say what was
// asked for, not who asked.
var readable = map[string]bool{
	"scope": true, "service": true, "client_id": true, "grant_type": true, "offline_token": true,
	"digest": true, "mount": true, "from": true, "tag": true, "n": true, "last": true, "ns": true,
	"artifacttype": true, "platform": true, "origin": true, "repository": true, "repo": true, "fromimage": true, "logindex": true,
	"page": true, "per_page": true, "filter": true, "since": true, "until": true, "created": true,
	"status": true, "event": true, "branch": true, "ref": true, "sort": true, "direction": true,
	"type": true, "version": true, "format": true, "attempt_number": true, "pr": true,
	"api-version": true, "comp": true, "restype": true, "timeout": true,
	"se": true, "st": true, "sp": true, "sv": true, "sr": true,
	"expires": true, "x-amz-algorithm": true, "x-amz-date": true, "x-amz-expires": true,
	"x-amz-signedheaders": true, "x-goog-algorithm": true, "x-goog-date": true, "x-goog-expires": true,
	"x-goog-signedheaders": true,
}

// minBare is the length from which a parameter without "=" may be a signature.
const minBare = 20

// readQuery marks the values in the query that begins at i, but for those of readable
// parameters.
func (sc *scanner) readQuery(i int) {
	s := sc.s
	if i <= sc.query || i < 2 || blank[s[i-2]] {
		return
	}
	for {
		key := i
		for i < len(s) && !paramEnd[s[i]] {
			i++
		}
		if strings.Contains(s[key:i], "://") {
			break // "really?https://..."
		}
		if i == len(s) || s[i] != '=' {
			if to := key + len(trimmed(s[key:i])); to-key >= minBare && base64Byte.run(s, key) >= to {
				sc.add(key, to)
			}
		} else {
			name := strings.ToLower(s[key:i])
			i++
			value := i
			for strings.HasPrefix(s[i:], mask) {
				i += len(mask)
			}
			masked := i
			for i < len(s) && s[i] != '&' && !addressEnd[s[i]] {
				i++
			}
			if v := trimmed(s[value:i]); masked == value && !readable[name] && !harmless(v) {
				sc.add(value, value+len(v))
			}
		}
		n := ampersand(s[i:])
		if n == 0 {
			break
		}
		i += n
	}
	sc.query = i
}

// ampersand returns the length of the separator of two parameters that s begins with, or 0.
// Go's JSON writes it \u0026, HTML &amp;.
func ampersand(s string) int {
	for _, sep := range []string{"&amp;", `\u0026`, "&"} {
		if strings.HasPrefix(s, sep) {
			return len(sep)
		}
	}
	return 0
}

// trimmed returns v without the marks that end a sentence or a bracket behind it.
func trimmed(v string) string {
	return strings.TrimRight(v, ".,;:)]}>")
}
