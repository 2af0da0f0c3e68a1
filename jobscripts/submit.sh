#!/usr/bin/env bash
# A suite as a chain of jobs: an array that pretrains the methods side by side, then one that measures them and writes the report.
#
#   DATA_ROOT=/p/scratch/packs SBATCH_OPTIONS="--account=PROJECT" jobscripts/submit.sh SUITE OUT METHOD...
#   DATA_ROOT=... SBATCH_OPTIONS="--account=PROJECT --nodes=8" jobscripts/submit.sh imagenet runs/imagenet VICReg "SIE(all)" Ours
#
# OPTIONS, in words, go to every `eqr-bench run` ("--seeds 3").
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if (($# < 3)); then
    sed -n '2,7p' "$0" | sed 's/^# \?//' >&2
    exit 2
fi
suite=$1 out=$2
methods=("${@:3}")
joined=$(printf '%s,' "${methods[@]}")
# shellcheck disable=SC2086  # options in words
array=$(sbatch --parsable ${SBATCH_OPTIONS:-} --array=0-$((${#methods[@]} - 1)) jobscripts/pretrain.sbatch "$suite" "$out" "${methods[@]}")
# shellcheck disable=SC2086
evaluate=$(sbatch --parsable ${SBATCH_OPTIONS:-} --dependency="afterok:${array%%;*}" --kill-on-invalid-dep=yes jobscripts/evaluate.sbatch \
    "$suite" "$out" --methods "Random init,${joined%,}" ${OPTIONS:-})
echo "pretraining: job ${array%%;*}, ${#methods[@]} tasks; evaluation and report: job ${evaluate%%;*}, into $out/run"
