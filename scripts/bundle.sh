#!/usr/bin/env bash
# A relocatable folder, and a .tar.gz of it, with everything that a node without a compiler needs (`make bundle`):
#
#   bin/         the launcher and the engines
#   bin/lib/     HDF5 and what it needs
#   .libtorch/   libtorch 2.11 for CPUs; a GPU node's own PyTorch is used where LIBTORCH names it
#   jobscripts/
#
# Not in it: glibc and the C++ runtime (the node's may be newer than this machine's, not older) and MPI, which is the cluster's (load its module).
# LIGHT=1 leaves libtorch out.
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

# What HDF5 needs, down to what every machine has.
hdf5=$(LD_LIBRARY_PATH=.libtorch/lib ldd target/release/eqr-bench-solo | awk '/libhdf5/ && /=>/ {print $3}')
if [[ -n $hdf5 ]]; then
    everywhere='^(linux-vdso|ld-linux.*|libc|libm|libdl|libpthread|librt|libresolv|libutil|libgcc_s|libstdc\+\+)\.so'
    { echo "$hdf5"; ldd "$hdf5" | awk '/=> \// {print $3}'; } | while read -r library; do
        if ! [[ $(basename "$library") =~ $everywhere ]]; then cp -L "$library" "$bundle/bin/lib/"; fi
    done
fi

if [[ -z ${LIGHT:-} ]]; then
    mkdir -p "$bundle/.libtorch"
    cp -rL .libtorch/lib "$bundle/.libtorch/lib"
    cp .libtorch/version "$bundle/.libtorch/"
fi
cp -r jobscripts README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$bundle/"

# It must start where nothing of this checkout is named.
if [[ -z ${LIGHT:-} ]]; then
    elsewhere=$(mktemp -d)
    cp -r "$bundle" "$elsewhere/moved"
    (cd / && env -i PATH=/usr/bin:/bin HOME="$elsewhere" "$elsewhere/moved/bin/eqr-bench" doctor) >"$elsewhere/doctor" || {
        rm -rf "$elsewhere"
        echo "error: the bundle does not start" >&2
        exit 1
    }
    rm -rf "$elsewhere"
fi
tar -C target/bundle -czf "target/$name.tar.gz" eqr-bench
echo "bundle: target/$name.tar.gz ($(du -h "target/$name.tar.gz" | cut -f1)); unpack it anywhere, the program is eqr-bench/bin/eqr-bench"
