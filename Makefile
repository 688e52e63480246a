# All that a machine needs beforehand is Go 1.26, GNU make and bash. make test also needs a C compiler, Prometheus, Alertmanager, curl and
# Node.js with npm, which it installs itself where it may (root on Debian). The linters and an OpenTelemetry Collector are built from the Go module
# proxy into .tools, and packages of npm are laid there, once for each version. Nothing here is skipped: a part that cannot do its work fails and says why.

SHELL  := bash
comma  := ,
.NOTPARALLEL:

GO       ?= go
FUZZTIME ?= 10s
BENCH    ?= .
SEED     ?=
KILLS    ?= 15
FAULTS   ?= 0.1

GO_WANTED             := 1.26
GOLANGCI_LINT_VERSION := v2.15.0
ACTIONLINT_VERSION    := v1.7.12

# The versions of the collector's modules stand there too.
OTELCOL_BUILDER := cmd/collector/testdata/otelcol/builder.yaml
OTELCOL_VERSION := $(shell sed -n 's/^  version: /v/p' $(OTELCOL_BUILDER))

# GitHub's description of its API and payloads of its webhooks, as Octokit publishes them on npm, with the SHA-512 that npm tells as
# a package's integrity.
OPENAPI_VERSION := 23.0.2
OPENAPI_SHA512  := a55f0cecbf46636dc0c9b36f4e6a369f28e6a669edebedac444fedaabd192d070f4b8967c3bbb979918d9b044d9010b70fb8195db171e401f32d455105718386
WEBHOOK_EXAMPLES_VERSION := 7.6.1
WEBHOOK_EXAMPLES_SHA512  := 0dee94dd707a3b70ed09aedb2a008ccd31dd7a8a6aa99e92362bcc6099caeb989eaca2f5027348034b644580914bb970193efdd9df8fb3559b7c796ca3a3329d

TOOLS         := .tools
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
ACTIONLINT    := $(TOOLS)/actionlint-$(ACTIONLINT_VERSION)
OTELCOL       := $(TOOLS)/otelcol-$(OTELCOL_VERSION)
OPENAPI       := $(TOOLS)/openapi-$(OPENAPI_VERSION)
WEBHOOK_EXAMPLES := $(TOOLS)/webhooks-examples-$(WEBHOOK_EXAMPLES_VERSION)

SAMPLES := $(sort $(wildcard samples/*.log))
RULES   := configs/rules.yaml
SCRAPE  := configs/prometheus/scrape.yaml
ALERTS  := configs/prometheus/rules
DASHBOARDS := configs/grafana/src

# $(call begin,what is done) and $(end) stand around each part and print how long it took.
begin = @set -euo pipefail; printf '\n== %s: %s\n' '$@' '$(1)'; SECONDS=0
end   = printf -- '-- %s: %d s\n' '$@' "$$SECONDS"

# $(call install,module path of the command,version) builds one tool as $@.
# go install names the file after the command; $@ has the version in its name, so
# that a new version is a new file and an old one is never taken for it.
install = $(call begin,$(1)@$(2)); mkdir -p $(TOOLS)/new; \
	GOBIN='$(CURDIR)/$(TOOLS)/new' GOFLAGS= $(GO) install '$(1)@$(2)'; \
	mv '$(TOOLS)/new/$(notdir $(1))' '$@'; rmdir $(TOOLS)/new; $(end)

# $(call unpack,package of @octokit,version,SHA-512 of its file) lays the files of a package of npm into $@. Nothing in it is run.
unpack = $(call begin,@octokit/$(1)@$(2)); rm -rf $(TOOLS)/new; mkdir -p $(TOOLS)/new/files; \
	curl -fsSL --retry 3 -o $(TOOLS)/new/package.tgz 'https://registry.npmjs.org/@octokit/$(1)/-/$(1)-$(2).tgz'; \
	echo '$(3)  $(TOOLS)/new/package.tgz' | sha512sum --quiet --check || { \
		echo 'make: the package from npm is not the one whose digest the Makefile has' >&2; exit 1; }; \
	tar -xzf $(TOOLS)/new/package.tgz -C $(TOOLS)/new/files --strip-components 1; \
	mv $(TOOLS)/new/files '$@'; rm -r $(TOOLS)/new; $(end)

.PHONY: build demo test check go cc curl node debian-prometheus debian-alertmanager lint race fuzz tidy workflows rules samples ends scrape promtool expressions prometheus alerts history otlp openapi webhooks \
	grafana dashboards dashboards-picture torture torture-once quiet bench clean

build: go ## the program, ./pushdoctor
	$(call begin,go build -o pushdoctor ./cmd/collector); \
	$(GO) build -trimpath -o pushdoctor ./cmd/collector; $(end)

demo: build ## the service on sample history, until Ctrl-C; ONCE=1 for a summary of the history
	./pushdoctor demo $(if $(ONCE),--once)

test: check workflows rules samples ends scrape promtool expressions prometheus alerts history otlp openapi webhooks grafana torture-once ## everything; what CI runs

check: go lint tidy race fuzz ## before each commit

go:
	@command -v $(GO) >/dev/null || { \
		echo 'make: no go found; pushdoctor needs Go $(GO_WANTED) or newer: https://go.dev/dl/' >&2; exit 1; }
	@have=$$($(GO) env GOVERSION) || { \
		echo 'make: go.mod wants Go $(GO_WANTED) and this Go cannot fetch it: https://go.dev/dl/' >&2; exit 1; }; \
	oldest=$$(printf '%s\n' "go$(GO_WANTED)" "$$have" | sort -V | head -n 1); \
	[[ $$oldest == go$(GO_WANTED) ]] || { \
		echo "make: this is $$have; pushdoctor needs Go $(GO_WANTED) or newer: https://go.dev/dl/" >&2; exit 1; }

# The race detector is linked by a C compiler.
cc:
	@cc=$$($(GO) env CC); command -v "$${cc%% *}" >/dev/null && exit 0; \
	if command -v apt-get >/dev/null && [[ $$(id -u) == 0 ]]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq gcc libc6-dev; \
	else \
		echo "make: no $$cc found; go test -race needs a C compiler, gcc for one" >&2; exit 1; \
	fi

# Debian's and Ubuntu's package holds prometheus and promtool.
debian-prometheus:
	@[[ $$(command -v prometheus promtool | wc -l) == 2 ]] && exit 0; \
	if command -v apt-get >/dev/null && [[ $$(id -u) == 0 ]]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus; \
	else \
		echo 'make: no prometheus and promtool found; make test scrapes the demo and loads history with them: https://prometheus.io/download/' >&2; exit 1; \
	fi

# Debian's and Ubuntu's package holds alertmanager, as prometheus-alertmanager, and amtool.
debian-alertmanager:
	@[[ $$(command -v prometheus-alertmanager amtool | wc -l) == 2 ]] && exit 0; \
	if command -v apt-get >/dev/null && [[ $$(id -u) == 0 ]]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus-alertmanager; \
	else \
		echo 'make: no prometheus-alertmanager and amtool found; make test sends alerts by them: https://prometheus.io/download/' >&2; exit 1; \
	fi

curl:
	@command -v curl >/dev/null && exit 0; \
	if command -v apt-get >/dev/null && [[ $$(id -u) == 0 ]]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends curl ca-certificates; \
	else \
		echo "make: no curl found; make test fetches GitHub's description of its API and payloads of its webhooks with it" >&2; exit 1; \
	fi

node:
	@[[ $$(command -v node npm | wc -l) == 2 ]] && exit 0; \
	if command -v apt-get >/dev/null && [[ $$(id -u) == 0 ]]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm; \
	else \
		echo 'make: no node and npm found; the dashboards are made with them: https://nodejs.org/' >&2; exit 1; \
	fi

# golangci-lint holds gofmt, vet and staticcheck: .golangci.yml says which and why.
lint: go $(GOLANGCI_LINT)
	$(call begin,golangci-lint run); $(GOLANGCI_LINT) run --build-tags promtool,prometheus,openapi,webhooks,torture,grafana,alerts,otlp ./...; $(end)

tidy: go
	$(call begin,go mod tidy -diff); $(GO) mod tidy -diff; $(end)

# The tests of cmd/collector take as long as all others: half of them run beside those.
race: go cc
	$(call begin,go test -race ./...); \
	others=$$($(GO) list ./... | grep -v '/cmd/collector$$'); \
	{ $(GO) test -race $$others && $(GO) test -race -run '^(Test[A-F]|Fuzz|Example)' ./cmd/collector; } & \
	$(GO) test -race -run '^Test[^A-F]' ./cmd/collector || { wait $$!; exit 1; }; wait $$!; $(end)

# go test runs one fuzz target at a time, so they are listed first. On a busy machine Go before 1.27 may call the end of
# the time itself a failure, without an input that fails: https://go.dev/issue/75804. Only that is tried again.
fuzz: go ## FUZZTIME=5m for longer than 10 s a target
	$(call begin,$(FUZZTIME) for each target); \
	targets=$$($(GO) test -list '^Fuzz' ./... | awk '/^Fuzz/ {t[n++] = $$1} /^ok/ {for (i = 0; i < n; i++) print $$2, t[i]; n = 0}'); \
	[[ -n $$targets ]] || { echo 'make fuzz: no fuzz target found' >&2; exit 1; }; \
	while read -r package target; do \
		echo "$$package $$target"; \
		for try in 1 2 3; do \
			said=$$($(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime '$(FUZZTIME)' "$$package" </dev/null 2>&1) && break; \
			if (( try == 3 )) || [[ $$said == *'Failing input written'* || $$said != *'context deadline exceeded'* ]]; then \
				echo "$$said"; exit 1; \
			fi; \
			echo "$$target: go.dev/issue/75804, once more"; \
		done; tail -n 3 <<<"$$said"; \
	done <<<"$$targets"; $(end)

workflows: go $(ACTIONLINT)
	$(call begin,actionlint); $(ACTIONLINT) .github/workflows/*.yml; $(end)

rules: build
	$(call begin,pushdoctor rules check $(RULES)); ./pushdoctor rules check $(RULES); $(end)

# diagnose ends with 1 where it finds something. The samples hold failures on purpose, so that 1
# is what is expected, and a 0 would mean that pushdoctor has gone blind.
samples: build
	$(call begin,./pushdoctor diagnose over the $(words $(SAMPLES)) logs in samples/); \
	status=0; ./pushdoctor diagnose $(SAMPLES) >/dev/null || status=$$?; \
	if [[ $$status != 1 ]]; then \
		echo "make samples: diagnose ended with $$status, 1 was expected: the samples hold failures" >&2; exit 1; \
	fi; $(end)

# timeout ends the service as an operator would, and kills it if that was not enough.
ends: build
	$(call begin,make demo ends well after 5 s and make demo ONCE=1 by itself); \
	said=$$(timeout --preserve-status --signal=TERM --kill-after=10 5 ./pushdoctor demo 2>/dev/null); \
	[[ $$said == *http://*/metrics* ]] || { echo "make ends: demo gives no address: $$said" >&2; exit 1; }; \
	said=$$(timeout --kill-after=10 60 ./pushdoctor demo --once 2>/dev/null); \
	causes=$$(awk '/^by / {on = $$2 == "cause"} on && $$1 ~ /^[0-9]+$$/' <<<"$$said" | wc -l); \
	[[ $$causes -ge 15 ]] || { echo "make ends: demo --once names $$causes causes, 15 were expected" >&2; exit 1; }; $(end)

scrape: debian-prometheus
	$(call begin,promtool check config $(SCRAPE)); promtool check config $(SCRAPE); $(end)

promtool: go debian-prometheus
	$(call begin,go test -tags promtool ./exporter); $(GO) test -count=1 -tags promtool ./exporter; $(end)

prometheus: go debian-prometheus
	$(call begin,go test -tags prometheus ./cmd/collector); \
	$(GO) test -count=1 -timeout 2m -tags prometheus -run '^TestPrometheus$$' ./cmd/collector | tee -a /dev/stderr | \
	{ ! grep 'no tests to run' >/dev/null; }; $(end)

# What backfill --openmetrics writes, loaded into a Prometheus and compared with the store.
history: go debian-prometheus
	$(call begin,go test -tags prometheus -run TestHistoryInPrometheus ./cmd/collector); \
	$(GO) test -count=1 -timeout 2m -tags prometheus -run '^TestHistoryInPrometheus$$' ./cmd/collector | tee -a /dev/stderr | \
	{ ! grep 'no tests to run' >/dev/null; }; $(end)

# The service pushes to a real OpenTelemetry Collector, through a restart.
otlp: go $(OTELCOL)
	$(call begin,go test -tags otlp ./cmd/collector); \
	PUSHDOCTOR_OTELCOL='$(CURDIR)/$(OTELCOL)' $(GO) test -count=1 -timeout 2m -tags otlp,prometheus -run '^TestOTLPCollector$$' ./cmd/collector | tee -a /dev/stderr | \
	{ ! grep 'no tests to run' >/dev/null; }; $(end)

# The rules and their tests, the example for Alertmanager, and then all of it: the service, Prometheus, Alertmanager, a message.
alerts: go debian-prometheus debian-alertmanager
	$(call begin,rules and their tests and a message by Alertmanager); \
	promtool check rules --lint=all --lint-fatal $(ALERTS).yaml; promtool test rules $(ALERTS)_test.yaml; \
	amtool check-config configs/alertmanager/alertmanager.yaml; \
	$(GO) test -count=1 -timeout 2m -tags alerts,prometheus -run '^TestAlert' ./cmd/collector | tee -a /dev/stderr | \
	{ ! grep 'no tests to run' >/dev/null; }; $(end)

# Each request of ours, and each answer of the fake GitHub, against GitHub's own description.
openapi: go $(OPENAPI)
	$(call begin,go test -tags openapi ./internal/fakegithub); \
	PUSHDOCTOR_OPENAPI='$(CURDIR)/$(OPENAPI)/generated/api.github.com.json' $(GO) test -count=1 -tags openapi -run '^TestOpenAPI' ./internal/fakegithub | tee -a /dev/stderr | \
	{ ! grep 'no tests to run' >/dev/null; }; $(end)

webhooks: go $(WEBHOOK_EXAMPLES)
	$(call begin,go test -tags webhooks ./cmd/collector); \
	PUSHDOCTOR_WEBHOOK_EXAMPLES='$(CURDIR)/$(WEBHOOK_EXAMPLES)' $(GO) test -count=1 -tags webhooks -v -run '^TestWebhookExamples$$' ./cmd/collector | \
	tee -a /dev/stderr | { ! grep 'no tests to run' >/dev/null; }; $(end)

# Each seed runs the program itself against a fake GitHub for about a minute, and mostly waits.
torture: go $(if $(RACE),cc) ## 20 seeds of a program that is killed; SEED=7 plays one again, KILLS=15 and FAULTS=0.1 for other ones, RACE=1
	$(call begin,$(if $(SEED),seed $(SEED),20 seeds)$(comma) $(KILLS) kills each$(comma) a share of $(FAULTS) of all requests struck); \
	$(GO) test -count=1 -timeout 60m -v -parallel 4 -tags torture -run '^TestTorture$$' ./cmd/collector \
		-kills '$(KILLS)' -faults '$(FAULTS)' $(if $(SEED),-seed '$(SEED)') $(if $(RACE),-detect-races) | tee -a /dev/stderr | \
	{ ! grep 'no tests to run' >/dev/null; }; $(end)

# The budget of a quiet week: TestQuiet of make test, fifty times as large. DAYS=1 takes a tenth of an hour.
DAYS ?= 7
quiet: go ## 300 quiet repositories, a week, a token that changes each hour
	$(call begin,300 repositories$(comma) $(DAYS) days); \
	$(GO) test -count=1 -timeout 3h -v -run '^TestQuiet$$' ./cmd/collector -quiet.repositories 300 -quiet.days $(DAYS) | grep -v level=; $(end)

torture-once: SEED := $(or $(SEED),5)
torture-once: torture

# Nothing of the packages is run at their installation. What npm lays down is what package-lock.json has, by digest.
$(DASHBOARDS)/node_modules/.package-lock.json: $(DASHBOARDS)/package.json $(DASHBOARDS)/package-lock.json | node
	$(call begin,npm ci in $(DASHBOARDS)); npm --prefix $(DASHBOARDS) ci --ignore-scripts --no-audit --no-fund --loglevel=error; touch '$@'; $(end)

dashboards: $(DASHBOARDS)/node_modules/.package-lock.json ## the JSON in configs/grafana/dashboards, from configs/grafana/src
	$(call begin,node $(DASHBOARDS)/gen.mjs); node $(DASHBOARDS)/gen.mjs; $(end)

# Each expression of the rules, the dashboards and the documentation: Prometheus can read it, and the exporter has what is in it. Never from the
# cache: it does not see the files of another module change.
expressions: go
	$(call begin,go test ./internal/promcheck); \
	$(GO) -C internal/promcheck mod tidy -diff; $(GO) -C internal/promcheck test -count=1 .; $(end)

# The JSON is what the code gives, of Grafana's types, and a real Prometheus answers each expression with data.
grafana: go debian-prometheus $(DASHBOARDS)/node_modules/.package-lock.json
	$(call begin,the dashboards against their code$(comma) their types and a Prometheus); \
	new=$$(mktemp -d); trap 'rm -r "$$new"' EXIT; node $(DASHBOARDS)/gen.mjs "$$new"; \
	diff -r "$$new" configs/grafana/dashboards || { \
		echo 'make grafana: configs/grafana/dashboards is not what the code gives: run make dashboards' >&2; exit 1; }; \
	npm --prefix $(DASHBOARDS) run --silent types; \
	$(GO) test -count=1 -timeout 5m -tags prometheus,grafana -run '^TestGrafana$$' ./cmd/collector | tee -a /dev/stderr | \
	{ ! grep 'no tests to run' >/dev/null; }; $(end)

dashboards-picture: go debian-prometheus node ## what the dashboards show of the data of make grafana, drawn into dashboards-picture/
	$(call begin,pictures of the dashboards); mkdir -p dashboards-picture; \
	PUSHDOCTOR_PICTURE='$(CURDIR)/dashboards-picture' $(GO) test -count=1 -timeout 5m -tags prometheus,grafana -run '^TestGrafana$$' ./cmd/collector; \
	node $(DASHBOARDS)/picture.mjs dashboards-picture; $(end)

bench: go ## BENCH=Parse for some of them
	$(call begin,go test -bench '$(BENCH)'); $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...; $(end)

clean: ## what make has built, but for .tools
	rm -f pushdoctor
	$(GO) clean -testcache

$(GOLANGCI_LINT): | go
	$(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_LINT_VERSION))

$(WEBHOOK_EXAMPLES): | curl
	$(call unpack,webhooks-examples,$(WEBHOOK_EXAMPLES_VERSION),$(WEBHOOK_EXAMPLES_SHA512))

# The builder writes a program of the modules that its configuration names, and builds it.
$(OTELCOL): | go
	$(call begin,an OpenTelemetry Collector by its builder@$(OTELCOL_VERSION)); rm -rf $(TOOLS)/new; mkdir -p $(TOOLS)/new; cd $(TOOLS)/new; \
	GOBIN="$$PWD" GOFLAGS= $(GO) install 'go.opentelemetry.io/collector/cmd/builder@$(OTELCOL_VERSION)'; \
	GOFLAGS= ./builder --config '$(CURDIR)/$(OTELCOL_BUILDER)' 2>build.log || { cat build.log >&2; exit 1; }; \
	cd '$(CURDIR)'; mv $(TOOLS)/new/otelcol/otelcol '$@'; rm -r $(TOOLS)/new; $(end)

$(ACTIONLINT): | go
	$(call install,github.com/rhysd/actionlint/cmd/actionlint,$(ACTIONLINT_VERSION))

$(OPENAPI): | curl
	$(call unpack,openapi,$(OPENAPI_VERSION),$(OPENAPI_SHA512))
