# Orquestrador Ops. `make demo` shows it, `make test` proves it; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
LOCKS := requirements
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Molecule, ansible-lint and ansible-compat keep what they cache inside the project.
export ANSIBLE_HOME ?= $(CURDIR)/.cache/ansible

LAB_DATABASE ?= mysql
# Those whose tests `make exhaust` has more of.
EXHAUST_SCENARIOS ?= mariadb
LAB := molecule/shared/lab.sh

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml setup.py tools/ensure-venv.sh $(wildcard $(LOCKS)/*.txt)
	@tools/ensure-venv.sh $(VENV) $(LOCKS)
	@touch $@

.PHONY: venv
venv: $(STAMP) ## Install the Python side into .venv, as the lock files have it

.PHONY: upgrade
upgrade: ## Renew the lock files: the newest that the ranges of pyproject.toml allow
	@tools/lock.sh $(LOCKS)

.PHONY: demo
demo: ## From nothing: tools, lab, bootstrap, daily routine, report
	@tools/demo.sh

.PHONY: lab
lab: $(STAMP) ## Build and start the lab (LAB_DATABASE=mysql|mariadb)
	@LAB_DATABASE=$(LAB_DATABASE) $(LAB) up

.PHONY: lab-down
lab-down: ## Remove the lab and all that belongs to it
	@$(LAB) down

include molecule/shared/lab.mk

.PHONY: lint
lint: $(STAMP) ## ruff, mypy, yamllint, ansible-lint, documentation up to date
	@tools/lint.sh

.PHONY: unit
unit: $(STAMP) ## Unit tests
	@$(BIN)/python -m pytest tests/unit -q -n 2

.PHONY: coverage
coverage: $(STAMP) ## Unit tests, and which lines and branches of the product they do not reach
	@$(BIN)/python -m pytest tests/unit -q -n 2 --cov --cov-report=term

.PHONY: newest
newest: ## Lint and unit tests with the newest that the ranges allow, in .cache/newest
	@tools/lock.sh .cache/newest/requirements
	@$(MAKE) lint unit VENV=.cache/newest/venv LOCKS=.cache/newest/requirements

.PHONY: explore
explore: $(STAMP) ## Property tests with examples that nobody has tried yet (EXAMPLES=1000 of each)
	@EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/unit -q -n 2 -m hypothesis --hypothesis-profile explore

.PHONY: prometheus
prometheus: $(STAMP) ## Service levels and rules against Prometheus itself, unpacked into .cache
	@tools/ensure-prometheus.sh
	@$(BIN)/python -m pytest tests/integration -q -n 2 --dist loadfile

.PHONY: molecule
molecule: $(STAMP) ## Integration tests on real machines (SCENARIOS="default backup")
	@tools/molecule.sh $(SCENARIOS)

.PHONY: exhaust
exhaust: $(STAMP) ## What takes long and seldom finds anything, before a release: large scales, examples nobody has tried
	@$(BIN)/python -m pytest tests/unit -q -n 2 -m exhaust
	@$(MAKE) explore
	@PYTEST_ADDOPTS="-m exhaust" tools/molecule.sh $(EXHAUST_SCENARIOS)

.PHONY: check
check: lint unit ## What a push has to pass: lint, unit tests and the scenario default
	@tools/molecule.sh default

.PHONY: test
test: $(STAMP) ## Everything CI runs
	@tools/test.sh

.PHONY: bench
bench: $(STAMP) ## Timings on the lab, into var/bench/latest.json (BENCH="daily fleet", FLEET=50)
	@$(BIN)/python -m tools.bench $(BENCH)

.PHONY: docs
docs: $(STAMP) ## Generate what is generated: role READMEs, procedure pages, catalogs
	@$(BIN)/python tools/docs.py write
	@$(BIN)/python -m orquestrador_ops.core.catalogs update
	@$(BIN)/python -m orquestrador_ops.core.catalogs compile
