#!/usr/bin/env bash
# Runs the tests of eqr-device, models, probes and one of the data sets on false GPUs of the program's tests: on
# the only one, and on the last of two and of four, where whatever is left to the first one is found. They expect
# the CPU's values.
#
#   scripts/test-false-gpu.sh [FILTER...]     default: all tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

libtorch=$PWD/.libtorch
folder=$PWD/target/false-gpu
mkdir -p "$folder"
scripts/build-false-gpu.sh "$libtorch" "$folder"

# only the tests load it, not the compiler
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export "CARGO_TARGET_${host}_RUNNER=env LD_LIBRARY_PATH=$libtorch/lib:$folder LD_PRELOAD=$folder/libtorch_cuda.so"
export EQR_FALSE_GPU_OPEN=1
[[ $# != 0 ]] || set -- --skip every_method_fits_eight_pairs
for gpus in 1 2 4; do
    echo "tests on the last of $gpus false GPUs"
    export EQR_FALSE_GPUS=$gpus EQR_TEST_DEVICE=cuda:$((gpus - 1))
    cargo test --release -p eqr-device -p eqr-models -p eqr-probes --lib --tests -- "$@"
    # the other tests of the data sets compute on the CPU
    cargo test --release -p eqr-datasets --lib transforms::color
done
# some 20 minutes with kernels, whose threads the false GPU runs one after the other
[[ $* != "--skip every_method_fits_eight_pairs" ]] || EQR_KERNELS=0 cargo test --release -p eqr-models --test overfit
