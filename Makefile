# Two commands for a fresh machine: `make demo` and `make test`.  `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON_BIN := .venv/bin/python
PYTEST := $(PYTHON_BIN) -m pytest
# Most tests wait for other programs: more workers than cores.  WORKERS=0 runs them in one process.
WORKERS ?= 3
# File by file in the order of collection: the default begins with those of many short tests and
# ends with one worker in the longest file.
SPREAD := --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-postgresql check docs prove bench lock format clean setup setup-test console

help: ## List the targets
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup:
	@scripts/setup demo

setup-test:
	@scripts/setup test

console: ## Build the pages at / (needs Node.js)
	@scripts/console --required

demo: setup ## A CT study goes in, SEG, SR and SC arrive in a PACS
	@.venv/bin/gateway demo

test: setup-test ## Every test, real peers included (15 minutes at most)
	@GATEWAY_REQUIRE_PEERS=$${GATEWAY_REQUIRE_PEERS:-1} $(PYTEST) -q -m "not prove" -n $(WORKERS) $(SPREAD)

# What stands in records, and what starts a gateway: the rest never sees a database.
POSTGRESQL_TESTS = app cli database delivery dicom e2e events executors jobs operators payloads \
	pipelines platform render results routing web

test-postgresql: setup-test ## The same tests on PostgreSQL instead of SQLite
	@GATEWAY_TEST_DATABASE=postgresql GATEWAY_REQUIRE_PEERS=$${GATEWAY_REQUIRE_PEERS:-1} \
	  $(PYTEST) -q -m "not prove" -n $(WORKERS) $(SPREAD) $(POSTGRESQL_TESTS:%=tests/%)

check: setup-test ## ruff, formatting, mypy (strict), import-linter
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@! command -v npm >/dev/null || npm --prefix gateway/web/console run --silent check

docs: setup-test ## Write the reference pages anew from the code
	@$(PYTHON_BIN) scripts/make_reference.py

prove: setup-test ## The long forms of the proofs
	@GATEWAY_REQUIRE_PEERS=1 $(PYTEST) -m prove --timeout 7200 -s

prove-%: setup-test
	@GATEWAY_REQUIRE_PEERS=1 $(PYTEST) -m prove --timeout 7200 -s -k "$*"

bench: setup-test ## All benchmarks, each a ratio against a peer of the same run
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(PYTHON_BIN) $$file || exit 1; done

bench-%: setup-test
	@$(PYTHON_BIN) benchmarks/bench_$*.py

lock: setup-test ## Resolve the dependencies anew
	@.venv/bin/uv pip compile -q pyproject.toml --all-extras --upgrade --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -o requirements.lock
	@scripts/lock_images

format: setup-test ## Format and mend what can be mended
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

clean: ## Remove what was built, not what was received
	@rm -rf .venv gateway/web/static gateway/web/console/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
