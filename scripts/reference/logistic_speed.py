#!/usr/bin/env python3
"""Times scikit-learn's L-BFGS for strengths of the protocol's grid.

The features are those that `logistic_speed ROWS FEATURES CLASSES file` wrote. The objectives are printed for
comparison with those of eqr-bench.

    pip install numpy scikit-learn && scripts/reference/logistic_speed.py FEATURES STRENGTHS [ITERATIONS]
"""

import sys
import time
import warnings

import numpy as np
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression


def main():
    y = np.fromfile("labels.i64", np.int64)
    x = np.fromfile("features.f32", np.float32).reshape(len(y), int(sys.argv[1]))
    iterations = int(sys.argv[3]) if len(sys.argv) > 3 else 500
    warnings.simplefilter("ignore")  # the number of iterations is printed instead
    for index in np.arange(0, 45, 45 // int(sys.argv[2])):
        strength = 10.0 ** (-6 + 11 * index / 44)
        model = LogisticRegression(C=1 / strength, max_iter=iterations)
        start = time.perf_counter()
        model.fit(x, y)
        seconds = time.perf_counter() - start
        scores = x.astype(np.float64) @ model.coef_.T + model.intercept_
        loss = (logsumexp(scores, axis=1) - scores[np.arange(len(y)), y]).sum()
        objective = loss + strength / 2 * (model.coef_**2).sum()
        cost = f"{model.n_iter_[0]} iterations, {seconds:.1f} s"
        print(f"lambda {strength:.2e}: objective {objective:.6e}, {cost}", flush=True)


if __name__ == "__main__":
    main()
