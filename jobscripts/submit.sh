#!/usr/bin/env bash
# Submits a suite as two jobs: an array that pretrains the methods side by side, and a job that then measures
# them and writes the report.
#
#   DATA_ROOT=/p/scratch/packs SBATCH_OPTIONS="--account=PROJECT" jobscripts/submit.sh SUITE OUT METHOD...
#   DATA_ROOT=... SBATCH_OPTIONS="--account=PROJECT --nodes=8" \
#       jobscripts/submit.sh imagenet runs/imagenet VICReg "SIE(all)" Ours
#
# OPTIONS is split into words and passed to every `eqr-bench run` (OPTIONS="--seeds 3").
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if (($# < 3)); then
    sed -n '2,9p' "$0" | sed 's/^# \?//' >&2
    exit 2
fi
suite=$1 out=$2
methods=("${@:3}")
joined=$(printf '%s,' "${methods[@]}")
# shellcheck disable=SC2086  # split into words
array=$(sbatch --parsable ${SBATCH_OPTIONS:-} --array=0-$((${#methods[@]} - 1)) \
    jobscripts/pretrain.sbatch "$suite" "$out" "${methods[@]}")
# shellcheck disable=SC2086
evaluate=$(sbatch --parsable ${SBATCH_OPTIONS:-} --dependency="afterok:${array%%;*}" \
    --kill-on-invalid-dep=yes jobscripts/evaluate.sbatch "$suite" "$out" --methods "Random init,${joined%,}" ${OPTIONS:-})
echo "pretraining: job ${array%%;*}, ${#methods[@]} tasks"
echo "evaluation and report: job ${evaluate%%;*}, in $out/run"
