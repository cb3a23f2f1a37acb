# Needs make and Python 3.12 or newer. An active environment (venv or conda) is used as it is;
# without one, everything is installed into .venv. Choose another Python with `make PYTHON=python3.13 ...`.

PYTHON ?= python3
VENV ?= .venv

# conda's base environment is active in every shell of many machines; it is left alone.
ACTIVE := $(or $(VIRTUAL_ENV),$(if $(filter base,$(CONDA_DEFAULT_ENV)),,$(CONDA_PREFIX)))
ENV := $(or $(ACTIVE),$(VENV))
RUN := $(ENV)/bin/python

# Two processes of tests, one thread each: OpenBLAS and OpenMP, numba, and NPROC for the thread pool of XLA.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 NPROC=1

# Data and run of the demo.
DEMO_DATA := demo/data
DEMO_RUN := demo/run
DEMO_TRAIN := train three_tier --preset demo --learning-rate 0.002 --max-minutes 2 --n_seqs 0 \
	--data $(DEMO_DATA) --run $(DEMO_RUN) --overwrite
DEMO_GENERATE := generate $(DEMO_RUN) --seconds 5 --n_seqs 4 --seed 0 --overwrite \
	--beside $(DEMO_DATA)/demo_example.wav

LISTEN := demo/listen

# Where the tables of the paper are reproduced, and how: make table1 SCALE=laptop REPRODUCE="--data music=FOLDER".
SCALE := paper
REPRODUCE :=

.PHONY: help listen demo test lint docs lock clean reproduce-smoke table1 table2 table3 table4
.NOTPARALLEL:

help:
	@echo "make listen  generate sounds with a small model that comes with the package, in $(LISTEN)"
	@echo "make demo    make the demo data, train a small model on it and generate audio, in $(DEMO_RUN)"
	@echo "make test    run the tests (two processes)"
	@echo "make lint    check style, format and types"
	@echo "make reproduce-smoke    run every step of every experiment of the paper's tables, some seconds each"
	@echo "make table1 SCALE=laptop REPRODUCE='--data blizzard=FOLDER ...'    reproduce a table (also 2, 3, 4)"
	@echo "make docs    build the site of the documentation, in build/site"
	@echo "make lock    write requirements.lock and requirements-dev.lock anew from pyproject.toml"
	@echo "make clean   delete caches and built packages"

listen: $(ENV)/.samplernn-run
	$(RUN) -m samplernn_theano generate pretrained/speech_three_tier --seconds 5 --seed 0 --out $(LISTEN) --overwrite
	@echo "Open $(LISTEN)/index.html in a browser; other models: $(RUN) -m samplernn_theano pretrained"

demo: $(ENV)/.samplernn-run
	$(RUN) datasets/demo.py --out $(DEMO_DATA) --example
	$(RUN) -m samplernn_theano $(DEMO_TRAIN)
	$(RUN) -m samplernn_theano $(DEMO_GENERATE)
	@echo "Compare with the data: $(DEMO_DATA)/demo_example.wav. The learning curve: $(DEMO_RUN)/train_log.png"

reproduce-smoke: $(ENV)/.samplernn-run
	$(RUN) -m samplernn_theano reproduce all --scale smoke

table1 table2 table3 table4: $(ENV)/.samplernn-run
	$(RUN) -m samplernn_theano reproduce $@ --scale $(SCALE) $(REPRODUCE)

test: $(ENV)/.samplernn-dev
	$(ONE_THREAD) $(RUN) -m pytest -n 2 --dist loadfile

lint: $(ENV)/.samplernn-dev
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

docs: $(ENV)/.samplernn-dev
	$(RUN) docs/build.py

clean:
	rm -rf build dist .cache .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -prune -exec rm -rf {} +

# The stamps below are newer than what they were installed from. A new .venv gets the exact versions of the lock files;
# in an environment that was active before, what fits into the ranges of pyproject.toml stays as it is.
INSTALL = $(RUN) -m pip install -q --disable-pip-version-check
# --no-compile halves the time: Python compiles what it imports, which is a part of this.
LOCKED = $(INSTALL) --no-deps --require-hashes --no-compile
RUN_PACKAGE := ".[jax,datasets,tensorboard,reproduce]"
DEV_PACKAGE := ".[jax,dev]"

$(ENV)/.samplernn-run: pyproject.toml requirements.lock | $(ENV)/.samplernn-python
	$(if $(ACTIVE),$(INSTALL) -e $(RUN_PACKAGE),\
		$(LOCKED) -r requirements.lock && $(INSTALL) --no-deps --no-build-isolation -e .)
	@touch $@

$(ENV)/.samplernn-dev: requirements-dev.lock $(ENV)/.samplernn-run
	$(if $(ACTIVE),$(INSTALL) -e $(DEV_PACKAGE),$(LOCKED) -r requirements-dev.lock)
	@touch $@

# Needs uv. Versions that still fit are kept; remove the files first for the newest. What the one file has, the other
# leaves out, but for packages that the first installs on some platforms only.
LOCK := uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-annotate \
	--custom-compile-command "make lock"
lock:
	echo "hatchling>=1.27" | $(LOCK) --extra jax --extra datasets --extra tensorboard --extra reproduce \
		-o requirements.lock pyproject.toml -
	$(LOCK) --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml \
		$$(sed -n 's/^\([^ ;]*\)==[^;]*$$/--no-emit-package \1/p' requirements.lock)

BASE_PYTHON := $(if $(ACTIVE),$(RUN),$(PYTHON))

$(ENV)/.samplernn-python:
	@$(BASE_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || \
		{ echo "$(BASE_PYTHON) is not Python 3.12 or newer; $(if $(ACTIVE),activate an environment \
		that has it,name one that is with 'make PYTHON=...')." >&2; exit 1; }
	$(if $(ACTIVE),,$(PYTHON) -m venv $(VENV))
	@touch $@
