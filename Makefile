# `make` lists what can be made. Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# Which random networks `make differential` converts; the committed corpus is number 1.
SEED ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint docs site bench memory performance accuracy compression search floats zoo fuzz mutants differential users clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 22

setup: $(STAMP) ## install compilers, the emulator and the Python environment

$(STAMP): pyproject.toml scripts/system_packages.sh
	PYTHON=$(PYTHON) scripts/system_packages.sh
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[test,examples]'
	touch $@

demo: $(STAMP) ## compile a model, run it, verify it
	$(BIN)/python examples/digits/demo.py

test: lint ## style, types and all tests
	$(BIN)/pytest -n 2

lint: $(STAMP) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check -q .
	$(BIN)/mypy

docs: $(STAMP) ## remake the pages that are generated from data
	$(BIN)/python -m scripts.targets_md
	$(BIN)/python -m scripts.operators_md
	$(BIN)/python -m scripts.budget_md
	$(BIN)/python -m scripts.cli_md
	$(BIN)/python -m scripts.python_md

site: $(STAMP) ## build the documentation as a site in build/site
	$(BIN)/mkdocs build --strict

bench: $(STAMP) ## measure speed, flash and RAM against TensorFlow Lite Micro (needs the zoo)
	$(BIN)/python -m benchmarks.bench
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.memory

memory: $(STAMP) ## measure RAM with each way to optimize and on the zoo, and remake docs/memory.md (needs the zoo)
	$(BIN)/python -m benchmarks.memory --write docs/memory.md

performance: $(STAMP) ## measure and profile on every core, and remake docs/performance.md (needs the zoo)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[clang]'
	$(BIN)/python -m benchmarks.performance

accuracy: $(STAMP) ## compare quantizers on float models, and remake docs/accuracy.md (needs the zoo; downloads TensorFlow)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[train]'
	$(BIN)/python -m benchmarks.accuracy --write docs/accuracy.md

forms: $(STAMP) ## measure what forms of weights cost, and remake the tables of docs/compression/storage_forms.md
	$(BIN)/python -m benchmarks.forms --write docs/compression/storage_forms.md

compression: $(STAMP) ## measure what compression gives, and remake docs/compression.md (needs the zoo)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[plots]'
	$(BIN)/python -m benchmarks.compression --verify --write docs/compression.md

search: $(STAMP) ## measure how small models become, and remake docs/search-results.md (needs the zoo; downloads TensorFlow)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[train,search,plots]'
	$(BIN)/python -m benchmarks.search --verify --write docs/search-results.md
	$(BIN)/python -m benchmarks.search --parts searches --effort normal --verify --write docs/search-results.md

floats: $(STAMP) ## prove every float and ONNX model of the zoo, and remake docs/floats.md (downloads TensorFlow)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[train]'
	$(BIN)/python -m benchmarks.floats --write docs/floats.md

zoo: $(STAMP) ## compile and run every model of the zoo, and list what is not covered
	$(BIN)/python -m benchmarks.coverage

fuzz: $(STAMP) ## feed broken and random models
	$(BIN)/python tests/fuzz.py

mutants: $(STAMP) ## show that tests notice wrong code
	$(BIN)/python tests/mutants.py

differential: $(STAMP) ## compare with TensorFlow on models made for it
	$(BIN)/pip install -q --disable-pip-version-check -e '.[train]'
	$(BIN)/python -m tests.differential.generate $(VENV)/corpus.zip --count 400 --seed $(SEED)
	TINYGEN_CORPUS=$(CURDIR)/$(VENV)/corpus.zip $(BIN)/pytest tests/differential -n 2

PYTHONS ?= python3.10 python3.11 python3.12 python3.13

users: $(STAMP) ## do what a new user would, from the wheel, with each of PYTHONS
	$(BIN)/python -m scripts.new_user $(PYTHONS)

clean: ## remove everything that was made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
