# Everything that one does here. `make` alone lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test test-door test-core soak check format bench docs lock clean

help:    ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | expand -t 10

demo: $(VENV)/.run  ## set up, then run a day of pauses on the embedded ledger
	$(BIN)/pauseledger demo

test: $(VENV)/.dev  ## set up, then run the tests; what can't be had is skipped, and says why
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=line test-door test-core

# Two halves at once, each with a broker and a database of its own: most of the time something is waited for.
DOOR := tests/bench tests/compose tests/consumers tests/contract tests/docs tests/projections
test-door: $(VENV)/.dev
	$(PYTEST) -m "not soak" $(DOOR)
test-core: $(VENV)/.dev
	$(PYTEST) -m "not soak" $(DOOR:%=--ignore=%) tests

soak: $(VENV)/.dev  ## the long runs: deeper search, longer outages, more kills
	$(PYTEST) -m soak

check: $(VENV)/.dev  ## format, lint, types, structure, and that generated documents are up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -q tests/test_structure.py
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m tests.vectors_writer --check

format: $(VENV)/.dev  ## format the code and mend what can be mended by a tool
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## measure everything in one run: docs/bench.json, docs/benchmarks.md
	$(BIN)/python -m bench

docs: $(VENV)/.dev  ## write what is generated: the protocol's tables, the conformance vectors
	$(BIN)/python docs/generate.py
	$(BIN)/python -m tests.vectors_writer

lock: $(VENV)/.dev  ## choose versions anew
	$(BIN)/uv pip compile -q --universal --generate-hashes --group build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --group build --extra all -c requirements.lock \
	  pyproject.toml -o requirements-all.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --group dev --extra all --extra runtimes -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:   ## remove what was set up
	rm -rf $(VENV) .cache build dist

# The commands need .run; tests and checks need .dev, which has it. Hashes are checked, nothing is resolved anew.
$(VENV)/.run: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pauseledger needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
