# Hilum. `make demo` shows it; `make test` proves it. Both do all the set-up themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Not on PATH: pynetdicom brings programs of the same names as DCMTK's.
bin := .venv/bin
# ONNX Runtime is used by tools and tests too: it reports to nobody.
export ORT_DISABLE_TELEMETRY := 1

# Fast stages first. Continuous integration adds `extras`.
STAGES := setup lint types proto-check unit integration fuzz e2e
MORE_STAGES :=

.PHONY: help
help:  ## show this
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo:  ## install what it needs, then show Hilum beside a simulated hospital (OPTIONS="--images DIR --labels CSV" for real radiographs)
	@tools/setup demo
	@$(bin)/hilum demo $(OPTIONS)

.PHONY: test
test:  ## install what it needs, then lint, types, contracts, unit, integration and end-to-end tests
	@tools/stages $(STAGES) $(MORE_STAGES)

.PHONY: setup
setup:  ## install what the tests need (idempotent)
	@tools/setup test

.PHONY: lint
lint:  ## ruff, and the layers of the house (import-linter)
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/lint-imports --no-cache

.PHONY: types
types:  ## mypy, strict
	@$(bin)/mypy

.PHONY: proto
proto:  ## generate the code under services/ from proto/
	@tools/generate_contracts

.PHONY: proto-check
proto-check:  ## prove that the generated code is up to date
	@tools/check_contracts

.PHONY: unit integration e2e
unit:  ## tests without a server of another maker
	@$(bin)/pytest -q $(wildcard tests/unit tests/contract tests/simulation)

integration:  ## tests against real peers
	@$(bin)/pytest -q $(wildcard tests/integration tests/gpu)

e2e:  ## the demo, and kill -9 during its load
	@$(bin)/pytest -q $(wildcard tests/e2e)

.PHONY: test-production
test-production:  ## the contract suites on real Kafka, PostgreSQL and S3, and what only these can show
	@tools/setup production
	@$(bin)/pytest -q -m production tests/contract $(wildcard tests/integration/production)

.PHONY: kills
kills:  ## end Hilum at random under load, again and again (ROUNDS=50 SEED=...), and prove that nothing was lost
	@tools/setup test
	@HILUM_KILL_ROUNDS=$(or $(ROUNDS),50) HILUM_KILL_SEED=$(SEED) \
		$(bin)/pytest -q tests/e2e/test_killed.py -o log_cli=true -o log_cli_level=INFO

.PHONY: simulate mutants
simulate:  ## live seeded worlds, each twice (SEEDS=200 FIRST=1; SEED=7 replays one)
	@tools/setup test
	@$(bin)/python -m hilum.simulator.world --seeds $(or $(SEEDS),200) --first $(or $(FIRST),1) $(if $(SEED),--seed $(SEED))

mutants:  ## plant known bugs, one at a time; the seeded world must find each (SEEDS=200 NAMES=...)
	@tools/setup test
	@PYTHONPATH=tests $(bin)/python -m simulation.mutants --seeds $(or $(SEEDS),200) $(NAMES)

.PHONY: fuzz
fuzz:  ## search every reader for what breaks it (SECONDS=60 for each, TARGET=messages for one, PUBLISHED=1 to begin from published data, KEEP=1 to keep what reaches new code)
	@tools/setup test
	@$(if $(TARGET)$(KEEP),,$(bin)/pytest -q tests/fuzz)
	@PYTHONPATH=tests $(bin)/python -m fuzz.run --seconds $(or $(SECONDS),6) $(if $(PUBLISHED),--published) $(if $(KEEP),--keep) $(TARGET)

.PHONY: extras
extras:  ## each extra installs alone and imports its service
	@tools/check_extras

.PHONY: bench
bench:  ## measure; prints figures with the machine they were taken on
	@tools/setup test
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(bin)/python $$file || exit 1; done

.PHONY: corpora
corpora:  ## make the tables of the published messages and images anew (docs/corpora)
	@tools/corpora

.PHONY: train
train:  ## train the demonstration models again from their scripts
	@tools/setup test
	@for file in tools/training/train_*.py; do echo "== $$file"; $(bin)/python $$file || exit 1; done

.PHONY: clean
clean:  ## remove what was built and what the demo wrote
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist hilum-demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
