// Package configs reads the configuration: defaults, then a YAML file, then the environment,
// then the command line, into one plain struct that is checked as a whole. It is the only
// package that knows viper. It opens no file but the one it is given: files that
// the configuration names are their users' matter.
package configs

import "github.com/prometheus/common/model"

// Config is the configuration. Load makes it; nobody changes it afterwards.
type Config struct {
	GitHub       GitHub   `mapstructure:"github"`
	Repositories []string `mapstructure:"repositories"` // owner/name with "*", "!" excludes
	Collect      Collect  `mapstructure:"collect"`
	Webhook      Webhook  `mapstructure:"webhook"`
	Store        Store    `mapstructure:"store"`
	Web          Web      `mapstructure:"web"`
	Classify     Classify `mapstructure:"classify"`
	Metrics      Metrics  `mapstructure:"metrics"`
	OTLP         OTLP     `mapstructure:"otlp"`
}

// GitHub says where GitHub is and who we are there.
type GitHub struct {
	URL       string  `mapstructure:"url"`
	TokenFile string  `mapstructure:"token_file"`
	App       App     `mapstructure:"app"`
	Reserve   float64 `mapstructure:"reserve"` // share of the rate limit that stays free, in [0, 1)
	CAFile    string  `mapstructure:"ca_file"`
	Token     Secret  `mapstructure:"-"` // GITHUB_TOKEN, else GH_TOKEN; it has no key
}

// App is a GitHub App to log in as; ID is 0 without one.
type App struct {
	ID             int64  `mapstructure:"id"`
	PrivateKeyFile string `mapstructure:"private_key_file"`
}

// Collect says which jobs are read, and when.
type Collect struct {
	Interval       model.Duration `mapstructure:"interval"`
	Lookback       model.Duration `mapstructure:"lookback"` // of a first start
	Sweep          model.Duration `mapstructure:"sweep"`    // between searches for late re-runs
	Conclusions    []string       `mapstructure:"conclusions"`
	CancelledAfter model.Duration `mapstructure:"cancelled_after"`
	Workers        int            `mapstructure:"workers"`
	Workflows      []string       `mapstructure:"workflows"` // patterns of file names; none means all
	Jobs           []string       `mapstructure:"jobs"`      // patterns of job names; none means all
	MaxLog         Size           `mapstructure:"max_log"`
}

// Webhook is the listener for GitHub's deliveries; without an address there is none.
type Webhook struct {
	ListenAddress string `mapstructure:"listen_address"`
	SecretFile    string `mapstructure:"secret_file"`
}

// Store is the database file.
type Store struct {
	Path      string         `mapstructure:"path"`
	Retention model.Duration `mapstructure:"retention"`
}

// Web is the listener for metrics, pages and JSON.
type Web struct {
	ListenAddress string `mapstructure:"listen_address"`
	ConfigFile    string `mapstructure:"config_file"` // of exporter-toolkit: TLS and users
	ExternalURL   string `mapstructure:"external_url"`
	Admin         bool   `mapstructure:"admin"`     // backfills are done on demand
	Lifecycle     bool   `mapstructure:"lifecycle"` // so are reloads
}

// Classify names rule files that come before the embedded rules.
type Classify struct {
	Rules []string `mapstructure:"rules"`
}

// Metrics bounds what becomes a series.
type Metrics struct {
	MaxSeries  int            `mapstructure:"max_series"`
	Refs       []string       `mapstructure:"refs"` // names or patterns of branches and tags
	Birth      model.Duration `mapstructure:"birth"`
	StaleAfter model.Duration `mapstructure:"stale_after"`
}

// OTLP says where metrics are pushed, besides being served; without an endpoint nowhere. Headers, certificates and compression have the
// standard's environment variables (OTEL_EXPORTER_OTLP_HEADERS).
type OTLP struct {
	Endpoint string         `mapstructure:"endpoint"`
	Interval model.Duration `mapstructure:"interval"`
}

const (
	second = model.Duration(1e9)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// Default returns the configuration of an empty file. Its slices are the caller's.
func Default() Config {
	return Config{
		GitHub:       GitHub{URL: "https://api.github.com", Reserve: 0.1},
		Repositories: []string{},
		Collect: Collect{
			Interval: minute, Lookback: day, Sweep: 6 * hour,
			Conclusions: []string{"failure", "timed_out", "cancelled"}, CancelledAfter: 5 * minute,
			Workers: 8, Workflows: []string{}, Jobs: []string{}, MaxLog: 256 * megabyte,
		},
		Store:    Store{Path: "pushdoctor.db", Retention: 400 * day},
		Web:      Web{ListenAddress: ":9877"},
		Classify: Classify{Rules: []string{}},
		Metrics: Metrics{
			MaxSeries: 10000, Refs: []string{"main", "master", "dev", "release/*", "v*"},
			Birth: 2 * minute, StaleAfter: 14 * day,
		},
		OTLP: OTLP{Interval: minute},
	}
}
