"""Records the steps that `eqr-bench bench` compares with, from a run of them.

    eqr-bench bench --scale tiny --check-only --precision fp32 --out DIR
    scripts/reference/record_bench_steps.py tiny-1 DIR/check

The first argument is the definition, as `bench` prints it.
"""

import json
import sys
from pathlib import Path

RECORDED = Path(__file__).resolve().parents[2] / "suite/bench/recorded_steps.json"


def main(definition, run):
    cell = json.loads((Path(run) / "cells/pretrain-ours-seed0.json").read_text())
    curve = cell["curve"]
    if len(curve) != cell["step"]:
        sys.exit(f"error: {run}: a point of the curve is not a step")
    recorded = json.loads(RECORDED.read_text())
    recorded[definition] = {
        "loss": [point["terms"]["loss"] for point in curve],
        "gradient_norm": [point["gradient_norm"] for point in curve],
    }
    RECORDED.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
