# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Needs Python 3.11 or newer, Node 20 or newer, and make; npm for the CDK command line only.

# Python 3.13, the function's own, where it is found; else the python3 that runs this.
PYTHON ?= $(shell python3 infra/interpreter.py 2>/dev/null || echo python3)

# Where it is set, each of the many Pythons that the tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup tools demo local derive verify test acceptance quick named lint types tests coverage soak bench mutants audit release format lock clean

# uv and npm keep what they download in the home folder, where they can write to it.
CACHES := $(shell test -w "$$HOME" || echo UV_CACHE_DIR=.build/uv npm_config_cache=.build/npm)

# Three CPU seconds less, where a uv is on the machine and has pip in its cache. It asks no registry: pip's settings, which
# may name a mirror, are read by the pip in .venv.
CACHED_VENV := uv venv --quiet --offline --seed --clear --python "$(PYTHON)" .venv

# Python's part, and for `setup` the CDK command line beside it. What is there is checked by its lock, so that an
# installation can be interrupted, and by its rights, as another user can have installed it.
setup: PARTS := .venv node_modules
tools: PARTS := .venv
setup tools:
	@if ! { test -w . && test -x .venv/bin/python && $(MAKE) --silent --question $(addsuffix /ready,$(PARTS)) 2> /dev/null; }; then \
	  command -v "$(PYTHON)" > /dev/null || { echo "Python 3.11 or newer is missing: install python3." >&2; exit 1; }; \
	  "$(PYTHON)" infra/prerequisites.py $(PARTS) && \
	  { .venv/bin/python -m pip --version > /dev/null 2>&1 || $(CACHED_VENV) 2> /dev/null || "$(PYTHON)" -m venv --clear .venv; } && \
	  .venv/bin/python infra/registries.py $(PARTS) && \
	  echo "Installing 800 MB of tools into $(subst $() $(), and ,$(PARTS)) of this folder …" && \
	  $(MAKE) --silent --jobs=2 $(addsuffix /ready,$(PARTS)); \
	fi

FAILED = { .venv/bin/python infra/registries.py failed $(@D); exit 1; }

# uv installs the lock in a fraction of pip's time. It is itself of the lock, and pip checks its hash.
.venv/ready: requirements.txt
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.txt > .venv/uv.txt
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: -r .venv/uv.txt || $(FAILED)
	@eval "$$(.venv/bin/python infra/registries.py uv)"; \
	  $(CACHES) .venv/bin/python -m uv pip sync --quiet --python .venv --require-hashes --only-binary :all: --system-certs requirements.txt || $(FAILED)
	@touch $@

node_modules/ready: package-lock.json
	@$(CACHES) npm ci --loglevel=error --no-audit --no-fund --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000 > /dev/null || $(FAILED)
	@touch $@

# make demo PICTURE=docs/demo.svg also draws the picture of the README.
demo: tools
	.venv/bin/python -m local demo $(addprefix --picture=,$(PICTURE))

# The same AWS, left running for the command lines: make local PORT=4599
# As AWS may answer, too (docs/verify-on-aws.md): make local SWITCH=ami_comes_first
PORT ?= 4599
local: setup
	.venv/bin/python -m local live --port $(PORT) $(addprefix --switch=,$(SWITCH))

# What these state is text: make would run the functions in it when it hands it on.
STATED := KEY DEVICES KEYS FORMATS TAGS DESCRIPTION
$(foreach name,$(STATED),$(eval override $(name) := $$(value $(name))))
ifneq (,$(filter derive,$(MAKECMDGOALS)))
export $(STATED)
endif

# For example: make derive KEY=exports/web-server-1.4.2.ova TAGS='Name=web,Team=shop'
# or DEVICES='/dev/sda1=web-1.4.2.vmdk,/dev/sdb=data.vmdk', or KEYS=list.txt with a key in each line or as `aws s3 ls`
# prints them; FORMATS='releases/{name}/{version}/*.vmdk' tries key formats.
derive: tools
	@.venv/bin/python -m local.derive --key "$$KEY" --devices "$$DEVICES" --keys "$$KEYS" --formats "$$FORMATS" --tags "$$TAGS" --description "$$DESCRIPTION"

# In your account, with your credentials and Region: make verify DISK=my-vm-1.0.ova BUCKET=my-bucket, or without an
# import make verify CHECK=deployment. STACK names another stack than the default, YES=yes asks nothing.
verify: tools
	@.venv/bin/python -m local.verify --check "$$CHECK" --stack "$$STACK" --disk "$$DISK" --bucket "$$BUCKET" --yes "$$YES"

# Before each commit, side by side on all cores. The tests of the pure part run once, for their coverage.
test: tools
	@$(MAKE) --no-print-directory --jobs=4 coverage types lint tests \
	  TESTS='-m "not acceptance" $(addprefix --ignore=,$(PURE))'

# The real command lines, the commands of the documents, each option deployed, and long histories.
acceptance: setup
	.venv/bin/python -m pytest -m acceptance

# The tests of the pure part. What is generated at random must not be what reaches a line, and documents reach none;
# neither does a process of its own.
PURE := $(filter-out $(addprefix %/test_,properties.py retention_histories.py documents.py patterns.py),$(wildcard tests/unit/test_*.py))

# While you edit, in seconds: lint, types, the tests of the pure part, and those that are named like what is not committed.
# Side by side, so that one run names the problems of all.
quick: tools
	@$(MAKE) --no-print-directory --jobs=3 types lint named

named: tools
	.venv/bin/python -m pytest --quiet --failed-first --numprocesses=0 $(sort $(PURE) $(NAMED))

EDITED = $(notdir $(basename $(shell git diff --name-only HEAD; git ls-files --others --exclude-standard)))
NAMED = $(wildcard $(foreach name,$(EDITED),tests/*/test_$(name).py tests/*/test_local_$(name).py $(patsubst test_%,tests/*/test_%.py,$(filter test_%,$(name)))))

lint: tools
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .

types: tools
	.venv/bin/python -m mypy app.py infra local tests lambda/vm_image_import

tests: tools
	.venv/bin/python -m pytest $(TESTS)

coverage: tools
	.venv/bin/python -m coverage run -m pytest --quiet --numprocesses=0 $(PURE)
	.venv/bin/python -m coverage report

# Simulates many more histories with faults than the tests do: make soak HISTORIES=1000 SEED=0
soak: tools
	PYTHONPATH=lambda .venv/bin/python -m tests.simulation

# Changes the code at random places and prints what no test notices: make mutants MODULES=imports/register COUNT=200 SEED=0
# TESTS names other tests than those without AWS. mutmut is for this only, so it is in no lock.
mutants: tools
	VIRTUAL_ENV=.venv .venv/bin/uv run --quiet --no-project --active --with mutmut==3.8.1 python -m tests.mutants

# Cold starts beside other ways to ship the same: make bench ROUNDS=30 DOCUMENT=yes also writes docs/performance.md
bench: tools
	.venv/bin/python -m local.bench --rounds "$(or $(ROUNDS),15)" --document "$(DOCUMENT)"

# Known vulnerabilities of what is locked. It asks PyPI, so it is no part of `make test`, which works offline.
audit: tools
	for lock in requirements.txt lambda/requirements.txt; do .venv/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner=off -r $$lock || exit 1; done

# The files of a release, in dist: the construct's wheel, the template with this checkout's configuration, the code.
release: tools
	.venv/bin/python -m local.release --tag "$$TAG"

# The last command prints what the others cannot change, such as a long comment.
format: tools
	.venv/bin/python -m ruff check --fix-only .
	.venv/bin/python -m ruff format .
	.venv/bin/python -m ruff check .

# Resolves both locks again; name packages to upgrade with UPGRADE='--upgrade-package boto3'.
lock: tools
	cd lambda && ../.venv/bin/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes $(UPGRADE) requirements.in -o requirements.txt
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(UPGRADE) requirements.in -o requirements.txt

# Everything that the targets made; what you configured stays.
clean:
	rm -rf .build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .venv cdk.out dist node_modules
	find . -name __pycache__ -prune -exec rm -rf {} +
