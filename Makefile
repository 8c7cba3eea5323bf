# Everything starts here: `make demo` on a fresh machine needs python3 with pip, and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip
VENV_V3 := .venv-v3
VENV_HYDRA := .venv-hydra
# One more than there are cores: tests wait for each other's processes, servers and locks.
WORKERS = $(shell $(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))')
# In the order of tests/conftest.py: the files that take longest come first.
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Tests start hundreds of processes: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

# Debian's python3 has no venv of its own; virtualenv in a folder of ours needs only pip.
define make_venv
	@$(PYTHON) -m venv $(1) 2>/dev/null || { rm -rf $(1) && \
	  $(PYTHON) -m pip install --quiet --target .tools virtualenv && \
	  PYTHONPATH=.tools $(PYTHON) -m virtualenv --quiet $(1); }
endef

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-v3 test-hydra test-launcher check format golden facts bench docs constraints clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY)  ## make .venv with the tested versions

$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (torch is large: some minutes on a slow line)"
	$(call make_venv,$(VENV))
	$(PIP) install --constraint constraints.txt torch
	$(PIP) install --constraint constraints.txt --editable '.[launch,loopback,sweep,train,lora,export,dev]'
	@touch $@

demo: setup  ## the main job: train on the embedded sample, then plan it for eight GPUs
	$(BIN)/python train.py
	$(BIN)/python launch.py cluster=p4d_24xl per_device_bs=16
	@echo 'for the commands above: . $(BIN)/activate'

test: setup  ## the fast tests
	$(BIN)/python -m pytest $(PARALLEL)

test-slow: setup  ## the slow tests
	$(BIN)/python -m pytest $(PARALLEL) -m slow

test-v3: $(VENV_V3)/.ready  ## compare with what the SageMaker SDK v3 sends, in its own environment
	PYTHONPATH=src:tests $(VENV_V3)/bin/python -m pytest -p no:cacheprovider -c tests/v3/pytest.ini tests/v3

test-hydra: $(VENV_HYDRA)/.ready  ## compose with the next line of Hydra and OmegaConf, in its own environment
	PYTHONPATH=src:tests:. $(VENV_HYDRA)/bin/python -m pytest -p no:cacheprovider -c tests/next_hydra/pytest.ini tests/next_hydra

test-launcher: setup  ## hydra/launcher=sagemaker as a wheel, with Hydra 1.3 and 1.4, with both sweepers
	PATH="$(abspath $(BIN)):$$PATH" tools/try_launcher.sh build/launcher

$(VENV_V3)/.ready: tests/v3/requirements.txt
	$(call make_venv,$(VENV_V3))
	$(VENV_V3)/bin/python -m pip install --quiet --requirement tests/v3/requirements.txt
	@touch $@

$(VENV_HYDRA)/.ready: tests/next_hydra/requirements.txt
	$(call make_venv,$(VENV_HYDRA))
	$(VENV_HYDRA)/bin/python -m pip install --quiet --requirement tests/next_hydra/requirements.txt
	@touch $@

check: setup  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup  ## write the format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

golden: setup  ## accept today's rendered requests as golden
	$(BIN)/python -m pytest -n auto -m "slow or not slow" tests/launch/render tests/launch/aws --update-golden
	$(BIN)/python -m pytest -m slow tests/launch/simulator/test_rehearsal.py -k sound --update-golden

facts: setup $(VENV_V3)/.ready  ## copy instances, images and the request's model anew from the libraries
	$(BIN)/python tools/facts.py
	$(BIN)/python tools/clusters.py
	$(BIN)/python tools/secret_forms.py

bench: setup  ## measure start-up and plan
	$(BIN)/python benchmarks/plan_latency.py

docs: setup  ## write the generated pages and the site, build/site
	$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python tools/reference.py
	$(BIN)/zensical build --clean --strict
	@echo 'read it: $(BIN)/python -m http.server --directory build/site'

constraints:  ## resolve the tested versions anew
	$(PYTHON) tools/constraints.py

clean:  ## remove what the targets made
	rm -rf $(VENV) $(VENV_V3) $(VENV_HYDRA) .tools runs build .pytest_cache .mypy_cache .ruff_cache
