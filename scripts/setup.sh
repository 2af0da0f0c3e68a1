#!/usr/bin/env bash
# Makes this checkout ready to build: Rust is there, system packages, libtorch in .libtorch/. Run again = only look.
#
#   scripts/setup.sh              all of it (what `make setup` calls)
#   scripts/setup.sh rust|packages|libtorch ...   these steps only
#   scripts/setup.sh has-mpi      exit code 0 if an engine with MPI can be built here
#
# MPI=0 in the environment: build for one process, and ask for no MPI.
# LIBTORCH=folder: use that libtorch (include/ and lib/). Without it: python's torch if it is 2.11, else a download.
# Exit code 2: something is missing that only the user can provide; the message says what.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RUST_NEEDED=1.89
TORCH_SERIES=2.11
# What is downloaded where there is no libtorch: one wheel for headers and libraries, and the two libraries that its
# libtorch_cpu.so is linked to.
TORCH_WHEEL=torch==2.11.0
WHEELS=("$TORCH_WHEEL" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)

FACADE=.libtorch
BUILD=.libtorch.tmp
# Raised when the way .libtorch is made changes, so that an older one is made again.
RECIPE=1

BASE_PACKAGES=(build-essential pkg-config libhdf5-dev libopenblas-dev)
MPI_PACKAGES=(libopenmpi-dev openmpi-bin libclang-dev) # libclang: the MPI bindings are generated

say() { echo "setup: $*"; }

# fail MESSAGE HINT
fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 2
}

# ---- Rust ------------------------------------------------------------------------------------------------------------

check_rust() {
    local version install="install it with rustup (https://rustup.rs), then run this again"
    if ! version=$(cargo --version 2>/dev/null); then
        fail "cargo not found; eqr-bench needs Rust $RUST_NEEDED or newer" "$install"
    fi
    version=${version#cargo }
    version=${version%% *}
    if [[ $(printf '%s\n' "$RUST_NEEDED" "$version" | sort -V | head -n 1) != "$RUST_NEEDED" ]]; then
        fail "cargo is version $version; eqr-bench needs Rust $RUST_NEEDED or newer" "rustup update stable, or $install"
    fi
}

# ---- system packages -------------------------------------------------------------------------------------------------

# The library itself: llvm-config and clang are also there without it.
has_libclang() {
    local folder
    folder=$(llvm-config --libdir 2>/dev/null) || folder=/usr/lib
    ldconfig -p | grep -Eq 'libclang(-[0-9.]+)?\.so' || compgen -G "$folder/libclang.so*" ||
        compgen -G "$folder/libclang-[0-9]*.so*"
}

# Is what a package is wanted for there without the package (a cluster's module, an installation by hand)?
provided_otherwise() {
    case $1 in
    build-essential) command -v cc && command -v c++ ;;
    pkg-config) command -v pkg-config ;;
    libhdf5-dev) [[ -n ${HDF5_DIR:-} ]] || command -v h5cc || pkg-config --exists hdf5 ;;
    libopenblas-dev) pkg-config --exists openblas ;;
    libopenmpi-dev) command -v mpicc ;;
    openmpi-bin) command -v mpirun || command -v srun ;;
    libclang-dev) [[ -n ${LIBCLANG_PATH:-} ]] || has_libclang ;;
    *) false ;;
    esac >/dev/null 2>&1
}

# Prints those of the given packages that are not there.
missing_packages() {
    local package installed=""
    if command -v dpkg-query >/dev/null; then
        # shellcheck disable=SC2016  # dpkg-query fills these in
        installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
    fi
    for package in "$@"; do
        grep -qx "installed $package" <<<"$installed" || provided_otherwise "$package" || echo "$package"
    done
}

# Can packages be installed? Sets AS_ROOT (what makes a command run as root), or REASON (why not).
AS_ROOT=()
REASON=""
may_install() {
    if ! command -v apt-get >/dev/null; then
        REASON="this machine has no apt-get"
    elif [[ $EUID -eq 0 ]]; then
        return 0
    elif ! command -v sudo >/dev/null; then
        REASON="not root, and there is no sudo"
    else
        AS_ROOT=(sudo)
        [[ -t 2 ]] || AS_ROOT+=(-n) # nobody there to type a password
        "${AS_ROOT[@]}" true && return 0
        REASON="sudo was refused"
    fi
    return 1
}

# Ends with the list of what is needed, and the command.
cannot_install() {
    local way_out=""
    if [[ $* == *openmpi* ]]; then way_out=" (or build for one process, without MPI: make bench MPI=0)"; fi
    fail "cannot install system packages: $REASON
needed: $*" "sudo apt-get update && sudo apt-get install -y $*; or the same by your system's own means$way_out"
}

apt_install() {
    may_install || cannot_install "$@"
    say "installing $*"
    "${AS_ROOT[@]}" apt-get update -q || say "apt-get update failed; trying with the lists that are there"
    "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$@" </dev/null && return 0
    REASON="apt-get failed, see above"
    cannot_install "$@"
}

ensure_packages() {
    local base mpi=""
    base=$(missing_packages "${BASE_PACKAGES[@]}")
    [[ ${MPI:-1} == 0 ]] || mpi=$(missing_packages "${MPI_PACKAGES[@]}")
    # shellcheck disable=SC2206  # lists of names
    local -a missing=($base $mpi)
    if [[ ${#missing[@]} -eq 0 ]]; then
        return 0
    elif [[ -z $base ]] && ! may_install; then
        # All but MPI is there: the benchmark runs without it, on one process.
        say "note: no MPI here, and it cannot be installed ($REASON): eqr-bench is built for one process"
        say "note: for MPI install ${missing[*]}, or load your cluster's MPI module"
    else
        apt_install "${missing[@]}"
    fi
}

has_mpi() { [[ ${MPI:-1} != 0 && -z $(missing_packages "${MPI_PACKAGES[@]}") ]]; }

# ---- libtorch --------------------------------------------------------------------------------------------------------

# Prints the version of the libtorch in a folder; nothing if it does not say.
version_of() {
    if [[ -s $1/build-version ]]; then
        head -n 1 "$1/build-version"
    elif [[ -s $1/version.py ]]; then
        sed -n "s/^__version__ *= *['\"]\([^'\"]*\)['\"].*/\1/p" "$1/version.py" | head -n 1
    elif [[ -s $1/version ]]; then
        head -n 1 "$1/version"
    fi
}

right_version() { [[ $1 == "$TORCH_SERIES" || $1 == "$TORCH_SERIES".* ]]; }

# Says what is wrong with a folder as a libtorch to build against; prints nothing if it is fine.
fault_of() {
    local file version
    for file in lib/libtorch.so lib/libtorch_cpu.so lib/libc10.so include/torch/csrc/api/include/torch/torch.h; do
        if [[ ! -e $1/$file ]]; then
            echo "has no $file"
            return
        fi
    done
    version=$(version_of "$1")
    if [[ -z $version ]]; then
        echo "does not say its version (no build-version, version.py or version)"
    elif ! right_version "$version"; then
        echo "is version $version; eqr-bench needs $TORCH_SERIES"
    fi
}

# The python interpreters to look at, best first.
PYTHONS=()
for python in ${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python"} python3 /usr/bin/python3; do
    if command -v "$python" >/dev/null; then PYTHONS+=("$python"); fi
done

# Prints "RECIPE KIND FOLDER": where libtorch is to come from.
choose_source() {
    local given python folder fault
    given=${LIBTORCH:-}
    # cargo sets LIBTORCH to .libtorch for what it runs; that is the result, not a wish.
    if [[ -n $given && $(realpath -m "$given") != "$(realpath -m "$FACADE")" ]]; then
        fault=$(fault_of "$given")
        [[ -z $fault ]] || fail "\$LIBTORCH ($given) $fault" \
            "set LIBTORCH to a libtorch $TORCH_SERIES (the folder that holds include/ and lib/), or unset it"
        echo "$RECIPE LIBTORCH $(realpath "$given")"
        return
    fi
    for python in "${PYTHONS[@]}"; do
        folder=$("$python" scripts/libtorch.py find 2>/dev/null || true)
        [[ -n $folder ]] || continue
        fault=$(fault_of "$folder")
        if [[ -z $fault ]]; then
            echo "$RECIPE python $(realpath "$folder")"
            return
        fi
        say "python's torch in $folder $fault: not used" >&2
    done
    echo "$RECIPE download ${WHEELS[*]}"
}

# Is .libtorch whole, and still what it was made from?
facade_is_good() {
    local recipe kind origin
    [[ -f $FACADE/version && -f $FACADE/source && -z $(fault_of "$FACADE") ]] || return 1
    read -r recipe kind origin <"$FACADE/source" || return 1
    [[ $recipe == "$RECIPE" ]] || return 1
    if [[ $kind == download ]]; then
        [[ $origin == "${WHEELS[*]}" ]] || return 1
    elif [[ $(version_of "$origin") != "$(<"$FACADE/version")" ]]; then
        return 1 # upgraded in place
    fi
    # A wish that differs is heeded; no wish leaves things as they are.
    [[ -z ${LIBTORCH:-} || $(realpath -m "$LIBTORCH") == "$(realpath -m "$FACADE")" ||
        "$kind $origin" == "LIBTORCH $(realpath -m "$LIBTORCH")" ]]
}

# Prints what the loader does not find for the libraries that are linked against. libtorch.so may miss its CUDA half: it
# is an empty shell, which the linker drops.
not_found() {
    local dir
    dir=$(realpath "$BUILD/lib")
    LD_LIBRARY_PATH=$dir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} \
        ldd "$dir/libtorch_cpu.so" "$dir/libc10.so" 2>&1 | grep 'not found' | sort -u || true
}

# Fills $BUILD with links to the libtorch in $1.
link_libtorch() {
    local root=$1 file name target
    mkdir "$BUILD/lib"
    ln -s "$(realpath "$root/include")" "$BUILD/include"
    for file in "$root"/lib/{libtorch.so,libtorch_cpu.so,libc10.so} "$root"/lib/libgomp*.so*; do
        if [[ -e $file ]]; then ln -s "$(realpath "$file")" "$BUILD/lib/$(basename "$file")"; fi
    done
    # libtorch_cpu.so can need more, for example libcudart, and finds it relative to where it lies: link that too, and
    # what it needs in turn.
    for _ in 1 2 3 4 5; do
        not_found | awk '$2 == "=>" { print $1 }' >"$BUILD/wanted"
        [[ -s $BUILD/wanted ]] || break
        while read -r name; do
            target=$(ldd "$root"/lib/libtorch_cpu.so "$root"/lib/libc10.so 2>/dev/null |
                awk -v name="$name" '$1 == name && $3 ~ /^\// { print $3; exit }')
            # A package whose folders were moved apart: python's nvidia packages lie beside torch.
            [[ -n $target ]] || target=$(find -L "$root/lib" "$root/../nvidia" -name "$name" -print -quit 2>/dev/null || true)
            if [[ -n $target && ! -e $BUILD/lib/$name ]]; then ln -s "$(realpath "$target")" "$BUILD/lib/$name"; fi
        done <"$BUILD/wanted"
    done
    rm -f "$BUILD/wanted"
}

# Fills $BUILD from wheels.
download_libtorch() {
    local python pip_python="" machine tag
    local -a platforms=() quiet=(--quiet)
    for python in "${PYTHONS[@]}"; do
        if "$python" -m pip --version >/dev/null 2>&1; then
            pip_python=$python
            break
        fi
    done
    if [[ -z $pip_python ]]; then
        apt_install python3 python3-pip ca-certificates
        pip_python=/usr/bin/python3
    fi

    # Only the libraries are used, so one python's wheel serves every python, also one that torch has no wheel for.
    machine=$(uname -m)
    for tag in manylinux_2_28 manylinux_2_27 manylinux_2_26 manylinux_2_25 manylinux_2_24 manylinux_2_17 manylinux2014; do
        platforms+=(--platform "${tag}_$machine")
    done
    if [[ -t 1 ]]; then quiet=(); fi # a progress bar for people, no log of it for files
    say "downloading libtorch 2.11.0 (540 MB, once)"
    mkdir "$BUILD/wheels" "$BUILD/pip"
    # TMPDIR: /tmp is small on many machines. No cache: it would hold the 540 MB a second time.
    TMPDIR=$(realpath "$BUILD/pip") "$pip_python" -m pip --disable-pip-version-check download "${quiet[@]}" --no-cache-dir --no-deps \
        --only-binary=:all: --implementation cp --python-version 3.12 "${platforms[@]}" --dest "$BUILD/wheels" \
        "${WHEELS[@]}" </dev/null ||
        fail "could not download ${WHEELS[*]}" \
            "set LIBTORCH to a libtorch $TORCH_SERIES, or install python's torch $TORCH_SERIES; without a network put the three wheels (cp312) into a folder and set PIP_NO_INDEX=1 PIP_FIND_LINKS=that folder"
    say "unpacking"
    "$pip_python" scripts/libtorch.py unpack "$BUILD" "$BUILD"/wheels/*.whl
    rm -rf "$BUILD/wheels" "$BUILD/pip"
}

ensure_libtorch() {
    facade_is_good && return 0

    # One at a time. Where the file system has no locks, there is nothing to wait for.
    exec 9<"scripts/setup.sh"
    if command -v flock >/dev/null && ! flock -n 9 2>/dev/null; then
        say "waiting for another set-up of this checkout"
        flock 9 2>/dev/null || true
        facade_is_good && return 0
    fi

    local source kind origin version lost
    source=$(choose_source)
    read -r _ kind origin <<<"$source"
    # Made under another name and renamed when whole, so that an interrupted set-up never passes for a finished one.
    rm -rf "$BUILD"
    mkdir "$BUILD"
    trap 'rm -rf "$BUILD"' EXIT
    if [[ $kind == download ]]; then
        download_libtorch
        version=${TORCH_WHEEL#*==}
    else
        link_libtorch "$origin"
        version=$(version_of "$origin")
    fi
    lost=$(not_found)
    [[ -z $lost ]] || fail "libtorch ($kind $origin) cannot be loaded:
$lost" "install what is missing, or unset LIBTORCH and let \`make setup\` download one"
    echo "$source" >"$BUILD/source"
    echo "$version" >"$BUILD/version"
    if [[ -e $FACADE || -L $FACADE ]]; then
        rm -rf "$FACADE.old"
        mv "$FACADE" "$FACADE.old"
    fi
    mv "$BUILD" "$FACADE"
    rm -rf "$FACADE.old"
    say "libtorch $version in $FACADE ($kind: $origin)"
}

# ----------------------------------------------------------------------------------------------------------------------

# A wrong $LIBTORCH is known at once; say so before packages are installed.
check_wish() { [[ -z ${LIBTORCH:-} ]] || choose_source >/dev/null; }

steps=("$@")
[[ ${#steps[@]} -gt 0 ]] || steps=(rust wish packages libtorch)
for step in "${steps[@]}"; do
    case $step in
    rust) check_rust ;;
    wish) check_wish ;;
    packages) ensure_packages ;;
    libtorch) ensure_libtorch ;;
    has-mpi) has_mpi ;;
    *) fail "unknown step '$step'" "the steps are rust, packages, libtorch, has-mpi" ;;
    esac
done
[[ ${steps[*]} != *libtorch* ]] || say "ready (libtorch $(<"$FACADE/version"))"
