#!/usr/bin/env bash
# Installs the built program for this user (`make install`): the launcher and the engines into
# $PREFIX/lib/eqr-bench with their libtorch, a link to the launcher into $PREFIX/bin, and completions and the
# manual page into $PREFIX/share. PREFIX is ~/.local by default. The checkout is not needed afterwards. `make
# uninstall` removes all of this.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

prefix=${PREFIX:-${HOME:?give PREFIX}/.local}
[[ $prefix = /* ]] || prefix=$PWD/$prefix
programs=$prefix/lib/eqr-bench
link=$prefix/bin/eqr-bench
share=$prefix/share
# what the program prints, and where
printed=(
    "completions bash" "$share/bash-completion/completions/eqr-bench"
    "completions zsh" "$share/zsh/site-functions/_eqr-bench"
    "completions fish" "$share/fish/vendor_completions.d/eqr-bench.fish"
    "man" "$share/man/man1/eqr-bench.1"
)

if [[ -e $programs && ! -x $programs/eqr-bench ]]; then
    echo "error: $programs is something else" >&2
    echo "hint: give another PREFIX" >&2
    exit 2
fi
if [[ -e $link && ! $link -ef $programs/eqr-bench ]]; then
    echo "error: $link exists and is no link to $programs/eqr-bench" >&2
    echo "hint: move it away, or give another PREFIX" >&2
    exit 2
fi
rm -rf "$programs"
if [[ ${1:-} = --remove ]]; then
    rm -f "$link"
    for ((i = 1; i < ${#printed[@]}; i += 2)); do rm -f "${printed[i]}"; done
    echo "removed: $link, $programs"
    exit
fi

mkdir -p "$programs/.libtorch" "$prefix/bin"
for program in eqr-bench eqr-bench-solo eqr-bench-mpi; do
    if [[ -x target/release/$program ]]; then cp "target/release/$program" "$programs/"; fi
done
# hard links where the file system allows, because libtorch has half a gigabyte
cp -al .libtorch/lib "$programs/.libtorch/" 2>/dev/null || cp -a .libtorch/lib "$programs/.libtorch/"
cp .libtorch/version "$programs/.libtorch/"
ln -sfn "$programs/eqr-bench" "$link"
for ((i = 0; i < ${#printed[@]}; i += 2)); do
    mkdir -p "$(dirname "${printed[i + 1]}")"
    # shellcheck disable=SC2086  # words
    env -u LIBTORCH "$link" ${printed[i]} >"${printed[i + 1]}"
done

echo "installed: $link ($("$link" --version))"
case ":$PATH:" in
*":$prefix/bin:"*) ;;
*) echo "note: $prefix/bin is not on your PATH: export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
