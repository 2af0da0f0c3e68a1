#!/usr/bin/env bash
# Checks on an x86-64 machine that the program compiles for aarch64, as on Grace-Hopper (`make
# check-aarch64`).
#
#   scripts/check-aarch64.sh                cargo check of all crates with their tests
#   scripts/check-aarch64.sh test --release -p eqr-datasets
#                                           another cargo command; what it builds is run by QEMU
#
# Debian's packages for arm64 and libtorch's wheels for aarch64 are unpacked in target/aarch64; a second run
# finds them there. Root is not needed, and nothing is installed. Needed: Debian or Ubuntu after `make setup`,
# with g++-aarch64-linux-gnu; to run tests also qemu-user-static. If rustc has no standard library for aarch64
# (`rustup target add aarch64-unknown-linux-gnu`), Debian's rustc-web is unpacked as well.
#
# Exit code 2: something is missing. The message says what.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TARGET=aarch64-unknown-linux-gnu
HERE=$(dpkg --print-architecture 2>/dev/null || uname -m)
mkdir -p target/aarch64
WORK=$(realpath target/aarch64)

say() { echo "check-aarch64: $*"; }

# fail MESSAGE HINT
fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 2
}

# need PROGRAM PACKAGE
need() { command -v "$1" >/dev/null || fail "$1 not found" "sudo apt-get install -y $2"; }

# unpack FOLDER ARCHITECTURE STATUS PACKAGE...: unpacks packages with those that they depend on and that the
# file STATUS does not list as installed.
unpack() {
    local folder=$1 architecture=$2 status=$3 apt=$WORK/apt archive
    shift 3
    say "downloading $* for $architecture"
    rm -rf "$apt"
    mkdir -p "$apt"/{lists,archives}/partial
    cat >"$apt/settings" <<END
APT::Architecture "$architecture";
APT::Architectures "$architecture";
APT::Sandbox::User "";
APT::Install-Recommends "false";
Debug::NoLocking "true";
Dir::Cache "$apt";
Dir::Cache::Archives "$apt/archives";
Dir::State::Lists "$apt/lists";
Dir::State::status "$status";
END
    export APT_CONFIG=$apt/settings
    # a source without this architecture is no fault
    apt-get -q update >"$apt/log" 2>&1 || true
    apt-get -q -y --download-only install "$@" >>"$apt/log" 2>&1 || {
        grep '^[EW]:' "$apt/log" >&2 || true
        fail "apt cannot get $* for $architecture" \
            "all that it said is in $apt/log; on Ubuntu, arm64 is on ports.ubuntu.com, which apt must know"
    }
    for archive in "$apt"/archives/*.deb; do dpkg-deb -x "$archive" "$folder"; done
    unset APT_CONFIG
    rm -rf "$apt"
}

# The libraries of the target, as `make setup` installs them there.
fill_root() { unpack "$1" arm64 /dev/null libhdf5-dev libopenblas-dev libopenmpi-dev libc6-dev libstdc++6; }

fill_libtorch() { scripts/setup.sh libtorch-of aarch64 "$1"; }

# Debian's compiler for this machine, with the standard libraries of both. It is started by scripts that know
# where its own libraries are, of bash, because sh loses variables such as CARGO_BIN_EXE_eqr-bench.
fill_rust() {
    local program
    unpack "$1" "$HERE" /var/lib/dpkg/status rustc-web
    unpack "$1" arm64 /dev/null libstd-rust-web-dev
    mkdir "$1/bin"
    for program in rustc rustdoc; do
        cat >"$1/bin/$program" <<END
#!/bin/bash
LD_LIBRARY_PATH=$WORK/rust/usr/lib/x86_64-linux-gnu exec $WORK/rust/usr/bin/$program "\$@"
END
        chmod +x "$1/bin/$program"
    done
}

# HDF5 in the form that its crate looks for. The crate's build script loads the library to ask for its
# version, which is possible only with this machine's own: of the same release, and found in bin.
fill_hdf5() {
    local own
    read -r own < <(pkg-config --libs-only-L hdf5) # without the space at its end
    mkdir "$1"
    ln -s "$WORK/root/usr/include/hdf5/serial" "$1/include"
    ln -s "$WORK/root/usr/lib/aarch64-linux-gnu/hdf5/serial" "$1/lib"
    ln -s "${own#-L}" "$1/bin"
}

# What cargo needs to know.
settings() {
    local lib=$WORK/root/usr/lib/aarch64-linux-gnu
    cat <<END
[build]
target = "$TARGET"
target-dir = "$WORK/build"
[env]
LIBTORCH = { value = "$WORK/libtorch", relative = false, force = true }
HDF5_DIR = { value = "$WORK/hdf5", force = true }
MPI_PKG_CONFIG = { value = "ompi-c", force = true }
PKG_CONFIG_ALLOW_CROSS = "1"
PKG_CONFIG_SYSROOT_DIR = "$WORK/root"
PKG_CONFIG_LIBDIR = "$lib/pkgconfig:$lib/openblas-pthread/pkgconfig"
BINDGEN_EXTRA_CLANG_ARGS = "--sysroot=$WORK/root"
QEMU_LD_PREFIX = "$WORK/root"
[target.$TARGET]
linker = "aarch64-linux-gnu-gcc"
rustflags = ["-C", "link-arg=--sysroot=$WORK/root"]
runner = ["env", "LD_LIBRARY_PATH=$WORK/libtorch/lib:$lib/openblas-pthread", "qemu-aarch64-static"]
END
}

# once NAME: fills target/aarch64/NAME, if that was not done before.
once() {
    local folder=$WORK/$1
    [[ -d $folder ]] && return
    rm -rf "$folder.part"
    "fill_$1" "$folder.part"
    mv "$folder.part" "$folder"
}

[[ $HERE != arm64 && $HERE != aarch64 ]] || fail "this machine is an aarch64" "make test"
command -v apt-get >/dev/null || fail "no apt-get here" "this check is for Debian and Ubuntu"
need aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
scripts/setup.sh rust packages
once root
once libtorch
once hdf5
if [[ ! -d $(rustc --print sysroot)/lib/rustlib/$TARGET/lib ]]; then
    once rust
    export RUSTC=$WORK/rust/bin/rustc RUSTDOC=$WORK/rust/bin/rustdoc
fi
case ${1:-} in
test | run | bench) need qemu-aarch64-static qemu-user-static ;;
"") set -- check --release --workspace --all-targets ;;
esac
settings >"$WORK/cargo.toml"
cargo --config "$WORK/cargo.toml" "$@"
say "cargo $* for $TARGET: no errors"
