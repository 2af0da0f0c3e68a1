#!/usr/bin/env bash
# Runs the fuzz targets of datasets/fuzz for some seconds each.
#
#   scripts/fuzz.sh [SECONDS] [TARGET...]     default: 20 seconds, all targets
#
# The targets are built with the coverage flags of libFuzzer on the stable toolchain, like `cargo fuzz -s
# none` but without cargo-fuzz. The first build takes some minutes. New inputs are kept in
# datasets/fuzz/corpus, failures in datasets/fuzz/artifacts. Nothing is installed. libFuzzer needs a C++
# compiler; without one the script prints SKIPPED.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-20}
shift || true

command -v "${CXX:-c++}" >/dev/null || { echo "SKIPPED: the fuzz targets need a C++ compiler"; exit 0; }

# the flags of cargo-fuzz: edge coverage, traced comparisons, debug assertions
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions"
host=$(rustc -vV | sed -n 's/^host: //p')
export LD_LIBRARY_PATH="${LIBTORCH:-$PWD/.libtorch}/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

cd datasets/fuzz
# with --target, the flags are not used for build scripts and procedural macros
RUSTFLAGS=$flags cargo build --release --bins --target "$host"

targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || mapfile -t targets < <(basename -s .rs -a fuzz_targets/*.rs)
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    folders=("corpus/$target")
    [[ -d seeds/$target ]] && folders+=("seeds/$target")
    [[ $target == weights ]] && folders+=("../../models/weights/tests/files")
    echo "fuzz: $target, $seconds s"
    "target/$host/release/$target" "${folders[@]}" -max_total_time="$seconds" -rss_limit_mb=4096 \
        -artifact_prefix="artifacts/$target/" -print_final_stats=1 -verbosity=0
done
