# Everything sets itself up: uv where present, else venv and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
XDIST ?= -n 2

.PHONY: demo test check bench docs fuzz clean setup format

setup: $(STAMP)

$(STAMP): pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing $(VENV) && uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/crossmargin demo

test: $(STAMP)
	@if [ -z "$$CROSSMARGIN_DATA" ]; then echo "CROSSMARGIN_DATA is not set: tests on recorded data are skipped"; fi
	@if [ -z "$$CROSSMARGIN_GOLDEN" ]; then echo "CROSSMARGIN_GOLDEN is not set: tests on outside golden files are skipped"; fi
	$(BIN)/python -m pytest $(XDIST)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python benchmarks/bench_pricing.py --write
	$(BIN)/python benchmarks/bench_account.py --write

docs: $(STAMP)
	$(BIN)/python -m pytest tests/docs

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz.run

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
