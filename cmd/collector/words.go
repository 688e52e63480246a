package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/akkospace/pushdoctor"
)

// causeWords say a cause within a sentence.
func causeWords(c pushdoctor.Cause) string {
	title := c.Title()
	return strings.ToLower(title[:1]) + title[1:]
}

var operationWords = map[pushdoctor.Operation]string{
	pushdoctor.OperationLogin:       "logging in",
	pushdoctor.OperationToken:       "asking for a token",
	pushdoctor.OperationUpload:      "uploading layers",
	pushdoctor.OperationManifest:    "writing the manifest",
	pushdoctor.OperationCacheExport: "exporting the build cache",
	pushdoctor.OperationReference:   "reading the image's name",
	pushdoctor.OperationSign:        "pushing a signature",
	pushdoctor.OperationPush:        "pushing",
}

// statusWords says how the registry answered.
func statusWords(f pushdoctor.Finding) string {
	switch {
	case f.Status == 0:
		return "no HTTP status"
	case f.StatusSource == pushdoctor.StatusImplied:
		return fmt.Sprintf("HTTP %d (by its error code)", f.Status)
	}
	return fmt.Sprintf("HTTP %d", f.Status)
}

// registryWords names the registry by its host, as far as it is known.
func registryWords(f pushdoctor.Finding) string {
	switch {
	case f.Host == "" && f.Registry == pushdoctor.RegistryUnknown:
		return "an unnamed registry"
	case f.Host == "" || f.Host == "***":
		return string(f.Registry)
	}
	return f.Host
}

// decisive returns the line that decided and the evidence besides.
func decisive(f pushdoctor.Finding) (line pushdoctor.Evidence, others []pushdoctor.Evidence) {
	line = pushdoctor.Evidence{Line: f.Line, Text: f.Message}
	found := false
	for _, e := range f.Evidence {
		if !found && e.Line == f.Line && e.Kind == pushdoctor.EvidenceAnswer {
			line, found = e, true
			continue
		}
		others = append(others, e)
	}
	return line, others
}

func percent(confidence float64) string { return fmt.Sprintf("%d %%", int(math.Round(confidence*100))) }
