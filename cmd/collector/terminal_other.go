//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package main

import "os"

// terminalWidth returns false: there is plain text here, of the default width.
func terminalWidth(*os.File) (int, bool) { return 0, false }
