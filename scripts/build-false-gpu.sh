#!/usr/bin/env bash
# Builds the false GPU of the tests.
#
#   scripts/build-false-gpu.sh LIBTORCH OUT     OUT: the library, for example folder/libtorch_cuda.so
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

libtorch=$1
g++ -std=c++17 -O1 -fPIC -shared -Wall \
    -I "$libtorch/include" -I "$libtorch/include/torch/csrc/api/include" suite/tests/false_gpu/false_gpu.cpp \
    -L "$libtorch/lib" -ltorch_cpu -lc10 -Wl,-soname,libtorch_cuda.so -o "$2"
