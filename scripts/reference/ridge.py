#!/usr/bin/env python3
"""Writes probes/tests/it/reference/ridge.json: ridge regression by scikit-learn on standardised features.

The strength of each output is chosen by leaving out one row at a time and all its doubles, with a fit of its
own for each.

    pip install numpy scikit-learn && scripts/reference/ridge.py
"""

import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

FILE = Path(__file__).resolve().parents[2] / "probes" / "tests" / "it" / "reference" / "ridge.json"


def case(name, rows, x, t):
    """One problem: `rows` for training, the others for testing; float32 features, as in a feature file."""
    x, t = np.round(x, 4).astype(np.float32), np.round(t, 4).astype(np.float32)
    scaler = StandardScaler().fit(x[:rows].astype(np.float64))
    train, test = (scaler.transform(part.astype(np.float64)) for part in (x[:rows], x[rows:]))
    groups = [np.flatnonzero((train == row).all(1)) for row in np.unique(train, axis=0)]
    lambdas, predictions = [], []
    for j in range(t.shape[1]):
        targets = t[:rows, j].astype(np.float64)
        errors = {}
        for strength in rows * 10.0 ** np.arange(-6, 4):
            errors[strength] = 0.0
            for group in groups:
                kept = np.delete(np.arange(rows), group)
                model = Ridge(alpha=strength, solver="svd").fit(train[kept], targets[kept])
                mean_residual = (targets[group] - model.predict(train[group])).mean()
                errors[strength] += len(group) * mean_residual**2
        best = min(errors, key=errors.get)
        model = Ridge(alpha=best, solver="svd").fit(train, targets)
        lambdas.append(best)
        predictions.append(model.predict(test))
    predictions = np.stack(predictions, 1)
    truth = t[rows:].astype(np.float64)
    pooled = 1 - ((truth - predictions) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    return {
        "name": name,
        "rows": rows,
        "x": x.tolist(),
        "t": t.tolist(),
        "lambda": lambdas,
        "predictions": predictions.tolist(),
        "r2_pooled": pooled,
        "r2_per_output": r2_score(truth, predictions, multioutput="uniform_average"),
    }


def main():
    rng = np.random.default_rng(0)
    tall = rng.normal(size=(80, 6)) * [1, 5, 0.1, 1, 1, 1] + 3
    tall_t = np.stack([tall @ rng.normal(size=6), rng.normal(size=80)], 1) + rng.normal(size=(80, 2))
    wide = rng.normal(size=(40, 30))
    wide_t = wide[:, :3] @ rng.normal(size=(3, 2)) + rng.normal(size=(40, 2)) * 0.3
    deficient = np.concatenate([tall[:, :3], tall[:, :2], np.full((80, 1), 7.0)], 1)
    doubled = np.arange(40)
    doubled[20:25] = [3, 3, 7, 8, 9]
    cases = [
        case("more rows than features", 60, tall, tall_t),
        case("more features than rows", 25, wide, wide_t),
        case("repeated and constant columns", 60, deficient, tall_t),
        case("doubled rows", 25, wide[doubled], wide_t + rng.normal(size=(40, 2))),
    ]
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
