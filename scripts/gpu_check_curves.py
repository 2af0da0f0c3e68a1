"""Compares the training curves of two runs of the same suite: loss terms and gradient norms, point by point.

    python3 scripts/gpu_check_curves.py RUN OTHER --tolerance 1e-3

Prints the largest relative difference of each training as JSON. Exit code 1 if one is above the tolerance, or
if the runs do not have the same trainings and points.
"""

import argparse
import json
import sys
from pathlib import Path


def curves(run):
    cells = [json.loads(path.read_text()) for path in sorted(Path(run, "cells").glob("pretrain-*.json"))]
    return {cell["id"]: cell["curve"] for cell in cells}


def values(point):
    return dict(point["terms"], gradient_norm=point["gradient_norm"])


def difference(one, other):
    assert [point["step"] for point in one] == [point["step"] for point in other], "other steps"
    pairs = [(a[key], b[key]) for a, b in zip(map(values, one), map(values, other)) for key in a]
    return max(abs(a - b) / max(abs(a), 1e-12) for a, b in pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs=2)
    parser.add_argument("--tolerance", type=float, required=True)
    args = parser.parse_args()
    one, other = map(curves, args.runs)
    assert one and one.keys() == other.keys(), (list(one), list(other))
    found = {name: difference(one[name], other[name]) for name in one}
    print(json.dumps({"tolerance": args.tolerance, "largest_relative_difference": found}, indent=2))
    sys.exit(max(found.values()) > args.tolerance)


if __name__ == "__main__":
    main()
