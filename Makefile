# make help says what there is. Everything sets up first, and nothing needs an exported variable.

# Where rustup puts cargo, for shells that have not read its profile yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

# MPI=0 builds for one process only.
export MPI ?= 1
# Ranks of `make bench`, and what mpirun is told beside their number (scripts/bench.sh has the default).
export NP ?= 2
export MPIFLAGS

# The engine with MPI is built wherever MPI is.
FEATURES = $(shell MPI=$(MPI) scripts/setup.sh has-mpi || echo --no-default-features)

.DEFAULT_GOAL := help
.PHONY: help setup build bench bundle test test-full test-slurm lint clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo "  Options: MPI=0 (no MPI), NP=4 (ranks of bench), LIBTORCH=folder (use that libtorch)"

setup: ## system packages, libtorch in .libtorch/; again = only look
	@scripts/setup.sh

build: setup ## all programs, into target/release/
	cargo build --release $(FEATURES)
	@scripts/setup.sh has-mpi || echo "note: built without MPI: eqr-bench runs as one process"

bench: ## from nothing to the table: set up, build, run the quickstart under mpirun
	@MAKE="$(MAKE)" scripts/bench.sh

bundle: build ## a relocatable .tar.gz for nodes without a compiler, into target/
	@scripts/bundle.sh

lint: setup ## formatting and clippy, where these components are installed
	@if cargo fmt --version >/dev/null 2>&1; then cargo fmt --all --check; \
	else echo "note: rustfmt is not installed, formatting not checked"; fi
	@if cargo clippy --version >/dev/null 2>&1; then \
		cargo clippy --release --workspace --all-targets $(FEATURES) -- -D warnings; \
	else echo "note: clippy is not installed, lints not checked"; fi

test: lint ## set up, lint, all tests (what CI runs)
	cargo test --release --workspace $(FEATURES)

test-full: export EQR_TEST_FULL = 1
test-full: test ## also the tests that train for long, and the fuzz targets
	scripts/fuzz.sh

test-slurm: build ## job scripts under a Slurm that is started for it (as root; installs slurm-wlm)
	@scripts/test-slurm.sh

clean: ## what was built; .libtorch and runs stay
	cargo clean
