#!/usr/bin/env python3
"""Writes probes/tests/it/reference/logistic.json: multinomial logistic regression by scikit-learn.

The fits are Newton steps to convergence, for strengths of the protocol's grid, on features of unequal scales
that do not separate the classes.

    pip install numpy scikit-learn && scripts/reference/logistic.py
"""

import json
from pathlib import Path

import numpy as np
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

FILE = Path(__file__).resolve().parents[2] / "probes" / "tests" / "it" / "reference" / "logistic.json"
TRAIN = 300


def main():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 12))
    y = rng.integers(0, 5, size=500)
    y[:5] = y[TRAIN : TRAIN + 5] = range(5)
    x = (centres[y] + rng.normal(size=(500, 12)) * 2.0) * np.logspace(-2, 1.3, 12) + rng.normal(size=12) * 20
    x = np.round(x, 4).astype(np.float32)
    train, labels = x[:TRAIN].astype(np.float64), y[:TRAIN]
    fits = []
    for strength in 10.0 ** (-6 + 11 * np.arange(0, 45, 8) / 44):
        model = LogisticRegression(C=1 / strength, solver="newton-cholesky", tol=1e-12, max_iter=10000)
        model.fit(train, labels)
        scores = train @ model.coef_.T + model.intercept_
        loss = (logsumexp(scores, axis=1) - scores[np.arange(TRAIN), labels]).sum()
        objective = loss + strength / 2 * (model.coef_**2).sum()
        fits.append(
            {
                "lambda": strength,
                "objective": objective,
                "predicted": model.predict(x[TRAIN:].astype(np.float64)).tolist(),
            }
        )
    FILE.write_text(json.dumps({"train": TRAIN, "x": x.tolist(), "y": y.tolist(), "fits": fits}) + "\n")


if __name__ == "__main__":
    main()
