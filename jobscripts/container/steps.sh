#!/usr/bin/env bash
# The steps of the image, for Debian bookworm. The Dockerfile and the Apptainer recipe call them, so there is
# one recipe.
#
#   steps.sh build            in an image with Rust, in the checkout: builds the bundle target/bundle/eqr-bench
#   steps.sh runtime 0|1      in the image to run, with the bundle in /opt/eqr-bench: installs MPI; with 1 also
#                             a PyTorch with CUDA, whose libtorch takes the place of the bundle's for CPUs
set -euo pipefail

BUNDLE=/opt/eqr-bench

install_packages() {
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
    rm -rf /var/lib/apt/lists/*
}

build() {
    install_packages make git python3 python3-pip ca-certificates
    # the image's Rust is not on the PATH of every builder
    export PATH=/usr/local/cargo/bin:$PATH
    # of the machine that the checkout comes from
    rm -rf target .libtorch
    # set-up installs what else the build needs and downloads libtorch
    make build
    # tries whether the bundle starts
    make bundle
}

runtime() {
    install_packages openmpi-bin ca-certificates
    if [[ $1 == 1 ]]; then
        install_packages python3 python3-pip
        python3 -m pip install --no-cache-dir --target /opt/torch "torch==$(<$BUNDLE/.libtorch/version)"
        rm -rf $BUNDLE/.libtorch
        ln -s /opt/torch/torch $BUNDLE/.libtorch
    fi
    $BUNDLE/bin/eqr-bench doctor
}

case $* in
build) build ;;
"runtime 0" | "runtime 1") runtime "$2" ;;
*)
    echo "error: expected 'build', 'runtime 0' or 'runtime 1', got '$*'" >&2
    exit 2
    ;;
esac
