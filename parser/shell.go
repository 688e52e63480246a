package parser

import (
	"slices"
	"strings"
)

// maxCommand is the number of bytes of a command over several lines that are read.
const maxCommand = 8 << 10

// opaque stands in a word for the output of a command, which the log does not show.
const opaque = "$("

// commands returns the simple commands of a line of a shell script, each as its words without
// quotes. Variables stay as they are, command substitutions become opaque, redirections and
// comments fall away. It reads enough of the grammar to find a login, and takes any text.
func commands(line string) [][]string {
	var all [][]string
	var words []string
	var word []byte
	inWord, target := false, false // target: the next word is a file
	end := func() {
		if inWord && !target {
			words = append(words, string(word))
		}
		if inWord {
			target = false
		}
		word, inWord = word[:0], false
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch c {
		case ' ', '\t':
			end()
		case '#':
			if !inWord {
				i = len(line)
				break
			}
			word = append(word, c)
		case '|', ';', '&', '(', ')', '\n':
			end()
			if len(words) > 0 {
				all = append(all, words)
			}
			words, target = nil, false
		case '<', '>':
			if strings.Trim(string(word), "0123456789") == "" {
				word, inWord = word[:0], false // the number of a descriptor
			}
			end()
			target = true
			if i+1 < len(line) && line[i+1] == '&' {
				i++
			}
		case '\\':
			if i+1 < len(line) {
				i++
				word, inWord = append(word, line[i]), true
			}
		case '\'':
			n := strings.IndexByte(line[i+1:], '\'')
			if n < 0 {
				n = len(line) - i - 1
			}
			word, inWord = append(word, line[i+1:i+1+n]...), true
			i += n + 1
		case '"':
			inWord = true
			for i++; i < len(line) && line[i] != '"'; i++ {
				if n := substitution(line[i:]); n > 0 {
					word = append(word, opaque...)
					i += n - 1
					continue
				}
				if line[i] == '\\' && i+1 < len(line) {
					i++
				}
				word = append(word, line[i])
			}
		default:
			inWord = true
			if n := substitution(line[i:]); n > 0 {
				word = append(word, opaque...)
				i += n - 1
				continue
			}
			word = append(word, c)
		}
	}
	end()
	if len(words) > 0 {
		all = append(all, words)
	}
	return all
}

// substitution returns the length of the command substitution with which s begins, or 0.
func substitution(s string) int {
	if s[0] == '`' {
		if n := strings.IndexByte(s[1:], '`'); n >= 0 {
			return n + 2
		}
		return len(s)
	}
	if !strings.HasPrefix(s, "$(") {
		return 0
	}
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// expand returns s with its variables replaced, or false where one is not known.
func expand(s string, vars map[string]string) (string, bool) {
	for range 3 { // a value may name another variable
		if !strings.Contains(s, "$") {
			return s, true
		}
		var b strings.Builder
		for {
			before, rest, ok := strings.Cut(s, "$")
			b.WriteString(before)
			if !ok {
				break
			}
			rest = strings.TrimPrefix(rest, "env:") // PowerShell
			name, fallback := "", ""
			if inner, ok := strings.CutPrefix(rest, "{"); ok {
				name, s, ok = strings.Cut(inner, "}")
				if !ok {
					return "", false
				}
				name, fallback, _ = strings.Cut(name, ":-")
				for _, change := range []string{",,", "^^", "@L"} {
					name = strings.TrimSuffix(name, change) // a host is lower-cased anyway
				}
			} else {
				n := nameLen(rest)
				name, s = rest[:n], rest[n:]
			}
			value, ok := vars[name]
			if !ok || value == "" {
				if value = fallback; !ok && fallback == "" {
					return "", false
				}
			}
			if b.Len()+len(value) > maxCommand {
				return "", false
			}
			b.WriteString(value)
		}
		s = b.String()
	}
	return s, !strings.Contains(s, "$")
}

// nameLen returns the length of the variable's name with which s begins.
func nameLen(s string) int {
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= 'a' && s[n] <= 'z' || s[n] >= 'A' && s[n] <= 'Z' || n > 0 && s[n] >= '0' && s[n] <= '9') {
		n++
	}
	return n
}

// assignment returns NAME and VALUE of the word NAME=VALUE.
func assignment(word string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(word, "=")
	return name, value, ok && name != "" && nameLen(name) == len(name)
}

// wrappers stand before a command and run it.
var wrappers = []string{"sudo", "time", "command", "exec", "env", "if", "then", "else", "do", "while", "until", "!", "{", "export", "-E"}

// A client is a program with a command that logs in to a registry.
type client struct {
	path []string // its name and the words of the command
	host string   // where it logs in when it is not told
}

var clients = []client{
	{[]string{"docker", "login"}, dockerHub},
	{[]string{"podman", "login"}, dockerHub},
	{[]string{"buildah", "login"}, dockerHub},
	{[]string{"nerdctl", "login"}, dockerHub},
	{[]string{"skopeo", "login"}, ""},
	{[]string{"crane", "auth", "login"}, ""},
	{[]string{"gcrane", "auth", "login"}, ""},
	{[]string{"helm", "registry", "login"}, ""},
	{[]string{"regctl", "registry", "login"}, dockerHub},
	{[]string{"oras", "login"}, ""},
	{[]string{"cosign", "login"}, ""},
	{[]string{"ko", "login"}, ""},
	{[]string{"doctl", "registry", "login"}, "registry.digitalocean.com"},
	{[]string{"az", "acr", "login"}, ""},
	{[]string{"gcloud", "auth", "configure-docker"}, "gcr.io"},
}

// valued are the flags, of logins and of programs before "login", that a value follows.
var valued = []string{
	"-u", "--username", "-p", "--password", "-e", "--email", "-n", "--name", "--user", "--pass",
	"--authfile", "--compat-auth-file", "--cert-dir", "--creds", "--secret", "--config", "--context",
	"-H", "--host", "-l", "--log-level", "--registry-config", "--ca-file", "--cert-file", "--key-file",
	"--identity-token", "--expiry-seconds", "--access-token", "-t", "--resource-group", "-g", "--suffix",
	"--subscription", "--project", "--account", "--verbosity", "--resolve", "--registries-conf",
}

// login returns the login that a simple command makes: the hosts and the user as they stand there.
func login(words []string, vars map[string]string) (c *client, hosts []string, user string) {
	for len(words) > 0 {
		if name, value, ok := assignment(words[0]); ok {
			if len(vars) < maxVars {
				vars[name] = value
			}
		} else if !slices.Contains(wrappers, words[0]) {
			break
		}
		words = words[1:]
	}
	if len(words) < 2 {
		return nil, nil, ""
	}
	name := strings.TrimSuffix(words[0][strings.LastIndexAny(words[0], `/\`)+1:], ".exe")
	var args []string
	azure := ""
	for i := 1; i < len(words); i++ {
		w := words[i]
		if len(w) < 2 || w[0] != '-' {
			if w != "-" {
				args = append(args, w)
			}
			continue
		}
		flag, value, ok := strings.Cut(w, "=")
		if !ok && w[1] != '-' && len(w) > 2 && strings.IndexByte("upe", w[1]) >= 0 {
			flag, value = w[:2], w[2:]
		} else if !ok && slices.Contains(valued, flag) && i+1 < len(words) {
			i++
			value = words[i]
		}
		switch flag {
		case "-u", "--username", "--user":
			user = value
		case "-n", "--name":
			azure = value
		}
	}
	for i := range clients {
		c := &clients[i]
		sub := c.path[1:]
		if c.path[0] != name || len(args) < len(sub) || !slices.Equal(args[:len(sub)], sub) {
			continue
		}
		switch rest := args[len(sub):]; {
		case name == "az" && azure != "" && !strings.Contains(azure, "."):
			hosts = []string{azure + ".azurecr.io"}
		case name == "az":
			hosts = []string{azure}
		case name == "gcloud" && len(rest) > 0:
			hosts = strings.Split(rest[0], ",")
		case name == "doctl" || len(rest) == 0:
			hosts = []string{c.host}
		default:
			hosts = rest[:1]
		}
		return c, hosts, user
	}
	return nil, nil, ""
}
