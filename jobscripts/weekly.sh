#!/usr/bin/env bash
# The weekly benchmark: runs the suite `weekly`, compares it with the recorded weeks, and records it if
# nothing became worse.
#
#   jobscripts/weekly.sh [FOLDER]      FOLDER holds runs/ and baselines/ (default: results)
#
#   ANCHOR    weeks that do not move, which a run is also compared with: the name of a recorded one, or
#             first:K for the medians of the first K (default first:5)
#   DRIFT     probability that a year without any drift raises an alarm of drift (default 0.05)
#   OPTIONS   more options of `eqr-bench run`, split into words
#
# Exit codes: 0 if nothing became worse or the history is too short, 1 for a regression or a drift, others as
# for `eqr-bench run`. In FOLDER/runs/weekly-DATE, the verdicts are compare.txt and junit.xml, and history.html
# draws every value over the recorded weeks. For cron:
#
#   17 3 * * 1  cd /path/to/eqr-bench && jobscripts/weekly.sh /path/to/weekly >>weekly.log 2>&1
#
# For Slurm's own scrontab, see weekly.scrontab. Inside a Slurm job, srun starts the ranks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source jobscripts/job.sh

folder=${1:-results}
out=${OUT:-$folder/runs/weekly-$(date -u +%Y%m%d)}
series=$folder/baselines/weekly
# shellcheck disable=SC2086  # split into words
run_requeued "$out" run weekly --out "$out" ${OPTIONS:-}

has_weeks() { compgen -G "$series/*/manifest.json" >/dev/null; }

code=0
if has_weeks; then
    "$EQR_BENCH" compare "$series" "$out" --anchor "${ANCHOR:-first:5}" --drift "${DRIFT:-0.05}" \
        --junit "$out/junit.xml" | tee "$out/compare.txt" || code=${PIPESTATUS[0]}
else
    echo "no recorded week in $series yet" | tee "$out/compare.txt"
fi
# A week that became worse must be looked at before it may become a baseline.
if ((code == 0)); then "$EQR_BENCH" record "$out" --to "$series"; fi
if has_weeks; then
    drawn=0
    "$EQR_BENCH" history "$series" --drift "${DRIFT:-0.05}" --html "$out/history.html" >/dev/null || drawn=$?
    # the verdict matters more than its drawing
    if ((code == 0)); then code=$drawn; fi
fi
exit "$code"
