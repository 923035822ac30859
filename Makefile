# make demo   create .venv, install, run the main job
# make test   the same for lint, types and tests
# make faults the fault programme at its large size; writes benchmarks/faults.json, .md and README's table
# make soak   two hours of load with a kill every 30 seconds
# Running either again installs nothing twice. PYTHON=python3.12 chooses another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
FAULTS := tests/faults tests/test_aio.py tests/test_bad_input.py tests/test_golden.py tests/test_upkeep.py
DECLARED := pyproject.toml constraints.txt integrations/langchain/pyproject.toml \
	integrations/llama_index/pyproject.toml

.PHONY: demo test faults soak lint clean

demo: $(VENV)/.demo
	$(BIN)/m2m demo

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# A test at a time, taken from the other core's when one has none left: a few last many minutes.
faults: $(VENV)/.dev
	M2M_FAULTS=large $(BIN)/python -m pytest -n auto --dist worksteal $(FAULTS)

soak: $(VENV)/.dev
	M2M_FAULTS=large M2M_SOAK_S=7200 $(BIN)/python -m pytest tests/faults/test_soak.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p langchain_m2m
	MYPYPATH=integrations/llama_index $(BIN)/mypy --namespace-packages --explicit-package-bases \
		integrations/llama_index/llama_index

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first and alone: left to the others' choice, pip takes the newest, CUDA packages included.
$(VENV)/.torch: $(VENV)/bin/python constraints.txt
	$(PIP) torch
	touch $@

$(VENV)/.demo: $(VENV)/.torch $(DECLARED)
	$(PIP) --editable '.[demo]' --editable integrations/langchain --editable integrations/llama_index
	touch $@

$(VENV)/.dev: $(VENV)/.torch $(DECLARED)
	$(PIP) --editable '.[dev,bench]' --editable integrations/langchain --editable integrations/llama_index
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) m2m_demo_db .pytest_cache .mypy_cache .ruff_cache .hypothesis
