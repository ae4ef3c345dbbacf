# Everything a person or a machine does with this repository. `make` lists the targets.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-test quickstart test lint format clean

help: ## what can be made
	@grep -E '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):.*## /  make \1\t/' | expand -t 22

setup: $(VENV)/.runtime ## virtual environment in .venv with what the program needs

setup-test: $(VENV)/.test ## the same with what tests and checks need

quickstart: $(VENV)/.runtime ## the whole of TeacherLM at toy size, at most ten minutes on two cores
	@$(BIN)/teacherlm quickstart --config=configs/quickstart.py

test: lint ## format, lint, types, tests
	@echo "== tests"
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.test
	@echo "== format, lint, types"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(VENV)/.test ## puts the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench-%: $(VENV)/.test ## one comparison of benchmarks/, as in make bench-attention
	@$(BIN)/python -m benchmarks.$(subst -,_,$*)

clean: ## removes the environment and caches, never runs
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info build

$(VENV)/bin/python:
	@echo "== making the virtual environment $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: name one, as in make PYTHON=/usr/bin/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "no virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "== installing the pinned packages (about 2 GB on disk; a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.test: requirements-test.txt requirements-beam.txt requirements-tpu.txt $(VENV)/.runtime
	@echo "== installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target $(VENV)/tpu -r requirements-tpu.txt
	@touch $@
