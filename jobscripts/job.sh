# shellcheck shell=bash
# Sourced by the job scripts, first of all. Starts the program, and requeues a job that was told to stop.
#
#   EQR_BENCH   the program (default: target/release/eqr-bench in a checkout, bin/eqr-bench in a bundle)
#   LAUNCH      srun (default inside Slurm) or mpirun
#   SRUN_MPI    the value of srun's option --mpi: pmix (default), pmi2, ... (`srun --mpi=list`)
#   NP          number of ranks with mpirun outside Slurm (default 2)
#   GRACE       seconds that the program has to stop after the signal; then it is ended (default 240). A
#               measurement that takes no longer is finished, a longer one is lost and made again.
#   MAX_REQUEUES   number of requeues after which the job ends with exit code 75 (default 50)

# The signals are caught before anything else, so one that arrives while modules are loaded counts as well.
# Another SIGTERM, SIGINT or SIGHUP after the first signal ends the program at once.
stop_asked=0 stop_urgent=0
trap 'stop_asked=1' USR1
trap '((stop_urgent = stop_asked)) || true; stop_asked=1' TERM INT HUP

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

# The modules of the cluster; see modules.sh.example.
if [[ -f $here/modules.sh ]]; then
    # shellcheck source=/dev/null
    source "$here/modules.sh"
fi

EQR_BENCH=${EQR_BENCH:-$root/target/release/eqr-bench}
if [[ ! -x $EQR_BENCH && -x $root/bin/eqr-bench ]]; then EQR_BENCH=$root/bin/eqr-bench; fi
LAUNCH=${LAUNCH:-$([[ -n ${SLURM_JOB_ID:-} ]] && echo srun || echo mpirun)}
# A task of an array is named by both numbers: one task of every array has the array's number as its own.
JOB=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID:-}}
JOB=${JOB:-${SLURM_JOB_ID:-}}

# The program's exit code for "stopped; the same command continues".
STOPPED=75

require_program() {
    [[ -x $EQR_BENCH ]] && return 0
    echo "error: no program at $EQR_BENCH" >&2
    echo "hint: run \`make build\` on a login node, or set EQR_BENCH" >&2
    return 2
}

# Puts the command that starts one process of the program per rank into the array `launch`.
set_launch() {
    require_program || return
    case $LAUNCH in
    srun)
        # srun does not inherit this from the job (since Slurm 22.05)
        export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
        launch=(srun --mpi="${SRUN_MPI:-pmix}" --kill-on-bad-exit=1 "$EQR_BENCH")
        ;;
    mpirun)
        # no binding: each rank takes its share of the cores, and the GPU of its local rank
        launch=(mpirun --bind-to none --oversubscribe -n "${SLURM_NTASKS:-${NP:-2}}")
        if [[ $EUID -eq 0 ]]; then launch+=(--allow-run-as-root); fi
        launch+=("$EQR_BENCH")
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
    { find "$1"{,.shared/*}/{cells,checkpoints} \( -path '*/cells/*.json' -o -type d -name 'step-*' \) 2>/dev/null ||
        true; } | sort | cksum
}

# write_status STATUS STATE CODE NEXT: says in STATUS.job what became of the job. The file is beside the folder,
# because the program refuses a new folder that holds anything.
write_status() {
    printf 'state=%s\ncode=%s\njob=%s\ntime=%s\nnext=%s\n' "$2" "$3" "${JOB:-process $$}" \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$4" >"$1.job.tmp" && mv "$1.job.tmp" "$1.job"
}

# end STATUS CODE NEXT: writes the status of a job that ends, and returns the code.
end() {
    write_status "$1" ended "$2" "$3"
    return "$2"
}

# Whether Slurm is ending this job before its time is up, after scancel or to make room: a requeue would bring
# a cancelled job back, and Slurm itself requeues others.
is_being_ended() {
    local state left
    read -r state left < <(squeue --noheader --job="$JOB" --format="%T %L") || return 1
    [[ $state == COMPLETING && $left != 0:00 && $left != INVALID ]]
}

# requeue OUT: requeues this job if it has made progress since the last time. Returns only if it does not
# requeue, with the exit code of the job.
requeue() {
    local out=$1 state=$status.requeues count=0 before="" now
    if is_being_ended; then
        end "$status" "$STOPPED" "nothing: Slurm was told to end it; submitted again, it continues" || return
    fi
    now=$(progress "$out")
    if [[ -s $state ]]; then { read -r count && read -r before; } <"$state" || true; fi
    if [[ $now == "$before" ]]; then
        echo "error: nothing was finished since the last requeue, so the job is not requeued again" >&2
        echo "hint: give the job more time (--time), or an earlier signal (--signal) if steps are long" >&2
        end "$status" 3 "nothing: it would not get further without more time" || return
    fi
    if ((count >= ${MAX_REQUEUES:-50})); then
        echo "error: the job was requeued $count times, which is the limit (MAX_REQUEUES)" >&2
        echo "hint: submit the job again to continue" >&2
        end "$status" "$STOPPED" "submit the job again to continue: it was requeued $count times" || return
    fi
    printf '%s\n%s\n' $((count + 1)) "$now" >"$state.tmp" && mv "$state.tmp" "$state"
    echo "requeue $((count + 1)) of job $JOB" >&2
    # before the request, because Slurm may end this script at once
    write_status "$status" ended "$STOPPED" "requeued: Slurm starts the job again ($((count + 1)))"
    if ! scontrol requeue "$JOB"; then
        end "$status" "$STOPPED" "submit the job again to continue: Slurm did not requeue it" || return
    fi
    # Slurm ends this script during the wait
    sleep 120
    return "$STOPPED"
}

# Waits for a moment. A signal is answered at its end, at the latest.
pause() { read -r -t 0.5 -u "$never" || true; }

# end_now PROCESS: ends the launcher, and with it the ranks. Files are renamed into place when they are
# complete, so none is left half-written.
end_now() {
    local tries
    kill -TERM "$1" 2>/dev/null || true
    for tries in {1..30}; do
        kill -0 "$1" 2>/dev/null || return 0
        pause
    done
    echo "process $1 did not end within $((tries / 2)) s: killed" >&2
    kill -KILL -- "-$1" 2>/dev/null || true
}

# Runs the program until it ends. Once a stop was asked for, it has GRACE seconds. Returns its exit code, or
# 75 if it had to be ended.
run_ranks() {
    local launch=() never child code=0 asked=0 sent=0 ended=0
    set_launch || return
    if ((stop_asked)); then
        echo "signal: stopped before the program was started" >&2
        return "$STOPPED"
    fi
    # a pipe that nobody writes to; reading it waits without a process, unlike sleep
    exec {never}<> <(:)
    # In a session of its own, the launcher gets no Ctrl-C, which mpirun answers by killing the ranks. SIGUSR1
    # is ignored until the launcher listens: it is sent again, and would end a launcher that does not.
    (
        trap '' USR1
        exec {never}<&- setsid "${launch[@]}" "$@"
    ) &
    child=$!
    # A signal between a test of `stop_asked` and a wait for the child would be answered at the child's end
    # only. So nothing here waits long.
    while kill -0 "$child" 2>/dev/null; do
        if ((stop_asked && !asked)); then
            asked=1 SECONDS=0
            echo "signal: stopping process $child" >&2
        fi
        if ((stop_urgent || asked && SECONDS >= ${GRACE:-240})); then
            echo "still running $SECONDS s after the signal: ended. The measurement that each rank is at, or" \
                "its steps since the last checkpoint, is lost and will be made again" >&2
            end_now "$child"
            ended=1 stop_urgent=0
        elif ((asked && SECONDS >= sent)); then
            # srun and mpirun pass the signal on to the ranks, those that listen already
            kill -USR1 "$child" 2>/dev/null || true
            sent=$((SECONDS + 1))
        fi
        pause
    done
    exec {never}<&-
    wait "$child" || code=$?
    # mpirun has exit codes of its own for that
    if ((ended && code != 0)); then code=$STOPPED; fi
    return "$code"
}

# run_requeued OUT ARGUMENT...: runs the program. SIGUSR1, SIGTERM, SIGINT and SIGHUP ask it to stop, which it
# does after its current step or measurement with exit code 75. In a Slurm job, the job is then requeued.
# The file OUT.job says how it ended, and what comes next.
run_requeued() {
    local out=${1%/} code=0 status
    shift
    mkdir -p "$(dirname "$out")"
    # launches that share a run have a status each
    if [[ " $* " == *" --share "* ]]; then status=$out.${JOB:-$$}; else status=$out; fi
    # a newly submitted job starts to count from zero
    if ((${SLURM_RESTART_COUNT:-0} == 0)); then rm -f "$status.requeues"; fi
    write_status "$status" running "" "if the job is gone, it was killed: submitted again, it continues"
    run_ranks "$@" || code=$?
    # 128 + SIGINT, SIGUSR1 or SIGTERM: a request that came before the process listened. But srun also ends the
    # ranks beside one that failed with SIGTERM, and returns the highest code.
    case $code in
    130 | 138) code=$STOPPED ;;
    143) if ((stop_asked)) || [[ $LAUNCH == mpirun ]]; then code=$STOPPED; fi ;;
    esac
    if ((code == STOPPED)) && [[ -n $JOB ]]; then
        requeue "$out" || code=$?
    elif ((code == STOPPED)); then
        end "$status" "$code" "the same command continues" || true
    elif ((code == 0)); then
        end "$status" 0 "nothing: the run is finished"
    else
        end "$status" "$code" "nothing: the run failed, see the job's output" || true
    fi
    trap - USR1 TERM INT HUP
    return "$code"
}
