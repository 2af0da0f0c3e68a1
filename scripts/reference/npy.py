#!/usr/bin/env python3
"""Writes datasets/tests/reference/{paths,labels,latents}.npy, like SIE's split files and 3DIEBench's latents.

    pip install numpy && scripts/reference/npy.py
"""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[2] / "datasets" / "tests" / "reference"


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.save(FOLDER / "paths.npy", np.array(["/02691156/a0", "/03001627/größer"]))
    np.save(FOLDER / "labels.npy", np.array([1, 0]))
    np.save(FOLDER / "latents.npy", np.array([0.1, -0.2, 1.5, 0.25, 0.7, 6.0, 1.0]))


if __name__ == "__main__":
    main()
