# shellcheck shell=bash
# Sourced by the job scripts. Starts the program, and requeues a job that runs out of time.
#
#   EQR_BENCH   the program (default: target/release/eqr-bench in a checkout, bin/eqr-bench in a bundle)
#   LAUNCH      srun (default inside Slurm) or mpirun
#   SRUN_MPI    the value of srun's option --mpi: pmix (default), pmi2, ... (`srun --mpi=list`)
#   NP          number of ranks with mpirun outside Slurm (default 2)
#   GRACE       seconds that the program has to stop after the signal; then the job is requeued all the same
#               (default 240)
#   MAX_REQUEUES   number of requeues after which the job ends with exit code 75 (default 50)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

# The modules of the cluster; see modules.sh.example.
if [[ -f $here/modules.sh ]]; then
    # shellcheck source=/dev/null
    source "$here/modules.sh"
fi

EQR_BENCH=${EQR_BENCH:-$root/target/release/eqr-bench}
if [[ ! -x $EQR_BENCH && -x $root/bin/eqr-bench ]]; then EQR_BENCH=$root/bin/eqr-bench; fi
if [[ ! -x $EQR_BENCH ]]; then
    echo "error: no program at $EQR_BENCH" >&2
    echo "hint: run \`make build\` on a login node, or set EQR_BENCH" >&2
    exit 2
fi
LAUNCH=${LAUNCH:-$([[ -n ${SLURM_JOB_ID:-} ]] && echo srun || echo mpirun)}

# Prints the command that starts one process of the program per rank.
launcher() {
    case $LAUNCH in
    srun)
        # srun does not inherit this from the job (since Slurm 22.05)
        export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
        echo srun --mpi="${SRUN_MPI:-pmix}" --kill-on-bad-exit=1 "$EQR_BENCH"
        ;;
    mpirun)
        # no binding: each rank takes its share of the cores, and the GPU of its local rank
        local as_root=""
        if [[ $EUID -eq 0 ]]; then as_root=--allow-run-as-root; fi
        echo mpirun $as_root --bind-to none --oversubscribe -n "${SLURM_NTASKS:-${NP:-2}}" "$EQR_BENCH"
        ;;
    *)
        echo "error: LAUNCH must be srun or mpirun, but is '$LAUNCH'" >&2
        return 2
        ;;
    esac
}

# Prints a checksum of what a run has done so far: its finished cells, and the steps of all checkpoints.
progress() {
    # find fails if one of the folders does not exist yet
    { find "$1/cells" "$1/checkpoints" \( -path '*/cells/*.json' -o -type d -name 'step-*' \) 2>/dev/null ||
        true; } | sort | cksum
}

# requeue OUT: requeues this job if it has made progress since the last time. Returns only if it does not
# requeue, with the exit code of the job.
requeue() {
    local out=$1 state=$1/requeue.state count=0 before="" now
    now=$(progress "$out")
    if [[ -s $state ]]; then { read -r count && read -r before; } <"$state" || true; fi
    if [[ $now == "$before" ]]; then
        echo "error: nothing was finished since the last requeue, so the job is not requeued again" >&2
        echo "hint: give the job more time (--time), or an earlier signal (--signal) if steps are long" >&2
        return 3
    fi
    if ((count >= ${MAX_REQUEUES:-50})); then
        echo "error: the job was requeued $count times, which is the limit (MAX_REQUEUES)" >&2
        echo "hint: submit the job again to continue" >&2
        return 75
    fi
    printf '%s\n%s\n' $((count + 1)) "$now" >"$state.tmp" && mv "$state.tmp" "$state"
    echo "requeue $((count + 1)) of job $SLURM_JOB_ID" >&2
    scontrol requeue "$SLURM_JOB_ID" || return 75
    # Slurm ends this script during the wait
    sleep 120
    return 75
}

# run_requeued OUT ARGUMENT...: runs the program. SIGUSR1 and SIGTERM ask it to stop, which it does after its
# current step or measurement with exit code 75. In a Slurm job, the job is then requeued.
run_requeued() {
    local out=$1 code child stopping=0 second
    shift
    mkdir -p "$out"
    # a newly submitted job starts to count from zero
    if ((${SLURM_RESTART_COUNT:-0} == 0)); then rm -f "$out/requeue.state"; fi
    # shellcheck disable=SC2046  # split into words
    $(launcher) "$@" &
    child=$!
    trap 'stopping=1' USR1 TERM
    # a signal interrupts wait, but does not end the child
    while code=0 && { wait "$child" || code=$?; } && ((!stopping)) && kill -0 "$child" 2>/dev/null; do :; done
    trap : USR1 TERM
    if ((stopping)); then
        echo "signal: stopping process $child" >&2
        # srun and mpirun pass the signal on to the ranks
        kill -USR1 "$child" 2>/dev/null || true
        for ((second = 0; second < ${GRACE:-240}; second++)); do
            kill -0 "$child" 2>/dev/null || break
            sleep 1
        done
        if [[ -n ${SLURM_JOB_ID:-} ]] && kill -0 "$child" 2>/dev/null; then
            echo "still running after ${GRACE:-240} s: requeued now, the current measurement is lost" >&2
            requeue "$out" || true
        fi
        code=0
        wait "$child" || code=$?
    fi
    trap - USR1 TERM
    if ((code == 75)) && [[ -n ${SLURM_JOB_ID:-} ]]; then
        requeue "$out" || return $?
    fi
    return "$code"
}
