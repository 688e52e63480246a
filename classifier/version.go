package classifier

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/akkospace/pushdoctor"
)

// Version names the rules in force: it changes when a rule file does. It has 12 characters.
func (r *Rules) Version() string { return r.version }

func versionOf(files []File) string {
	h := sha256.New()
	for _, f := range files {
		h.Write(f.Data)
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// RegistryOf says which product answers where an image is pushed to, by the host in its name.
func RegistryOf(image string) pushdoctor.Registry { return registryOf(hostOf(image)) }
