# Each target makes what it needs; the second time it is quick.
PYTHON ?= python3
VENV ?= .venv
# The extra to install: standard, or tflite-runtime for boards that have only that.
SET ?= standard
RUN = $(VENV)/bin

.PHONY: demo test check format build slow soak clean

demo: $(VENV)/.installed
	$(RUN)/reidd demo

# Options for pytest, such as files to run.
TESTS ?=
test: $(VENV)/.test
	$(RUN)/python -m pytest -m "not slow and not hardware" $(TESTS)

check: $(VENV)/.check
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/coverage erase
	$(RUN)/coverage run -m pytest -m "not slow and not hardware" $(TESTS)
	$(RUN)/coverage combine -q
	$(RUN)/coverage report

# The rigs: faults, kills, floods. They take minutes and print their figures.
slow: $(VENV)/.test
	-$(RUN)/python -m pip install --quiet --group fuzz
	$(RUN)/python -m pytest -m "slow and not hardware" -s

# A daemon under mixed load with faults injected; a day by hand: make soak SOAK_MINUTES=1440
SOAK_MINUTES ?= 10
soak: $(VENV)/.test
	$(RUN)/python -m pip install --quiet --group plot
	PYTHONPATH=tests $(RUN)/python -m soak --minutes $(SOAK_MINUTES) --report build/soak

format: $(VENV)/.check
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

build: $(VENV)/.check
	$(RUN)/python -m build --wheel

clean:
	rm -rf $(VENV) dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "reidd needs Python 3.10 or newer; name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --upgrade pip

# pip takes --group from version 25.1 on, so pip itself comes first.
$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(RUN)/python -m pip install --quiet --editable '.[$(SET)]'
	@touch $@

$(VENV)/.test: $(VENV)/.installed
	$(RUN)/python -m pip install --quiet --group test
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(RUN)/python -m pip install --quiet --group check
	@touch $@
