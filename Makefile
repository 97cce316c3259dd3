# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Needs Python 3.11 or newer, Node 20 or newer, and make.

# Python 3.13, the function's own, where it is found; else the python3 that runs this.
PYTHON ?= $(shell python3 infra/interpreter.py)
# jsii warns at every start about a Node that it still runs on.
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION ?= 20

# Where it is set, each of the many Pythons that the tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo local derive test lint types tests coverage soak bench audit format lock clean

setup: .venv/ready node_modules/ready

.venv/ready: requirements.txt
	"$(PYTHON)" -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes --only-binary=:all: -r requirements.txt
	@touch $@

node_modules/ready: package-lock.json
	npm ci --silent --no-audit --no-fund
	@touch $@

demo: setup
	.venv/bin/python -m local demo

# The same AWS, left running for the command lines: make local PORT=4599
PORT ?= 4599
local: setup
	.venv/bin/python -m local live --port $(PORT)

# For example: make derive KEY=exports/web-server-1.4.2.ova TAGS='Name=web,Team=shop'
# or DEVICES='/dev/sda1=web-1.4.2.vmdk,/dev/sdb=data.vmdk', or KEYS=list.txt with a key in each line.
derive: setup
	@.venv/bin/python -m local.derive --key "$$KEY" --devices "$$DEVICES" --keys "$$KEYS" --tags "$$TAGS" --description "$$DESCRIPTION"

# What keeps one core busy goes two by two; the tests take all cores.
test: setup
	@$(MAKE) --no-print-directory --jobs=2 lint types coverage
	@$(MAKE) --no-print-directory tests

lint: setup
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .

types: setup
	.venv/bin/python -m mypy app.py infra local tests lambda/vm_image_import

tests: setup
	.venv/bin/python -m pytest

# Of the pure part only; what is generated at random must not be what reaches a line, and documents reach none.
coverage: setup
	.venv/bin/python -m coverage run -m pytest --quiet --numprocesses=0 --ignore-glob='*/test_properties.py' --ignore-glob='*/test_documents.py' tests/unit
	.venv/bin/python -m coverage report

# Simulates many more histories with faults than the tests do: make soak HISTORIES=1000 SEED=0
soak: setup
	PYTHONPATH=lambda .venv/bin/python -m tests.simulation

# Cold starts beside other ways to ship the same: make bench ROUNDS=30. With valgrind it counts instructions, too.
bench: setup
	.venv/bin/python -m local.bench --rounds $(or $(ROUNDS),15)

# Known vulnerabilities of what is locked. It asks PyPI, so it is no part of `make test`, which works offline.
audit: setup
	for lock in requirements.txt lambda/requirements.txt; do .venv/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner=off -r $$lock || exit 1; done

format: setup
	.venv/bin/python -m ruff check --fix .
	.venv/bin/python -m ruff format .

# Resolves both locks again; name packages to upgrade with UPGRADE='--upgrade-package boto3'.
lock: setup
	cd lambda && ../.venv/bin/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --custom-compile-command 'make lock' $(UPGRADE) requirements.in -o requirements.txt
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock' $(UPGRADE) requirements.in -o requirements.txt

clean:
	rm -rf .build .venv cdk.out node_modules
