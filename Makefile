PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install quickstart test lint clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

# Trains an explainer on the embedded scenes, compares it with baselines, explains pictures and one photograph.
quickstart: install
	$(BIN)/fex-quickstart

# The default tests are offline, on the CPU and deterministic; those on real data run where the data is.
test: install lint
	$(BIN)/python -m pytest
	@if [ -d "$${FEX_DATA:-../shared/data}" ]; then $(BIN)/python -m pytest -m "data and not gpu"; \
	else echo "no data sets here (set FEX_DATA): the tests on real data were left out"; fi

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) runs build dist *.egg-info
