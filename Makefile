# Thin targets: each is one obvious command. `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
NB     ?=
PORT   ?= 8000

# One thread a process, everywhere: the same rounding in every run, and the chapters run side by side.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help book test serve execute study bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

book: $(VENV)/.installed ## install, execute every chapter, build _build/html/index.html
	@$(PY) scripts/build_book.py

test: $(VENV)/.installed ## install, then run the linter, the unit tests and every notebook (stored outputs compared)
	@$(VENV)/bin/gatedrnn data fetch bach_chorales
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest -n 2 --dist loadfile --nbval --nbval-current-env tests notebooks

serve: book ## build, then show the book at http://localhost:8000 (PORT=...)
	$(PY) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

execute: $(VENV)/.installed ## re-execute the notebooks in place (NB=01_vanilla_rnn: that one alone)
	@$(PY) scripts/execute.py $(NB)

study: $(VENV)/.installed ## run the paper's grid and record it: many hours, resumable; cells with a record are left alone
	$(VENV)/bin/gatedrnn study --workers $$(nproc)

bench: $(VENV)/.installed ## compare the speed of every way to compute the units: about 20 minutes, resumable
	$(PY) -m pip install -q -c constraints.txt -e '.[bench]'
	$(PY) bench/speed.py

clean: ## remove what building and testing left; the environment stays
	rm -rf _build .pytest_cache .ruff_cache

# Made anew when the dependencies change.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one with make PYTHON=...") \
	    if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -c constraints.txt -e '.[book,test,study]'
	@touch $@
