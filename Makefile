# Every chore of the repository; `make help` lists them. Set-up happens by itself and once.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?/\1\t/' | expand -t 14

setup: .venv/.ready  ## packages into .venv, the Pulumi engine and the base model's weights into the cache

.venv/.ready: uv.lock pyproject.toml tools/setup tools/pulumi/go.mod tools/pulumi/go.sum
	@tools/setup
	@touch $@

demo: setup  ## the whole story against the local cloud, then teardown
	@LOCALCLOUD_STATE=build/demo/state $(BIN)/localcloud reset --yes
	@LOCALCLOUD_STATE=build/demo/state $(BIN)/localcloud run -- $(BIN)/python tools/demo.py

test: setup lint types  ## every check: style, types, tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not long"

test-long: setup  ## the full matrices that `make test` leaves out
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m long

lint: setup  ## style, and the workflows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/zizmor --quiet --offline --persona=auditor .github
	@tools/actionlint/run

types: setup  ## mypy --strict on src and infra
	@$(BIN)/mypy --cache-dir "$${TUNESTACK_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/tunestack}/mypy"

format: setup  ## mend the style
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: setup  ## the figures of README.md and docs/, measured anew
	@$(BIN)/python benchmarks/localcloud_requests.py
	@$(BIN)/python benchmarks/export.py
	@$(BIN)/python benchmarks/preflight.py
	@$(BIN)/python benchmarks/gate.py

docs: setup  ## write the generated pages of docs/ anew
	@$(BIN)/python tools/reference.py
	@$(BIN)/python -m tests.conformance.answers
	@$(BIN)/python -m tests.infra.pages
	@$(BIN)/python -m infra.policy.page
	@$(BIN)/python -m tests.tunestack.preflight.test_preflight_page
	@$(BIN)/python -m tests.tunestack.cost.memory_table

clean:  ## remove what set-up and runs left in the checkout; the cache stays
	@rm -rf .venv .localcloud build

.PHONY: help setup demo test test-long lint types format bench docs clean
