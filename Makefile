# make demo    watch an index and two peers at work
# make test    all tests
# make bench   what a transfer costs on this machine (prints a table, writes bench.json)
# make bench-transfer   the same job beside nginx and curl, libtorrent and magic-wormhole, with what is aimed at
# make bench-index HOLDINGS=1000000   the index with so many files: searches, registration, memory, beside the naive way and a hub
# make simulate SEEDS=1000   swarms on a virtual clock, each decided by its seed (FIRST=… begins elsewhere)
# make crash N=1000      a downloader killed N times; power cuts and disk faults at N file operations each
# make integrity FILES=10000   files from sources and over a wire of which one in 1,000 pieces is wrong
# make lint    ruff and mypy
# make clean   remove what these made
#
# Everything is installed into .venv, and again whenever setup.cfg or pyproject.toml changes.
# PYTHON=… chooses the Python, ARGS=… adds arguments for pytest or the benchmark.

VENV := .venv
BIN := $(VENV)/bin
ARGS :=
SEEDS ?= 200
FIRST ?= 1
N ?= 1000
FILES ?= 10000

BASELINES := $(VENV)/baselines

.PHONY: demo test bench bench-transfer bench-index simulate crash integrity lint clean help
.DELETE_ON_ERROR:

help:
	@sed -n '/^# make/s/^# //p' Makefile

demo: $(VENV)/.installed
	@$(BIN)/python scripts/demo

# One more than cores, for many tests wait for deadlines of real processes; four at most.
TESTERS = $$(n=$$(nproc); echo $$((n < 3 ? n + 1 : 4)))

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses $(TESTERS) --dist worksteal $(ARGS)

bench: $(VENV)/.installed
	@$(BIN)/python -m tests.benchmarks $(ARGS)

bench-transfer: $(VENV)/.installed $(BASELINES)/.installed
	@$(BIN)/python -m tests.benchmarks.aims $(ARGS)

bench-index: $(VENV)/.installed-test
	@$(BIN)/python -m tests.benchmarks.index $(ARGS)

simulate: $(VENV)/.installed-test
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --first $(FIRST) $(ARGS)

crash: $(VENV)/.installed-test
	CRASH_KILLS=$(N) CRASH_CUTS=50 CRASH_SEEDS=$$(($(N) / 50 + 1)) CRASH_FAULTS=$(N) \
		$(BIN)/python -m pytest -s tests/faults/test_many_kills.py tests/faults/test_power_cut.py tests/faults/test_disk_faults.py $(ARGS)

integrity: $(VENV)/.installed-test
	INTEGRITY_FILES=$(FILES) INTEGRITY_ONE_IN=1000 INTEGRITY_END_S=1800 \
		$(BIN)/python -m pytest -s tests/faults/test_integrity.py $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find napd napctl tests twisted -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache

$(BIN)/python:
	@python=$$(PYTHON='$(PYTHON)' sh scripts/find-python) && echo "making $(VENV) with $$python" && "$$python" -m venv $(VENV)

INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: setup.cfg pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: setup.cfg pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[test,dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

# What cannot be installed is named by the benchmark, which goes on without it.
$(BASELINES)/.installed: tests/benchmarks/baselines/requirements.txt | $(BIN)/python
	@$(BIN)/python -m venv $(BASELINES)
	-@while read -r wanted; do case $$wanted in '#'*) ;; *) \
	  $(BASELINES)/bin/python -m pip install --quiet --disable-pip-version-check "$$wanted" ;; esac; done < $<
	@touch $@
