// Package grafana_test looks at the dashboards and provisioning files as text. That they are what the code in src gives, and that
// Prometheus answers their expressions with data, is the matter of make grafana.
package grafana_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

type dashboard struct {
	UID           string   `json:"uid"`
	Title         string   `json:"title"`
	Description   string   `json:"description"`
	Tags          []string `json:"tags"`
	SchemaVersion int      `json:"schemaVersion"`
	Editable      bool     `json:"editable"`
	Panels        []panel  `json:"panels"`
	Templating    struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Name       string      `json:"name"`
			BuiltIn    int         `json:"builtIn"`
			Datasource *datasource `json:"datasource"`
			Target     *target     `json:"target"`
		} `json:"list"`
	} `json:"annotations"`
	Links []link `json:"links"`

	text string // of the file
}

type panel struct {
	ID          int         `json:"id"`
	Type        string      `json:"type"`
	Title       string      `json:"title"`
	Description string      `json:"description"`
	Datasource  *datasource `json:"datasource"`
	GridPos     struct {
		X, Y, W, H int
	} `json:"gridPos"`
	Targets     []target `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit     string    `json:"unit"`
			NoValue  string    `json:"noValue"`
			Links    []link    `json:"links"`
			Mappings []mapping `json:"mappings"`
			Custom   struct {
				DrawStyle    string `json:"drawStyle"`
				BarAlignment int    `json:"barAlignment"`
			} `json:"custom"`
		} `json:"defaults"`
		Overrides []struct {
			Properties []struct {
				ID    string          `json:"id"`
				Value json.RawMessage `json:"value"`
			} `json:"properties"`
		} `json:"overrides"`
	} `json:"fieldConfig"`
	Panels []panel `json:"panels"` // of a row that is collapsed
}

// A mapping has options by value, or for one special value.
type mapping struct {
	Type    string         `json:"type"`
	Options map[string]any `json:"options"`
}

type target struct {
	RefID      string      `json:"refId"`
	Expr       string      `json:"expr"`
	Format     string      `json:"format"`
	Datasource *datasource `json:"datasource"`
	Exemplar   bool        `json:"exemplar"`
}

type variable struct {
	Name       string          `json:"name"`
	Label      string          `json:"label"`
	Type       string          `json:"type"`
	Query      json.RawMessage `json:"query"`
	Datasource *datasource     `json:"datasource"`
	Refresh    int             `json:"refresh"`
	IncludeAll bool            `json:"includeAll"`
	AllValue   string          `json:"allValue"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type link struct {
	Title string   `json:"title"`
	Type  string   `json:"type"`
	URL   string   `json:"url"`
	Tags  []string `json:"tags"`
}

// ours is the data source that is chosen on the dashboard.
var ours = datasource{"prometheus", "${datasource}"}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	all := map[string]dashboard{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		d.text = string(data)
		all[file] = d
	}
	return all
}

// Red where a dashboard could not be told from another, could be edited in Grafana and lost, or lacks what goes with every panel's queries.
func TestDashboards(t *testing.T) {
	uids := map[string]string{}
	many := map[string]bool{} // by variable: whether it may be All
	for file, d := range dashboards(t) {
		if prior, taken := uids[d.UID]; taken {
			t.Errorf("%s: uid %q is that of %s", file, d.UID, prior)
		}
		uids[d.UID] = file
		if want := "pushdoctor-" + strings.TrimSuffix(filepath.Base(file), ".json"); d.UID != want {
			t.Errorf("%s: uid %q, want %q, as links have it", file, d.UID, want)
		}
		if d.Title == "" || d.Description == "" || !slices.Equal(d.Tags, []string{"pushdoctor"}) || d.SchemaVersion != 42 || d.Editable {
			t.Errorf("%s: title %q, description %q, tags %q, schemaVersion %d, editable %v", file, d.Title, d.Description, d.Tags, d.SchemaVersion, d.Editable)
		}
		var names []string
		for _, v := range d.Templating.List {
			names = append(names, v.Name)
			if v.Label == "" {
				t.Errorf("%s: variable %s has no label", file, v.Name)
			}
			if v.Type == "query" && (v.Datasource == nil || *v.Datasource != ours || v.Refresh != 2) {
				t.Errorf("%s: variable %s asks %v, and again at %d, not when the time changes", file, v.Name, v.Datasource, v.Refresh)
			}
			// Links hand variables over by name, and where there is no All, nothing would be found.
			if all, met := many[v.Name]; met && all != v.IncludeAll {
				t.Errorf("%s: variable %s may be All here or in another dashboard, not in both", file, v.Name)
			}
			many[v.Name] = v.IncludeAll
			// History has no instance: All must be matched by nothing too.
			if v.IncludeAll && v.AllValue != ".*" {
				t.Errorf("%s: All of variable %s is %q", file, v.Name, v.AllValue)
			}
		}
		if got := names[:min(3, len(names))]; !slices.Equal(got, []string{"datasource", "job", "instance"}) || names[len(names)-1] != "pushdoctor" {
			t.Errorf("%s: variables %q", file, names)
		}
		for _, a := range d.Annotations.List {
			if a.BuiltIn == 0 {
				a.Target.check(t, file+": annotation "+a.Name)
				if *a.Datasource != ours {
					t.Errorf("%s: annotation %s asks %v", file, a.Name, a.Datasource)
				}
			}
		}
		for _, v := range uses.FindAllStringSubmatch(d.text, -1) {
			if !slices.Contains(names, v[1]) {
				t.Errorf("%s: $%s is no variable", file, v[1])
			}
		}
		// Newer versions of Grafana hide what has it: https://github.com/grafana/grafana/issues/115084
		if strings.Contains(d.text, "inControlsMenu") {
			t.Errorf("%s: links in a menu", file)
		}
		if !slices.ContainsFunc(d.Links, func(l link) bool { return l.Type == "dashboards" && slices.Equal(l.Tags, []string{"pushdoctor"}) }) ||
			!slices.ContainsFunc(d.Links, func(l link) bool { return strings.HasPrefix(l.URL, "${pushdoctor}/") }) {
			t.Errorf("%s: links %v lead neither to the other dashboards nor to pushdoctor's pages", file, d.Links)
		}
	}
}

const causesPage = "https://github.com/akkospace/pushdoctor/blob/main/docs/causes.md"

// What is looked for in a panel. The last group of the first two is empty where that part is missing. A bar looks ahead, since Grafana asks for
// whole steps.
var (
	selectors      = regexp.MustCompile(`\b(?:up|(?:pushdoctor|process|go|scrape)_\w+)\b(\{job=~"\$job", instance=~"\$instance")?`)
	windows        = regexp.MustCompile(`(?:rate|changes|over_time)\([^[]*\[(\$__rate_interval|\$__range)?|increase\([^[]*\[(\$__rate_interval\] offset -\$__interval|\$__range\])?`)
	otherDashboard = regexp.MustCompile(`^/d/pushdoctor-([a-z]+)\?`)
	settings       = regexp.MustCompile(`var-(\w+)=|\$\{([a-z]\w*):queryparam\}`)
	findings       = regexp.MustCompile(`^\$\{pushdoctor\}/\?(?:(?:cause|repository)=\$\{\w[\w.]*\}&?)+$`)
	isWell         = regexp.MustCompile(`_(valid|successful)\{`) // at 1; others, such as incidents, are well at 0
	uses           = regexp.MustCompile(`\$\{?([a-z]\w*)`)
)

// units are those of Grafana's that the dashboards use; it shows a number without unit for any other word.
var units = []string{"short", "s", "percentunit", "bytes", "Bps", "reqps", "dateTimeFromNow"}

func lacks(re *regexp.Regexp, expr string) bool {
	return slices.ContainsFunc(re.FindAllStringSubmatch(expr, -1), func(m []string) bool { return strings.Join(m[1:], "") == "" })
}

// check wants a query to ask the chosen data source of the chosen services, with windows that follow the time shown.
func (q target) check(t *testing.T, where string) {
	t.Helper()
	if q.Datasource == nil || *q.Datasource != ours {
		t.Errorf("%s: query %s asks %v", where, q.RefID, q.Datasource)
	}
	if lacks(selectors, q.Expr) {
		t.Errorf("%s: a selector is not limited to $job and $instance: %s", where, q.Expr)
	}
	if lacks(windows, q.Expr) {
		t.Errorf("%s: a fixed window, or a bar that looks back: %s", where, q.Expr)
	}
}

// Red where two panels have one id, or lie over each other, which Grafana puts right in its own way; where a panel leaves open what it shows, in which
// unit, or what it means that it is empty; where a query asks another data source or is not limited to the chosen services; and where a link
// leads to nothing.
func TestPanels(t *testing.T) {
	all := dashboards(t)
	for file, d := range all {
		ids := map[int]bool{}
		cells := map[[2]int]string{}
		for _, p := range d.Panels {
			where := fmt.Sprintf("%s: %s %q", file, p.Type, p.Title)
			if ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: id %d", where, p.ID)
			}
			ids[p.ID] = true
			g := p.GridPos
			if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
				t.Errorf("%s: it does not lie on the grid: %+v", where, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other := cells[[2]int{x, y}]; other != "" {
						t.Fatalf("%s: it lies over %q", where, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
			if p.Title == "" {
				t.Errorf("%s: no title", where)
			}
			if p.Type == "row" {
				if len(p.Panels) > 0 {
					t.Errorf("%s: the test does not look into collapsed rows", where)
				}
				continue
			}
			of := p.FieldConfig.Defaults
			if !strings.HasSuffix(p.Description, ".") || !slices.Contains(units, of.Unit) || of.NoValue == "" {
				t.Errorf("%s: description %q, unit %q, without data %q", where, p.Description, of.Unit, of.NoValue)
			}
			if of.Custom.DrawStyle == "bars" && of.Custom.BarAlignment != 1 {
				t.Errorf("%s: bars do not begin where their time does", where)
			}
			if p.Datasource == nil || *p.Datasource != ours || len(p.Targets) == 0 {
				t.Errorf("%s: asks %v", where, p.Datasource)
			}
			refs := map[string]bool{}
			for _, q := range p.Targets {
				q.check(t, where)
				if refs[q.RefID] || q.Exemplar != (p.Title == "Failures by cause") || (q.Format == "table") != (p.Type == "table") {
					t.Errorf("%s: query %s: exemplars %v, format %q", where, q.RefID, q.Exemplar, q.Format)
				}
				refs[q.RefID] = true
			}
			p.checkColours(t, where)
			for _, l := range slices.Concat(of.Links, overridden[link](t, p, "links")) {
				ref := otherDashboard.FindStringSubmatch(l.URL)
				if ref == nil {
					if !findings.MatchString(l.URL) && !strings.HasPrefix(l.URL, causesPage+"#${") {
						t.Errorf("%s: a link to %s", where, l.URL)
					}
					continue
				}
				to := declared(all["dashboards/"+ref[1]+".json"])
				for _, v := range settings.FindAllStringSubmatch(l.URL, -1) {
					if name := v[1] + v[2]; !to[name] {
						t.Errorf("%s: the link %s sets %s, which is no variable there", where, l.URL, name)
					}
				}
			}
		}
	}
}

func declared(d dashboard) map[string]bool {
	names := map[string]bool{}
	for _, v := range d.Templating.List {
		names[v.Name] = true
	}
	return names
}

// overridden are the values of a property that the panel's columns and series have.
func overridden[T any](t *testing.T, p panel, property string) (all []T) {
	t.Helper()
	for _, o := range p.FieldConfig.Overrides {
		for _, is := range o.Properties {
			if is.ID != property {
				continue
			}
			var of []T
			if err := json.Unmarshal(is.Value, &of); err != nil {
				t.Fatal(err)
			}
			all = append(all, of...)
		}
	}
	return all
}

// checkColours wants a value that says whether something is good to be green for good and red for bad, and no data in one number to be
// neither: without a mapping of its own it has the colour of the lowest values.
func (p panel) checkColours(t *testing.T, where string) {
	t.Helper()
	unknown := false
	well := slices.ContainsFunc(p.Targets, func(q target) bool { return isWell.MatchString(q.Expr) })
	for _, m := range slices.Concat(p.FieldConfig.Defaults.Mappings, overridden[mapping](t, p, "mappings")) {
		if result, ok := m.Options["result"].(map[string]any); ok {
			unknown = unknown || m.Options["match"] == "null" && result["color"] == "purple"
			continue
		}
		for value, to := range m.Options {
			good := well == (value == "1")
			if colour := to.(map[string]any)["color"]; good != (colour == "green") || good == (colour == "red") {
				t.Errorf("%s: %s is %v", where, value, colour)
			}
		}
	}
	if p.Type == "stat" && !unknown {
		t.Errorf("%s: the colour of no data is that of a value", where)
	}
}

// Red where Grafana would not load the files, would look for the dashboards in a folder that is not there, or where the exemplars' links lead elsewhere
// than to the page of a finding.
func TestProvisioning(t *testing.T) {
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			JSONData                     struct {
				HTTPMethod                  string `yaml:"httpMethod"`
				TimeInterval                string `yaml:"timeInterval"`
				ExemplarTraceIDDestinations []struct {
					Name            string
					URL             string
					URLDisplayLabel string `yaml:"urlDisplayLabel"`
				} `yaml:"exemplarTraceIdDestinations"`
			} `yaml:"jsonData"`
		}
	}
	strict(t, "provisioning/datasources/pushdoctor.yaml", &sources)
	var scrape struct {
		Configs []struct {
			Interval string `yaml:"scrape_interval"`
		} `yaml:"scrape_configs"`
	}
	data, err := os.ReadFile("../prometheus/scrape.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &scrape); err != nil {
		t.Fatal(err)
	}
	if len(sources.Datasources) != 1 || sources.APIVersion != 1 {
		t.Fatalf("%+v", sources)
	}
	source := sources.Datasources[0]
	if source.Type != "prometheus" || source.JSONData.TimeInterval != scrape.Configs[0].Interval {
		t.Errorf("type %s, interval %s; the example of a scrape job has %s", source.Type, source.JSONData.TimeInterval, scrape.Configs[0].Interval)
	}
	to := source.JSONData.ExemplarTraceIDDestinations
	if len(to) != 1 || to[0].Name != "finding" || !strings.HasSuffix(to[0].URL, "/findings/$${__value.raw}") {
		t.Errorf("exemplars lead to %+v", to)
	}

	var providers struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Folder, Type    string
			FolderUID             string `yaml:"folderUid"`
			DisableDeletion       bool   `yaml:"disableDeletion"`
			AllowUIUpdates        bool   `yaml:"allowUiUpdates"`
			UpdateIntervalSeconds int    `yaml:"updateIntervalSeconds"`
			Options               struct{ Path string }
		}
	}
	strict(t, "provisioning/dashboards/pushdoctor.yaml", &providers)
	if len(providers.Providers) != 1 || providers.APIVersion != 1 {
		t.Fatalf("%+v", providers)
	}
	p := providers.Providers[0]
	here, ok := strings.CutPrefix(p.Options.Path, "/etc/grafana/")
	if found, err := filepath.Glob(here + "/*.json"); !ok || err != nil || len(found) != len(dashboards(t)) || p.Type != "file" || p.AllowUIUpdates {
		t.Errorf("%+v, with %q", p, found)
	}
}

func strict(t *testing.T, file string, v any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(data, v, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
