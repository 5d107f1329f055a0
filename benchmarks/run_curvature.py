#!/usr/bin/env python3
"""Curvature, per-sample gradients and checkpointing of Gradwise beside their peers.

    cmake --preset release -DGRADWISE_BENCHMARKS=ON && cmake --build build --target gradwise_python
    .venv/bin/pip install --no-deps curvlinops-for-pytorch pyhessian backpack-for-pytorch opacus einops einconv \\
        linear_operator jaxtyping wadler-lindig opt-einsum unfoldNd scipy tqdm
    .venv/bin/python benchmarks/run_curvature.py            # all rows
    .venv/bin/python benchmarks/run_curvature.py --only hessian_product_mlp trace_mlp

Without `--no-deps` the peers ask for torchvision, and with it for a torch that fits. A peer that can't be imported is
left out, and a row without any is skipped; the table says so. A peer or a row that fails is told of at the end, where
a row makes the exit code 1. Figures are written after each row. Batch 256. Both sides are in one process and take
turns; a ratio is of one round, beside the fastest peer, and the table shows the median, the least and the largest.
Before that their results are compared. Other work on the machine spoils the figures.
"""

import argparse
import pathlib
import statistics
import sys
import time
import warnings

import figures
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent

# (row, network, at most)
TARGETS = [
    ("hessian_product", "mlp", 0.35),
    ("hessian_product", "cnn", 0.70),
    ("gauss_newton_product", "mlp", 0.50),
    ("gauss_newton_product", "cnn", 0.95),
    ("top_eigenvalue", "mlp", 0.40),
    ("top_eigenvalue", "cnn", 0.40),
    ("eigenvalue_by_tolerance", "mlp", 0.40),
    ("eigenvalue_by_tolerance", "cnn", 0.40),
    ("trace", "mlp", 0.50),
    ("density", "mlp", 0.40),
    ("density", "cnn", 0.70),
    ("sample_gradients", "mlp", 0.25),
    ("sample_gradients", "cnn", 0.80),
    ("sample_norms", "mlp", 0.70),
    ("norms_over_gradient", "cnn", 1.15),
    ("dense_hessian", "small", 0.70),
    ("checkpointed_step", None, 1.00),
    ("planned_chain", None, 0.85),
    ("planned_residual_chain", None, 1.00),
    ("half_of_the_memory", None, 1.15),
    ("plan_of_500_stages", None, 1.00),
]


def name_of(row, network):
    return row if network is None else f"{row}_{network}"


def measure(options):
    """Figures by row, {"skipped": why} or {"failed": why}; printed and written as they come."""
    from curvature import chains, contest, matrices, networks, samples

    print(f"{'':26}{'ms':>10}{'ms':>10}  {'beside':29}ratio (range)           at most  met")
    results = {}
    about = {"quick": options.quick, "threads": options.threads, "torch": torch.__version__}
    for row, network, most in TARGETS:
        name = name_of(row, network)
        if name not in options.only:
            continue
        begun = time.perf_counter()
        try:
            made = next(getattr(rows, row) for rows in (matrices, samples, chains) if hasattr(rows, row))
            sides = made(None if network is None else networks.Case(network), options.quick)
            sides.check()
            results[name] = contest.measure(sides, options.repeats, 0.01 if options.quick else 0.1)
            print_row(name, results[name], most)
        except contest.Absent as absent:
            results[name] = {"skipped": str(absent)}
            print(f"{name:26}skipped: {absent}")
        except Exception as error:  # a peer's may be any; the other rows go on
            results[name] = {"failed": f"{type(error).__name__}: {error}"}
            print(f"{name:26}FAILED: {error}")
        figures.write(options.json, about | {"results": results})
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    return results


def met(result, most):
    fewer = result["fewer"]
    return result["ratio"]["median"] <= most and (fewer is None or fewer[0] < fewer[1])


def print_row(name, result, most):
    ratio = result["ratio"]
    ours, peer = (1e3 * statistics.median(result["seconds"][side]) for side in ("ours", result["peer"]))
    shown = f"{ratio['median']:.3f} ({ratio['min']:.3f} to {ratio['max']:.3f})"
    print(f"{name:26}{ours:10.2f}{peer:10.2f}  {result['peer']:29}{shown:24}{most:7.2f}  "
          f"{'yes' if met(result, most) else 'NO'}")  # fmt: skip
    for note in result["notes"]:
        print(f"{'':26}{note}")


def main():
    rows = [name_of(row, network) for row, network, _ in TARGETS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, help="rounds (default 15, quick 3)")
    parser.add_argument("--quick", action="store_true", help="rough figures")
    parser.add_argument("--only", nargs="+", choices=rows, default=rows, metavar="ROW", help=", ".join(rows))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "build/benchmarks/curvature.json")
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    options = parser.parse_args()
    options.repeats = options.repeats or (3 if options.quick else 15)
    sys.path.insert(0, str(options.build / "python"))
    warnings.filterwarnings("ignore")  # the peers' own: graphs kept in gradients, hooks that fire early
    torch.set_num_threads(options.threads)
    results = measure(options)
    print("figures in", options.json)
    for name, result in results.items():
        for peer in result.get("failed_peers", ()):
            print(f"{name}: without a peer that failed: {peer}", file=sys.stderr)
    if failed := [f"{name}: {result['failed']}" for name, result in results.items() if "failed" in result]:
        sys.exit("failed:\n  " + "\n  ".join(failed))
    bounds = {name_of(row, network): most for row, network, most in TARGETS}
    missed = [name for name, result in results.items() if "ratio" in result and not met(result, bounds[name])]
    sys.exit(1 if options.check and missed else 0)


if __name__ == "__main__":
    main()
