# `make help` lists the targets.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PANEL := launcher/singleuser/labextensions/firecrest-launcher/package.json

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all unit integration slurm browser builder containers faults lint format lock generated screenshots bench clean

help: ## Show this list
	@grep -hE '^[a-z% -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z% -]+):.*## /\1\t/' | \
		while IFS="$$(printf '\t')" read -r target text; do printf '  %-32s %s\n' "$$target" "$$text"; done
	@echo "  ARGS='...' is handed on: make demo ARGS='--port 8000', make unit ARGS='-k form'"

setup: $(READY) $(PANEL) ## Make .venv with every extra, from the hashed lock

$(READY): requirements.txt pyproject.toml launcher/sandbox/proxy/package-lock.json scripts/setup
	@PYTHON='$(PYTHON)' scripts/setup
	@touch $@

$(PANEL): scripts/labextension $(wildcard labextension/*.js* labextension/src/* labextension/style/*) | $(READY)
	@scripts/labextension

demo: setup ## Run a whole site on this machine: JupyterHub, FirecREST, Slurm
	@$(BIN)/launcher demo $(ARGS)

test: setup ## Check the code and run all tests; as root on Debian, install what they need
	@scripts/test-packages
	@scripts/test-code-server
	@$(MAKE) --no-print-directory lint
	@$(if $(ARGS),$(BIN)/pytest $(ARGS),scripts/test)

test-all: ## The same with the tests that take long and prove little more
	@$(MAKE) --no-print-directory test ARGS="-m '' $(ARGS)"

unit integration slurm browser builder containers: setup ## Run the tests of one folder
	@$(BIN)/pytest tests/$@ $(ARGS)

faults: setup ## Put in all faults, show the matrix, and write docs/reliability.md
	@FAULT_MATRIX=1 $(BIN)/pytest -q tests/faults $(ARGS)

lint: setup ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: setup ## Refresh the hashed locks; UPGRADE=1 takes the newest versions
	@$(BIN)/launcher lock $(if $(UPGRADE),--upgrade) $(ARGS)

generated: setup ## Refresh what is made from the model: schema, reference, golden scripts
	@$(BIN)/launcher schema > batch_templates/cluster.schema.json
	@$(BIN)/launcher schema --docs > docs/admin/cluster-file.md
	@UPDATE_GOLDEN=1 $(BIN)/pytest -q tests/unit/test_shipped_clusters.py

screenshots: setup ## Take the pictures of the documentation anew
	@SCREENSHOTS=docs/images $(BIN)/pytest tests/browser $(ARGS)

bench: setup ## Measure all but storms and the soak beside others, as root, in 20 minutes
	@$(BIN)/python -m benchmarks all

bench-%: setup ## Run one of startup, launch, cost, images, burst, compressions, storm, soak
	@$(BIN)/python -m benchmarks $* $(ARGS)

clean: ## Remove what setup and tests made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	rm -rf labextension/node_modules labextension/lib launcher/singleuser/labextensions
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
