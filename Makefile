# Everything there is to do. On a fresh machine with Python 3.11 and make: `make demo`, `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
READY := $(VENV)/ready
WORKERS ?= 2

.PHONY: setup demo test check format soak lock docs bench peers mutants clean

setup: $(READY)

$(READY): pyproject.toml requirements/uv.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it with PYTHON=..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: setup
	@$(BIN)/safeconduct demo

# Lint, types and layers, then every test.
test: check
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q

check: setup
	@$(BIN)/ruff format --check --quiet . || { echo "run make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

# The same proofs with their full counts; takes minutes.
soak: setup
	@SAFECONDUCT_SOAK=1 $(BIN)/python -m pytest -m soakable -n $(WORKERS) --timeout 1800 -q

# With no UV_* variable set: an extra index would lock what only one machine has.
lock: setup
	@cd requirements && for set in run dev; do \
		env -u UV_INDEX -u UV_FIND_LINKS ../$(UV) pip compile --quiet --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade \
			$$(test $$set = dev && echo --all-extras --group ../pyproject.toml:dev) ../pyproject.toml \
			--output-file $$set.txt; done
	@cd requirements && for set in peers mutants; do \
		env -u UV_INDEX -u UV_FIND_LINKS ../$(UV) pip compile --quiet --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade $$set.in --output-file $$set.txt; done
	@grep '^uv==' -A 100 requirements/dev.txt | awk 'NR>1 && /^[a-z]/ {exit} {print}' > requirements/uv.txt

clean:
	rm -rf $(VENV) .safeconduct .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The reference of commands and files, from the program itself.
docs: setup
	@$(BIN)/python docs/generate.py

# Ratios of one interleaved run; the figures themselves are the machine's.
PEOPLE ?= 1000 50000 200000
bench: setup
	@$(BIN)/python benchmarks/verdicts.py
	@$(BIN)/python benchmarks/arbitration.py
	@$(BIN)/python benchmarks/choices.py
	@$(BIN)/python benchmarks/bench.py $(PEOPLE)

# What others offer, in an environment of its own: one of them brings a top-level `agents`.
peers: setup
	@test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	@$(UV) pip sync --quiet --python .venv-peers/bin/python --require-hashes requirements/peers.txt

# Small faults put into the guard's code: whether a test notices each of a sample; takes minutes.
SAMPLE ?= 120
SEED ?= 1
mutants: setup
	@test -x .venv-mutants/bin/python || $(PYTHON) -m venv .venv-mutants
	@$(UV) pip sync --quiet --python .venv-mutants/bin/python --require-hashes requirements/mutants.txt
	@.venv-mutants/bin/python benchmarks/mutants.py --sample $(SAMPLE) --seed $(SEED)
