#!/usr/bin/env python3
"""Verifies a benchmark run of the suite `weekly` and prints its figure of merit.

    jobscripts/verify.py RUN
    jobscripts/verify.py --record RUN...     prints the losses of the trainings, for losses.json

A run is valid if it was begun and finished by one call, and if the losses of its trainings are those of the
recorded trainings (jobscripts/losses.json): within 1% up to step 20, within 15% later, when rounding has driven
them apart. (One and two ranks differed by at most 0.2% up to step 20, and by at most 6.4% later.) A network that
does not learn is outside of both. The figure of merit is the time to complete: the seconds that the run
needed to render its data, train and probe. Lower is better.

Exit codes: 0 valid, 2 no finished run, 3 not valid (then no time is printed).
"""

import json
import sys
from pathlib import Path

# Largest relative difference of a loss, early in the training and later.
EARLY, LATER, EARLY_STEPS = 0.01, 0.15, 20
RECORDED = Path(__file__).resolve().parent / "losses.json"


class Invalid(Exception):
    """The run does not count."""


def read(path):
    try:
        return json.loads(path.read_text())
    except OSError as error:
        print(f"error: {path}: {error.strerror}\nhint: name the folder of a finished run", file=sys.stderr)
        sys.exit(2)


def recorded_losses(cell):
    """The recorded {step: loss} of the training; of its name, and as many steps long."""
    for training in read(RECORDED):
        if (training["training"], training["steps"]) == (cell["id"], cell["step"]):
            return dict(training["losses"])
    raise Invalid(f"no recorded training {cell['id']} of {cell['step']} steps")


def check_training(cell):
    if cell["resumed"]:
        raise Invalid(f"{cell['id']} was interrupted and continued, so its time does not count")
    found = {point["step"]: point["terms"]["loss"] for point in cell["curve"]}
    for step, wanted in recorded_losses(cell).items():
        loss = found.get(step, float("nan"))
        tolerance = EARLY if step <= EARLY_STEPS else LATER
        # written so that a loss that is not a number fails
        if not abs(loss - wanted) <= tolerance * abs(wanted):
            raise Invalid(f"{cell['id']}, step {step}: loss {loss:.4f}, recorded {wanted:.4f}")


def trainings(run):
    return [read(path) for path in sorted((run / "cells").glob("pretrain-*.json"))]


def record(runs):
    """One training a line: its losses at a few steps that the curve has, the last one among them."""
    lines = []
    for cell in (cell for run in runs for cell in trainings(Path(run))):
        steps = {*range(EARLY_STEPS + 1), 40, cell["step"] // 2, cell["step"]}
        losses = {point["step"]: round(point["terms"]["loss"], 4) for point in cell["curve"]}
        chosen = [[step, losses[step]] for step in sorted(steps & losses.keys())]
        lines.append(json.dumps({"training": cell["id"], "steps": cell["step"], "losses": chosen}))
    print("[\n" + ",\n".join(lines) + "\n]")


def verify(run):
    seconds = read(run / "timing.json")
    cells = trainings(run)
    try:
        if not cells:
            raise Invalid("nothing was trained")
        for cell in cells:
            check_training(cell)
    except Invalid as reason:
        print(f"error: not valid: {reason}\nhint: compare the losses in {run}/log.jsonl", file=sys.stderr)
        sys.exit(3)
    print("valid: yes")
    for part, value in sorted(seconds.items()):
        print(f"{part}: {value:.2f} s")
    print(f"time to complete: {sum(seconds.values()):.2f} s")


def main():
    arguments = sys.argv[1:]
    if len(arguments) > 1 and arguments[0] == "--record":
        record(arguments[1:])
    elif len(arguments) == 1:
        verify(Path(arguments[0]))
    else:
        print("error: expected the folder of a run\nhint: jobscripts/verify.py RUN", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
