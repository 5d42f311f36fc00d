# Everything is installed below the project's root: .venv/, node_modules/ and .state/.

PYTHON := .venv/bin/python
CACHE := $(CURDIR)/.state/cache

# Tools that would keep caches elsewhere keep them here.
export XDG_CACHE_HOME := $(CACHE)
export UV_CACHE_DIR := $(CACHE)/uv
export PIP_CACHE_DIR := $(CACHE)/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_CACHE_DIR := $(CACHE)/pyright
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export npm_config_cache := $(CACHE)/npm
export npm_config_update_notifier := false
export JSII_RUNTIME_PACKAGE_CACHE_ROOT := $(CACHE)/jsii
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 18,20

REQUIREMENTS := $(wildcard requirements*.txt constraints.txt functions/requirements*.txt)

.DEFAULT_GOAL := help
.PHONY: help setup tools demo check lint types unit crash integration unit-and-crash
.PHONY: e2e e2e-jobs e2e-operations operations-and-integration test examples flood bench clean

help:
	@echo "make setup     install everything into .venv/ and node_modules/"
	@echo "make demo      deploy to the embedded cloud, drop the examples, show the results"
	@echo "make check     lint, types, unit and infrastructure tests"
	@echo "make test      what CI runs: make check, and the end-to-end tests"
	@echo "make examples  10,000 rows of each example by every provider that can answer them"
	@echo "make flood     1,000 uploads within a minute, each followed to its summary"
	@echo "make bench     sizes, import times, speed and memory of all functions, and what they cost"
	@echo "make clean     remove what the above made"

# Both at once: each of them waits for the network most of the time.
setup:
	@$(MAKE) -s --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j2) .venv/.stamp node_modules/.stamp

# The newest Python that really runs: a pyenv shim may be on the PATH and fail.
define find_python
found=; \
for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do \
  if "$$candidate" -c 'import sys, venv, ensurepip; \
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1; then \
    found="$$candidate"; break; \
  fi; \
done
endef

# Names all that is missing at once, before anything is installed.
tools:
	@ok=1; $(find_python); \
	if [ -z "$$found" ] && ! $(PYTHON) -c '' >/dev/null 2>&1; then ok=0; \
	  echo "Missing: Python 3.11 to 3.14 with venv and ensurepip."; \
	  echo "  macOS: brew install python@3.13   Debian, Ubuntu: apt install python3 python3-venv"; \
	  echo "  elsewhere: https://www.python.org/downloads/"; \
	fi; \
	if ! node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' >/dev/null 2>&1; then ok=0; \
	  echo "Missing: Node.js 20 or newer."; \
	  echo "  macOS: brew install node   elsewhere: https://nodejs.org/en/download"; \
	fi; \
	if ! npm --version >/dev/null 2>&1; then ok=0; \
	  echo "Missing: npm, which comes with Node.js (Debian, Ubuntu: apt install npm)."; \
	fi; \
	[ $$ok = 1 ]

.venv/.stamp: $(REQUIREMENTS) pyproject.toml | tools
	@$(find_python); \
	if ! $(PYTHON) -c 'import pip' >/dev/null 2>&1; then \
	  echo "Making .venv with $$found"; rm -rf .venv; "$$found" -m venv .venv; \
	fi
	@$(PYTHON) -m pip install --quiet "$$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements.txt)"
	@VIRTUAL_ENV="$(CURDIR)/.venv" .venv/bin/uv pip install --quiet \
	  $(if $(wildcard constraints.txt),-c constraints.txt) -r requirements.txt -e .
	@touch $@

node_modules/.stamp: package.json package-lock.json | tools
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@

demo: setup
	@exec $(PYTHON) -m local.demo

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: setup
	$(PYTHON) -m pyright

unit: setup
	$(PYTHON) -m pytest -q tests/unit tests/contract tests/infra

crash: setup
	$(PYTHON) -m pytest -q tests/crash

integration: setup
	$(PYTHON) -m pytest -q tests/integration

e2e: e2e-jobs e2e-operations

e2e-jobs e2e-operations: setup
	$(PYTHON) -m pytest -q tests/e2e/$(@:e2e-%=%)

# One after the other, whatever -j says: the cheap ones come first.
check: setup
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory unit

# The end-to-end tests wait most of the time: the others run beside them.
test: setup
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory -j3 unit-and-crash e2e-jobs operations-and-integration

unit-and-crash: setup
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory crash

operations-and-integration: setup
	@$(MAKE) --no-print-directory e2e-operations
	@$(MAKE) --no-print-directory integration

# In make test each goes to the provider that its recipe names.
examples: setup
	EVERY_PROVIDER=1 $(PYTHON) -m pytest -q tests/e2e/jobs/test_recipes.py -k 10_000

# In make test there are 100: here each call of a function at the same time is a process.
flood: setup
	FLOOD_FILES=1000 $(PYTHON) -m pytest -q -s tests/e2e/operations/test_flood.py

bench: setup
	@$(PYTHON) -m bench.imports
	@$(PYTHON) -m bench.rows
	@$(PYTHON) -m bench.orchestration

clean:
	rm -rf .venv node_modules .state cdk.out build .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
