# What a person types. `make demo` and `make test` install what they need; the second time is quick.
.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-long test-kernel test-cluster cluster cluster-down lint bench \
    bench-scale soak lock clean
SHELL := /bin/bash

PYTHON := .venv/bin/python
export PYTHONWARNINGS := ignore
# Programs that start often must find their bytecode.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.venv/.ready: requirements.lock pyproject.toml lab/pyproject.toml lab/testing/pyproject.toml scripts/install
	@scripts/install
	@touch $@

demo: .venv/.ready ## Two nodes on this machine: see the network work, step by step.
	@$(PYTHON) -m k8s_ovs.cli.main lab demo

test: lint test-fast test-kernel test-cluster ## Everything: lint, unit, flows, nodes, kernel's datapath, cluster.

test-fast: .venv/.ready ## Without the virtual machine and the cluster.
	$(PYTHON) -m pytest -n 2 tests/unit tests/flows tests/kernel
	$(PYTHON) -m pytest -n 2 --dist loadfile tests/node

test-long: .venv/.ready ## The model of tenants on a thousand topologies and more.
	K8S_OVS_LONG=1 $(PYTHON) -m pytest --timeout=3600 tests/flows/test_tenants_model.py

# What depends on the datapath and on what the kernel can is marked `datapath`: packets, limits of pods, what
# somebody takes away or changes, Open vSwitch or the daemon ending and coming back. The other tests of
# tests/node/ ask what is the same on each datapath, and run on this machine alone.
test-kernel: .venv/.ready ## The packets of the lab on the kernel's datapath, in a virtual machine.
	$(PYTHON) -m tests.kernel.run --limit 2400 -- env K8S_OVS_TEST_DATAPATH=system \
	    python -m tests.kernel.suite

test-cluster: .venv/.ready ## Installed on a real Kubernetes on this machine, as users do it.
	@scripts/install cluster
	$(PYTHON) -m pytest --timeout=3600 tests/cluster

NODES := 2
cluster: .venv/.ready ## A real Kubernetes on this machine, NODES=2, without a network yet.
	@scripts/install cluster
	@$(PYTHON) -m tests.cluster.run up --nodes $(NODES)

cluster-down: .venv/.ready ## Remove it, or what is left of one.
	@$(PYTHON) -m tests.cluster.run down

lint: .venv/.ready ## Style, types, layers.
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/.ready ## How fast, beside Debian's CNI program bridge in the same run.
	$(PYTHON) tests/bench/run.py

bench-scale: .venv/.ready ## What a node takes in clusters of up to 5,000 nodes.
	$(PYTHON) -m tests.bench.scale

soak: .venv/.ready ## 100,000 ADDs and DELs while programs are killed: nothing left over, memory flat. An hour.
	$(PYTHON) -m tests.soak

LOCK_OF_IMAGE := --quiet --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 \
    --constraint requirements.lock --custom-compile-command "make lock"
lock: ## Pin all dependencies anew in requirements.lock.
	.venv/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --python-version 3.11 \
	    --extra dev --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock
	echo pip | .venv/bin/uv pip compile $(LOCK_OF_IMAGE) pyproject.toml - --output-file deploy/requirements.lock
	echo hatchling | .venv/bin/uv pip compile $(LOCK_OF_IMAGE) - --output-file deploy/build.lock

clean: ## Remove what make made here.
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
