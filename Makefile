# Everything runs from here; the first use of a target sets up what it needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs
PEERS := .venv-peers
# Processes of the tests; the tests of one file stay together, for they share what is slow to set up.
JOBS ?= auto
SPREAD = --numprocesses=$(JOBS) --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
# .ci/run has those that fail run once more.
PYTEST ?= $(BIN)/python -m pytest
TIMES ?= .benchmarks/peers.json

.PHONY: bench test quick check lint types perf perf-table load table site peers clean help

help:
	@echo "make bench   set up, run the suite mini@1, print the board"
	@echo "make test    set up, run the tests"
	@echo "make quick   the tests that take no more than a few seconds each"
	@echo "make check   lint and types       make perf   speed against other libraries"
	@echo "make table   print the board      make site   write it as a page into site/"
	@echo "make peers   set up other attack libraries, run the agreement tests"
	@echo "make load    a server's requests a second and memory with ten thousand entries"

bench: $(VENV)/.installed
	$(BIN)/robustarena run mini@1 --out $(OUT)

test: $(VENV)/.installed
	$(PYTEST) $(SPREAD)

quick: $(VENV)/.installed
	$(PYTEST) $(SPREAD) -m "not slow"

check: lint types

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

perf: $(PEERS)/.installed
	@mkdir -p .benchmarks
	$(PEERS)/bin/python -m pytest benchmarks/perf --benchmark-only --benchmark-json=$(TIMES)
	$(PEERS)/bin/python -m benchmarks.perf.table $(TIMES)

perf-table:
	@$(PEERS)/bin/python -m benchmarks.perf.table $(TIMES)

# Ten thousand entries behind a server on one core; a quarter of an hour.
load: $(VENV)/.installed
	$(BIN)/python -m benchmarks.perf.board_load

table: $(VENV)/.installed
	$(BIN)/robustarena table --out $(OUT)

site: $(VENV)/.installed
	$(BIN)/robustarena site site --out $(OUT)

# The peers pin old dependencies, so they get an environment of their own that sees the main one's packages; beside them
# lies only what they import and the main one lacks.
$(PEERS)/.installed: $(VENV)/.installed Makefile
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		foolbox==3.3.4 eagerpy==0.30.0 GitPython gitdb smmap torchattacks==3.5.1 \
		adversarial-robustness-toolbox==1.20.1 six asr-attacks==0.3.0 jiwer requests
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> $$($(PEERS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/robustarena-main.pth
	@touch $@

peers: $(PEERS)/.installed
	$(PEERS)/bin/python -m pytest tests/test_peers*.py

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[textattack,server,dev]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-peers runs site
