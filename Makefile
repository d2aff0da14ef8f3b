# Works with GNU make 3.81 and later (macOS). Each target sets up what it needs first; see stack/setup.sh.

PYTEST := .venv/bin/python -m pytest
# Many tests wait for other processes, so more workers than processors pay; conftest.py says what runs in which.
WORKERS  ?= 5
# The fast tests hardly wait, and each worker takes 5 s of CPU to collect them.
CHECKERS ?= 2
PARALLEL := --dist loadscope --no-loadscope-reorder
# Each run leaves its results here as JUnit XML; CI adds them up.
JUNIT  := .run/junit
FAST   := not slow and not e2e and not chaos and not upgrade and not browser and not compose and not clients and not observe
ALL    := not browser and not compose and not chaos and not upgrade and not clients and not observe
LOCAL  := $(ALL)$(if $(filter true,$(CI)),, and not ci_only and not alone)
# Properties: CI tries 100 examples of most of them, and all others a quarter of that (conftest.py).
QUICK  := --hypothesis-profile=check
# A run starts hundreds of Python processes: without their bytecode each would compile this project anew.
unexport PYTHONDONTWRITEBYTECODE
LOCK   := .run/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
          --no-emit-index-url --no-emit-find-links --system-certs --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help setup run compile test test-all test-compiled check types imports format bench lock clean test-browser test-compose test-clients test-observe test-upgrade loadtest loadtest-ui chaos model

help: ## List these targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Variables, with their defaults or an example (those with a path, and REDIS_URL):"
	@echo "  make run IO_NODES=4 APP_NODES=1 HOST=localhost PORT=8080 APP=path/to/file.py:sio WEB=path/to/file.py:app REDIS_URL=redis://..."
	@echo "  make loadtest USERS=500 SPAWN_RATE=50 RUN_TIME=60s SCENARIO=fanout PROCESSES=1 URL=http://localhost:8080"

run: setup ## Start the whole cluster with the chat example on http://localhost:8080
	@exec .venv/bin/python -m sio_stack

compile: setup ## Compile the hot modules, in a minute or two: an io-node then needs a tenth less CPU (docs/performance.md)
	@stack/setup.sh compiler
	@.venv/bin/python -m sio_cluster.compiled

test: setup ## Everything that needs neither Docker nor a browser, in about 5 minutes on 2 cores (ARGS="-k word -x", WORKERS=2)
	@mkdir -p $(JUNIT)
	$(PYTEST) -n $(WORKERS) $(PARALLEL) -m "$(LOCAL)" $(if $(filter true,$(CI)),,$(QUICK)) --junitxml=$(JUNIT)/test.xml $(ARGS)

test-all: setup ## The same, and all that CI proves again in other ways, in about 13 minutes
	@mkdir -p $(JUNIT)
	$(PYTEST) -n $(WORKERS) $(PARALLEL) -m "$(ALL)" --junitxml=$(JUNIT)/test.xml $(ARGS)

test-compiled: compile ## The fast tests of the nodes on the compiled modules
	@mkdir -p $(JUNIT)
	SIO_PURE=0 $(PYTEST) -n $(CHECKERS) $(PARALLEL) -m "$(FAST)" $(QUICK) --junitxml=$(JUNIT)/compiled.xml \
	  shared/tests/compiled shared/tests/protocol services $(ARGS)

check: types imports ## Lint, types, import rules, fast tests (about 95 s)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	@mkdir -p $(JUNIT)
	$(PYTEST) -n $(CHECKERS) $(PARALLEL) -m "$(FAST)" $(QUICK) --junitxml=$(JUNIT)/check.xml $(ARGS)

# Each package's own tests are read by themselves: their folders are all called tests.
types: setup ## Types of all code and all tests
	.venv/bin/mypy
	@for part in shared stack services/io-node services/app-node; do \
	  MYPYPATH=$$part .venv/bin/mypy $$part/tests || exit 1; done
	@.venv/bin/node node_modules/pyright/index.js

imports: setup ## Who may import what, and whether each package names all that it imports as its dependencies
	.venv/bin/lint-imports
	@for part in shared services/io-node services/app-node stack; do \
	  (cd $$part && $(CURDIR)/.venv/bin/deptry src) || exit 1; done

format: setup ## Sort imports and format all code
	.venv/bin/ruff check --fix --select I .
	.venv/bin/ruff format .

test-browser: setup ## The chat example and the Admin UI in Chromium
	@mkdir -p $(JUNIT)
	$(PYTEST) -m browser --junitxml=$(JUNIT)/browser.xml tests/browser $(ARGS)

test-compose: setup ## The Docker Compose stack, scaled up and down under clients
	@mkdir -p $(JUNIT)
	$(PYTEST) -m compose --junitxml=$(JUNIT)/compose.xml tests/compose $(ARGS)

test-clients: setup ## Clients in Java, old JavaScript, Go and Rust, as far as their tools are installed
	@mkdir -p $(JUNIT)
	$(PYTEST) -m clients -rs --junitxml=$(JUNIT)/clients.xml tests/clients $(ARGS)

test-observe: setup ## Rules and dashboards in a real Prometheus (needs prometheus and promtool)
	@mkdir -p $(JUNIT)
	$(PYTEST) -m observe -rs --junitxml=$(JUNIT)/observe.xml observe $(ARGS)

test-upgrade: setup ## The last release (tests/upgrade/released.txt) and this code in one cluster, in both directions
	@mkdir -p $(JUNIT)
	$(PYTEST) -n 2 $(PARALLEL) -m upgrade -rs --junitxml=$(JUNIT)/upgrade.xml tests/upgrade $(ARGS)

chaos: setup ## Faults of every kind under load, two at a time, and a checker of all that happened (CHAOS_SEED= repeats a run)
	@mkdir -p $(JUNIT)
	$(PYTEST) -n 2 $(PARALLEL) -m chaos --junitxml=$(JUNIT)/chaos.xml tests/chaos $(ARGS)

model: setup ## Thousands of random orders of faults, on a simulated clock (docs/reliability.md, The model; MODEL_SEED=, MODEL_HISTORIES=)
	@mkdir -p $(JUNIT)
	MODEL_HISTORIES=$(or $(MODEL_HISTORIES),5000) MODEL_SEED=$(MODEL_SEED) \
	  $(PYTEST) -s --junitxml=$(JUNIT)/model.xml tests/model/test_model.py -k "test_histories or test_aimed_histories" $(ARGS)

bench: setup ## This cluster beside Socket.IO's own server and python-socketio (ARGS="--quick", ARGS="--sitting one")
	@stack/setup.sh bench
	-@$(MAKE) --no-print-directory compile
	.venv/bin/python -m loadtest.bench $(ARGS)

loadtest: setup ## Simulated browsers, 500 by default: fan-out, latency, losses (starts a cluster where none runs)
	@exec .venv/bin/python -m loadtest $(ARGS)

loadtest-ui: setup ## The same in locust's web interface, on http://localhost:8089
	@exec .venv/bin/python -m loadtest --ui $(ARGS)

lock: setup ## Choose new versions of all dependencies: requirements/*.txt and package-lock.json
	.venv/bin/python -m venv .run/lock
	.run/lock/bin/python -m pip install --quiet uv
	$(LOCK) --upgrade requirements/dev.in -o requirements/dev.txt
	for name in io-node app-node client loadtest compile; do \
	  $(LOCK) -c requirements/dev.txt requirements/$$name.in -o requirements/$$name.txt || exit 1; done
	NODE_USE_SYSTEM_CA=1 .venv/bin/npm update --package-lock-only --ignore-scripts

clean: ## Remove all that set-up, runs and tests have made
	rm -rf .venv node_modules .run .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: .venv/.stamp node_modules/.stamp

.venv/.stamp: requirements/dev.txt shared/pyproject.toml services/io-node/pyproject.toml services/app-node/pyproject.toml stack/pyproject.toml stack/setup.sh
	@stack/setup.sh

node_modules/.stamp: package.json package-lock.json .venv/.stamp
	@stack/setup.sh
