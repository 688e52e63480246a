package actions_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

// A workflow beyond the first page that is not told, one that GitHub calls deleted and that is told, or a list that breaks off and is
// told for a whole one turns this red: what is missing in it is taken for gone.
func TestWorkflows(t *testing.T) {
	w := fakegithub.NewWorld()
	var want []string
	for i := range 130 {
		file := fmt.Sprintf("image-%d.yml", i)
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Workflow: file, CreatedAt: begin})
		want = append(want, file)
	}
	w.AddRepository(fakegithub.Repository{Name: "octo-lab/idle"})
	w.AddRepository(fakegithub.Repository{Name: "octo-lab/off", ActionsOff: true})
	c, _ := start(t, w, fakegithub.Options{}, actions.Options{})
	got, err := c.Workflows(t.Context(), "octo-lab/api")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v; workflows (-want +got)\n%s", err, diff)
	}
	if got, err := c.Workflows(t.Context(), "octo-lab/idle"); got != nil || err != nil {
		t.Errorf("of a repository without any: %q, %v", got, err)
	}
	if _, err := c.Workflows(t.Context(), "octo-lab/off"); !errors.Is(err, actions.ErrActionsOff) {
		t.Errorf("of a repository without Actions: %v", err)
	}

	const one = `{"id": 1, "path": ".github/workflows/image.yml", "state": "disabled_manually"}, {"id": 2, "path": "dynamic/pages/pages-build-deployment", "state": "active"}`
	for _, test := range []struct {
		list string
		want []string
		err  error
	}{
		{`{"total_count": 3, "workflows": [` + one + `, {"id": 3, "path": ".github/workflows/old.yml", "state": "deleted"}]}`, []string{"image.yml", "pages-build-deployment"}, nil},
		{`{"total_count": 3, "workflows": [` + one + `]}`, nil, actions.ErrUnavailable},
		{`{}`, nil, actions.ErrNotJSON},
		{`null`, nil, actions.ErrNotJSON},
	} {
		c, err := actions.New(actions.Options{Token: token, Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(test.list))}, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Workflows(t.Context(), "octo-lab/api")
		if diff := cmp.Diff(test.want, got); diff != "" || !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v; workflows (-want +got)\n%s", test.list, err, test.err, diff)
		}
	}
}

// Something that is there and is told gone, or that may be there and is hidden from the token, turns this red; so does what is
// gone and is not told.
func TestGone(t *testing.T) {
	const image = ".github/workflows/image.yml"
	for _, test := range []struct {
		name    string
		refuses int // the status for contents and refs; 0: the token may read them
		branch  string
		gone    bool
		err     error
	}{
		{"there", 0, "main", false, nil},
		{"a branch with a slash", 0, "release/1.0", false, nil},
		{"a tag", 0, "v1", false, nil},
		{"deleted", 0, "old", true, nil},
		{"of a fork", 0, "topic", true, nil},
		{"the beginning of another", 0, "release", true, nil},
		{"refused", http.StatusForbidden, "old", false, nil},
		{"hidden", http.StatusNotFound, "old", false, nil},
		{"an empty repository", http.StatusConflict, "old", false, actions.ErrUnavailable},
		{"a bad token", http.StatusUnauthorized, "old", false, actions.ErrUnauthorized},
		{"no name of a branch", 0, "../../other", false, actions.ErrNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := fakegithub.NewWorld()
			for _, branch := range []string{"release/1.0", "old", "v1"} {
				w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Workflow: "image.yml", Branch: branch, CreatedAt: begin})
			}
			w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Branch: "topic", HeadRepository: "marlow-forks/api", CreatedAt: begin})
			w.AddTag("octo-lab/api", "v1")
			w.DeleteBranch("octo-lab/api", "old")
			c, _ := start(t, w, fakegithub.Options{}, actions.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if test.refuses != 0 && (strings.Contains(r.URL.Path, "/git/") || strings.Contains(r.URL.Path, "/contents/")) {
					return &http.Response{StatusCode: test.refuses, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"message": "no"}`)), Request: r}, nil
				}
				return http.DefaultTransport.RoundTrip(r)
			})})
			gone, err := c.BranchGone(t.Context(), "octo-lab/api", test.branch)
			if gone != test.gone || !errors.Is(err, test.err) {
				t.Errorf("branch: %t, %v, want %t, %v", gone, err, test.gone, test.err)
			}
			if gone, err := c.FileGone(t.Context(), "octo-lab/api", image); gone || test.refuses != 0 && !errors.Is(err, test.err) {
				t.Errorf("file: %t, %v, want %v", gone, err, test.err)
			}
			w.RemoveFile("octo-lab/api", image)
			if gone, _ := c.FileGone(t.Context(), "octo-lab/api", image); gone != (test.refuses == 0) {
				t.Errorf("file that was removed: %t", gone)
			}
		})
	}
}
