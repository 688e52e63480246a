package main

import (
	"fmt"
	"math"

	"github.com/akkospace/pushdoctor"
)

// causeWords say each cause to a person.
var causeWords = map[pushdoctor.Cause]string{
	pushdoctor.CauseCredentialsMissing:        "no credentials were sent to the registry",
	pushdoctor.CauseCredentialsInvalid:        "the registry refused the user name, password or token",
	pushdoctor.CauseCredentialsExpired:        "the token has expired",
	pushdoctor.CauseUnauthorized:              "the registry asks for a login, and the log does not say what is wrong with the one made",
	pushdoctor.CauseWorkflowPermissionMissing: "the job's GITHUB_TOKEN may not write packages",
	pushdoctor.CauseTokenScopeMissing:         "the access token lacks the scope to write",
	pushdoctor.CausePackageAccessDenied:       "this identity may not write to this package",
	pushdoctor.CausePackageCreationDenied:     "this identity may not create the package",
	pushdoctor.CauseIAMDenied:                 "a cloud access policy refuses the action",
	pushdoctor.CauseSSORequired:               "the token is not authorised for the organisation's single sign-on",
	pushdoctor.CauseNetworkBlocked:            "a firewall or a list of addresses keeps the runner out",
	pushdoctor.CausePolicyDenied:              "a policy or lock of the registry refuses the write",
	pushdoctor.CausePermissionDenied:          "the registry refuses the push, and the log does not say why",
	pushdoctor.CauseRepositoryNotFound:        "the repository or project does not exist in the registry",
	pushdoctor.CauseContentNotFound:           "the push refers to a manifest or layer that the registry does not know",
	pushdoctor.CauseInvalidReference:          "the image's name or tag is not valid",
	pushdoctor.CauseLocalImageMissing:         "there is no such image on the runner",
	pushdoctor.CauseTagImmutable:              "the tag exists and may not be overwritten",
	pushdoctor.CauseRateLimited:               "too many requests",
	pushdoctor.CauseQuotaExceeded:             "a limit of storage, billing or plan is reached",
	pushdoctor.CausePayloadTooLarge:           "a request is larger than the registry or a proxy allows",
	pushdoctor.CauseManifestRejected:          "the registry refuses the manifest",
	pushdoctor.CauseUploadRejected:            "the upload of a layer was refused or lost",
	pushdoctor.CauseRegistryUnavailable:       "the registry, or a proxy before it, is out of order",
	pushdoctor.CauseTimeout:                   "there was no answer in time",
	pushdoctor.CauseConnectionLost:            "the connection broke during the push",
	pushdoctor.CauseConnectionRefused:         "nothing listens at the registry's address",
	pushdoctor.CauseDNSFailure:                "the registry's name does not resolve",
	pushdoctor.CauseTLSFailure:                "no secure connection: the certificate is not trusted, or one side does not speak TLS",
	pushdoctor.CauseDiskFull:                  "there is no space left on the disk",
	pushdoctor.CauseDaemonFailure:             "the Docker daemon or the builder is not there, or died",
	pushdoctor.CauseExporterUnsupported:       "the builder cannot push in the way that was asked of it",
	pushdoctor.CauseUnknown:                   "the push failed for a reason that is not known here",
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
