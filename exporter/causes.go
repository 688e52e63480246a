package exporter

import (
	"strconv"

	"github.com/akkospace/pushdoctor"
	"github.com/prometheus/client_golang/prometheus"
)

// The categories of causes: who has to do something.
const (
	credentials = "credentials" // whoever keeps the secret
	permissions = "permissions" // whoever may grant the right
	reference   = "reference"   // whoever wrote the image's name
	content     = "content"     // whoever builds the image
	limits      = "limits"      // whoever pays, or waits
	network     = "network"     // whoever runs the way to the registry
	registry    = "registry"    // whoever runs the registry
	runner      = "runner"      // whoever runs the runner
	unknown     = "unknown"
)

// causeInfo says of each cause what cause_info tells.
var causeInfo = []struct {
	cause    pushdoctor.Cause
	category string
	title    string
}{
	{pushdoctor.CauseCredentialsMissing, credentials, "No credentials were sent"},
	{pushdoctor.CauseCredentialsInvalid, credentials, "The credentials were refused"},
	{pushdoctor.CauseCredentialsExpired, credentials, "The credentials have expired"},
	{pushdoctor.CauseUnauthorized, credentials, "Not authorised"},
	{pushdoctor.CauseWorkflowPermissionMissing, permissions, "The job's token may not write packages"},
	{pushdoctor.CauseTokenScopeMissing, permissions, "The token lacks a scope"},
	{pushdoctor.CausePackageAccessDenied, permissions, "No right to write to this package"},
	{pushdoctor.CausePackageCreationDenied, permissions, "No right to create this package"},
	{pushdoctor.CauseIAMDenied, permissions, "The cloud's access policy refuses the action"},
	{pushdoctor.CauseSSORequired, permissions, "The token is not authorised for single sign-on"},
	{pushdoctor.CauseNetworkBlocked, network, "A firewall or an allow-list refused the runner"},
	{pushdoctor.CausePolicyDenied, permissions, "The registry's policy refuses the write"},
	{pushdoctor.CausePermissionDenied, permissions, "Forbidden"},
	{pushdoctor.CauseRepositoryNotFound, reference, "The registry has no such repository"},
	{pushdoctor.CauseContentNotFound, content, "The registry misses a part of the image"},
	{pushdoctor.CauseInvalidReference, reference, "The image's name is not valid"},
	{pushdoctor.CauseLocalImageMissing, content, "There is no such image on the runner"},
	{pushdoctor.CauseTagImmutable, reference, "The tag exists and may not be overwritten"},
	{pushdoctor.CauseRateLimited, limits, "Too many requests"},
	{pushdoctor.CauseQuotaExceeded, limits, "Storage or a plan's limit is used up"},
	{pushdoctor.CausePayloadTooLarge, limits, "One request is too large"},
	{pushdoctor.CauseManifestRejected, content, "The registry refuses the manifest"},
	{pushdoctor.CauseUploadRejected, content, "The upload of a layer was refused or lost"},
	{pushdoctor.CauseRegistryUnavailable, registry, "The registry has a fault of its own"},
	{pushdoctor.CauseTimeout, network, "No answer in time"},
	{pushdoctor.CauseConnectionLost, network, "The connection broke"},
	{pushdoctor.CauseConnectionRefused, network, "Nothing listens there"},
	{pushdoctor.CauseDNSFailure, network, "The host's name does not resolve"},
	{pushdoctor.CauseTLSFailure, network, "The certificate is not trusted"},
	{pushdoctor.CauseDiskFull, runner, "No space is left"},
	{pushdoctor.CauseDaemonFailure, runner, "The Docker daemon or the builder is not there"},
	{pushdoctor.CauseExporterUnsupported, runner, "The builder cannot push what was asked of it"},
	{pushdoctor.CauseUnknown, unknown, "The log does not say why"},
}

const causePage = "https://github.com/akkospace/pushdoctor/blob/main/docs/causes.md#"

// causes returns cause_info, with which a dashboard or an alert puts words to a cause.
func causes() prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pushdoctor_cause_info",
		Help: "1; what a cause means, whether it lasts until somebody changes something, and where to read on.",
	}, []string{"cause", "category", "lasting", "title", "docs"})
	for _, c := range causeInfo {
		info.WithLabelValues(string(c.cause), c.category, strconv.FormatBool(c.cause.Lasting()), c.title, causePage+string(c.cause)).Set(1)
	}
	return info
}
