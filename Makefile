# Everything a person or a machine does with this repository. `make` lists the targets.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
# The newest Python that the packages support: `make test-newest` runs the core of the tests on it.
NEWEST ?= python3.13
NEWEST_PYTHON := $(shell $(NEWEST) -c '' 2>/dev/null && echo $(NEWEST) || \
  ls -d $(HOME)/.pyenv/versions/$(subst python,,$(NEWEST)).*/bin/python 2>/dev/null | tail -n 1)
CORE := tests/cli tests/config tests/data tests/evaluation tests/generation tests/models tests/runs \
  tests/storage tests/tokenization tests/test_capacity.py tests/test_rooms.py tests/test_sharding.py

UV ?= uv
COMPILE := $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --no-annotate \
  --custom-compile-command "make lock"

.PHONY: help setup setup-test quickstart test test-newest lint format mutants lock clean

help: ## list the targets
	@grep -E '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):.*## /  make \1\t/' | expand -t 22

setup: $(VENV)/.runtime ## create .venv with what the program needs

setup-test: $(VENV)/.test ## create .venv with what tests and checks need, too

quickstart: $(VENV)/.runtime ## run all of TeacherLM at toy size: about five minutes on two cores
	@$(BIN)/teacherlm quickstart --config=configs/quickstart.py

test: lint ## check format, lint and types, and run all tests
	@echo "== tests"
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-newest: ## the core of the tests and a tiny quickstart on the newest Python
	@if [ -z "$(NEWEST_PYTHON)" ]; then echo "== skipped: no $(NEWEST) on this machine"; else \
	  $(MAKE) --no-print-directory VENV=.venv-newest PYTHON=$(NEWEST_PYTHON) .venv-newest/.test && \
	  echo "== core tests on $$(.venv-newest/bin/python --version)" && \
	  .venv-newest/bin/python -m pytest -q -n 2 --dist loadfile $(CORE) && \
	  echo "== a tiny quickstart" && \
	  .venv-newest/bin/teacherlm quickstart \
	    --config=configs/quickstart.py:tiny,root=$$(mktemp -d)/quickstart; fi

lint: $(VENV)/.test
	@echo "== format, lint, types"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(VENV)/.test ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench-%: $(VENV)/.test ## run one benchmark, for example make bench-attention
	@$(BIN)/python -m benchmarks.$(subst -,_,$*)

mutants: .venv-mutants/.ready ## change the code here and there, and see the tests fail: docs/explanation/tests.md
	@.venv-mutants/bin/python -m benchmarks.mutants

lock: ## resolve the pinned versions again, with uv (pip install uv)
	$(COMPILE) --extra test --extra beam --extra endpoint --extra int8 --extra lm_eval \
	  --extra docs --extra track --output-file requirements-test.txt
	$(COMPILE) --constraint requirements-test.txt --output-file requirements.txt
	$(COMPILE) --constraint requirements-test.txt --extra beam --output-file requirements-beam.txt
	$(COMPILE) --constraint requirements-test.txt --extra endpoint \
	  --output-file requirements-endpoint.txt
	$(COMPILE) --constraint requirements-test.txt --extra int8 --output-file requirements-int8.txt
	$(COMPILE) --constraint requirements-test.txt --extra lm_eval \
	  --output-file requirements-lm_eval.txt
	$(COMPILE) --constraint requirements-test.txt --extra docs --output-file requirements-docs.txt
	$(COMPILE) --constraint requirements-test.txt --extra track --output-file requirements-track.txt
	$(COMPILE) --constraint requirements-test.txt --extra plan --no-header | grep ^libtpu \
	  > requirements-tpu.txt
	echo cosmic-ray | $(subst pyproject.toml,-,$(COMPILE)) --constraint requirements-test.txt \
	  --output-file requirements-mutants.txt

clean: ## remove the environments and caches, never runs
	rm -rf $(VENV) .venv-newest .venv-mutants .mypy_cache .ruff_cache .pytest_cache *.egg-info build

$(VENV)/bin/python:
	@echo "== creating the virtual environment $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; name one, for example make PYTHON=/usr/bin/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "could not create the virtual environment; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "== installing the pinned packages (about 2 GB on disk; a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.test: requirements-test.txt requirements-torch.txt requirements-tpu.txt $(VENV)/.runtime
	@echo "== installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements-test.txt -r requirements-torch.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target $(VENV)/tpu -r requirements-tpu.txt
	@touch $@

# The tool in an environment of its own, which finds the packages of $(VENV) after its own.
.venv-mutants/.ready: requirements-mutants.txt $(VENV)/.test
	@echo "== creating .venv-mutants with the tool for mutation testing"
	@$(BIN)/python -m venv --clear .venv-mutants
	@.venv-mutants/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@site='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	  $(BIN)/python -c "$$site" > "$$(.venv-mutants/bin/python -c "$$site")/packages.pth"
	@touch $@
