#!/usr/bin/env bash
# Prepares this checkout for a build: checks Rust, installs system packages, puts libtorch into .libtorch/. A
# second run only checks.
#
#   scripts/setup.sh              all steps (what `make setup` calls)
#   scripts/setup.sh rust|packages|libtorch ...   these steps only
#   scripts/setup.sh has-mpi      exit code 0 if an engine with MPI can be built here
#   scripts/setup.sh libtorch-of MACHINE FOLDER
#                                 the libtorch of another machine (uname -m) into a folder, for a cross build
#
# MPI=0 in the environment builds for one process and needs no MPI. LIBTORCH=folder uses that libtorch
# (include/ and lib/). Without it, python's torch is used if it is 2.11; otherwise libtorch is downloaded.
# Exit code 2: something is missing that only the user can provide. The message says what.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RUST_NEEDED=1.89
TORCH_SERIES=2.11
# Downloaded if there is no libtorch: one wheel with headers and libraries, and the two libraries that its
# libtorch_cpu.so is linked to.
TORCH_WHEEL=torch==2.11.0
WHEELS=("$TORCH_WHEEL" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)

FACADE=.libtorch
BUILD=.libtorch.tmp
# Increase this when the way of making .libtorch changes; an older .libtorch is then made again.
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

# ---- Rust --------------------------------------------------------------------------------------------------

check_rust() {
    local version install="install it with rustup (https://rustup.rs), then run this again"
    if ! version=$(cargo --version 2>/dev/null); then
        fail "cargo not found; eqr-bench needs Rust $RUST_NEEDED or newer" "$install"
    fi
    version=${version#cargo }
    version=${version%% *}
    if [[ $(printf '%s\n' "$RUST_NEEDED" "$version" | sort -V | head -n 1) != "$RUST_NEEDED" ]]; then
        fail "cargo is version $version; eqr-bench needs Rust $RUST_NEEDED or newer" \
            "rustup update stable, or $install"
    fi
}

# ---- system packages ---------------------------------------------------------------------------------------

# Looks for the library itself, because llvm-config and clang can be installed without it.
has_libclang() {
    local folder
    folder=$(llvm-config --libdir 2>/dev/null) || folder=/usr/lib
    ldconfig -p | grep -Eq 'libclang(-[0-9.]+)?\.so' || compgen -G "$folder/libclang.so*" ||
        compgen -G "$folder/libclang-[0-9]*.so*"
}

# Succeeds if this machine has what the package provides from another source (a cluster's module, a manual
# installation).
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

# Prints the given packages that are missing.
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

# Succeeds if packages can be installed. Sets AS_ROOT (the prefix that runs a command as root), or REASON (why
# not).
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
        [[ -t 2 ]] || AS_ROOT+=(-n) # no terminal, so nobody can type a password
        "${AS_ROOT[@]}" true && return 0
        REASON="sudo was refused"
    fi
    return 1
}

# Fails with the list of packages that are needed and the command that installs them.
cannot_install() {
    local way_out=""
    if [[ $* == *openmpi* ]]; then way_out=" (or build for one process, without MPI: make bench MPI=0)"; fi
    fail "cannot install system packages: $REASON
needed: $*" "sudo apt-get update && sudo apt-get install -y $*; or install the same with your \
system's package manager$way_out"
}

apt_install() {
    may_install || cannot_install "$@"
    say "installing $*"
    "${AS_ROOT[@]}" apt-get update -q || say "apt-get update failed; trying with the existing package lists"
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
        # Only MPI is missing. The benchmark can run without it, as one process.
        say "note: no MPI found, and it cannot be installed ($REASON): eqr-bench is built for one process"
        say "note: to get MPI, install ${missing[*]} or load your cluster's MPI module"
    else
        apt_install "${missing[@]}"
    fi
}

has_mpi() { [[ ${MPI:-1} != 0 && -z $(missing_packages "${MPI_PACKAGES[@]}") ]]; }

# ---- libtorch ----------------------------------------------------------------------------------------------

# Prints the version of the libtorch in a folder, or nothing if the folder does not state it.
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

# Prints why a folder cannot be used as the libtorch of the build; prints nothing if it can.
fault_of() {
    local file version
    for file in lib/{libtorch,libtorch_cpu,libc10}.so include/torch/csrc/api/include/torch/torch.h; do
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

# The python interpreters to search, in order of preference.
PYTHONS=()
for python in ${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python"} python3 /usr/bin/python3; do
    if command -v "$python" >/dev/null; then PYTHONS+=("$python"); fi
done

# Prints "RECIPE KIND FOLDER", the source of libtorch.
choose_source() {
    local given python folder fault
    given=${LIBTORCH:-}
    # cargo sets LIBTORCH to .libtorch for the programs it runs. That is the result of set-up, not the user's
    # choice.
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

# Succeeds if .libtorch is complete and its source is unchanged.
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
    # If the user chose a libtorch, it must be this one.
    [[ -z ${LIBTORCH:-} || $(realpath -m "$LIBTORCH") == "$(realpath -m "$FACADE")" ||
        "$kind $origin" == "LIBTORCH $(realpath -m "$LIBTORCH")" ]]
}

# Prints what the loader does not find for the linked libraries. libtorch.so is not checked: its CUDA half may
# be missing, and the linker drops it because it is empty.
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
    # libtorch_cpu.so can need more libraries, for example libcudart, and finds them relative to its own
    # folder. Link those too, and the libraries they need in turn.
    for _ in 1 2 3 4 5; do
        not_found | awk '$2 == "=>" { print $1 }' >"$BUILD/wanted"
        [[ -s $BUILD/wanted ]] || break
        while read -r name; do
            target=$(ldd "$root"/lib/libtorch_cpu.so "$root"/lib/libc10.so 2>/dev/null |
                awk -v name="$name" '$1 == name && $3 ~ /^\// { print $3; exit }')
            # The package's folders may have been moved apart. Python's nvidia packages are beside torch.
            [[ -n $target ]] ||
                target=$(find -L "$root/lib" "$root/../nvidia" -name "$name" -print -quit 2>/dev/null || true)
            if [[ -n $target && ! -e $BUILD/lib/$name ]]; then
                ln -s "$(realpath "$target")" "$BUILD/lib/$name"
            fi
        done <"$BUILD/wanted"
    done
    rm -f "$BUILD/wanted"
}

# download_libtorch FOLDER MACHINE: fills FOLDER from the wheels for a machine.
download_libtorch() {
    local folder=$1 machine=$2 python pip_python="" tag
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

    # Only the libraries are used, so the wheel for one version of python serves every version, even one
    # without a wheel.
    for tag in _2_28 _2_27 _2_26 _2_25 _2_24 _2_17 2014; do
        platforms+=(--platform "manylinux${tag}_$machine")
    done
    if [[ -t 1 ]]; then quiet=(); fi # a progress bar on a terminal only
    say "downloading libtorch 2.11.0 (540 MB, once)"
    mkdir "$folder/wheels" "$folder/pip"
    # TMPDIR: /tmp is small on many machines. No cache: it would hold the 540 MB a second time.
    TMPDIR=$(realpath "$folder/pip") "$pip_python" -m pip --disable-pip-version-check download "${quiet[@]}" \
        --no-cache-dir --no-deps --only-binary=:all: --implementation cp --python-version 3.12 \
        "${platforms[@]}" --dest "$folder/wheels" "${WHEELS[@]}" </dev/null ||
        fail "could not download ${WHEELS[*]}" \
            "set LIBTORCH to a libtorch $TORCH_SERIES, or install python's torch $TORCH_SERIES; without a \
network, put the three wheels (cp312) into a folder and set PIP_NO_INDEX=1 PIP_FIND_LINKS=that folder"
    say "unpacking"
    "$pip_python" scripts/libtorch.py unpack "$folder" "$folder"/wheels/*.whl
    rm -rf "$folder/wheels" "$folder/pip"
}

ensure_libtorch() {
    facade_is_good && return 0

    # Only one set-up at a time. On a file system without locks, set-up does not wait.
    exec 9<"scripts/setup.sh"
    if command -v flock >/dev/null && ! flock -n 9 2>/dev/null; then
        say "waiting for another set-up of this checkout"
        flock 9 2>/dev/null || true
        facade_is_good && return 0
    fi

    local source kind origin version lost
    source=$(choose_source)
    read -r _ kind origin <<<"$source"
    # Built under another name and renamed when complete, so that an interrupted set-up is not taken for a
    # finished one.
    rm -rf "$BUILD"
    mkdir "$BUILD"
    trap 'rm -rf "$BUILD"' EXIT
    if [[ $kind == download ]]; then
        download_libtorch "$BUILD" "$(uname -m)"
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

# ------------------------------------------------------------------------------------------------------------

# Reports a wrong $LIBTORCH before packages are installed.
check_wish() { [[ -z ${LIBTORCH:-} ]] || choose_source >/dev/null; }

if [[ ${1:-} == libtorch-of ]]; then
    [[ $# -eq 3 ]] || fail "libtorch-of takes a machine and a folder" "setup.sh libtorch-of aarch64 FOLDER"
    mkdir -p "$3"
    download_libtorch "$3" "$2"
    exit
fi
steps=("$@")
[[ ${#steps[@]} -gt 0 ]] || steps=(rust wish packages libtorch)
for step in "${steps[@]}"; do
    case $step in
    rust) check_rust ;;
    wish) check_wish ;;
    packages) ensure_packages ;;
    libtorch) ensure_libtorch ;;
    has-mpi) has_mpi ;;
    *) fail "unknown step '$step'" "the steps are rust, packages, libtorch, has-mpi, libtorch-of" ;;
    esac
done
[[ ${steps[*]} != *libtorch* ]] || say "ready (libtorch $(<"$FACADE/version"))"
