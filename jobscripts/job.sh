# shellcheck shell=bash
# Sourced by the job scripts: how the program is started here, and how a job that runs out of time goes on.
#
#   EQR_BENCH   the program (default: target/release/eqr-bench of the checkout, or bin/eqr-bench of a bundle)
#   LAUNCH      srun (default inside Slurm) or mpirun
#   SRUN_MPI    what srun is told of MPI: pmix (default), pmi2, ... (`srun --mpi=list`)
#   NP          ranks of mpirun outside Slurm (default 2)
#   GRACE       seconds that the program may take to stop after the signal, before the job is requeued over its head (default 240)
#   MAX_REQUEUES   after so many the job ends with 75 (default 50)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

# Modules of the cluster, where a file says which: see modules.sh.example.
if [[ -f $here/modules.sh ]]; then
    # shellcheck source=/dev/null
    source "$here/modules.sh"
fi

EQR_BENCH=${EQR_BENCH:-$root/target/release/eqr-bench}
if [[ ! -x $EQR_BENCH && -x $root/bin/eqr-bench ]]; then EQR_BENCH=$root/bin/eqr-bench; fi
if [[ ! -x $EQR_BENCH ]]; then
    echo "error: no program at $EQR_BENCH" >&2
    echo "hint: \`make build\` on a login node, or set EQR_BENCH" >&2
    exit 2
fi
LAUNCH=${LAUNCH:-$([[ -n ${SLURM_JOB_ID:-} ]] && echo srun || echo mpirun)}

# The command line that starts one process of the program a rank.
launcher() {
    case $LAUNCH in
    srun)
        # srun does not take this over from the job by itself (since Slurm 22.05)
        export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
        echo srun --mpi="${SRUN_MPI:-pmix}" --kill-on-bad-exit=1 "$EQR_BENCH"
        ;;
    mpirun)
        # each rank takes the cores of its share and the GPU of its local rank
        local as_root=""
        if [[ $EUID -eq 0 ]]; then as_root=--allow-run-as-root; fi
        echo mpirun $as_root --bind-to none --oversubscribe -n "${SLURM_NTASKS:-${NP:-2}}" "$EQR_BENCH"
        ;;
    *)
        echo "error: LAUNCH=$LAUNCH: must be srun or mpirun" >&2
        return 2
        ;;
    esac
}

# What a run has done so far, in one line: its finished cells, and the steps of every training's checkpoints.
progress() {
    # either folder may not be there yet
    { find "$1/cells" "$1/checkpoints" \( -path '*/cells/*.json' -o -type d -name 'step-*' \) 2>/dev/null || true; } | sort | cksum
}

# requeue OUT: the same job again, if it is worth it. Comes back only with the reason why not, as an exit code.
requeue() {
    local out=$1 state=$1/requeue.state count=0 before="" now
    now=$(progress "$out")
    if [[ -s $state ]]; then { read -r count && read -r before; } <"$state" || true; fi
    if [[ $now == "$before" ]]; then
        echo "error: nothing was finished since the last requeue: not requeued, or it would go on for ever" >&2
        echo "hint: more time for the job (--time), or an earlier signal (--signal) for trainings whose steps are long" >&2
        return 3
    fi
    if ((count >= ${MAX_REQUEUES:-50})); then
        echo "error: requeued $count times already (MAX_REQUEUES)" >&2
        echo "hint: submit again to go on" >&2
        return 75
    fi
    printf '%s\n%s\n' $((count + 1)) "$now" >"$state.tmp" && mv "$state.tmp" "$state"
    echo "requeue $((count + 1)) of job $SLURM_JOB_ID" >&2
    scontrol requeue "$SLURM_JOB_ID" || return 75
    # Slurm ends this script
    sleep 120
    return 75
}

# run_requeued OUT ARGUMENT...: runs the program. On SIGUSR1 or SIGTERM it is told to stop, which it does after its step or measurement, with
# exit code 75; in a Slurm job that is then requeued.
run_requeued() {
    local out=$1 code child asked=0 second
    shift
    mkdir -p "$out"
    # a job that was submitted anew counts anew
    if ((${SLURM_RESTART_COUNT:-0} == 0)); then rm -f "$out/requeue.state"; fi
    # shellcheck disable=SC2046  # words
    $(launcher) "$@" &
    child=$!
    trap 'asked=1' USR1 TERM
    # a signal ends wait, not the child
    while code=0 && { wait "$child" || code=$?; } && ((!asked)) && kill -0 "$child" 2>/dev/null; do :; done
    trap : USR1 TERM
    if ((asked)); then
        echo "signal: stopping process $child" >&2
        # srun and mpirun hand it on to the ranks
        kill -USR1 "$child" 2>/dev/null || true
        for ((second = 0; second < ${GRACE:-240}; second++)); do
            kill -0 "$child" 2>/dev/null || break
            sleep 1
        done
        if [[ -n ${SLURM_JOB_ID:-} ]] && kill -0 "$child" 2>/dev/null; then
            echo "still at work after ${GRACE:-240} s: requeued over its head, its measurement is lost" >&2
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
