#!/usr/bin/env python3
"""Checks a linear transfer by scikit-learn, from the features that the program wrote.

    pip install numpy h5py scikit-learn
    eqr-bench transfer --encoder E --data PACK --write-features f.h5 --json > transfer.json
    python3 scripts/reference/check_transfer.py f.h5 transfer.json

Fits the strength that the program chose, on the training and validation splits together, by Newton steps to
convergence, and prints the accuracies of both on the test split, for the nearest neighbours, too.
"""

import json
import sys

import h5py
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors


def main():
    features, result = h5py.File(sys.argv[1]), json.load(open(sys.argv[2]))
    splits = ("train", "val", "test")
    x = {split: features[f"{split}/features"][:].astype(np.float64) for split in splits}
    y = {split: features[f"{split}/labels"][:] for split in splits}
    # strengths count in units of the training features' mean variance
    strength = result["lambda"] * x["train"].var(axis=0).mean()
    both = np.concatenate([x["train"], x["val"]]), np.concatenate([y["train"], y["val"]])
    model = LogisticRegression(C=1 / strength, solver="lbfgs", tol=1e-10, max_iter=20000).fit(*both)
    predicted = model.predict(x["test"])
    per_class = [(predicted[y["test"] == c] == c).mean() for c in np.unique(y["test"])]
    found = NearestNeighbors(n_neighbors=20, metric="cosine", algorithm="brute")
    distances, nearest = found.fit(both[0]).kneighbors(x["test"])
    # ties go to the class with the larger total similarity
    votes = np.zeros((len(nearest), both[1].max() + 1))
    np.add.at(votes, (np.arange(len(nearest))[:, None], both[1][nearest]), 1 + (1 - distances) / 40)
    neighbours = (votes.argmax(1) == y["test"]).mean()
    rows = [
        ("top-1", result["top1"], (predicted == y["test"]).mean()),
        ("mean per class", result["mean_per_class"], np.mean(per_class)),
        ("20 nearest neighbours, top-1", result["knn"]["top1"], neighbours),
    ]
    print("| accuracy | eqr-bench | scikit-learn |\n|---|---|---|")
    for name, own, other in rows:
        print(f"| {name} | {own:.4f} | {other:.4f} |")


if __name__ == "__main__":
    main()
