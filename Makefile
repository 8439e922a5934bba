# Two commands for everyone: `make demo`, `make test`. The rest is for those who change the code.
PYTHON ?= python3
VENV ?= .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
READY := $(VENV)/.ready

.PHONY: demo test check docs bench bench-ingest bench-latency bench-crash bench-service eval constraints sample clean

demo: $(READY)
	$(BIN)/rag demo

# Three workers, each with an engine of its own: half of the suite waits for models, processes and clocks.
test: check
	$(BIN)/python -m pytest -n 3 --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m bench.startup

# Ingestion to the limit of a server of known speed, and under a hundred kills.
bench-ingest: $(READY)
	$(BIN)/python -m bench.ingest

# Searches in 200,000 chunks beside LanceDB's own.
bench-latency: $(READY)
	$(BIN)/python -m bench.latency

# 200 users who search and 20 who ask at the same time.
bench-service: $(READY)
	$(BIN)/python -m bench.service

bench-crash: $(READY)
	$(BIN)/python -m bench.crash --kills 100

eval: $(READY)
	$(BIN)/python -m bench.questions

# Everything is pinned by hash, so a second run fetches nothing.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

# New versions of everything: needs uv. Writes no address of any index.
constraints:
	uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade --generate-hashes --no-emit-index-url \
		--no-header --quiet --all-extras --group dev --output-file constraints.txt

docs: $(READY)
	$(BIN)/python docs/make_commands.py

sample: $(READY)
	$(BIN)/python data/make_sample.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
