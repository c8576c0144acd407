# Thin targets: each is one obvious command. `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
NB     ?=
QUICK  ?=
PORT   ?= 8000
# Two processes, and all tests of a file in the same one: a notebook's cells share a kernel.
PYTEST := $(PY) -m pytest -n 2 --dist loadfile

# One thread a process, everywhere: the same rounding in every run, and the chapters run side by side.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help book test unit lint test-web serve execute study bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

book: $(VENV)/.book ## install, execute every chapter, build _build/html/index.html
	@$(PY) scripts/build_book.py

test: $(VENV)/.test lint ## install, lint, run all unit tests and every notebook (stored outputs compared)
	@$(VENV)/bin/gatedrnn data fetch bach_chorales
	$(PY) -m pytest --doctest-modules src
	$(PYTEST) --nbval --nbval-current-env tests notebooks

unit: $(VENV)/.test ## the unit tests without the slow ones: under a minute
	$(PY) -m pytest --doctest-modules src
	$(PYTEST) -m 'not slow' tests

lint: $(VENV)/.test ## linter, formatter, types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

test-web: $(VENV)/.test ## the built book in a browser; run `make book` first
	$(PY) -m pytest tests/web

serve: book ## build, then show the book at http://localhost:8000 (PORT=...)
	$(PY) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

execute: $(VENV)/.book ## re-execute the notebooks in place (NB=01_vanilla_rnn: that one alone)
	@$(PY) scripts/execute.py $(NB)

study: $(VENV)/.study ## run what has no record of the columns paper and adam: hours, resumable
	$(VENV)/bin/gatedrnn study --workers $$(nproc)

bench: $(VENV)/.bench ## compare the speed of every way to compute the units: about 20 minutes, resumable (QUICK=1: 4)
	$(PY) bench/speed.py $(if $(QUICK),--plan quick)
	$(if $(QUICK),,$(PY) bench/speed.py --plan speech && $(PY) bench/speed.py --plan quick --avx2)

clean: ## remove what building and testing left; the environment stays
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache

# The environment with one extra of pyproject.toml, made anew when the dependencies change.
$(VENV)/.%: pyproject.toml constraints.txt | $(PY)
	$(PY) -m pip install -q -c constraints.txt -e '.[$*]'
	@touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one with make PYTHON=...") \
	    if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
