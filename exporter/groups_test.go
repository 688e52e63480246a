package exporter_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

// on puts a reading on a watched ref, with the image that it pushed well.
func on(ref string, r store.Reading, good ...string) store.Reading {
	r.Ref, r.Good = ref, map[string]pushdoctor.Registry{}
	for _, image := range good {
		r.Good[image] = pushdoctor.RegistryGHCR
	}
	if r.Result == "" {
		r.Result = store.ResultVerify
	}
	return r
}

func image(f pushdoctor.Finding, name string) pushdoctor.Finding {
	f.Image = "ghcr.io/octo-lab/" + name + ":dev"
	return f
}

// A group under another label, a fixed or stale one that is told as broken, the newest in place of the oldest, or a
// beginning that is not in seconds turns this red.
func TestBroken(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.now = start.Add(15 * 24 * time.Hour)
	s.watch(t, 1, "octo-lab/api")
	forbidden := failure(403, pushdoctor.CausePermissionDenied)
	s.read(t, 1, "image.yml", 0, on("main", findings(image(forbidden, "stale"))))
	s.read(t, 1, "image.yml", 2*24*time.Hour, on("main", findings(image(forbidden, "api"), image(forbidden, "web"), image(forbidden, "docs"))))
	s.read(t, 1, "image.yml", 3*24*time.Hour, on("main", findings(image(forbidden, "cli"))))
	s.read(t, 1, "image.yml", 3*24*time.Hour, on("release/*", findings(image(failure(0, pushdoctor.CauseTimeout), "api"))))
	s.read(t, 1, "image.yml", 4*24*time.Hour, on("main", store.Reading{}, "ghcr.io/octo-lab/web:1"))
	want := `
# HELP pushdoctor_push_broken Images whose push by a job on a watched ref has failed and has not succeeded since.
# TYPE pushdoctor_push_broken gauge
pushdoctor_push_broken{cause="permission_denied",ref="main",registry="ghcr",repository="octo-lab/api",workflow="image.yml"} 3
pushdoctor_push_broken{cause="timeout",ref="release/*",registry="ghcr",repository="octo-lab/api",workflow="image.yml"} 1
# HELP pushdoctor_push_broken_since_timestamp_seconds When the first job ended of that of them which is broken for longest.
# TYPE pushdoctor_push_broken_since_timestamp_seconds gauge
pushdoctor_push_broken_since_timestamp_seconds{cause="permission_denied",ref="main",registry="ghcr",repository="octo-lab/api",workflow="image.yml"} 1.7725320e+09
pushdoctor_push_broken_since_timestamp_seconds{cause="timeout",ref="release/*",registry="ghcr",repository="octo-lab/api",workflow="image.yml"} 1.7726184e+09
`
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(want), "pushdoctor_push_broken", "pushdoctor_push_broken_since_timestamp_seconds"); err != nil {
		t.Error(err)
	}
}

// More series of what is broken than the limit, a group that no series tells of, or a fold that is not counted or counted
// back turns this red.
func TestBrokenLimit(t *testing.T) {
	s := newService(t, exporter.Options{MaxSeries: 2})
	s.now = start.Add(24 * time.Hour)
	for repo := range int64(5) {
		s.watch(t, repo+1, fmt.Sprintf("octo-lab/r%d", repo+1))
		s.read(t, repo+1, "image.yml", time.Duration(repo)*time.Hour, on("main", findings(failure(403, pushdoctor.CausePermissionDenied))))
	}
	compare(t, lines(s.page(t, ""), "pushdoctor_push_broken{", `pushdoctor_series_dropped_total{metric="pushdoctor_push_broken"`), []string{
		`pushdoctor_push_broken{cause="permission_denied",ref="main",registry="ghcr",repository="octo-lab/r1",workflow="image.yml"} 1`,
		`pushdoctor_push_broken{cause="permission_denied",ref="main",registry="ghcr",repository="octo-lab/r2",workflow="image.yml"} 1`,
		`pushdoctor_push_broken{cause="permission_denied",ref="other",registry="ghcr",repository="other",workflow="other"} 3`,
		`pushdoctor_series_dropped_total{metric="pushdoctor_push_broken"} 3`,
	})
	for repo := range int64(5) {
		s.read(t, repo+1, "image.yml", 6*time.Hour, on("main", store.Reading{}, "ghcr.io/octo-lab/api:1"))
	}
	compare(t, lines(s.page(t, ""), "pushdoctor_push_broken", `pushdoctor_series_dropped_total{metric="pushdoctor_push_broken"`), []string{
		`pushdoctor_series_dropped_total{metric="pushdoctor_push_broken"} 3`,
	})
}

// Buckets that do not add up, a sum in another unit, a series that begins with 1, or a recovery that a restart loses turns
// this red.
func TestTimeToRecovery(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.watch(t, 1, "octo-lab/api")
	for i, took := range []time.Duration{30 * time.Second, time.Minute, 3 * time.Hour, 20 * 24 * time.Hour} {
		at := time.Duration(i) * 24 * time.Hour
		for range 4 { // the failures that keep it from being stale
			s.read(t, 1, "image.yml", at, on("main", findings(failure(403, pushdoctor.CausePermissionDenied))))
			if took < 24*time.Hour {
				break
			}
			at += took / 4
		}
		s.read(t, 1, "image.yml", time.Duration(i)*24*time.Hour+took, on("main", store.Reading{}, "ghcr.io/octo-lab/api:1"))
	}
	want := func(counts ...int) []string {
		var out []string
		for i, le := range strings.Fields("60 300 900 1800 3600 7200 14400 28800 86400 172800 345600 604800 1.2096e+06 +Inf") {
			out = append(out, fmt.Sprintf(`pushdoctor_time_to_recovery_seconds_bucket{cause="permission_denied",registry="ghcr",le="%s"} %d`, le, counts[i]))
		}
		return append(out,
			fmt.Sprintf(`pushdoctor_time_to_recovery_seconds_sum{cause="permission_denied",registry="ghcr"} %d`, counts[14]),
			fmt.Sprintf(`pushdoctor_time_to_recovery_seconds_count{cause="permission_denied",registry="ghcr"} %d`, counts[13]))
	}
	for range 2 {
		later := s.now
		s.now = time.Now()
		shown := strings.ReplaceAll(s.page(t, ""), "1.73889e+06", "1738890")
		compare(t, lines(shown, "pushdoctor_time_to_recovery"), want(make([]int, 15)...))
		s.now = later
		shown = strings.ReplaceAll(s.page(t, ""), "1.73889e+06", "1738890")
		compare(t, lines(shown, "pushdoctor_time_to_recovery"), want(2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4, 1738890))
		s.restart(t)
	}
}

// An incident of two repositories, of what lasts, of what is long ago, of several hosts that share nothing, or one that a
// retry hides, turns this red.
func TestIncident(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.now = start.Add(time.Hour)
	jobs := 0
	read := func(repo int64, before time.Duration, f pushdoctor.Finding) {
		t.Helper()
		jobs++
		s.watch(t, repo, fmt.Sprintf("octo-lab/r%d", repo))
		s.read(t, repo, "image.yml", time.Hour-before, findings(f))
	}
	incidents := func() string {
		t.Helper()
		var out []string
		n := 0
		for _, line := range lines(s.page(t, ""), "pushdoctor_registry_incident{") {
			n++
			if strings.HasSuffix(line, " 1") {
				out = append(out, strings.Split(line, `"`)[1])
			}
		}
		if n != len(pushdoctor.Registries) {
			t.Errorf("%d registries, want %d", n, len(pushdoctor.Registries))
		}
		return strings.Join(out, " ")
	}
	at := func(registry pushdoctor.Registry, host string, cause pushdoctor.Cause) pushdoctor.Finding {
		f := failure(503, cause)
		f.Registry, f.Host = registry, host
		return f
	}
	for repo := range int64(4) {
		read(repo+1, time.Minute, at(pushdoctor.RegistryQuay, "quay.io", pushdoctor.CausePermissionDenied))
		read(repo+1, 16*time.Minute, at(pushdoctor.RegistryGAR, "europe-docker.pkg.dev", pushdoctor.CauseRegistryUnavailable))
		read(repo%2+1, time.Minute, at(pushdoctor.RegistryECR, "1.dkr.ecr.us-east-1.amazonaws.com", pushdoctor.CauseTimeout))
		read(repo+1, time.Minute, at(pushdoctor.RegistryOther, fmt.Sprintf("r%d.example.test", repo), pushdoctor.CauseTimeout))
		read(repo+1, time.Minute, at(pushdoctor.RegistryLocal, "localhost:5000", pushdoctor.CauseConnectionRefused))
	}
	if got := incidents(); got != "" {
		t.Errorf("incidents: %s, want none", got)
	}
	cured := at(pushdoctor.RegistryGHCR, "ghcr.io", pushdoctor.CauseRateLimited)
	cured.Recovered = true
	read(1, time.Minute, cured)
	read(2, 15*time.Minute, at(pushdoctor.RegistryGHCR, "ghcr.io", pushdoctor.CauseTimeout))
	read(3, 2*time.Minute, at(pushdoctor.RegistryGHCR, "ghcr.io", pushdoctor.CauseRegistryUnavailable))
	incidents() // what one scrape has read the next one need not
	read(5, time.Minute, at(pushdoctor.RegistryOther, "r0.example.test", pushdoctor.CauseTimeout))
	read(6, time.Minute, at(pushdoctor.RegistryOther, "r0.example.test", pushdoctor.CauseTimeout))
	if got := incidents(); got != "ghcr other" {
		t.Errorf("incidents: %s, want ghcr other", got)
	}
	s.now = s.now.Add(time.Second)
	if got := incidents(); got != "other" {
		t.Errorf("incidents a second later: %s, want other", got)
	}
}
