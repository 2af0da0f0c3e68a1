#!/usr/bin/env bash
# Signals a job script at random moments between its start and its end, and continues it. Every job must end
# soon after the signal, say so in its status file, and leave no process behind; the same command must then
# finish the run with the metrics of an undisturbed one. Two ranks, started by mpirun, outside Slurm.
#
#   scripts/test-signals.sh [FOLDER]     default: a temporary one, which is removed
#
#   TRIES   number of signals (default 50)
#   SEED    seed of the moments (default 1)
#   OPTIONS   more options of `eqr-bench run`, split into words, e.g. "--ranks-per-cell 1"
#
# The moments are counted from when the script listens, which bash takes some milliseconds to reach: until
# then, a signal ends the job, and nothing has begun that could be lost.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=${1:-$(mktemp -d)}
if [[ -z ${1:-} ]]; then trap 'rm -rf "$folder"' EXIT; fi
mkdir -p "$folder"
tries=${TRIES:-50} seed=${SEED:-1}
RANDOM=$seed
# The request reaches the script, or one rank alone.
targets=("USR1 script" "TERM script" "INT script" "USR1 rank")
failed=0 stopped=0

cat >"$folder/suite.toml" <<'END'
name = "signals"
title = "Many short trainings and measurements"
methods = ["Random init", "VICReg", "Ours"]
seeds = 2
[data]
source = "solids"
spec = { name = "solids", side = 16, objects_per_class = 6, views = 4, seed = 0 }
[model]
patch = 4
dim = 32
depth = 2
heads = 2
out = 32
head = { hidden = 32, embed = 16 }
decoder = { depth = 2, dim = 16, heads = 2 }
[train]
batch = 25
epochs = 10
lr = 1e-2
[probe]
seeds = 1
train_pairs = 400
test_pairs = 100
regression = { hidden = 16, epochs = 20, batch = 64, lr = 1e-3 }
classification = { epochs = 20, batch = 64, lr = 1e-3 }
END
cat >"$folder/job" <<'END'
#!/usr/bin/env bash
set -euo pipefail
source jobscripts/job.sh
run_requeued "$@"
END

say() { echo "test-signals: $*"; }

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# start OUT: starts a job in the background and sets `job`. Background processes of a shell ignore SIGINT; a
# job of a scheduler does not.
start() {
    # shellcheck disable=SC2086  # split into words
    LAUNCH=mpirun NP=2 EQR_WATCHDOG_SECONDS=20 setsid env --default-signal=INT bash "$folder/job" "$1" \
        run "$folder/suite.toml" --out "$1" --threads 1 --precision fp32 ${OPTIONS:-} >>"$1.out" 2>&1 &
    job=$!
}

# listens PROCESS: whether it has set a handler for SIGUSR1 (signal 10).
listens() {
    local caught
    caught=$(sed -n 's/^SigCgt:\s*//p' "/proc/$1/status" 2>/dev/null)
    ((0x${caught:-0} & 0x200))
}

# Prints the processes of the run in the folder OUT; with `ranks`, its ranks only.
processes() {
    local process
    for process in $(pgrep -f -- "--out $1 " || true); do
        if [[ ${2:-} != ranks || $(cat "/proc/$process/comm" 2>/dev/null) == eqr-bench* ]]; then
            echo "$process"
        fi
    done
}

cells() { { find "$1/cells" -name '*.json' 2>/dev/null || true; } | wc -l; }

# await_end PROCESS SECONDS
await_end() {
    local end=$(($(milliseconds) + 1000 * $2))
    while kill -0 "$1" 2>/dev/null; do
        (($(milliseconds) < end)) || return 1
        sleep 0.05
    done
}

# signal TARGET OUT: a signal to a rank waits until there is one.
signal() {
    local name rank
    read -r name rank <<<"$1"
    if [[ $rank == script ]]; then
        kill "-$name" "$job" 2>/dev/null || true
        return
    fi
    while kill -0 "$job" 2>/dev/null; do
        rank=$(processes "$2" ranks | tail -n 1)
        if [[ -n $rank ]] && kill "-$name" "$rank" 2>/dev/null; then return; fi
        sleep 0.02
    done
}

# fault OUT CODE CELLS: prints what is wrong with a job that has ended; CELLS were finished at the signal.
fault() {
    local state code next left tries
    state=$(sed -n 's/^state=//p' "$1.job") code=$(sed -n 's/^code=//p' "$1.job")
    next=$(sed -n 's/^next=//p' "$1.job")
    [[ $state == ended && $code == "$2" && -n $next ]] || echo "status file: $state, $code, $next"
    [[ $2 == 0 || $2 == 75 ]] || echo "exit code $2"
    # two ranks may be at work at one cell each
    if [[ $2 == 0 ]] && (($3 < all_cells - 2)); then echo "the signal was lost at cell $3 of $all_cells"; fi
    for tries in {1..50}; do
        left=$(processes "$1")
        [[ -n $left ]] || break
        sleep 0.1
    done
    [[ -z $left ]] || echo "processes left behind after $((tries / 10)) s: $left"
}

# try NUMBER: one job with one signal.
try() {
    local out=$folder/run-$1 target=${targets[$1 % ${#targets[@]}]} span=$whole_time
    local delay begun code=0 found faults
    # every second one while the program starts
    if (($1 % 8 < 4)); then span=1500; fi
    delay=$((RANDOM * span / 32768))
    start "$out"
    begun=$(milliseconds)
    until listens "$job"; do (($(milliseconds) < begun + 10000)) || break; done
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    found=$(cells "$out")
    signal "$target" "$out"
    if ! await_end "$job" 60; then
        say "FAILED: $1: $target after $delay ms: still running after 60 s"
        kill -KILL -- "-$job" 2>/dev/null || true
        failed=1
        return
    fi
    wait "$job" || code=$?
    faults=$(fault "$out" "$code" "$found")
    if ((code == 75)); then
        stopped=$((stopped + 1))
        start "$out"
        wait "$job" || faults+=" continued with exit code $?"
    fi
    cmp -s "$folder/whole/metrics.csv" "$out/metrics.csv" || faults+=" the metrics differ"
    if [[ -n $faults ]]; then
        say "FAILED: $1: $target after $delay ms, exit code $code: $faults"
        tail -n 20 "$out.out"
        failed=1
    else
        say "$1: $target after $delay ms at cell $found of $all_cells: exit code $code"
    fi
}

# bounded NAME GRACE SIGNAL...: a program that answers no request must be ended after GRACE seconds, or by the
# second signal.
bounded() {
    local out=$folder/$1 name code=0
    printf '#!/usr/bin/env bash\ntrap "" USR1\nexec sleep 86399\n' >"$folder/deaf"
    chmod +x "$folder/deaf"
    EQR_BENCH=$folder/deaf GRACE=$2 start "$out"
    until pgrep -f '^sleep 86399' >/dev/null; do sleep 0.1; done
    for name in "${@:3}"; do
        kill "-$name" "$job"
        sleep 1.5
    done
    await_end "$job" 45 || kill -KILL -- "-$job"
    wait "$job" || code=$?
    if ((code == 75)) && grep -q 'is lost and will be made again' "$out.out" &&
        grep -qx 'code=75' "$out.job" && ! pgrep -f '^sleep 86399' >/dev/null; then
        say "$1: ended with exit code 75"
    else
        say "FAILED: $1: exit code $code" && tail -n 20 "$out.out" && failed=1
    fi
}

bounded "a measurement that outlasts GRACE" 3 USR1
bounded "a second signal" 240 USR1 TERM

say "an undisturbed run"
begun=$(milliseconds)
start "$folder/whole"
wait "$job" || { tail "$folder/whole.out" && exit 1; }
# a job after another finds warm caches and is faster
whole_time=$((($(milliseconds) - begun) * 3 / 4)) all_cells=$(cells "$folder/whole")
say "$tries signals within $whole_time ms, seed $seed"
for ((number = 0; number < tries; number++)); do try "$number"; done
say "$stopped of $tries signals stopped a run, the others came when it was finished or at its last cells"
((stopped > 0)) || { say "FAILED: no signal stopped a run" && failed=1; }
exit "$failed"
