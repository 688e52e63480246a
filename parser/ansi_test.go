package parser

import "testing"

// White-box: the cuts are easier to see without a log around them. Red if a sequence leaves a
// rest, or if one that is broken off takes the error behind it along.
func TestStripANSI(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"plain", "plain"},
		{"\x1b[31mERROR\x1b[0m", "ERROR"},
		{"\x1b[38;5;196m\x1b[1mdenied\x1b[m:", "denied:"},
		{"\x1b[?25lgone\x1b[2K\x1b[1G", "gone"},
		{"\x1b[0 qcursor", "cursor"},
		{"cut \x1b[", "cut "},
		{"cut \x1b[31", "cut "},
		{"cut \x1b", "cut "},
		{"\x1b[3\x1b[31mtwice", "twice"},
		{"\x1b]0;title\adenied", "denied"},
		{"\x1b]8;;https://example.test\x1b\\link\x1b]8;;\x1b\\ end", "link end"},
		{"\x1b]0;never ended: denied", "0;never ended: denied"},
		{"\x1b]0;\x1b[31mbroken off", "0;broken off"},
		{"\x1b(Bascii\x1b7\x1b8", "ascii"},
		{"\x1b(é", "é"},
		{"\x1bdenied", "denied"},
		{"[31m", "[31m"},
	} {
		if got := stripANSI(test.in); got != test.want {
			t.Errorf("stripANSI(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}
