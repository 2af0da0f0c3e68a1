#!/usr/bin/env bash
# All that must be measured as soon as a GPU is at hand, in at most eight minutes:
#
#   LIGHT=1 make bundle                       here: target/eqr-bench-*.tar.gz, without libtorch
#   eqr-bench/scripts/gpu-check.sh OUT        there, where it is unpacked
#
# It needs a python3 whose torch is 2.11 with CUDA, and neither Rust nor a network nor MPI. LIBTORCH names
# another libtorch. Every step has a time limit and writes its result into OUT; a step that fails or takes too
# long is told in OUT/steps.tsv and at the end, and the others are done all the same. SIZE=tiny takes sizes for a
# trial without a card, where EQR_KERNELS=0 saves the time that simulated threads take.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ $# -ne 1 ]]; then
    echo "usage: $0 OUT" >&2
    exit 2
fi
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
program=$here/bin/eqr-bench
[[ -x $program ]] || program=$here/target/release/eqr-bench
if [[ ! -x $program ]]; then
    echo "error: no program in $here/bin or $here/target/release" >&2
    echo "hint: unpack the bundle of \`LIGHT=1 make bundle\` and run its scripts/gpu-check.sh" >&2
    exit 2
fi
python=${PYTHON:-python3}
if [[ -z ${LIBTORCH:-} ]]; then
    LIBTORCH=$("$python" -c 'import os, torch; print(os.path.dirname(torch.__file__))') || {
        echo "error: $python has no torch; hint: PYTHON=.. or LIBTORCH=.." >&2
        exit 2
    }
fi
export LIBTORCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2

case ${SIZE:-full} in
tiny)
    large=(--img 32 --patch 8 --dim 48 --depth 2 --heads 3 --batch 8 --steps 2)
    small=(--img 16 --patch 4 --dim 32 --depth 2 --heads 2 --batch 8 --steps 2)
    views=(--img 32 --batch 8 --steps 2)
    epochs=60 pause=5 twin=fp32
    probes=(--pairs 200 --dim 16 --transforms 2 --seeds 2 --epochs 1)
    ;;
full)
    large=(--img 224 --patch 16 --dim 384 --depth 12 --heads 6 --batch 256 --steps 20)
    small=(--img 32 --patch 4 --dim 192 --depth 4 --heads 3 --batch 256 --steps 50)
    views=(--img 224 --batch 256 --steps 20)
    epochs=3000 pause=12 twin=bf16
    probes=(--pairs 40000 --dim 512 --transforms 6 --seeds 3 --epochs 3)
    ;;
*)
    echo "error: SIZE=$SIZE: expected full or tiny" >&2
    exit 2
    ;;
esac

printf 'step\tresult\tseconds\n' >"$out/steps.tsv"
failed=0
# step NAME SECONDS COMMAND..: stdout to OUT/NAME.json, stderr to OUT/NAME.log
step() {
    local name=$1 limit=$2 start=$SECONDS result
    shift 2
    local left=$((480 - SECONDS))
    if ((left < 1)); then
        printf '%s\tno time left\t0\n' "$name" | tee -a "$out/steps.tsv"
        failed=1
        return
    fi
    ((limit < left)) || limit=$left
    timeout --kill-after=5 "$limit" "$@" >"$out/$name.json" 2>"$out/$name.log"
    case $? in
    0) result=done ;;
    124 | 137) result="longer than $limit s" failed=1 ;;
    *) result="failed, see $name.log" failed=1 ;;
    esac
    printf '%s\t%s\t%s\n' "$name" "$result" $((SECONDS - start)) | tee -a "$out/steps.tsv"
}

cat >check.toml <<'SUITE'
methods = ["Ours", "Ours, no reconstruction", "VICReg", "VICReg(cls)", "SIE(rot+color)", "Supervised", "Direct regression"]
seeds = 1

[data]
source = "solids"
spec = { name = "solids", side = 32, objects_per_class = 6, views = 4, seed = 0 }

[model]
patch = 4
dim = 48
depth = 2
heads = 3
out = 32
head = { hidden = 32, embed = 16 }
decoder = { depth = 2, dim = 32, heads = 2 }

[train]
batch = 80
epochs = 5
lr = 1e-3

[probe]
seeds = 1
train_pairs = 200
test_pairs = 100
regression = { hidden = 16, epochs = 3 }
classification = { epochs = 3 }
SUITE

run=("$program" run check.toml --precision fp32)
step doctor 60 "$program" doctor --json
if command -v nvidia-smi >/dev/null; then
    step nvidia-smi 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv
fi

# losses and gradients of five steps of every method, in float32
step cpu 90 "${run[@]}" --out cpu --device cpu
step gpu 90 "${run[@]}" --out gpu --device cuda
step cpu-against-gpu 10 "$python" "$here/scripts/gpu_check_curves.py" cpu gpu --tolerance 1e-3

# the same steps as CUDA graphs
step graphs 90 "${run[@]}" --out graphs --device cuda --cuda-graph
step graphs-against-gpu 10 "$python" "$here/scripts/gpu_check_curves.py" gpu graphs --tolerance 1e-3

# a run that is stopped and continued, against one that is not: to the bit with --deterministic
long=("${run[@]}" --device cuda --methods Ours --set train.epochs=$epochs --pretrain-only --deterministic)
step whole 90 "${long[@]}" --out whole
export PAUSE=$pause
step stopped 60 bash -c '"$@" & sleep "$PAUSE"; kill -USR1 $!; wait $!; [[ $? == 75 ]]' stopped "${long[@]}" --out half
step resumed 90 "${long[@]}" --out half
step resumed-against-whole 10 "$python" "$here/scripts/gpu_check_curves.py" whole half --tolerance 0

for precision in bf16 fp32; do
    step "train-vit-s-$precision" 60 "$program" perf train "${large[@]}" --precision $precision --json
done
step train-vit-s-bf16-without-kernels 40 env EQR_KERNELS=0 "$program" perf train "${large[@]}" --precision bf16 --json
step train-32px 40 "$program" perf train "${small[@]}" --precision bf16 --json
step train-32px-as-graph 40 "$program" perf train "${small[@]}" --precision bf16 --cuda-graph --json
step torch 60 "$python" "$here/scripts/reference/train_speed.py" "${large[@]}" --precision $twin \
    --device "${TWIN_DEVICE:-cuda}" --json
step torch-compile 90 "$python" "$here/scripts/reference/train_speed.py" "${large[@]}" --precision $twin \
    --device "${TWIN_DEVICE:-cuda}" --compile --json
step transforms 30 "$program" perf transforms "${views[@]}" --json
step transforms-without-kernels 30 env EQR_KERNELS=0 "$program" perf transforms "${views[@]}" --json
step probe 40 "$program" perf probe "${probes[@]}" --json
step transfer 60 "$program" transfer --encoder gpu/checkpoints/ours-seed0 --data gpu/data/solids.h5 --device cuda --json

cp -r cpu/cells "$out/cells-cpu" 2>/dev/null
cp -r gpu/cells "$out/cells-gpu" 2>/dev/null
cp gpu/manifest.json "$out/" 2>/dev/null
echo "results: $out"
exit $failed
