# Everything a person or a machine does with this repository. `make` lists the targets.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
# The newest Python that the packages support: `make test-newest` runs the core of the tests on it.
NEWEST ?= python3.13
NEWEST_PYTHON := $(shell $(NEWEST) -c '' 2>/dev/null && echo $(NEWEST) || \
  ls -d $(HOME)/.pyenv/versions/$(subst python,,$(NEWEST)).*/bin/python 2>/dev/null | tail -n 1)
CORE := tests/cli tests/config tests/data tests/doctor tests/evaluation tests/generation tests/models \
  tests/runs tests/status tests/storage tests/tokenization tests/test_capacity.py \
  tests/test_notebooks.py tests/test_rooms.py tests/test_sharding.py

UV ?= uv
UPGRADE := # make lock UPGRADE=--upgrade takes the newest versions
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --no-annotate \
  --custom-compile-command "make lock" $(UPGRADE)
EXTRAS := beam docs endpoint gcs int8 lm_eval track # each is pinned whole in requirements-NAME.txt
DEVICES := cuda tpu # requirements-NAME.txt has what the extra adds to requirements.txt

.PHONY: help setup setup-test quickstart test test-newest test-container lint format notebooks \
  evidence mutants lock lock-check docs report-picture clean

help: ## list the targets
	@grep -E '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):.*## /  make \1\t/' | expand -t 22

setup: $(VENV)/.runtime ## create .venv with what the program needs

setup-test: $(VENV)/.test ## create .venv with what tests and checks need, too

quickstart: $(VENV)/.runtime ## run all of TeacherLM at toy size: five to ten minutes on two cores
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

TARGETS := cpu tpu cuda # of the Dockerfile
test-container: $(VENV)/.test ## build the images of the Dockerfile in a bare Debian: as root, with debootstrap
	@$(BIN)/python -m tests.container $(TARGETS) $(if $(FOLDER),--folder=$(FOLDER))

lint: $(VENV)/.test
	@echo "== format, lint, types"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(VENV)/.test ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

notebooks: $(VENV)/.test ## write notebooks/*.ipynb from their texts, notebooks/*.py
	@$(BIN)/python notebooks/build.py

docs: $(VENV)/.docs ## build the documentation site, docs/_build/html; a warning is an error
	@$(BIN)/python -m sphinx -c docs -W --keep-going -n -q -d docs/_build/doctrees . docs/_build/html
	@echo "== open docs/_build/html/index.html"

report-picture: $(VENV)/.test ## take the picture of the quickstart's report for the README
	@$(BIN)/python -m docs._ext.report_picture runs/quickstart/report/report.html docs/report.png

bench-%: $(VENV)/.test ## run one benchmark, for example make bench-attention
	@$(BIN)/python -m benchmarks.$(subst -,_,$*)

SHORT := # make evidence SHORT=1 trains students with 250 samples and a few pilot seeds
evidence: $(VENV)/.test ## the study of stages and explanations, about eleven hours on two cores
	@$(BIN)/python -m benchmarks.evidence $(if $(SHORT),--short)

mutants: .venv-mutants/.ready ## change the code here and there, and see the tests fail: docs/explanation/tests.md
	@.venv-mutants/bin/python -m benchmarks.mutants $(FILES)

lock: ## resolve the pinned versions again, with uv (pip install uv)
	$(COMPILE) pyproject.toml --extra dev --output-file requirements-dev.txt
	$(COMPILE) pyproject.toml --constraint requirements-dev.txt --output-file requirements.txt
	for extra in $(EXTRAS); do $(COMPILE) pyproject.toml --constraint requirements-dev.txt \
	  --extra $$extra --output-file requirements-$$extra.txt || exit 1; done
	for extra in $(DEVICES); do cat requirements.txt requirements-$$extra.txt > .lock && \
	  $(COMPILE) pyproject.toml --constraint requirements-dev.txt --extra $$extra \
	  --output-file .lock && { head -n 2 requirements.txt; grep -vxFf requirements.txt .lock; } \
	  > requirements-$$extra.txt && rm .lock || exit 1; done
	echo cosmic-ray | $(COMPILE) - --constraint requirements-dev.txt \
	  --output-file requirements-mutants.txt

lock-check: ## resolve each extra on each Python with the pinned versions, with uv
	@for python in 3.11 3.12 3.13; do for extra in $(EXTRAS) $(DEVICES) dev; do \
	  pins="--constraint requirements-$$extra.txt"; \
	  case " $(DEVICES) " in *" $$extra "*) pins="$$pins --constraint requirements.txt" ;; esac; \
	  $(UV) pip compile pyproject.toml --quiet --python-version $$python \
	    --python-platform x86_64-manylinux_2_35 --extra $$extra $$pins > /dev/null || exit 1; \
	  echo "Python $$python: [$$extra] resolves"; done; done

clean: ## remove the environments and caches, never runs
	rm -rf $(VENV) .venv-newest .venv-mutants .mypy_cache .ruff_cache .pytest_cache *.egg-info build \
	  docs/_build docs/reference/api

$(VENV)/bin/python:
	@echo "== creating the virtual environment $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; name one, for example make PYTHON=/usr/bin/python3.11"; exit 1; }
	@$(PYTHON) -c 'import os, shutil, sys, sysconfig as s; old = sys.version_info < (3, 13); \
	  header = os.path.exists(os.path.join(s.get_path("include"), "Python.h")); \
	  sys.exit(not (old or header and shutil.which("g++")))' || \
	  { echo "Python 3.13 needs a compiler, for editdistance; on Debian: apt-get install g++ python3-dev"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "could not create the virtual environment; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "== installing the pinned packages (about 3 GB on disk; a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.test: requirements-dev.txt requirements-torch.txt requirements-tpu.txt $(VENV)/.runtime
	@echo "== installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements-dev.txt -r requirements-torch.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target $(VENV)/tpu -r requirements-tpu.txt
	@touch $@

$(VENV)/.docs: requirements-docs.txt $(VENV)/.runtime
	@echo "== installing what the documentation site needs"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	@touch $@

# The tool in an environment of its own, which finds the packages of $(VENV) after its own.
.venv-mutants/.ready: requirements-mutants.txt $(VENV)/.test
	@echo "== creating .venv-mutants with the tool for mutation testing"
	@$(BIN)/python -m venv --clear .venv-mutants
	@.venv-mutants/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@site='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	  $(BIN)/python -c "$$site" > "$$(.venv-mutants/bin/python -c "$$site")/packages.pth"
	@touch $@
