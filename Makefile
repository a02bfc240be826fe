# make help lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: need-tools node_modules/.package-lock.json ## bring what the build and the tests need (npm and Go packages); safe to repeat
	@go mod download
	@echo "setup: done"

.PHONY: need-tools
need-tools:
	@command -v go >/dev/null || { echo "setup: Go 1.26 or newer is needed" >&2; exit 1; }
	@command -v npm >/dev/null || { echo "setup: Node with npm is needed: it brings the embedded ClickHouse (libchdb)" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "setup: a C compiler called cc is needed by the kill tests (Debian: apt-get install gcc libc6-dev)" >&2; exit 1; }

# npm writes this file last, so it stands for a whole installation. No package's own script is run.
node_modules/.package-lock.json: package.json package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund
	@# npm passes over an optional package that it could not fetch, without an error.
	@if [ "$$(uname -sm)" != "Linux x86_64" ]; then \
		echo "setup: no libchdb is published for this machine: name your own with TILLSYN_CHDB_LIBRARY, or use a ClickHouse server"; \
	elif [ ! -s node_modules/@chdb/lib-linux-x64-gnu/libchdb.so ]; then \
		rm -f $@; echo "setup: npm did not bring libchdb: is the npm registry reached?" >&2; exit 1; \
	fi
	@touch $@

.PHONY: build
build: setup ## build ./tillsyn
	go build -o tillsyn .

.PHONY: demo
demo: build ## see it work: a week of a municipality that does not exist, from Kafka to statistics
	./tillsyn demo

.PHONY: test
test: setup ## run every test but those that need Apache Kafka
	go vet ./...
	go test -count=1 -timeout 60m ./...

.PHONY: check
check: ## formatting, vet, tidy modules and the shipped configuration
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "check: run gofmt -w on these" >&2; exit 1; }
	go vet ./...
	go mod tidy -diff
	go run . --config deploy/tillsyn.example.yaml config check

.PHONY: bench
bench: setup ## measure: parsers, lists, tokens, rollup, the whole pipeline from Kafka to ClickHouse; the vault, the record, the gate
	go test -run '^$$' -bench . -benchtime 1s ./ingest/... ./aggregate ./internal/seal ./internal/synthetic ./internal/audit ./query/casework
	@# Once each: a purge of a million rows, a lookup over 90 days of 10 000 people.
	go test -run '^$$' -bench . -benchtime 1x ./internal/vault

FUZZTIME ?= 1m
.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME (1m)
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s $$package; \
		done; \
	done

# The stamp stands for a whole set of jars of the version in the pom.
.cache/kafka/.complete: ingest/kafka/testdata/broker/pom.xml
	@command -v mvn >/dev/null && command -v java >/dev/null || { echo "test-kafka: Java 17 and Maven are needed (Debian: apt-get install openjdk-17-jre-headless maven)" >&2; exit 1; }
	@rm -rf .cache/kafka
	mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.cache/kafka
	@touch $@

.PHONY: test-kafka
test-kafka: .cache/kafka/.complete ## run the tests that use Kafka against Apache Kafka itself (brings it with Maven, needs Java 17)
	go test -count=1 -tags apachekafka -run Apache $$(grep -rl --include='*_test.go' --exclude-dir=node_modules --exclude-dir=.cache '^//go:build apachekafka' . | xargs -n 1 dirname | sort -u)
