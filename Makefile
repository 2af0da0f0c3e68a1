# `make help` lists the targets. Each target does the set-up it needs; no environment variable is required.

# The folder where rustup installs cargo, for shells that have not read rustup's profile yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

# MPI=0 builds without MPI, for one process.
export MPI ?= 1
# Number of ranks of `make bench`, and further options of mpirun (the default is in scripts/bench.sh).
export NP ?= 2
# The Python of `make test-cuda-libs`, whose torch has CUDA, and of `make test-slurm`, with PyYAML.
PYTHON ?= python3
# Where `make install` puts the program; ~/.local by default.
export PREFIX
export MPIFLAGS

# The engine with MPI is built if MPI is available.
FEATURES = $(shell MPI=$(MPI) scripts/setup.sh has-mpi || echo --no-default-features --features onnx)

.DEFAULT_GOAL := help
.PHONY: help setup build bench install uninstall bundle test test-full test-false-gpu test-cuda-libs \
	test-slurm check-aarch64 lint clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24
	@echo "  Options: MPI=0 (no MPI), NP=4 (ranks of bench), LIBTORCH=folder (use that libtorch)"

setup: ## system packages, libtorch in .libtorch/; a second run only checks
	@scripts/setup.sh

build: setup ## all programs, into target/release/
	cargo build --release $(FEATURES)
	@scripts/setup.sh has-mpi || echo "note: built without MPI; eqr-bench runs as one process"

bench: ## set up, build, run the quickstart under mpirun, print its table
	@MAKE="$(MAKE)" scripts/bench.sh

install: build ## put eqr-bench into PREFIX (~/.local), so that it is on the PATH
	@scripts/install.sh

uninstall: ## remove what `make install` put there
	@scripts/install.sh --remove

bundle: build ## a relocatable .tar.gz for nodes without a compiler, into target/
	@scripts/bundle.sh

lint: setup ## formatting and clippy where these components are installed, and the documentation
	@if cargo fmt --version >/dev/null 2>&1; then cargo fmt --all --check; \
	else echo "note: rustfmt is not installed; formatting is not checked"; fi
	@if cargo clippy --version >/dev/null 2>&1; then \
		cargo clippy --release --workspace --all-targets $(FEATURES) -- -D warnings; \
	else echo "note: clippy is not installed; lints are not checked"; fi
	@RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --workspace $(FEATURES)

test: lint ## set up, lint, all tests (what CI runs)
	cargo test --release --workspace $(FEATURES)

test-full: export EQR_TEST_FULL = 1
test-full: test test-false-gpu ## all tests, with long trainings and on the false GPU, and the fuzz targets
	scripts/fuzz.sh

test-false-gpu: setup ## the tests of the libraries on the false GPU
	@scripts/test-false-gpu.sh

test-cuda-libs: export EQR_TEST_CUDA_PYTHON = $(PYTHON)
test-cuda-libs: build ## the real CUDA half of libtorch, NCCL and NVRTC, from the torch of PYTHON (python3), without a GPU
	cargo test --release -p eqr-bench $(FEATURES) --test program cuda_libraries
	EQR_NCCL=$$($(PYTHON) -c "import nvidia.nccl as n; print(n.__path__[0] + '/lib/libnccl.so.2')") \
		cargo test --release -p eqr-bench $(FEATURES) --bin eqr-bench-mpi the_real_library
	EQR_NVRTC=$$($(PYTHON) -c "import glob, nvidia; print(glob.glob(nvidia.__path__[0] + '/*/lib/libnvrtc.so.1[23]')[0])") \
		cargo test --release -p eqr-device --lib the_real_compiler

test-slurm: build ## job scripts: forms for centres, 50 signals at random moments, a Slurm of one node (as root)
	@$(PYTHON) scripts/test_forms.py
	@scripts/test-signals.sh
	@scripts/test-slurm.sh

check-aarch64: ## cargo check for aarch64 (Grace-Hopper), on x86-64; all it needs goes into target/aarch64
	@scripts/check-aarch64.sh

clean: ## delete what was built; .libtorch and runs are kept
	cargo clean
