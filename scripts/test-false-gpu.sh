#!/usr/bin/env bash
# Runs the tests of models and probes on the false GPU of the program's tests. They expect the CPU's values.
#
#   scripts/test-false-gpu.sh [FILTER...]     default: all tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

libtorch=$PWD/.libtorch
library=$PWD/target/false-gpu/libtorch_cuda.so
mkdir -p "$(dirname "$library")"
scripts/build-false-gpu.sh "$libtorch" "$library"

# only the tests load it, not the compiler
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export "CARGO_TARGET_${host}_RUNNER=env LD_LIBRARY_PATH=$libtorch/lib LD_PRELOAD=$library"
export EQR_TEST_DEVICE=cuda:0 EQR_FALSE_GPU_OPEN=1
cargo test --release -p eqr-models -p eqr-probes --lib --tests -- "$@"
