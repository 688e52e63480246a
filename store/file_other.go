//go:build !unix

package store

import (
	"io/fs"
	"os"
)

// sameOwner does nothing: what is made in a folder has the folder's rights.
func sameOwner(*os.File, fs.FileInfo) error { return nil }

// syncFolder does nothing: a folder cannot be opened.
func syncFolder(string) error { return nil }
