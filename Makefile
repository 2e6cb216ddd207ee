# Everything sets itself up: uv where present, else venv and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RIVALS := $(VENV)/.rivals
INSTALL = $(if $(shell command -v uv 2>/dev/null),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
DATE ?= $(shell date -u +%Y-%m-%d)
ARGS ?=
XDIST ?= -n 2

.PHONY: demo test check bench docs fuzz soak crash clean setup format

setup: $(STAMP)

$(STAMP): pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing $(VENV) && uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@$(INSTALL) -e '.[oracles]' || echo "the outside oracles of some tests are not installed: those tests are skipped"
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

# make bench; make bench ARGS=--quick; make bench ARGS="--only grid"
bench: $(RIVALS)
	$(BIN)/python -m benchmarks.run --date "$(DATE)" $(ARGS)

# What cannot be installed is left out: its rows then say "not installed".
$(RIVALS): $(STAMP)
	@for extra in bench bench-pandas bench-torch bench-nautilus; do \
	  echo "installing [$$extra]"; \
	  $(INSTALL) -e ".[$$extra]" || echo "[$$extra] cannot be installed here: left out"; \
	done
	@touch $(RIVALS)

docs: $(STAMP)
	$(BIN)/python -m pytest tests/docs

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz.run

# A million random events through the ledger, every law after each. make soak ARGS="--chapters 1"
soak: $(STAMP)
	$(BIN)/python -m tests.soak.run $(ARGS)

# A writer of the ledger killed 1,000 times on each database, 5,000 flipped bits; about 15 minutes.
crash: $(STAMP)
	CROSSMARGIN_KILLS=1000 CROSSMARGIN_FLIPS=5000 $(BIN)/python -m pytest -s \
	  tests/integration/test_store_crash.py tests/integration/test_store_damage.py

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
