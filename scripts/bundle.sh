#!/usr/bin/env bash
# Makes a relocatable folder, and a .tar.gz of it, with everything that a node without a compiler needs
# (`make bundle`):
#
#   bin/         the launcher and the engines
#   bin/lib/     HDF5 and the libraries it needs
#   .libtorch/   libtorch 2.11 for CPUs; on a GPU node, set LIBTORCH to the node's own PyTorch
#   jobscripts/, scripts/gpu-check.sh with its parts
#
# It does not contain glibc and the C++ runtime (the node's may be newer than this machine's, but not older),
# nor MPI (load the cluster's module). LIGHT=1 leaves libtorch out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=eqr-bench-$version-$(uname -m)
bundle=target/bundle/eqr-bench
rm -rf target/bundle
mkdir -p "$bundle/bin/lib"

engines=()
for engine in eqr-bench-solo eqr-bench-mpi; do
    if [[ -x target/release/$engine ]]; then engines+=("$engine"); fi
done
cp target/release/eqr-bench "${engines[@]/#/target/release/}" "$bundle/bin/"

# HDF5 and the libraries it needs, except those that every machine has.
hdf5=$(LD_LIBRARY_PATH=.libtorch/lib ldd target/release/eqr-bench-solo | awk '/libhdf5/ && /=>/ {print $3}')
if [[ -n $hdf5 ]]; then
    everywhere='^(linux-vdso|ld-linux.*|lib(c|m|dl|pthread|rt|resolv|util|gcc_s|stdc\+\+))\.so'
    { echo "$hdf5"; ldd "$hdf5" | awk '/=> \// {print $3}'; } | while read -r library; do
        if ! [[ $(basename "$library") =~ $everywhere ]]; then cp -L "$library" "$bundle/bin/lib/"; fi
    done
fi

if [[ -z ${LIGHT:-} ]]; then
    mkdir -p "$bundle/.libtorch"
    cp -rL .libtorch/lib "$bundle/.libtorch/lib"
    cp .libtorch/version "$bundle/.libtorch/"
fi
mkdir -p "$bundle/scripts/reference"
cp scripts/gpu-check.sh scripts/gpu_check_curves.py "$bundle/scripts/"
cp scripts/reference/train_speed.py "$bundle/scripts/reference/"
cp -r jobscripts README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$bundle/"

# The bundle must start without anything from this checkout.
if [[ -z ${LIGHT:-} ]]; then
    elsewhere=$(mktemp -d)
    cp -r "$bundle" "$elsewhere/moved"
    (cd / && env -i PATH=/usr/bin:/bin HOME="$elsewhere" "$elsewhere/moved/bin/eqr-bench" doctor) \
        >"$elsewhere/doctor" || {
        rm -rf "$elsewhere"
        echo "error: the bundle does not start" >&2
        exit 1
    }
    rm -rf "$elsewhere"
fi
tar -C target/bundle -czf "target/$name.tar.gz" eqr-bench
size=$(du -h "target/$name.tar.gz" | cut -f1)
echo "bundle: target/$name.tar.gz ($size). Unpack it anywhere; the program is eqr-bench/bin/eqr-bench"
