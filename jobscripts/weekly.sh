#!/usr/bin/env bash
# The weekly benchmark: runs the suite `weekly`, holds it against the recorded weeks, and records it where nothing became worse.
#
#   jobscripts/weekly.sh [FOLDER]      FOLDER holds runs/ and baselines/ (default: results)
#
# Exit code: 0 nothing became worse (or too little history), 1 a regression, others as `eqr-bench run`. The verdicts are in
# FOLDER/runs/DATE/compare.txt and junit.xml. For cron:
#
#   17 3 * * 1  cd /path/to/eqr-bench && jobscripts/weekly.sh /path/to/weekly >>weekly.log 2>&1
#
# For Slurm's own scrontab, and for sites that allow neither, see weekly.scrontab. In a job, ranks are started by srun.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source jobscripts/job.sh

folder=${1:-results}
out=${OUT:-$folder/runs/weekly-$(date -u +%Y%m%d)}
series=$folder/baselines/weekly
# shellcheck disable=SC2086  # options in words
run_requeued "$out" run weekly --out "$out" ${OPTIONS:-}

code=0
if compgen -G "$series/*/manifest.json" >/dev/null; then
    "$EQR_BENCH" compare "$series" "$out" --junit "$out/junit.xml" | tee "$out/compare.txt" || code=${PIPESTATUS[0]}
else
    echo "no recorded week in $series yet" | tee "$out/compare.txt"
fi
# a week that became worse is looked at before it may become the measure of others
if ((code == 0)); then "$EQR_BENCH" record "$out" --to "$series"; fi
exit "$code"
