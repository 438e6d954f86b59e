# Each target sets up what it needs in .venv; "make demo" and "make test" work on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint format bench pocket clean

demo: .venv/.ready
	$(BIN)/python bot.py demo

test: .venv/.ready
	$(BIN)/python -m pytest

lint: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.ready
	$(BIN)/python -m benchmarks.burst

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
