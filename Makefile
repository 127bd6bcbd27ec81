# `make` alone lists the targets. Variables: PYTHON (to start with), DATA (another data folder), ARGS (passed on),
# WORKERS (test processes).
PYTHON ?= python3
BIN := .venv/bin
# Tests mostly wait, so run six at a time even on two cores.
CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
WORKERS ?= $(shell test "$(CORES)" -gt 6 2>/dev/null && echo $(CORES) || echo 6)
PATHS := $(wildcard src tests bench scripts examples)
# Compile each module once, not in each of the hundreds of processes that tests start.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help serve test test-all prove nightly examples bench check format lock openapi async-client monitoring release screenshots \
  clean dev check-format check-lint check-types check-imports check-dependencies

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-12s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: ## Start Keystead on 127.0.0.1:8080 over ./data, everything it needs included
	@$(PYTHON) scripts/bootstrap.py server
	@exec $(BIN)/keystead serve $(if $(DATA),--data "$(DATA)") $(ARGS)

test: ## Run the tests on both databases, except the slow ones (ARGS="-k revoke" for some of them)
	@$(PYTHON) scripts/bootstrap.py dev --browser
	@$(PYTEST) $(ARGS)

test-all: ## Run the slow tests too, as a merge needs them (ARGS as above)
	@$(PYTHON) scripts/bootstrap.py dev --browser
	@$(PYTEST) -m "not prove" $(ARGS)

nightly: ## Run the property tests with many fresh draws (ARGS as above)
	@$(PYTHON) scripts/bootstrap.py dev --browser
	@KEYSTEAD_TEST_DRAWS=fresh $(PYTEST) -m "hypothesis and not prove" --timeout 1800 $(ARGS)

prove: ## Run the long forms of the experiments
	@$(PYTHON) scripts/bootstrap.py dev --browser
	@KEYSTEAD_TEST_DRAWS=fresh $(PYTEST) -m "prove or hypothesis" --timeout 3600 $(ARGS)
	@$(if $(ARGS),true,KEYSTEAD_TEST_ISOLATION=serializable $(PYTEST) tests/services -k postgresql)

examples: dev ## Run every example: refused without a key, served with one, refused after its revocation
	@$(BIN)/python scripts/examples.py $(ARGS)

bench: dev ## Measure, print ratios, and write bench/latest.json
	@$(BIN)/python -m bench $(ARGS)

check: dev ## Format, lint, types, import contracts and dependencies, side by side
	@$(MAKE) --no-print-directory -k -j 5 $(if $(filter output-sync,$(.FEATURES)),-O) \
	  check-format check-lint check-types check-imports check-dependencies

format: dev ## Format the code, and fix what ruff can fix
	@$(BIN)/ruff format $(PATHS)
	@$(BIN)/ruff check --fix $(PATHS)

lock: dev ## Resolve the locks (ARGS=--upgrade for newer versions)
	@$(PYTHON) scripts/lock.py $(ARGS)

openapi: dev ## Write openapi.json and openapi-operator.json from the code
	@$(BIN)/python -m keystead.api.openapi.document .

async-client: dev ## Generate the asynchronous half of the SDK from the synchronous half
	@$(BIN)/python scripts/async_client.py

monitoring: dev ## Write the dashboard and the alert rules from the definitions of the metrics
	@$(BIN)/python scripts/monitoring.py

release: dev ## Build wheel, sdist and bill of materials into ./dist, and try both in clean environments
	@$(BIN)/python scripts/release.py

screenshots: ## Take pictures of every page, at five widths, light and dark, into ./screenshots (ARGS=390-dark for one)
	@$(PYTHON) scripts/bootstrap.py dev --browser
	@$(BIN)/python -m tests.support.screenshots $(ARGS)

clean: ## Remove .venv and caches (./data stays)
	@rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find $(PATHS) -name __pycache__ -type d -prune -exec rm -rf {} +

dev:
	@$(PYTHON) scripts/bootstrap.py dev

check-format:
	@$(BIN)/ruff format --check $(PATHS)

check-lint:
	@$(BIN)/ruff check $(PATHS)

check-types:
	@$(BIN)/mypy $(PATHS)

check-imports:
	@$(BIN)/lint-imports --no-logo

check-dependencies:
	@$(BIN)/deptry --no-ansi src
