#!/usr/bin/env bash
# Builds the false GPU of the tests: the CUDA half of libtorch, CUDA's driver and its compiler.
#
#   scripts/build-false-gpu.sh LIBTORCH FOLDER
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

libtorch=$1
sources=$PWD/suite/tests/false_gpu
build() { g++ -std=c++17 -O1 -fPIC -shared -Wall "$@"; }

build -I "$libtorch/include" -I "$libtorch/include/torch/csrc/api/include" "$sources/false_gpu.cpp" \
    -L "$libtorch/lib" -ltorch_cpu -lc10 -Wl,-soname,libtorch_cuda.so -o "$2/libtorch_cuda.so"
build -Wextra "$sources/false_driver.cpp" -L "$2" -ltorch_cuda -Wl,--allow-shlib-undefined -o "$2/libcuda.so.1"
build -Wextra "-DFALSE_DEVICE=\"$sources/false_device.h\"" "-DFALSE_KERNELS=\"$PWD/target/false-kernels\"" \
    "$sources/false_nvrtc.cpp" -o "$2/libnvrtc.so.13"
