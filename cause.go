package pushdoctor

import "slices"

// A Cause says why a push failed.
type Cause string

// The causes. docs/causes.md says by which evidence each of them is proven.
const (
	CauseCredentialsMissing        Cause = "credentials_missing"
	CauseCredentialsInvalid        Cause = "credentials_invalid"
	CauseCredentialsExpired        Cause = "credentials_expired"
	CauseUnauthorized              Cause = "unauthorized"
	CauseWorkflowPermissionMissing Cause = "workflow_permission_missing"
	CauseTokenScopeMissing         Cause = "token_scope_missing"
	CausePackageAccessDenied       Cause = "package_access_denied"
	CausePackageCreationDenied     Cause = "package_creation_denied"
	CauseIAMDenied                 Cause = "iam_denied"
	CauseSSORequired               Cause = "sso_required"
	CauseNetworkBlocked            Cause = "network_blocked"
	CausePolicyDenied              Cause = "policy_denied"
	CausePermissionDenied          Cause = "permission_denied"
	CauseRepositoryNotFound        Cause = "repository_not_found"
	CauseContentNotFound           Cause = "content_not_found"
	CauseInvalidReference          Cause = "invalid_reference"
	CauseLocalImageMissing         Cause = "local_image_missing"
	CauseTagImmutable              Cause = "tag_immutable"
	CauseRateLimited               Cause = "rate_limited"
	CauseQuotaExceeded             Cause = "quota_exceeded"
	CausePayloadTooLarge           Cause = "payload_too_large"
	CauseManifestRejected          Cause = "manifest_rejected"
	CauseUploadRejected            Cause = "upload_rejected"
	CauseRegistryUnavailable       Cause = "registry_unavailable"
	CauseTimeout                   Cause = "timeout"
	CauseConnectionLost            Cause = "connection_lost"
	CauseConnectionRefused         Cause = "connection_refused"
	CauseDNSFailure                Cause = "dns_failure"
	CauseTLSFailure                Cause = "tls_failure"
	CauseDiskFull                  Cause = "disk_full"
	CauseDaemonFailure             Cause = "daemon_failure"
	CauseExporterUnsupported       Cause = "exporter_unsupported"
	CauseUnknown                   Cause = "unknown"
)

// A Category of causes says who has to do something.
type Category string

// The categories.
const (
	CategoryCredentials Category = "credentials" // whoever keeps the secret
	CategoryPermissions Category = "permissions" // whoever may grant the right
	CategoryReference   Category = "reference"   // whoever wrote the image's name
	CategoryContent     Category = "content"     // whoever builds the image
	CategoryLimits      Category = "limits"      // whoever pays, or waits
	CategoryNetwork     Category = "network"     // whoever runs the way to the registry
	CategoryRegistry    Category = "registry"    // whoever runs the registry
	CategoryRunner      Category = "runner"      // whoever runs the runner
	CategoryUnknown     Category = "unknown"
)

// causes is all that is said of a cause wherever it is told: as a metric, on the page, by the commands.
var causes = []struct {
	cause    Cause
	category Category
	lasting  bool
	title    string
}{
	{CauseCredentialsMissing, CategoryCredentials, true, "No credentials were sent to the registry"},
	{CauseCredentialsInvalid, CategoryCredentials, true, "The registry refused the user name, password or token"},
	{CauseCredentialsExpired, CategoryCredentials, true, "The token has expired"},
	{CauseUnauthorized, CategoryCredentials, true, "The registry asks for a login, and the log does not say what is wrong with the one made"},
	{CauseWorkflowPermissionMissing, CategoryPermissions, true, "The job's GITHUB_TOKEN may not write packages"},
	{CauseTokenScopeMissing, CategoryPermissions, true, "The access token lacks the scope to write"},
	{CausePackageAccessDenied, CategoryPermissions, true, "This identity may not write to this package"},
	{CausePackageCreationDenied, CategoryPermissions, true, "This identity may not create the package"},
	{CauseIAMDenied, CategoryPermissions, true, "A cloud access policy refuses the action"},
	{CauseSSORequired, CategoryPermissions, true, "The token is not authorised for the organisation's single sign-on"},
	{CauseNetworkBlocked, CategoryNetwork, true, "A firewall or a list of addresses keeps the runner out"},
	{CausePolicyDenied, CategoryPermissions, true, "A policy or lock of the registry refuses the write"},
	{CausePermissionDenied, CategoryPermissions, true, "The registry refuses the push, and the log does not say why"},
	{CauseRepositoryNotFound, CategoryReference, true, "The repository or project does not exist in the registry"},
	{CauseContentNotFound, CategoryContent, false, "The push refers to a manifest or layer that the registry does not know"},
	{CauseInvalidReference, CategoryReference, true, "The image's name or tag is not valid"},
	{CauseLocalImageMissing, CategoryContent, true, "There is no such image on the runner"},
	{CauseTagImmutable, CategoryReference, true, "The tag exists and may not be overwritten"},
	{CauseRateLimited, CategoryLimits, false, "Too many requests"},
	{CauseQuotaExceeded, CategoryLimits, true, "A limit of storage, billing or plan is reached"},
	{CausePayloadTooLarge, CategoryLimits, true, "A request is larger than the registry or a proxy allows"},
	{CauseManifestRejected, CategoryContent, true, "The registry refuses the manifest"},
	{CauseUploadRejected, CategoryContent, false, "The upload of a layer was refused or lost"},
	{CauseRegistryUnavailable, CategoryRegistry, false, "The registry, or a proxy before it, is out of order"},
	{CauseTimeout, CategoryNetwork, false, "There was no answer in time"},
	{CauseConnectionLost, CategoryNetwork, false, "The connection broke during the push"},
	{CauseConnectionRefused, CategoryNetwork, false, "Nothing listens at the registry's address"},
	{CauseDNSFailure, CategoryNetwork, false, "The registry's name does not resolve"},
	{CauseTLSFailure, CategoryNetwork, true, "The certificate is not trusted, or one side does not speak TLS"},
	{CauseDiskFull, CategoryRunner, true, "There is no space left on the disk"},
	{CauseDaemonFailure, CategoryRunner, false, "The Docker daemon or the builder is not there, or died"},
	{CauseExporterUnsupported, CategoryRunner, true, "The builder cannot push in the way that was asked of it"},
	{CauseUnknown, CategoryUnknown, false, "The log does not say why"},
}

// Causes are all causes, those about credentials and rights first, CauseUnknown last.
var Causes = func() (all []Cause) {
	for _, c := range causes {
		all = append(all, c.cause)
	}
	return all
}()

// index returns where c stands in causes, as CauseUnknown where it is none.
func (c Cause) index() int {
	if i := slices.Index(Causes, c); i >= 0 {
		return i
	}
	return len(causes) - 1
}

// Valid reports whether c is one of Causes.
func (c Cause) Valid() bool { return slices.Contains(Causes, c) }

// Category returns who has to do something about c; CategoryUnknown where c is not one of Causes.
func (c Cause) Category() Category { return causes[c.index()].category }

// Lasting reports whether the same push fails until somebody changes something. What is not Lasting may pass by itself, and so may what is not one
// of Causes.
func (c Cause) Lasting() bool { return causes[c.index()].lasting }

// Title returns c in words: a short sentence without its full stop, CauseUnknown's where c is not one of Causes.
func (c Cause) Title() string { return causes[c.index()].title }
