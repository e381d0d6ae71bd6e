PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOWEST ?= .venv-lowest
DEMO ?= .venv-demo

.PHONY: install quickstart results-pages test test-slow test-lowest test-demo lint docs clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

# Trains an explainer on the embedded scenes, compares it with baselines, explains pictures and one photograph.
quickstart: install
	$(BIN)/fex-quickstart

# Writes the tables of the README and of docs/ from docs/results/*.json.
results-pages: install
	$(BIN)/python docs/make_results.py && $(BIN)/python docs/make_queries.py

# The default tests are offline, on the CPU and deterministic, a file at a time on each core; those on real data run where
# the data is.
test: install lint
	$(BIN)/python -m pytest -n auto --dist loadfile
	@if [ -d "$${FEX_DATA:-../shared/data}" ]; then $(BIN)/python -m pytest -n auto --dist loadfile -m "data and not gpu"; \
	else echo "no data sets here (set FEX_DATA): the tests on real data were left out"; fi

# What takes more than half a minute a test: real kills, real servers, long trainings; what is not installed is skipped.
test-slow: install
	$(BIN)/python -m pytest -n auto --dist loadfile -m "slow and not data and not gpu"

# The core with the oldest versions that pyproject.toml allows; needs Python 3.11 or older, for which they have wheels.
test-lowest:
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -e ".[dev]"
	$(LOWEST)/bin/python -m pytest tests/black_box tests/nets tests/lightning_modules/test_callbacks.py \
		tests/lightning_modules/test_fastshap.py tests/lightning_modules/test_resume.py \
		tests/lightning_modules/test_sizes.py tests/lightning_modules/test_training.py tests/cli/train/test_train.py

# The page of fex-demo in a real browser, for which Chromium must be installed; Gradio has its own mind about versions.
test-demo:
	test -x $(DEMO)/bin/python || $(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet -e ".[dev,demo]" websockets
	$(DEMO)/bin/python -m pytest -m "slow or not slow" tests/demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# The documentation as a folder of pages, build/site/index.html; a broken link or file name fails the build.
docs: install
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) $(LOWEST) $(DEMO) runs build dist *.egg-info
