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
			Unit    string `json:"unit"`
			NoValue string `json:"noValue"`
			Links   []link `json:"links"`
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

type target struct {
	RefID      string      `json:"refId"`
	Expr       string      `json:"expr"`
	Datasource *datasource `json:"datasource"`
	Exemplar   bool        `json:"exemplar"`
}

type variable struct {
	Name       string          `json:"name"`
	Label      string          `json:"label"`
	Type       string          `json:"type"`
	Query      json.RawMessage `json:"query"`
	Datasource *datasource     `json:"datasource"`
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
			if v.Type == "query" && (v.Datasource == nil || *v.Datasource != ours) {
				t.Errorf("%s: variable %s asks %v", file, v.Name, v.Datasource)
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
			if a.BuiltIn == 0 && (*a.Datasource != ours || *a.Target.Datasource != ours) {
				t.Errorf("%s: annotation %s asks %v", file, a.Name, a.Datasource)
			}
		}
		if !slices.ContainsFunc(d.Links, func(l link) bool { return l.Type == "dashboards" && slices.Equal(l.Tags, []string{"pushdoctor"}) }) ||
			!slices.ContainsFunc(d.Links, func(l link) bool { return strings.HasPrefix(l.URL, "${pushdoctor}/") }) {
			t.Errorf("%s: links %v lead neither to the other dashboards nor to pushdoctor's pages", file, d.Links)
		}
	}
}

const causesPage = "https://github.com/akkospace/pushdoctor/blob/main/docs/causes.md"

// What is looked for in a panel. The last group of the first two is empty where that part is missing.
var (
	selectors      = regexp.MustCompile(`\b(?:up|(?:pushdoctor|process|go|scrape)_\w+)\b(\{job=~"\$job", instance=~"\$instance")?`)
	windows        = regexp.MustCompile(`(?:rate|increase|over_time)\([^[]*\[(\$__rate_interval|\$__range)?`)
	otherDashboard = regexp.MustCompile(`^/d/pushdoctor-([a-z]+)\?`)
	settings       = regexp.MustCompile(`var-(\w+)=|\$\{([a-z]\w*):queryparam\}`)
	uses           = regexp.MustCompile(`\$\{?([a-z]\w*)`)
)

func lacks(re *regexp.Regexp, expr string) bool {
	return slices.ContainsFunc(re.FindAllStringSubmatch(expr, -1), func(m []string) bool { return m[1] == "" })
}

// Red where two panels have one id, or lie over each other, which Grafana puts right in its own way; where a panel leaves open what it shows, in which
// unit, or what it means that it is empty; and where a query asks another data source or is not limited to the chosen services.
func TestPanels(t *testing.T) {
	exemplars := 0
	all := dashboards(t)
	for file, d := range all {
		ids := map[int]bool{}
		cells := map[[2]int]string{}
		variables := declared(d)
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
			if !strings.HasSuffix(p.Description, ".") || p.FieldConfig.Defaults.Unit == "" || p.FieldConfig.Defaults.NoValue == "" {
				t.Errorf("%s: description %q, unit %q, without data %q", where, p.Description, p.FieldConfig.Defaults.Unit, p.FieldConfig.Defaults.NoValue)
			}
			if p.Datasource == nil || *p.Datasource != ours || len(p.Targets) == 0 {
				t.Errorf("%s: asks %v", where, p.Datasource)
			}
			refs := map[string]bool{}
			for _, q := range p.Targets {
				if q.Datasource == nil || *q.Datasource != ours || refs[q.RefID] {
					t.Errorf("%s: query %s asks %v", where, q.RefID, q.Datasource)
				}
				refs[q.RefID] = true
				if lacks(selectors, q.Expr) {
					t.Errorf("%s: a selector is not limited to $job and $instance: %s", where, q.Expr)
				}
				if lacks(windows, q.Expr) {
					t.Errorf("%s: a fixed window: %s", where, q.Expr)
				}
				if q.Exemplar {
					exemplars++
				}
			}
			for _, l := range links(t, p) {
				ref := otherDashboard.FindStringSubmatch(l.URL)
				if ref == nil {
					if !strings.HasPrefix(l.URL, "${pushdoctor}/") && !strings.HasPrefix(l.URL, causesPage+"#${") {
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
			text, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range uses.FindAllStringSubmatch(string(text), -1) {
				if !variables[v[1]] {
					t.Errorf("%s: $%s is no variable", where, v[1])
				}
			}
		}
	}
	if exemplars == 0 {
		t.Error("no panel shows exemplars, which lead to the findings")
	}
}

func declared(d dashboard) map[string]bool {
	names := map[string]bool{}
	for _, v := range d.Templating.List {
		names[v.Name] = true
	}
	return names
}

// links are those of a panel's values and columns.
func links(t *testing.T, p panel) []link {
	t.Helper()
	all := slices.Clone(p.FieldConfig.Defaults.Links)
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID != "links" {
				continue
			}
			var of []link
			if err := json.Unmarshal(property.Value, &of); err != nil {
				t.Fatal(err)
			}
			all = append(all, of...)
		}
	}
	return all
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
