#!/usr/bin/env python3
"""Simulates sequential tests of paired differences, and prints the tables of docs/methods.md in Markdown.

A run goes on until all claims of a family are decided, or the largest number of seeds is reached. All claims
have their first method in common. Three rules for the p value of a claim, each with Holm's correction over the
claims:

- shares: the p value of Student's t test, divided by the look's share of the error; the shares are proportional
  to the degrees of freedom (eqr-probes::sequential);
- equal: the same with equal shares;
- mixture: an e-process, the likelihood ratio of the t statistic under effects from N(0, 9) (Wang and Ramdas,
  2024).

    pip install numpy scipy && scripts/reference/sequential.py
"""

import numpy as np
from scipy import stats

RUNS = 20_000
EFFECTS = (0, 1, 2, 3, 5)


def statistics(x):
    """t statistics after 2, 3, ... values of the last axis, and these numbers."""
    n = np.arange(1, x.shape[-1] + 1)
    mean = np.cumsum(x, -1) / n
    variance = (np.cumsum(x**2, -1) / n - mean**2)[..., 1:] * n[1:] / (n[1:] - 1)
    return mean[..., 1:] * np.sqrt(n[1:] / variance), n[1:]


def spending(shares):
    def rule(t, n):
        p = 2 * stats.t.sf(abs(t), n - 1) / (shares(n) / shares(n).sum())
        return np.minimum.accumulate(np.minimum(p, 1), -1)

    return rule


def mixture(t, n, g=9.0):
    own, wide = np.log1p(t**2 / (n - 1)), np.log1p(t**2 / ((n - 1) * (1 + n * g)))
    log_e = n / 2 * (own - wide) - np.log(1 + n * g) / 2
    return np.exp(-np.maximum(np.maximum.accumulate(log_e, -1), 0))


def holm(p):
    """Adjusted p values along the middle axis of (runs, claims, looks)."""
    order = np.argsort(p, 1)
    factors = (p.shape[1] - np.arange(p.shape[1]))[:, None]
    adjusted = np.maximum.accumulate(np.take_along_axis(p, order, 1) * factors, 1)
    result = np.empty_like(p)
    np.put_along_axis(result, order, np.minimum(adjusted, 1), 1)
    return result


def simulate(random, rule, last, claims, effect):
    """Expected seeds, share of decided claims, share of runs with a false decision."""
    common, others = random.normal(size=(RUNS, 1, last)), random.normal(size=(RUNS, claims, last))
    t, n = statistics(effect + (common - others) / np.sqrt(2))
    rejected = holm(rule(t, n)) <= 0.05
    done = rejected.all(1)
    stop = np.where(done.any(1), done.argmax(1), len(n) - 1)
    decided = np.take_along_axis(rejected, stop[:, None, None], 2)[:, :, 0]
    sign = np.sign(np.take_along_axis(t, rejected.argmax(2)[:, :, None], 2)[:, :, 0])
    false = (decided & (sign != np.sign(effect))).any(1)
    return n[stop].mean(), decided.mean(), false.mean()


def main():
    rules = {"shares": spending(lambda n: n - 1.0), "equal": spending(lambda n: np.ones(len(n))), "mixture": mixture}
    for name, rule in rules.items():
        random = np.random.default_rng(3)
        print(f"\n{name}\n\n| seeds | claims | " + " | ".join(map(str, EFFECTS)) + " |")
        print("|---" * (2 + len(EFFECTS)) + "|")
        for last in (4, 6, 10):
            for claims in (1, 3, 12):
                cells = []
                for effect in EFFECTS:
                    seeds, decided, false = simulate(random, rule, last, claims, effect)
                    shown = f"false {100 * false:.1f}%" if effect == 0 else f"{100 * decided:.0f}%"
                    cells.append(f"{seeds:.1f}, {shown}")
                print(f"| 2 to {last} | {claims} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
