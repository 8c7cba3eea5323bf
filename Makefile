# Everything starts here: `make demo` on a fresh machine needs python3 with pip, and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check format golden bench constraints clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY)  ## make .venv with the tested versions

$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (torch is large: some minutes on a slow line)"
	@# Debian's python3 has no venv of its own; virtualenv in a folder of ours needs only pip.
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV) && \
	  $(PYTHON) -m pip install --quiet --target .tools virtualenv && \
	  PYTHONPATH=.tools $(PYTHON) -m virtualenv --quiet $(VENV); }
	$(PIP) install --constraint constraints.txt torch
	$(PIP) install --constraint constraints.txt --editable '.[launch,train,dev]'
	@touch $@

demo: setup  ## the main job: train on the embedded sample, then plan it for eight GPUs
	$(BIN)/python train.py
	$(BIN)/python launch.py cluster=p3_16xl per_device_bs=16
	@echo 'for the commands above: . $(BIN)/activate'

test: setup  ## the fast tests
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: setup  ## the slow tests
	$(BIN)/python -m pytest -n auto --dist loadfile -m slow

check: setup  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup  ## write the format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

golden: setup  ## accept today's rendered requests as golden
	$(BIN)/python -m pytest -n auto tests/test_render.py tests/test_submit.py --update-golden

bench: setup  ## measure start-up and plan
	$(BIN)/python benchmarks/plan_latency.py

constraints:  ## resolve the tested versions anew
	$(PYTHON) tools/constraints.py

clean:  ## remove what the targets made
	rm -rf $(VENV) .tools runs build .pytest_cache .mypy_cache .ruff_cache
