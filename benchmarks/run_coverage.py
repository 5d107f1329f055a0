#!/usr/bin/env python3
"""How often the 95 % intervals of the trace estimators hold the trace, on the six spectra of the XTrace paper's tests.

    PYTHONPATH=build/python python3 benchmarks/run_coverage.py                  # 1,000 trials, n = 1000: half an hour
    PYTHONPATH=build/python python3 benchmarks/run_coverage.py --trials 100     # a few minutes

The matrix is diagonal where random vectors are rotation-invariant, so that any matrix of the same spectrum gives the
same distribution; for Hutchinson's random signs, to which a diagonal matrix is no secret, it is rotated. Exit code 1
where one is outside of 93 to 97 % by more than chance (three deviations of the count), unless the error is at the
rounding of the trace.
"""

import argparse
import sys

import torch

from gradwise.curvature import from_function, from_matrix

N = 1000


def spectra():
    i = torch.arange(N, dtype=torch.float64)
    steps = (i < N // 20).double()
    return {
        "flat": 1 + 2 * i / (N - 1),
        "poly": (i + 1) ** -2,
        "slow exp": 0.9**i,
        "fast exp": 0.7**i,
        "small step": steps + 1e-3 * (1 - steps),
        "big step": steps + 1e-8 * (1 - steps),
    }


def coverage(operator, exact, method, products, trials):
    """The share of intervals that hold the trace, and the root of the mean square of the relative errors."""
    held, squares = 0, 0.0
    for seed in range(trials):
        found = operator.trace(products=products, method=method, seed=seed)
        held += found.low <= exact <= found.high
        squares += ((found.value - exact) / exact) ** 2
    return held / trials, (squares / trials) ** 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--products", type=int, default=120)
    options = parser.parse_args()
    torch.set_num_threads(1)
    slack = 3 * (0.95 * 0.05 / options.trials) ** 0.5
    failed = False
    rotation = torch.linalg.qr(torch.randn(N, N, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    for name, values in spectra().items():
        diagonal = from_function(lambda v, values=values: values * v, N, dtype=torch.float64)
        full = rotation * values @ rotation.T
        rotated = from_matrix((full + full.T) / 2)
        exact = float(values.sum())
        for method in ("hutchinson", "hutch++", "xtrace", "xnystrace"):
            operator = rotated if method == "hutchinson" else diagonal
            share, error = coverage(operator, exact, method, options.products, options.trials)
            rounding = error < 1e-13
            wrong = not rounding and not 0.93 - slack <= share <= 0.97 + slack
            failed = failed or wrong
            note = "  rounding" if rounding else "  outside" if wrong else ""
            print(f"{name:>10} {method:>10}: {share:6.1%} held, relative error {error:.1e}{note}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
