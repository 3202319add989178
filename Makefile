# Two commands for a newcomer, `make demo` and `make test`; each does its whole set-up. Everything stays in this folder
# (.venv, .state), but for the package downloads in the cache folder of uv or pip, which honours XDG_CACHE_HOME.

SHELL := /bin/sh
STATE := $(CURDIR)/.state
BIN := .venv/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

export TMPDIR := $(STATE)/tmp
export POOLKEEPER_STATE := $(STATE)
export PREFECT_HOME := $(STATE)/prefect

JOBS ?= 3
PYTEST := $(BIN)/pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder

.PHONY: demo help test fast lab bench coverage mutations lint types programs tests lock clean

demo: .venv/installed  ## a practice world: onboarding, an upgrade past a blocked drain, two nights' audit, the bill
	@$(BIN)/python -m poolkeeper.deployments.lab.demo

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

lab: .venv/installed  ## the practice world keeps running, with its Prefect UI
	@$(BIN)/poolkeeper lab up --prefect --kubelet v1.35.4
	@echo "End it:\n  $(BIN)/poolkeeper lab down"

test: lint types programs tests  ## all checks and tests, and a table of what ran

fast: lint types  ## lint, types and rules: what needs no server
	@$(PYTEST) tests/unit

lint: .venv/installed  ## ruff, its formatter, and the import contract
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/lint-imports --no-cache > .state/tmp/imports.log || { cat .state/tmp/imports.log; exit 1; }

types: .venv/installed  ## mypy, strict
	@$(BIN)/mypy --no-error-summary

programs: .venv/installed  ## Kubernetes' own programs and the machines' system, built once into the cache folder
	@$(BIN)/python -m tests.programs

tests: .venv/installed  ## all tests, or those that TESTS names: make tests TESTS=tests/unit/fees
	@$(PYTEST) $(TESTS)

mutations: .venv/installed  ## breaks the product in many small ways, and checks that a test fails for each one
	@$(BIN)/python -m tests.mutations

coverage: .venv/installed  ## lines and branches of the product that unit and contract tests run
	@$(PYTEST) tests/unit tests/contract --cov --cov-report=term

bench: .venv/installed  ## measures speed and memory, with comparisons; nothing passes or fails by it
	@for script in tests/bench/bench_*.py; do $(BIN)/python -m $$(echo $${script%.py} | tr / .); done

.venv/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "poolkeeper needs Python 3.11 or newer: install one, or name it: make PYTHON=/path/to/python3.12"; exit 2; }
	@mkdir -p $(TMPDIR)
	@rm -rf .venv
	@echo "setting up .venv with $$($(PYTHON) --version) (once, about half a minute)"
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --python $(PYTHON) .venv && \
		uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock && \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
		$(PYTHON) -m venv .venv && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi || { echo "the set-up failed; what is named above is missing (on Debian: apt-get install python3-venv)"; rm -rf .venv; exit 2; }
	@touch $@

lock: .venv/installed  ## writes requirements.lock from pyproject.toml: hashes, and no address of any index
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --extra dev pyproject.toml -o requirements.lock

clean:  ## removes what these commands have created in this folder
	rm -rf .venv .state build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
