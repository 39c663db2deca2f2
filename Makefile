# Two commands do everything: `make book` and `make test`. Both set up .venv by themselves and skip what is up to date.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready

# One thread each: the models that chapters train themselves are so small that a second one only gets in the way.
# Experiments in chapters take a process for each core all the same.
export OMP_NUM_THREADS ?= 1
# Executed chapters and trained models live under a fingerprint of the code, so that a change in mialab/ starts afresh
# and an unchanged tree starts warm. The book, the papermill run and the exported notebooks share one store.
STATE  := $(CURDIR)/_build/state/$(shell $(PYTHON) book/_tools/fingerprint.py)
SHARED := MIALAB_STATE=$(STATE) MIALAB_STORE=$(STATE)/store

.NOTPARALLEL:
.PHONY: setup book test serve lab notebooks lint lock clean

setup: $(READY)

$(READY): constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[dp,cluster,book,dev]'
	touch $@

# A failed build is forgotten: Sphinx would not repeat the warnings of pages that it has read.
book: setup notebooks
	@mkdir -p $(STATE) && find $(dir $(STATE)) -mindepth 1 -maxdepth 1 ! -name $(notdir $(STATE)) -exec rm -rf {} +
	$(SHARED) $(VENV)/bin/jupyter-book build . -W -n --keep-going || { rm -rf _build/.doctrees; exit 1; }

test: lint book
	$(SHARED) $(PY) -m mialab regress --preset smoke --out _build/regress
	$(SHARED) $(PY) -m pytest --numprocesses 2 $(PYTEST)

serve: book
	@echo "The book is at http://localhost:8000 (Ctrl-C stops it)"
	$(PY) -m http.server --bind 127.0.0.1 --directory _build/html 8000

lab: setup
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[lab]'
	$(VENV)/bin/jupyter lab book

# EDITION=student writes notebooks without solutions into _build/student and leaves the others alone.
EDITION ?= full

notebooks: setup
	$(PY) book/_tools/export.py --edition $(EDITION)

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) book/_tools/lint.py
	$(PY) book/_tools/export.py --check

# Resolve afresh and write what was installed: run it to take newer versions, then read the difference.
lock:
	rm -rf _build/lock && $(PYTHON) -m venv _build/lock
	_build/lock/bin/python -m pip install --quiet --upgrade --editable '.[dp,cluster,book,lab,dev,bench]'
	_build/lock/bin/python -m pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf _build
