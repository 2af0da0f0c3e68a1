#!/usr/bin/env python3
"""Which reading Stage B chooses: scores every sub-suite of its runs by the rule in docs/results.md.

    scripts/experiments/choose.py runs/stage-b

Each argument is the folder of a run. The score is the mean over tasks of (R2 - floor) / (ceiling - floor), on y
and over seeds. Floor (`Random init`) and ceiling (`Direct regression`) are the means over seeds in the first
sub-suite that has them. The second score leaves out the tasks whose ceiling is less than .1 above the floor. A
reading whose top-1 is more than .01 below VICReg's is out.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from statistics import mean

FLOOR, CEILING, INVARIANT, OURS = "Random init", "Direct regression", "VICReg", "Ours"
LARGEST_LOSS_OF_TOP1 = 0.01
SMALLEST_RANGE = 0.1


def read(folders):
    """Means over evaluation seeds: values[sub-suite][task][method][pretraining seed]."""
    raw = defaultdict(list)
    for folder in folders:
        file = (folder / "metrics.csv").read_text().splitlines()
        for line in csv.DictReader(file):
            wanted = "top1" if line["task"] == "classification" else "r2_per_output"
            if line["metric"] == wanted:
                key = (line["dataset"], line["task"], line["method"], line["pretrain_seed"])
                raw[key].append(float(line["value"]))
    values = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for (suite, task, method, seed), found in raw.items():
        values[suite][task][method][seed] = mean(found)
    return values


def over_seeds(by_seed):
    return mean(by_seed.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")
    values = read(parser.parse_args().runs)
    shared = next(suite for suite in values.values() if CEILING in suite["rotation"])
    tasks = [task for task in shared if task != "classification"]
    floor = {task: over_seeds(shared[task][FLOOR]) for task in tasks}
    ceiling = {task: over_seeds(shared[task][CEILING]) for task in tasks}
    top1 = over_seeds(shared["classification"][INVARIANT])

    rows = [(method, shared, method) for method in (FLOOR, INVARIANT, CEILING)]
    rows += [(name, suite, OURS) for name, suite in values.items() if OURS in suite[tasks[0]]]
    print("| row | " + " | ".join(tasks) + " | top-1 | score | score, tasks with a ceiling | seeds |")
    print("| :--- |" + " ---: |" * (len(tasks) + 4))
    with_ceiling = [task for task in tasks if ceiling[task] - floor[task] >= SMALLEST_RANGE]
    for name, suite, method in rows:
        seeds = sorted(suite[tasks[0]][method])

        def score(chosen):
            share = lambda task: (over_seeds(suite[task][method]) - floor[task]) / (ceiling[task] - floor[task])
            return f"{mean(map(share, chosen)):.3f}" if chosen else "-"

        accuracy = over_seeds(suite["classification"][method])
        out = " (out)" if accuracy < top1 - LARGEST_LOSS_OF_TOP1 else ""
        cells = [f"{over_seeds(suite[task][method]):.3f}" for task in tasks] + [f"{accuracy:.3f}{out}"]
        cells += [score(tasks), score(with_ceiling), str(len(seeds))]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
