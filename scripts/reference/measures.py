#!/usr/bin/env python3
"""Writes probes/tests/it/reference/measures.json: measures of fixed inputs.

Accuracies, segmentation scores, R2, retrieval, nearest neighbours, tests, intervals and analyses of variance
by scikit-learn, SciPy, statsmodels and NumPy.

    pip install numpy pandas scipy scikit-learn statsmodels && scripts/reference/measures.py
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    jaccard_score,
    r2_score,
    recall_score,
)
from sklearn.neighbors import KNeighborsClassifier
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

FILE = Path(__file__).resolve().parents[2] / "probes" / "tests" / "it" / "reference" / "measures.json"
VOID = 255


def segmentation(random):
    """Six classes; class 4 is never true, class 5 is neither true nor predicted, and some pixels are void."""
    truth = random.integers(0, 4, (3, 17, 23))
    predicted = np.where(random.random(truth.shape) < 0.7, truth, random.integers(0, 5, truth.shape))
    truth[random.random(truth.shape) < 0.1] = VOID
    known = truth != VOID
    t, p = truth[known], predicted[known]
    occurring = np.union1d(t, p)
    return {
        "truth": truth.tolist(),
        "predicted": predicted.tolist(),
        "confusion": confusion_matrix(t, p, labels=range(6)).tolist(),
        "iou": jaccard_score(t, p, labels=occurring, average=None, zero_division=0).tolist(),
        "mIoU": jaccard_score(t, p, labels=occurring, average="macro", zero_division=0),
        "mAcc": recall_score(t, p, labels=np.unique(t), average="macro"),
        "aAcc": accuracy_score(t, p),
    }


def retrieval(random):
    """Predicted views, ranked among the candidates of one object; poses are unit quaternions."""
    candidates = random.normal(size=(12, 6))
    truth = random.integers(1, 12, 11)
    predictions = candidates[truth] + 1.2 * random.normal(size=(11, 6))
    poses = random.normal(size=(12, 4))
    poses /= np.linalg.norm(poses, axis=1, keepdims=True)
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    similarity = unit(predictions) @ unit(candidates).T
    own = similarity[np.arange(11), truth]
    ranks = (similarity >= own[:, None]).sum(1)
    nearest = similarity.argmax(1)
    return {
        "candidates": candidates.tolist(),
        "predictions": predictions.tolist(),
        "truth": truth.tolist(),
        "poses": poses.tolist(),
        "mrr": (1 / ranks).mean(),
        "hits": [(ranks <= k).mean() for k in (1, 2, 5, 10)],
        "pre": (1 - (poses[truth] * poses[nearest]).sum(1) ** 2).mean(),
    }


def neighbours(random):
    x, y = random.normal(size=(90, 5)), random.integers(0, 4, 90)
    x[np.arange(90), y] += 1.5
    queries = random.normal(size=(40, 5))
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    # on the unit sphere, the nearest by distance are the nearest by cosine
    model = KNeighborsClassifier(20).fit(unit(x), y)
    votes = np.sort(model.predict_proba(unit(queries)), axis=1)
    # ties are left out: scikit-learn takes the smaller label, eqr-probes the more similar class
    clear = votes[:, -1] > votes[:, -2]
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "queries": queries[clear].tolist(),
        "labels": model.predict(unit(queries[clear])).tolist(),
    }


def samples(random):
    a, b = random.normal(0.52, 0.03, 5), random.normal(0.48, 0.05, 7)
    pairs = a + random.normal(0.02, 0.02, 5)
    welch = stats.ttest_ind(a, b, equal_var=False)
    student = stats.ttest_ind(a, b)
    paired = stats.ttest_rel(a, pairs)
    p = random.random(9) ** 3
    interval = lambda result: [float(end) for end in result.confidence_interval(0.95)]
    return {
        "a": a.tolist(),
        "b": b.tolist(),
        "pairs": pairs.tolist(),
        "mean": a.mean(),
        "std": a.std(ddof=1),
        "ci95": list(stats.t.interval(0.95, 4, a.mean(), stats.sem(a))),
        "student": {"t": student.statistic, "df": student.df, "p": student.pvalue, "ci95": interval(student)},
        "welch": {"t": welch.statistic, "df": welch.df, "p": welch.pvalue, "ci95": interval(welch)},
        "paired": {"t": paired.statistic, "df": paired.df, "p": paired.pvalue, "ci95": interval(paired)},
        "p": p.tolist(),
        "holm": multipletests(p, method="holm")[1].tolist(),
    }


def sequential(random):
    """p values of the looks after 2 to 6 pairs, divided by their shares of the error; the smallest so far."""
    a, b = random.normal(0.55, 0.02, 6), random.normal(0.5, 0.02, 6)
    shares = np.arange(1, 6) / 15
    p = np.array([stats.ttest_rel(a[:n], b[:n]).pvalue for n in range(2, 7)])
    last = stats.ttest_rel(a, b).confidence_interval(1 - 0.05 * shares[-1])
    return {
        "a": a.tolist(),
        "b": b.tolist(),
        "p": np.minimum.accumulate(np.minimum(p / shares, 1)).tolist(),
        "ci95": [last.low, last.high],
    }


def blocks(random):
    """Methods and seeds as factors of an ordinary least squares fit."""
    table = random.normal(size=(4, 5)) + [[0], [0.5], [1], [3]] + random.normal(size=5)
    method, seed = np.indices(table.shape)
    frame = pd.DataFrame({"y": table.ravel(), "method": method.ravel(), "seed": seed.ravel()})
    fit = ols("y ~ C(method) + C(seed)", frame).fit()
    squares = anova_lm(fit)
    difference = fit.t_test("C(method)[T.3] - C(method)[T.1] = 0")
    return {
        "table": table.tolist(),
        "squares": squares["sum_sq"].tolist(),
        "f": squares["F"].iloc[0],
        "p": squares["PR(>F)"].iloc[0],
        "difference": {
            "t": difference.tvalue.item(),
            "df": difference.df_denom,
            "p": float(difference.pvalue),
            "ci95": difference.conf_int()[0].tolist(),
        },
    }


def main():
    random = np.random.default_rng(7)
    truth, predicted = random.integers(0, 5, 200), random.integers(0, 5, 200)
    targets = random.normal(size=(50, 3)) * [1, 5, 0.2] + [0, 3, -1]
    guesses = targets + random.normal(size=(50, 3)) * [0.5, 4, 0.3]
    pooled = 1 - ((targets - guesses) ** 2).sum() / ((targets - targets.mean()) ** 2).sum()
    values = {
        "accuracy": {
            "truth": truth.tolist(),
            "predicted": predicted.tolist(),
            "top1": accuracy_score(truth, predicted),
            "mean_per_class": balanced_accuracy_score(truth, predicted),
        },
        "r2": {
            "targets": targets.tolist(),
            "predictions": guesses.tolist(),
            "per_output": r2_score(targets, guesses),
            "outputs": r2_score(targets, guesses, multioutput="raw_values").tolist(),
            "pooled": pooled,
        },
        "segmentation": segmentation(random),
        "retrieval": retrieval(random),
        "neighbours": neighbours(random),
        "samples": samples(random),
        "sequential": sequential(random),
        "blocks": blocks(random),
    }
    FILE.write_text(json.dumps(values, default=float) + "\n")


if __name__ == "__main__":
    main()
