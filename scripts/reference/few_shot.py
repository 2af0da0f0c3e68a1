#!/usr/bin/env python3
"""Fills probes/tests/it/reference/few_shot.json: few-shot logistic regression by scikit-learn.

The features and labels are those of logistic.py. The file holds the training rows of every draw, as
`eqr_probes::few_shot::drawn` draws them; this script adds the accuracies on the test rows.

    pip install numpy scikit-learn && scripts/reference/few_shot.py
"""

import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score

FOLDER = Path(__file__).resolve().parents[2] / "probes" / "tests" / "it" / "reference"
STRENGTH = 1.0  # in units of the mean variance of the drawn features


def main():
    data = json.loads((FOLDER / "logistic.json").read_text())
    x, y, train = np.float64(np.float32(data["x"])), np.array(data["y"]), data["train"]
    fits = json.loads((FOLDER / "few_shot.json").read_text())
    for fit in fits:
        drawn = x[fit["rows"]]
        strength = STRENGTH * drawn.var(axis=0).mean()
        model = LogisticRegression(C=1 / strength, solver="newton-cholesky", tol=1e-12, max_iter=10000)
        predicted = model.fit(drawn, y[fit["rows"]]).predict(x[train:])
        fit["top1"] = accuracy_score(y[train:], predicted)
        fit["mean_per_class"] = balanced_accuracy_score(y[train:], predicted)
    (FOLDER / "few_shot.json").write_text(json.dumps(fits) + "\n")


if __name__ == "__main__":
    main()
