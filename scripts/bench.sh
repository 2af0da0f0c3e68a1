#!/usr/bin/env bash
# Sets up, builds, runs the quickstart under mpirun, prints its table, and prints how long each step took
# (`make bench`). NP: number of ranks (default 2). MPIFLAGS: further options of mpirun, in place of the
# defaults below.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

OUT=runs/quickstart
make=${MAKE:-make}
names=()
seconds=()
status=0

# timed NAME COMMAND...: runs the command and keeps its wall time. After a failure, later commands are
# skipped.
timed() {
    local name=$1 start
    shift
    [[ $status -eq 0 ]] || return 0
    start=$(date +%s.%N)
    "$@" </dev/null || status=$?
    names+=("$name")
    seconds+=("$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')")
}

# shellcheck disable=SC2329  # called by timed
quickstart() {
    # sized for a CPU, and on several ranks of a machine with one GPU
    local program=(target/release/eqr-bench run quickstart --out "$OUT" --device cpu) flags=${MPIFLAGS:-}
    if ! scripts/setup.sh has-mpi; then
        echo "note: built without MPI; running as one process"
        announced "${program[@]}"
        return
    elif ! command -v mpirun >/dev/null; then
        echo "note: no mpirun in PATH; running as one process"
        announced "${program[@]}"
        return
    fi
    # Open MPI binds two ranks or fewer to single cores, counts slots, and refuses to run as root. Other MPIs
    # do none of this and have other options.
    if [[ -z $flags ]] && mpirun --version 2>/dev/null | grep -qi 'open *mpi\|openrte\|prrte'; then
        flags="--bind-to none --oversubscribe"
        if [[ $EUID -eq 0 ]]; then flags+=" --allow-run-as-root"; fi
    fi
    # a network this small trains fastest on one rank; the ranks train different encoders
    # shellcheck disable=SC2206  # a list of options
    local launch=(mpirun -n "${NP:-2}" $flags "${program[@]}" --ranks-per-cell 1)
    announced "${launch[@]}"
}

# announced COMMAND...: says what the run will do and how long it will take here, then runs it.
announced() {
    echo "The quickstart renders objects, trains encoders on them and probes what they know of rotation and color."
    echo "A training step is timed for two seconds:"
    "$@" --dry-run --estimate-for cpu | grep -v '^[a-z0-9-]*-seed[0-9]* '
    echo "+ $*"
    "$@"
}

timed set-up "$make" --no-print-directory setup
timed build "$make" --no-print-directory build
timed run quickstart

table() {
    local i
    printf '%-10s %10s\n' "wall time" seconds
    for i in "${!names[@]}"; do printf '%-10s %10s\n' "${names[i]}" "${seconds[i]}"; done
    printf '%s\n' "${seconds[@]}" | awk '{ sum += $1 } END { printf "%-10s %10.1f\n", "total", sum }'
}
echo
table
# A later call continues the run and is quick, so the times of the first call are kept.
if [[ -d $OUT ]]; then
    {
        echo "# $(date -u +%Y-%m-%dT%H:%M:%SZ), $(nproc) cores, exit code $status"
        table
    } >>"$OUT/wall-time.txt"
fi
exit "$status"
