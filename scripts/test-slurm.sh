#!/usr/bin/env bash
# Tests the job scripts under a real Slurm (scripts/slurm.sh). A job is submitted, signalled before its time is
# up, requeued, resumed and finished. Its metrics must equal those of an uninterrupted run. The ranks are
# started once by srun and once by mpirun. Of an array, only the task that was signalled is requeued; a job
# that was cancelled is not; and none is requeued forever.
#
#   scripts/test-slurm.sh [FOLDER]     default: a temporary one, which is removed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -n ${1:-} ]]; then
    folder=$1
else
    folder=$(mktemp -d)
    trap 'scripts/slurm.sh stop "$folder/slurm"; rm -rf "$folder"' EXIT
fi
mkdir -p "$folder"
eval "$(scripts/slurm.sh start "$folder/slurm")"
trap 'scripts/slurm.sh stop "$folder/slurm"; [[ -n ${1:-} ]] || rm -rf "$folder"' EXIT

# Long enough to be signalled at least once, about twenty seconds after the start (Slurm's shortest limit is a
# minute).
suite=(quickstart --methods "VICReg,Ours" --seeds 1 --threads 1 --precision fp32 --set "train.epochs=${EPOCHS:-40}")
ranks=(--partition=all --nodes=1 --ntasks=2 --ntasks-per-node=2 --overcommit --gres=none --cpus-per-task=1)
failed=0

say() { echo "test-slurm: $*"; }

# await_end JOB: waits until the job has left the queue.
await_end() {
    local seconds
    for ((seconds = 0; seconds < 1200; seconds += 2)); do
        [[ -n $(squeue -h -j "$1" 2>/dev/null) ]] || return 0
        sleep 2
    done
    say "job $1 is still in the queue after 20 minutes" && scancel "$1"
    return 1
}

# has_status NAME LINE: whether the status file of a job has that line.
has_status() { grep -qx "$2" "$folder/$1.job"; }

say "an uninterrupted run"
LAUNCH=mpirun NP=2 bash -c 'source jobscripts/job.sh; run_requeued "$@"' - \
    "$folder/whole" run "${suite[0]}" --out "$folder/whole" "${suite[@]:1}" >"$folder/whole.out" 2>&1

for launch in srun mpirun; do
    say "a job with a limit of one minute, ranks started by $launch"
    job=$(LAUNCH=$launch sbatch --parsable "${ranks[@]}" --time=00:01:00 --signal=B:USR1@40 \
        --output="$folder/$launch.out" jobscripts/run.sbatch "${suite[0]}" "$folder/$launch" "${suite[@]:1}")
    await_end "$job" || failed=1
    requeues=$(grep -c '^requeue [0-9]* of job' "$folder/$launch.out" || true)
    if ((requeues == 0)); then
        say "FAILED: the job was not requeued; increase EPOCHS" && failed=1
    elif ! cmp "$folder/whole/metrics.csv" "$folder/$launch/metrics.csv"; then
        say "FAILED: the metrics differ" && tail -n 20 "$folder/$launch.out" && failed=1
    elif ! has_status "$launch" 'code=0'; then
        say "FAILED: the status file does not say 0" && cat "$folder/$launch.job" && failed=1
    else
        say "requeued $requeues times, $(wc -l <"$folder/$launch/metrics.csv") lines of metrics identical"
    fi
done

say "a job that finishes nothing before its signal is not requeued forever"
# a stand-in for the program that always reports that it was stopped
printf '#!/usr/bin/env bash\nexit 75\n' >"$folder/stopped"
chmod +x "$folder/stopped"
cat >"$folder/loop.sbatch" <<'END'
#!/usr/bin/env bash
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
source jobscripts/job.sh
run_requeued "$1" run
END
job=$(EQR_BENCH=$folder/stopped sbatch --parsable "${ranks[@]}" --time=00:01:00 --open-mode=append \
    --output="$folder/loop.out" "$folder/loop.sbatch" "$folder/loop")
await_end "$job" || failed=1
if grep -q 'nothing was finished since the last requeue' "$folder/loop.out" && has_status loop 'code=3'; then
    say "stopped after $(grep -c '^requeue' "$folder/loop.out") requeue"
else
    say "FAILED: the job was requeued without end" && tail "$folder/loop.out" && failed=1
fi

# A stand-in for the program that works until it is told to stop, and finishes when it was started again.
cat >"$folder/worker" <<'END'
#!/usr/bin/env bash
while (($#)) && [[ $1 != --out ]]; do shift; done
out=$2 restarts=${SLURM_RESTART_COUNT:-0}
mkdir -p "$out/cells"
trap 'touch "$out/cells/stopped.json"; exit 75' USR1
trap 'echo terminated; exit 75' TERM
echo "${SLURM_ARRAY_TASK_ID:-0} $SLURM_JOB_ID ${SLURM_ARRAY_JOB_ID:-0} $restarts" >>"$out.starts"
for ((tick = 0; tick < 300 && restarts == 0; tick++)); do sleep 0.1; done
END
chmod +x "$folder/worker"
single=(--partition=all --nodes=1 --ntasks=1 --ntasks-per-node=1 --gres=none --cpus-per-task=1)
single+=(--time=00:20:00)

# await_files FILE...
await_files() {
    local file seconds
    for file in "$@"; do
        for ((seconds = 0; seconds < 120; seconds++)); do
            [[ ! -s $file ]] || break
            sleep 1
        done
    done
}

owner_of_number=0
for task in 0 1; do
    say "an array of two tasks, of which task $task is signalled"
    out=$folder/array-$task
    job=$(EQR_BENCH=$folder/worker sbatch --parsable "${single[@]}" --array=0-1 --output="$out-%a.out" \
        jobscripts/pretrain.sbatch any "$out" VICReg Ours)
    await_files "$out"/pretrain-{0,1}.starts
    scancel --batch --signal=USR1 "${job}_$task"
    await_end "$job" || failed=1
    read -r _ number array _ <"$out/pretrain-$task.starts"
    if ((number == array)); then owner_of_number=$((owner_of_number + 1)); fi
    starts=$(wc -l <"$out/pretrain-$task.starts") others=$(wc -l <"$out/pretrain-$((1 - task)).starts")
    if ((starts == 2 && others == 1)); then
        say "task $task (job $number of array $array) was started again, the other one was not"
    else
        say "FAILED: the signalled task was started $starts times, the other one $others times" && failed=1
        cat "$out"-?.out
    fi
done
((owner_of_number == 1)) || { say "FAILED: no signalled task had the number of the array" && failed=1; }

say "a job that is cancelled"
job=$(EQR_BENCH=$folder/worker sbatch --parsable "${single[@]}" --output="$folder/cancelled.out" \
    jobscripts/run.sbatch any "$folder/cancelled")
await_files "$folder/cancelled.starts"
scancel "$job"
await_end "$job" || failed=1
if (($(wc -l <"$folder/cancelled.starts") == 1)); then
    say "was not started again; $(sed -n 's/^next=/next: /p' "$folder/cancelled.job")"
else
    say "FAILED: it was started again" && cat "$folder/cancelled.out" && failed=1
fi
exit $failed
