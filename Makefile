# Targets whose line carries `## text` are what `make` prints.
# PYTHON=python3.12 make …  chooses the interpreter from which .venv is made.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILT := $(VENV)/built.stamp
DEV := $(VENV)/dev.stamp
PEERS := $(VENV)/peers.stamp

RUST := Cargo.toml Cargo.lock $(wildcard build.rs) $(shell find src -name '*.rs' 2>/dev/null)
BACKEND := $(shell sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml)
RUST_VERSION := $(shell sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)

# An active conda environment would make maturin refuse to choose between two.
MATURIN := env -u CONDA_PREFIX PIP_QUIET=1 VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/maturin
INSTALL := $(MATURIN) develop --release --locked --extras

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test wheel bench test-peers test-exhaustive clean check check-lint build

help:
	@echo "make <target>:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: build ## build, train on the digits in the package, predict the held-out ones
	$(BIN)/nnrs train digits
	$(BIN)/nnrs predict digits.safetensors digits-holdout.csv --out digits-predictions.csv

test: check-lint $(DEV) ## everything that has to pass: format, lint, types, Rust tests, Python tests
	cargo fmt --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict python/nnrs
	cargo clippy --locked --all-targets --all-features -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	cargo test --locked --no-default-features
	$(BIN)/python -m mypy.stubtest nnrs._core
	$(BIN)/python -m pytest

wheel: build ## a wheel for every CPython from 3.10, in dist/
	$(MATURIN) build --release --locked --out dist

bench: build ## steps, predictions, epochs and functions against NumPy and the peers that are installed
	$(BIN)/python -m benches

test-peers: $(DEV) $(PEERS) ## the Python tests with torch and the like installed (several GB)
	$(BIN)/python -m pytest

test-exhaustive: check-lint $(DEV) ## the slow tests too: every float32 bit pattern (hours)
	cargo test --locked --release --no-default-features --features exhaustive
	NNRS_EXHAUSTIVE=1 $(BIN)/python -m pytest

clean: ## remove what was built, .venv, and what the demo wrote
	rm -rf target dist $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -f python/nnrs/_core.*.so python/nnrs/_core*.pyd
	rm -f digits.safetensors digits.png digits-holdout.csv digits-predictions.csv
	find python tests examples benches -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

build: $(BUILT)

$(BUILT): $(RUST) pyproject.toml $(BIN)/maturin | check
	$(INSTALL) plot
	@touch $@

$(DEV): pyproject.toml $(BUILT)
	$(INSTALL) dev
	@touch $@

$(PEERS): pyproject.toml $(BUILT)
	$(INSTALL) peers
	@touch $@

$(BIN)/maturin: $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(BACKEND)'
	@touch $@

$(VENV)/pyvenv.cfg: | check
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Every missing prerequisite is named before anything is made.
check:
	@fail=; say() { echo "missing: $$1" >&2; fail=1; }; \
	if ! command -v $(PYTHON) >/dev/null 2>&1; then \
	    say "CPython 3.10 or newer ('$(PYTHON)' is not found; PYTHON=... names another)"; \
	elif ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then \
	    say "CPython 3.10 or newer ('$(PYTHON)' is $$($(PYTHON) -V 2>&1); PYTHON=... names another)"; \
	elif ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	    say "Python's venv (Debian and Ubuntu: apt install python3-venv)"; \
	fi; \
	if ! command -v cargo >/dev/null 2>&1 || ! command -v rustc >/dev/null 2>&1; then \
	    say "a Rust toolchain, $(RUST_VERSION) or newer, with cargo and rustc (https://rustup.rs)"; \
	elif ! rustc --version | awk -v need="$(RUST_VERSION)" \
	    '{ split($$2, h, "."); split(need, n, "."); exit !(h[1] > n[1] || (h[1] == n[1] && h[2] + 0 >= n[2] + 0)) }'; then \
	    say "Rust $(RUST_VERSION) or newer (this is $$(rustc --version); rustup update stable)"; \
	fi; \
	[ -z "$$fail" ] || exit 1

check-lint: check
	@cargo fmt --version >/dev/null 2>&1 || { echo "missing: cargo fmt (rustup component add rustfmt)" >&2; exit 1; }
	@cargo clippy --version >/dev/null 2>&1 || { echo "missing: cargo clippy (rustup component add clippy)" >&2; exit 1; }
