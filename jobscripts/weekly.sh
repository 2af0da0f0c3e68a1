#!/usr/bin/env bash
# The weekly benchmark: runs the suite `weekly`, compares it with the recorded weeks, and records it if
# nothing became worse.
#
#   jobscripts/weekly.sh [FOLDER]      FOLDER holds runs/ and baselines/ (default: results)
#
# Exit codes: 0 if nothing became worse or the history is too short, 1 for a regression, others as for
# `eqr-bench run`. The verdicts are written to compare.txt and junit.xml in FOLDER/runs/weekly-DATE. For cron:
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

code=0
if compgen -G "$series/*/manifest.json" >/dev/null; then
    "$EQR_BENCH" compare "$series" "$out" --junit "$out/junit.xml" | tee "$out/compare.txt" ||
        code=${PIPESTATUS[0]}
else
    echo "no recorded week in $series yet" | tee "$out/compare.txt"
fi
# A week that became worse must be looked at before it may become a baseline.
if ((code == 0)); then "$EQR_BENCH" record "$out" --to "$series"; fi
exit "$code"
