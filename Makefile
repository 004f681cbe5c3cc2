# Day-to-day commands. "make check" before a commit; CI runs .ci/run, which also runs the demo and the README.

GO         ?= go
RACE       ?= -race
FUZZTIME   ?= 30s
BENCH      ?= .
BENCHTIME  ?= 1s
BENCHCOUNT ?= 1
# Packages with benchmarks worth comparing; "make bench BENCHCOUNT=10 >new.txt" feeds benchstat.
BENCHED    ?= ./bench ./geo ./track ./stream ./stream/wire ./internal/db

.DEFAULT_GOAL := help
.PHONY: help check format vet static arch guards test race bench bench-compare fuzz demo clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

check: format vet static arch guards race ## everything below that a commit must pass

format: ## gofmt
	@.ci/run format >/dev/null || .ci/run format

vet: ## go vet
	$(GO) vet ./...

static: ## staticcheck, at the version of tools.mod
	$(GO) tool -modfile=tools.mod staticcheck ./...

arch: ## imports point downwards; no clock in what decides
	$(GO) test ./internal/archtest

guards: ## allocation guards; they measure nothing under the race detector
	$(GO) test -count=1 -run 'Allocate|Cheap' $$(grep -rl AllocsPerRun --include='*_test.go' . | xargs -n1 dirname | sort -u)

test: ## what the README says: all tests, with fuzz seeds and allocation guards
	$(GO) test -shuffle=on ./...

race: ## the same under the race detector, without the longest
	$(GO) test $(RACE) -short -shuffle=on ./...

bench: ## benchmarks of the hot path; BENCH=regexp BENCHED="./geo" BENCHCOUNT=10
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -count $(BENCHCOUNT) $(BENCHED)

bench-compare: ## benchmarks of BASE against the working tree, in turn; fails on a slowdown or a new allocation
	@bench/compare.sh $(BASE)

fuzz: ## each fuzz target for FUZZTIME (30s); FUZZ=FuzzParse for one
	@set -e; for dir in $$(grep -rlE '^func Fuzz$(patsubst Fuzz%,%,$(FUZZ))' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | awk '{print $$2}' | grep -E '$(or $(FUZZ),.)'); do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done

demo: ## the gateway with stores, walkers and phones, in one process
	$(GO) run ./cmd/footfall demo

clean: ## remove what builds and tests leave in the tree
	rm -rf footfall clienttest/node_modules
	find . -name '*.test' -o -name '*.prof' -o -name '*.out' | grep -v node_modules | xargs -r rm -f
