# `make` alone lists what can be made. Everything runs from a bare checkout: each target sets up what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test bench lint format proto tools clean

# The importable portions of the namespace package, as mypy's arguments.
packages = $(sort $(notdir $(patsubst %/__init__.py,%,$(wildcard services/freshet/*/__init__.py models/freshet/*/__init__.py))))
modules = $(sort $(basename $(notdir $(wildcard services/freshet/*.py))))
portions = $(addprefix -p freshet.,$(packages)) $(addprefix -m freshet.,$(modules))
benchmarks = stream freshness recommend catalog encoders

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: ## Install everything below this folder (again: seconds)
	@scripts/setup.sh

demo: setup ## A shop of its own: train, publish, click, and see the answer change
	@.venv/bin/freshet demo

test: ## All tests, on the real Kafka, Triton and Milvus
	@scripts/setup.sh --for-tests
	@.venv/bin/python -m pytest $(PYTEST) || { \
		status=$$?; [ $$status != 5 ] || echo "no tests were found: is tests/ whole?"; exit $$status; }

bench: setup ## The benchmarks: each prints a table and writes JSON
	@failed=0; for name in $(benchmarks); do .venv/bin/python -m benchmarks.$$name || failed=1; done; exit $$failed

lint: setup ## Style, types and layers; reports everything, then fails if anything was wrong
	@failed=0; \
	.venv/bin/ruff check . || failed=1; \
	.venv/bin/ruff format --check . || failed=1; \
	.venv/bin/mypy --strict $(portions) || failed=1; \
	.venv/bin/lint-imports || failed=1; \
	exit $$failed

format: setup ## Put the code into the project's form
	@.venv/bin/ruff check --fix-only --quiet . && .venv/bin/ruff format .

proto: setup ## Generate the stubs beside the .proto files, and docs/api.md
	@PYTHON=$(CURDIR)/.venv/bin/python proto/generate.sh
	@.venv/bin/python proto/reference.py

tools: export GOFLAGS = -modcacherw
tools: export GOBIN = $(CURDIR)/.freshet/tools
tools: ## Helm and grpcurl, built with Go: tests of the chart and of docs/grpcurl.md want them
	@mkdir -p $(GOBIN)
	go install helm.sh/helm/v3/cmd/helm@v3.22.0
	go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3

clean: ## Stop a running stack; delete environments, stack data and caches
	@if [ -x .venv/bin/freshet ]; then .venv/bin/freshet local down; fi
	@rm -rf .venv .freshet .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
