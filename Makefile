# Every target sets up its own environment first. Needs python3 (>= 3.11) and make, nothing else.
# A stamp file in the environment is newer than the files it was made from, so a second call
# installs nothing. Delete $(VENV) to start afresh.

PYTHON ?= python3
VENV ?= .venv
SYSTEM_SITE ?= 0
TORCH ?=

RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip
TORCH_VENV := $(VENV)-torch-$(TORCH)
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
# A process per core, up to four; a file's tests stay in one process, so that they share its fixtures.
TEST_WORKERS := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PYTHON_IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-torch check bench clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)
	@echo
	@echo "PYTHON=python3.12   the interpreter that makes the environment (now: $(PYTHON))"
	@echo "VENV=DIR            folder of the environment (now: $(VENV))"
	@echo "SYSTEM_SITE=1       when the environment is first made: build on the packages that PYTHON"
	@echo "                    has already (a GPU machine's own torch) and add only what is missing"

demo: $(INSTALLED) ## Generate data, train, evaluate both directions, save a ranking picture
	$(RUN) tools/demo.py

test: $(INSTALLED_DEV) ## The whole test suite, 14 minutes on two cores
	$(RUN) -m pytest $(TEST_WORKERS)

test-torch: ## The fast tests with another version: make test-torch TORCH=2.11.0
	@test -n "$(TORCH)" || { echo "name a version: make test-torch TORCH=2.11.0"; exit 1; }
	@test -x $(TORCH_VENV)/bin/pip || $(PYTHON) -m venv $(TORCH_VENV)
	grep -hv '^torch' requirements.txt requirements-dev.txt > $(TORCH_VENV)/others.txt
	$(TORCH_VENV)/bin/pip install torch==$(TORCH) torchvision -r $(TORCH_VENV)/others.txt -e .
	$(TORCH_VENV)/bin/pip install --no-deps -r requirements-fastreid.txt
	$(TORCH_VENV)/bin/python -m pytest $(TEST_WORKERS) -m "not slow and not slurm"

check: $(INSTALLED_DEV) ## Lint, format, types and the fast tests
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest $(TEST_WORKERS) -m "not slow and not slurm"

bench: $(INSTALLED) ## Measure data, model, loss and evaluation speed
	$(RUN) tools/benchmark.py all

clean: ## Remove caches and build leftovers; the environment, data and runs stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find wrimnet tools tests -type d -name __pycache__ -prune -exec rm -rf {} +

# bin/pip is the last thing that venv writes: an environment without it is a broken one.
$(INSTALLED): requirements.txt requirements-fastreid.txt setup.py
	@$(PYTHON) -c '$(PYTHON_IS_NEW_ENOUGH)' || { \
	  echo "$(PYTHON) is missing or older than 3.11; name a newer one: make ... PYTHON=python3.12"; \
	  exit 1; }
	@test -x $(VENV)/bin/pip || \
	  $(PYTHON) -m venv $(if $(filter 1,$(SYSTEM_SITE)),--system-site-packages) $(VENV) || { \
	  echo "$(PYTHON) cannot make an environment; on Debian and Ubuntu: apt install python3-venv"; \
	  exit 1; }
	@if grep -q 'include-system-site-packages = true' $(VENV)/pyvenv.cfg; \
	  then echo "Keeping the packages of $(PYTHON), adding what setup.py misses"; \
	  else $(PIP) install -r requirements.txt; fi
	$(PIP) install -e '.[viz]'
	$(PIP) install --no-deps -r requirements-fastreid.txt
	@touch $@

$(INSTALLED_DEV): $(INSTALLED) requirements-dev.txt
	$(PIP) install -r requirements-dev.txt
	@touch $@
