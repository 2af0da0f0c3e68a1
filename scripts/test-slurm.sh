#!/usr/bin/env bash
# Tests a job script under a real Slurm (scripts/slurm.sh). The job is submitted, signalled before its time is
# up, requeued, resumed and finished. Its metrics must equal those of an uninterrupted run. The ranks are
# started once by srun and once by mpirun.
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
suite=(quickstart --methods "VICReg,Ours" --seeds 1 --threads 1 --set "train.epochs=${EPOCHS:-40}")
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
if grep -q 'nothing was finished since the last requeue' "$folder/loop.out"; then
    say "stopped after $(grep -c '^requeue' "$folder/loop.out") requeue"
else
    say "FAILED: the job was requeued without end" && tail "$folder/loop.out" && failed=1
fi
exit $failed
