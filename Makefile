# Run `make` for the list of targets. Everything is installed into .venv and nothing outside this folder changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-output
METRICS = si_sdr,estoi,dnsmos$(shell $(BIN)/python -c "import pesq" 2>/dev/null && echo ,pesq)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CODE := src tests benchmarks examples scripts

.DEFAULT_GOAL := help
.PHONY: help demo test lint format site clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Enhance the bundled recordings with the embedded model, then score them
	@echo "== Enhancing examples/speech/noisy"
	@$(BIN)/exdiff enhance examples/speech/noisy -o $(DEMO)/enhanced --overwrite
	@echo "== Scoring against examples/speech/clean"
	@$(BIN)/exdiff evaluate examples/speech --estimates $(DEMO)/enhanced --metrics $(METRICS)
	@echo "== Listen: $(DEMO)/enhanced/ (after), examples/speech/noisy/ (before), examples/speech/clean/ (reference)"

test: $(VENV)/.test ## Run ruff, pyright and the tests
	$(MAKE) --no-print-directory lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: $(VENV)/.test ## Run ruff and pyright
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.test ## Let ruff mend style and order of imports
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

site: $(VENV)/.test ## Build the documentation into site/; any web server shows it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## Remove the environment and everything that the targets above wrote
	rm -rf $(VENV) $(DEMO) .pytest_cache .ruff_cache .hypothesis build dist site

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	  echo "exdiff needs Python 3.11 or newer; '$(PYTHON)' is not. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps make the second run quick: pip runs again only after pyproject.toml has changed.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "== Installing exdiff into $(VENV) (PyTorch is large: this takes some minutes the first time)"
	@$(PIP) install -e ".[scores]"
	@$(PIP) install -e ".[eval]" || echo "== PESQ needs a C compiler to install: going on without that score" >&2
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "== Installing exdiff with its development tools into $(VENV)"
	@$(PIP) install -e ".[dev,eval]"
	@touch $@
