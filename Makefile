# Each target sets up what it needs in .venv; "make demo" and "make test" work on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
SEED ?= 1
KILLS ?= 10

.PHONY: demo test faults nemesis soak lint format messages replays compiler bench bench-history bench-gpu pocket clean

demo: .venv/.ready
	$(BIN)/python bot.py demo

# Two tests at a time: more of them stall each other where torch runs.
test: .venv/.ready
	$(BIN)/python -m pytest -n 2 --dist worksteal

# Long runs of faults; the quick ones are part of "make test".
faults: .venv/.ready
	EASEL_TEST_KILLS=$(KILLS) $(BIN)/python -m pytest -m faults --timeout=1200

nemesis: .venv/.ready
	$(BIN)/python -m tests.faults.nemesis --seed $(SEED)

soak: .venv/.ready
	$(BIN)/python -m tests.faults.soak

lint: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

messages: .venv/.ready
	$(BIN)/python -m cogs._messages $(LANGUAGE)

replays: .venv/.ready
	EASEL_TEST_REPLAYS=100 $(BIN)/python -m pytest tests/engine/worker/test_replay.py -s --timeout=3000

compiler: .venv/.ready
	$(BIN)/python -m pytest -m compiler tests/engine/worker --timeout=1200

bench: .venv/.ready
	$(BIN)/python -m benchmarks.burst
	$(BIN)/python -m benchmarks.engine --out .work/bench

bench-gpu: .venv/.ready
	$(BIN)/python -m benchmarks.gpu .work/bench-gpu

# Fills databases with up to a million pictures first, which takes some minutes.
bench-history: .venv/.ready
	$(BIN)/python -m benchmarks.history_search
	$(BIN)/python -m benchmarks.autocomplete

pocket: .venv/.ready
	$(BIN)/python -m engine.pocket.train --work .work/pocket --out engine/pocket/model

clean:
	rm -rf .venv demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Easel needs Python 3.11 or newer." if sys.version_info < (3, 11) else 0)'
	@echo "Setting up .venv (a few minutes the first time)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
