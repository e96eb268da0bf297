# `make demo` and `make test` set everything up by themselves, in .venv, and touch nothing else.
PYTHON ?= python3
TASK ?= segmentation
BIN := .venv/bin

.PHONY: help demo test check format bench clean constraints

help:  ## What each target does
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/installed  ## The main job on a generated cohort (TASK=segmentation or TASK=detection)
	$(BIN)/python -m experiments.demo task=$(TASK)

test: .venv/installed-dev  ## All tests; those on real scans where PSFT_DATA names their folder
	$(BIN)/python -m pytest -n auto --dist worksteal

check: .venv/installed-dev  ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed-dev  ## Put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed-bench  ## Measure beside plain PyTorch: a table, bench/results.json, docs/performance.md
	$(BIN)/python -m bench
	$(BIN)/python -m bench --render

constraints:  ## Write constraints.txt anew, with the newest versions
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --quiet --no-header --no-annotate --extra dev --extra sweep \
		--extra preprocess --extra notebooks --extra bench --output-file constraints.txt pyproject.toml

clean:  ## Remove the virtual environment and caches; runs/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

.venv/installed-bench: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@
