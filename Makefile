# One command for everything: set-up happens by itself and only when something it depends on has changed.
#
# Variables: ARGS (for serve, bench), PYTHON (an interpreter for .venv), CARGO_TARGET_DIR (where builds are kept),
# VERBOSE=1 (show what pip and cargo print).

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
BUILD_DIR := $(or $(CARGO_TARGET_DIR),target)
# maturin sets PYO3_BUILD_EXTENSION_MODULE and plain cargo does not: in one folder each would rebuild pyo3 for the other.
MATURIN_TARGET_DIR ?= $(BUILD_DIR)/maturin
TOOLS_DIR ?= $(BUILD_DIR)/tools
CARGO_DENY_VERSION := 0.20.2
# Properties are tested with the same cases each time: what passed passes again. Another number draws others.
PROPTEST_RNG_SEED ?= 1

export MATURIN_TARGET_DIR
export PROPTEST_RNG_SEED
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

PREFLIGHT := scripts/preflight.sh
QUIETLY := scripts/quietly.sh
NATIVE_SOURCES := $(shell find src voices python/ishowtts/web -type f 2>/dev/null) Cargo.toml Cargo.lock build.rs pyproject.toml
# The interpreter behind .venv, whose path stays the same from checkout to checkout, so that pyo3 is not rebuilt.
BASE_PYTHON = $(shell $(BIN)/python -c 'import sys; print(sys._base_executable)')
CARGO := PATH="$(CURDIR)/$(BIN):$$PATH" PYO3_PYTHON=$$($(BIN)/python -c 'import sys; print(sys._base_executable)') cargo
# What a server can be asked from outside, and how it starts and ends.
BINARY_TESTS := $(addprefix tests/test_,$(addsuffix .py,server speech openai_client hostile surfaces voices_api websocket binary))
TEST_JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); [ "$$n" -lt 8 ] && echo "$$n" || echo 8)

# A virtual environment that was moved, or whose interpreter is gone, is made again.
ifneq ($(shell [ -x $(BIN)/python ] && cat $(VENV)/.made-at 2>/dev/null),$(CURDIR))
$(VENV)/.made-at: FORCE
endif

.PHONY: help serve binary test test-rust test-python test-binary test-parity lint lint-rust lint-python lint-licences bench wheel clean FORCE

help:
	@echo 'make serve   start the server on 127.0.0.1:8880   (make serve ARGS="--port 9000")'
	@echo 'make test    every test, Rust and Python          (make test-rust, make test-python ARGS="-k words")'
	@echo 'make test-parity   the tests of F5-TTS beside the upstream package (installs it: 3 GB)'
	@echo 'make binary  target/release/ishowtts-server, the server with Python inside of it'
	@echo 'make lint    formatting, lints, types, licences'
	@echo 'make bench   side-by-side measurements            (make bench ARGS="--help")'
	@echo 'make wheel   a wheel in dist/'
	@echo 'make clean   remove everything that was built or installed here'

serve: $(VENV)/.native
	@exec $(BIN)/ishowtts serve $(ARGS)

# --- set-up ----------------------------------------------------------------------------------------------------------

$(VENV)/.made-at: $(PREFLIGHT)
	@$(PREFLIGHT) python
	@$(QUIETLY) 'creating $(VENV)' scripts/make_venv.sh $(VENV)
	@echo '$(CURDIR)' > $@

$(VENV)/.build: $(VENV)/.made-at pyproject.toml
	@$(QUIETLY) 'installing the build tools' $(BIN)/pip install --quiet --group build
	@touch $@

$(VENV)/.native: $(VENV)/.build $(NATIVE_SOURCES)
	@$(PREFLIGHT) python rust
	@PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)" \
		$(QUIETLY) 'building and installing ishowtts (a few minutes the first time)' \
		$(BIN)/maturin develop --release --target-dir "$(MATURIN_TARGET_DIR)"
	@touch $@

$(VENV)/.test: $(VENV)/.made-at pyproject.toml scripts/test_tools.sh
	@$(QUIETLY) 'installing what the tests need' $(BIN)/pip install --quiet --group test
	@$(QUIETLY) 'installing the programs that tests use' scripts/test_tools.sh
	@touch $@

$(VENV)/.parity: $(VENV)/.test
	@$(QUIETLY) 'installing the upstream package of F5-TTS (3 GB)' $(BIN)/pip install --quiet --group test --group parity
	@touch $@

$(VENV)/.lint: $(VENV)/.made-at pyproject.toml
	@$(QUIETLY) 'installing the linters' $(BIN)/pip install --quiet --group lint
	@touch $@

$(VENV)/.bench: $(VENV)/.made-at pyproject.toml
	@$(QUIETLY) 'installing what the benchmarks need' $(BIN)/pip install --quiet --group bench
	@touch $@

$(TOOLS_DIR)/bin/cargo-deny:
	@$(PREFLIGHT) rust
	@$(QUIETLY) 'building cargo-deny (once)' \
		cargo install cargo-deny --version $(CARGO_DENY_VERSION) --locked --debug --root "$(TOOLS_DIR)"

# --- tests -----------------------------------------------------------------------------------------------------------

test: test-rust test-python test-binary

# What an engine would set while other tests' threads read the environment, which C libraries do not survive.
test-rust: export OMP_NUM_THREADS ?= 1
test-rust: export OPENBLAS_NUM_THREADS ?= 1
test-rust: export MKL_NUM_THREADS ?= 1
test-rust: export NUMEXPR_NUM_THREADS ?= 1
test-rust: $(VENV)/.native
	@$(PREFLIGHT) rust libpython
	@if cargo nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --lib --features embed --no-fail-fast --cargo-quiet --status-level fail --final-status-level slow; \
	else \
		$(CARGO) test --quiet --no-fail-fast --lib --features embed; \
	fi
	@$(CARGO) test --quiet --doc

# One file stays on one worker, so that a server started by a file's fixture is started once.
test-python: $(VENV)/.native $(VENV)/.test
	@$(BIN)/python -m pytest --quiet --numprocesses $(TEST_JOBS) --dist loadfile $(ARGS)

# Tests that compare with the upstream package are skipped without it; here it is there.
test-parity: $(VENV)/.native $(VENV)/.parity
	@$(BIN)/python -m pytest --quiet --numprocesses $(TEST_JOBS) --dist loadfile $(wildcard tests/test_f5_*.py) $(ARGS)

# The server's own tests once more, against the program that embeds the interpreter (a debug build: same code, no wait).
test-binary: $(VENV)/.native $(VENV)/.test
	@$(PREFLIGHT) rust libpython
	@$(QUIETLY) 'building ishowtts-server' env $(CARGO) build --quiet --features embed --bin ishowtts-server
	@ISHOWTTS_TEST_SERVER="$(abspath $(BUILD_DIR))/debug/ishowtts-server" \
		$(BIN)/python -m pytest --quiet --numprocesses $(TEST_JOBS) --dist loadfile $(BINARY_TESTS)

binary: $(VENV)/.native
	@$(PREFLIGHT) rust libpython
	@$(QUIETLY) 'building ishowtts-server' env $(CARGO) build --quiet --release --features embed --bin ishowtts-server
	@ls $(BUILD_DIR)/release/ishowtts-server

wheel: $(VENV)/.native
	@PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(QUIETLY) 'building the wheel' \
		$(BIN)/maturin build --release --target-dir "$(MATURIN_TARGET_DIR)" --out dist --interpreter $(BIN)/python
	@ls dist/*.whl

# --- lint ------------------------------------------------------------------------------------------------------------

lint: lint-rust lint-python lint-licences

lint-rust: $(VENV)/.build
	@$(PREFLIGHT) rust
	@cargo fmt --check
	@scripts/check_rooms.py
	@$(CARGO) clippy --quiet --all-targets --features embed -- -D warnings

lint-python: $(VENV)/.native $(VENV)/.lint
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/mypy --no-error-summary scripts/*.py

lint-licences: $(VENV)/.native $(TOOLS_DIR)/bin/cargo-deny
	@$(TOOLS_DIR)/bin/cargo-deny --log-level error check --hide-inclusion-graph bans licenses sources
	@scripts/check_advisories.sh $(TOOLS_DIR)/bin/cargo-deny
	@$(BIN)/python scripts/check_licences.py

# --- the rest --------------------------------------------------------------------------------------------------------

bench: $(VENV)/.native $(VENV)/.bench
	@$(CARGO) bench --quiet
	@$(BIN)/python benches/audio_side_by_side.py
	@$(BIN)/python benches/serve.py $(ARGS)

clean:
	rm -rf target dist $(VENV) .pytest_cache .ruff_cache .mypy_cache
	rm -f python/ishowtts/*.so
	find python tests benches scripts -name __pycache__ -type d -prune -exec rm -rf {} +
