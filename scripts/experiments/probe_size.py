#!/usr/bin/env python3
"""How large a probe has to be: probes the encoders of a finished run at several sizes.

    scripts/experiments/probe_size.py cifar10-reduced --pretrained runs/cifar10 --out runs/probe-size \
        --pairs 40000 100000 -- --methods "VICReg,Ours" --seeds 1 --data-root packs

Every combination of width, epochs and pairs is a run of the suite in its own folder below --out, which reuses
the trainings of --pretrained. Arguments after `--` go to `eqr-bench run`; overrides of the training that the
pretrained run had (`--set train.epochs=8`) have to be repeated there. A combination that is finished is not
computed again. The table shows test R2 of the MLP probe for each row, readout and task, then the cheapest
combination that is at most .01 below the largest in every line.
"""

import argparse
import csv
import itertools
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

READOUTS = {"": "all", "_inv": "inv", "_equi": "equi", "_grid": "grid"}
TOLERANCE = 0.01


def arguments():
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("suite", help="preset or file of the suite")
    parser.add_argument("--pretrained", required=True, help="folder of the run with the encoders")
    parser.add_argument("--out", required=True, type=Path, help="folder for the runs of the probes")
    parser.add_argument("--width", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--epochs", type=int, nargs="+", default=[8, 30, 60])
    parser.add_argument("--pairs", type=int, nargs="+", default=[40_000])
    parser.add_argument("--program", default="eqr-bench", help="path of the program")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    return parser.parse_args(words[:end], argparse.Namespace(more=words[end + 1 :]))


def cost(setting):
    """Products of one probe of 256 features, up to a factor."""
    width, epochs, pairs = setting
    return epochs * pairs * width * (256 + width)


def probe(args, setting):
    """Runs the suite with probes of this size. Returns the run's folder."""
    width, epochs, pairs = setting
    out = args.out / f"width{width}-epochs{epochs}-pairs{pairs}"
    overrides = [
        f"probe.regression.hidden={width}",
        f"probe.regression.epochs={epochs}",
        f"probe.train_pairs={pairs}",
        'probe.parts=["all", "inv", "equi"]',
        "probe.seeds=1",
        "probe.classification.epochs=1",
    ]
    command = [args.program, "run", args.suite, "--out", str(out), "--pretrained", args.pretrained]
    command += args.more
    for override in overrides:
        command += ["--set", override]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"{out}: this run failed")
    return out


def scores(run):
    """Mean test R2 and train R2 by (task, method, readout)."""
    found = defaultdict(lambda: ([], []))
    with open(run / "metrics.csv", newline="") as file:
        for row in csv.DictReader(file):
            for suffix, readout in READOUTS.items():
                for place, name in enumerate(["r2_per_output", "r2_per_output_train"]):
                    if row["metric"] == name + suffix:
                        found[row["task"], row["method"], readout][place].append(float(row["value"]))
    return {key: [sum(values) / len(values) for values in both] for key, both in found.items()}


def main():
    args = arguments()
    settings = sorted(itertools.product(args.width, args.epochs, args.pairs), key=cost)
    table = {setting: scores(probe(args, setting)) for setting in settings}
    largest = table[settings[-1]]
    heads = [f"{width} x {epochs} x {pairs // 1000}k" for width, epochs, pairs in settings]
    print("Test R2 (train R2) by width x epochs x pairs, from the cheapest probe to the largest\n")
    print("| task | row | readout | " + " | ".join(heads) + " |")
    print("|---" * (3 + len(heads)) + "|")
    for key in sorted(largest):
        entries = ["{:.3f} ({:.3f})".format(*table[setting][key]) for setting in settings]
        print("| " + " | ".join([*key, *entries]) + " |")
    short = {
        setting: [key for key in largest if table[setting][key][0] < largest[key][0] - TOLERANCE]
        for setting in settings
    }
    print()
    for head, setting in zip(heads, settings):
        below = len(short[setting])
        print(f"{head}: {below} of {len(largest)} lines more than {TOLERANCE} below the largest")
    enough = next(head for head, setting in zip(heads, settings) if not short[setting])
    print(f"\nthe cheapest probe within {TOLERANCE} of the largest in every line: {enough}")


if __name__ == "__main__":
    main()
