#!/usr/bin/env python3
"""Writes datasets/tests/reference/meta.mat (compressed) and meta_plain.mat.

They hold a struct array like that of ImageNet's devkit (ILSVRC2012_devkit_t12/data/meta.mat), with four leaf
synsets and two synsets above them.

    pip install scipy && scripts/reference/meta_mat.py
"""

from pathlib import Path

import numpy as np
from scipy.io import savemat

FOLDER = Path(__file__).resolve().parents[2] / "datasets" / "tests" / "reference"
FIELDS = [
    "ILSVRC2012_ID",
    "WNID",
    "words",
    "gloss",
    "num_children",
    "children",
    "wordnet_height",
    "num_train_images",
]

# As in the devkit, leaf synsets come first and are not sorted by WNID.
SYNSETS = [
    (1, "n02119789", "kit fox, Vulpes macrotis", "small grey fox", [], 0, 1300),
    (2, "n02100735", "English setter", "an English breed", [], 0, 1300),
    (3, "n02110185", "Siberian husky", "breed of sled dog", [], 0, 1300),
    (4, "n02096294", "Australian terrier", "small greyish wire-haired breed", [], 0, 1300),
    (1001, "n00001740", "entity", "that which is perceived", [1, 1002], 2, 0),
    (1002, "n02083346", "canine, canid", "", [2, 3, 4], 1, 0),
]


def synsets():
    """The struct array, with one row per synset."""
    rows = np.empty((len(SYNSETS), 1), dtype=[(field, object) for field in FIELDS])
    for row, (number, wnid, words, gloss, children, height, images) in zip(rows, SYNSETS):
        values = (number, len(children), height, images)
        number, count, height, images = (np.float64(value) for value in values)
        children = np.array(children, dtype=np.float64).reshape(1, -1)
        row[0] = (number, wnid, words, gloss, count, children, height, images)
    return rows


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, zipped in [("meta.mat", True), ("meta_plain.mat", False)]:
        # `version` is a variable that the reader has to skip
        savemat(FOLDER / name, {"version": 12.0, "synsets": synsets()}, do_compression=zipped)
        path = FOLDER / name
        # the header would contain the time of writing
        path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + path.read_bytes()[116:])


if __name__ == "__main__":
    main()
