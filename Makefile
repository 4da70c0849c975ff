# Every target but `constraints` sets up what it needs; the second time that costs nothing. PYTHON=… names the interpreter to begin with.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Nearly half of the whole suite's time is waiting for processes: three workers keep two cores busy. A few chosen tests need one.
WORKERS ?= $(if $(ARGS),0,3)
# Unless somebody chooses: no long fault loop (kill -9 rounds); test-all and .ci/run have them all.
CHOSEN = $(if $(ARGS),$(ARGS),-m "not slow")

# Containers like to set it; every worker, and every program that a test starts, would then compile its modules anew.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help demo run setup test test-all coverage check format bench screenshots constraints clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

# What the program needs. The development set-up contains it.
$(VENV)/.runtime: constraints.txt pyproject.toml package-lock.json hatch_build.py scripts/setup.sh
	@scripts/setup.sh $(VENV) constraints.txt
	@touch $@

$(VENV)/.development: constraints-dev.txt pyproject.toml package-lock.json hatch_build.py scripts/setup.sh
	@scripts/setup.sh $(VENV) constraints-dev.txt
	@touch $@ $(VENV)/.runtime

demo: $(VENV)/.runtime ## sandbox + daemon + one training, followed to the delivered file
	@$(BIN)/tunerd demo $(ARGS)

run: $(VENV)/.runtime ## the daemon, with the settings of the environment
	@exec $(BIN)/tunerd serve $(ARGS)

setup: $(VENV)/.development ## the development environment in .venv

test: $(VENV)/.development ## every test but the long fault loops; installs system parts where it may. ARGS="-k name" chooses
	@scripts/system-parts.sh
	PYTHONHASHSEED=0 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(CHOSEN)

test-all: ## every test, the long fault loops too, in full length
	@FAULT_ROUNDS=$${FAULT_ROUNDS:-100} $(MAKE) --no-print-directory test WORKERS=2 ARGS="--timeout=1800 $(ARGS)"

coverage: $(VENV)/.development ## as test, then which lines and branches no test takes; processes of the tests' own count
	@scripts/system-parts.sh
	@$(BIN)/coverage erase
	PYTHONHASHSEED=0 $(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal $(CHOSEN)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage html --quiet && $(BIN)/coverage report

check: $(VENV)/.development ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.development ## put the code into its format, mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.development ## the benchmarks beside their peers; fails where a limit is missed
	@scripts/system-parts.sh
	@$(BIN)/python -m bench $(ARGS)

screenshots: $(VENV)/.development ## the README's picture, of a simulated training in Chromium
	@$(BIN)/python -m scripts.screenshots

constraints: ## write the pinned dependencies anew (needs uv)
	@scripts/constraints.sh

clean: ## remove what the targets made
	rm -rf $(VENV) node_modules daemon/web/static/vendor test-artifacts build dist bench/results .coverage* htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
