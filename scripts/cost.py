#!/usr/bin/env python3
"""Measures a training step: time and peak memory of each method, and of Ours against batch and image size.

    python3 scripts/cost.py [--program target/release/eqr-bench] [--out results/reference/perf]
                            [--precision auto]

Runs `eqr-bench perf train` once per row, each time in a new process, so that the peak memory is that of the
row. Writes cost.csv (the values) and cost.md (the tables). Takes about three minutes on two cores.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

NETWORK = {"img": 32, "patch": 4, "dim": 192, "depth": 4, "heads": 3, "batch": 64}
METHODS = [
    "Ours",
    "Ours(SimCLR)",
    "Ours(Barlow Twins)",
    "Ours, no reconstruction",
    "SIE(all)",
    "VICReg",
    "SimCLR",
    "Barlow Twins",
    "Supervised",
    "Direct regression",
]
BATCHES = [16, 32, 64, 128, 256]
MICRO_BATCH = 16
IMAGES = [32, 64, 96, 128, 160, 224]
SWEEPS = {
    "Methods": [{"method": method} for method in METHODS],
    "Ours against the batch": [{"batch": batch} for batch in BATCHES],
    f"Ours against the batch, {MICRO_BATCH} pairs encoded at a time": [
        {"batch": batch, "micro_batch": MICRO_BATCH} for batch in BATCHES
    ],
    "Ours against the side of the image (patch 8, batch 16)": [
        {"img": img, "patch": 8, "batch": 16} for img in IMAGES
    ],
}
# the columns of the tables: head, and the cell's text for a row
COLUMNS = {
    "method": lambda row: row["method"],
    "img": lambda row: str(row["img"]),
    "tokens": lambda row: str(1 + (row["img"] // row["patch"]) ** 2),
    "batch": lambda row: str(row["batch"]),
    "parameters": lambda row: f"{row['parameters'] / 1e6:.2f} M",
    "ms a step": lambda row: f"{1e3 * row['seconds_per_step']:.0f}",
    "views/s": lambda row: f"{row['views_per_s']:.0f}",
    "GFLOP/s": lambda row: f"{row['gflop_per_s']:.0f}",
    "peak memory": lambda row: f"{row['peak_memory_bytes'] / 2**20:.0f} MiB",
}
VALUES = [
    "seconds_per_step",
    "views_per_s",
    "gflop_per_view",
    "gflop_per_s",
    "share_of_ceiling",
    "peak_memory_bytes",
]


def measure(program, options):
    flags = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = [program, "perf", "train", *flags, "--json"]
    print(" ".join(command), file=sys.stderr)
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return result["config"] | {name: result[name] for name in VALUES}


def table(rows):
    lines = ["| " + " | ".join(COLUMNS) + " |", "| :--- |" + " ---: |" * (len(COLUMNS) - 1)]
    lines += ["| " + " | ".join(show(row) for show in COLUMNS.values()) + " |" for row in rows]
    return "\n".join(lines)


def document(measured):
    one = next(iter(measured.values()))[0]
    shown = ", ".join(f"{name} {value}" for name, value in NETWORK.items())
    head = f"""# Cost of a training step

Made by `python3 scripts/cost.py`: one process a row. {shown} unless a row says otherwise; {one["precision"]}, {one["threads"]} threads,
{one["device"].upper()}. Peak memory is the process's (VmHWM), libtorch itself included. The values are in [cost.csv](cost.csv).
"""
    return "\n".join([head] + [f"## {name}\n\n{table(rows)}\n" for name, rows in measured.items()])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="target/release/eqr-bench")
    parser.add_argument("--out", type=Path, default=Path("results/reference/perf"))
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    common = NETWORK | {"method": "Ours", "precision": args.precision, "steps": args.steps}
    measured = {name: [measure(args.program, common | row) for row in rows] for name, rows in SWEEPS.items()}
    rows = [{"sweep": name} | row for name, rows in measured.items() for row in rows]
    with open(args.out / "cost.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (args.out / "cost.md").write_text(document(measured))


if __name__ == "__main__":
    main()
