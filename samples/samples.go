// Package samples holds job logs of GitHub Actions, written for pushdoctor with invented names.
// README.md beside them says what is in which.
package samples

import "embed"

// Logs holds the logs, *.log in its root.
//
//go:embed *.log
var Logs embed.FS
