# fsar: `make demo` and `make test` set everything up by themselves.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
MODULE ?=

.PHONY: demo demo-weights test test-slow check coverage fuzz mutants gpu bench lint types lock install clean
.DEFAULT_GOAL := install

# uv where it is installed, venv and pip elsewhere; both install exactly the hashed versions of constraints.txt.
$(STAMP): pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
	  test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) $(VENV); \
	  VIRTUAL_ENV=$(VENV) uv pip install --quiet --require-hashes -r constraints.txt && \
	  VIRTUAL_ENV=$(VENV) uv pip install --quiet --no-deps --no-build-isolation -e .; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --require-hashes -r constraints.txt && \
	  $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .; \
	fi
	@touch $@

install: $(STAMP)

demo: install
	$(BIN)/fsar demo --force

# The checkpoint that the demo starts from: renders normal scenes and trains on them, 1500 steps in about 25 minutes.
demo-weights: install
	$(BIN)/python -m fsar_cli.tools.demo.pretrain fsar_cli/presets/demo.safetensors

test: install
	$(BIN)/python -m pytest -n 3

test-slow: install
	$(BIN)/python -m pytest -m slow

# Branch coverage of core and data by their own fast tests, without network or GPU; under 95 % it fails.
coverage: install
	$(BIN)/python -m pytest -n 2 tests/core tests/data --cov=fsar_cli/core --cov=fsar_cli/data --cov-branch \
	  --cov-report=term-missing:skip-covered --cov-fail-under=95

# Faults put into five modules, one at a time, each of which a test must see: half an hour; MODULE=fsar_cli.core.losses.
mutants: install
	@test -x $(BIN)/mutmut || if command -v uv >/dev/null 2>&1; \
	  then VIRTUAL_ENV=$(VENV) uv pip install --quiet 'mutmut>=3.8,<4'; \
	  else $(BIN)/python -m pip install --quiet 'mutmut>=3.8,<4'; fi
	FSAR_SHARED=$${FSAR_SHARED:-$(abspath ../shared)} FSAR_GOLDEN=$${FSAR_GOLDEN:-$(abspath ../shared/golden)} \
	  $(BIN)/mutmut run $(if $(MODULE),"$(MODULE).*")
	@$(BIN)/mutmut results

# Parsers against files that reach ever more of their lines, SECONDS each; for Linux and macOS. See tests/fuzz.
SECONDS ?= 60
fuzz: install
	@if command -v uv >/dev/null 2>&1; then VIRTUAL_ENV=$(VENV) uv pip install --quiet 'atheris>=3'; \
	else $(BIN)/python -m pip install --quiet 'atheris>=3'; fi
	PYTHONPATH=tests $(BIN)/python -m fuzz $(SECONDS)

# On a machine with a GPU: a skipped CUDA test counts as a failure. PYTHON may name an environment that has torch already.
gpu:
	FSAR_EXPECT_CUDA=1 $(PYTHON) -m pytest -m cuda

# How fast fsar is here, each figure beside a plain form of the same work: 40 minutes; QUICK=1: a minute or two.
bench: install
	PYTHONPATH=tests $(BIN)/python -m bench $(if $(QUICK),--quick)

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

# All that a machine can judge of a change: style, types, and the tests of core and data with their coverage.
check: lint types coverage

# The types of what computes, reads data and recognises: fsar_cli/core, data and recognise.
types: install
	$(BIN)/mypy

# Refresh the pinned versions.
lock:
	uv pip compile pyproject.toml --upgrade --extra dev --extra tensorboard --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet -o constraints.txt

clean:
	rm -rf $(VENV) demo mutants build dist .pytest_cache .ruff_cache .mypy_cache .coverage .coverage.*
