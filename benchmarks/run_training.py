#!/usr/bin/env python3
"""Training speed of Gradwise beside PyTorch's, and what its loop, a Watch and a checkpoint cost.

    cmake --preset release -DGRADWISE_BENCHMARKS=ON && cmake --build build --target benchmarks
    python3 benchmarks/run_training.py            # about ten minutes on two cores
    python3 benchmarks/run_training.py --quick    # one minute, rough figures

Both sides run in turn (ours, peer, ours, peer, ...) in fresh processes; a ratio is of one pair, and the table shows
the median, the least and the largest over the pairs (of the loop's cost, the middle half of many
short rounds). Other work on the machine spoils the figures.
"""

import argparse
import os
import pathlib
import platform
import statistics
import sys
import tempfile

import figures
from figures import run_json

ROOT = pathlib.Path(__file__).resolve().parent.parent


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "all": values}


def middle_half(values):
    low, _, high = statistics.quantiles(values, n=4)
    return {"median": statistics.median(values), "min": low, "max": high, "all": values}


class Bench:
    def __init__(self, options):
        self.options = options
        self.program = options.build / "benchmarks" / "bench_training"
        if not self.program.exists():
            sys.exit(f"{self.program} is not there; build it first:\n{__doc__.splitlines()[2]}")

    def ours(self, mode, *words, threads=None):
        with tempfile.TemporaryDirectory(dir=self.options.folder) as folder:
            return run_json(self.program, mode, "--folder", f"{folder}/run", *self.common(threads), *words)

    def peer(self, *words):
        return run_json(self.options.python, ROOT / "benchmarks/training/peer.py", *self.common(), *words)

    def common(self, threads=None):
        return ["--data", self.options.data, "--threads", threads or self.options.threads]

    def throughput(self, model, images, epochs):
        words = ["--model", model, "--images", images, "--epochs", epochs]
        pairs = []
        for pair in range(self.options.pairs):
            ours = self.ours("loop", *words)["images_per_second"]
            peer = self.peer(*words)["images_per_second"]
            pairs.append((ours, peer))
            print(f"  {model} pair {pair + 1}: {ours:,.0f} and {peer:,.0f} images/s", file=sys.stderr)
        return {
            "ours": spread([ours for ours, _ in pairs]),
            "peer": spread([peer for _, peer in pairs]),
            "ratio": spread([ours / peer for ours, peer in pairs]),
        }

    def loop_cost(self, model, samples, rounds):
        """Microseconds a step, from many short rounds in turn. One thread: what two threads wait for each other at a
        barrier varies by more than the figure that is looked for."""
        result = self.ours("cost", "--model", model, "--images", samples, "--rounds", rounds, threads=1)
        loop, hand = result["loop_seconds_per_step"], result["hand_seconds_per_step"]
        return {
            "loop": spread([1e6 * seconds for seconds in loop]),
            "hand": spread([1e6 * seconds for seconds in hand]),
            "difference": middle_half([1e6 * (a - b) for a, b in zip(loop, hand)]),
        }

    def watch(self, model, samples, rounds):
        seconds = self.ours("watch", "--model", model, "--images", samples, "--rounds", rounds)
        peer = self.peer("--model", model, "--images", samples, "--rounds", max(3, rounds // 4), "--watch")

        def share(of, beside, base):
            return middle_half([100 * (a - b) / c for a, b, c in zip(of, beside, base)])

        plain = seconds["plain"]
        return {
            "plain": spread([1e6 * value for value in plain]),
            "watched": share(seconds["watched"], plain, plain),
            "histograms": share(seconds["histograms"], seconds["watched"], plain),
            "walked": share(seconds["walked"], plain, plain),
            "python_statistics": share(peer["statistics"], peer["plain"], peer["plain"]),
            "python_histograms": share(peer["histograms"], peer["plain"], peer["plain"]),
        }

    def checkpoint(self, parameters, rounds):
        result = self.ours("checkpoint", "--parameters", parameters, "--rounds", rounds)
        blocked, copied = result["blocked_seconds"], result["copy_seconds"]
        return {
            "bytes": result["bytes"],
            "first": result["first_seconds"],
            "blocked": spread(blocked),
            "copy": spread(copied),
            "saved": spread(result["saved_seconds"]),
            "ratio": spread([a / b for a, b in zip(blocked, copied)]),
        }


def measure(options):
    """Figures by name, written as they come, and what failed."""
    bench = Bench(options)
    quick = options.quick
    measurements = {
        "mlp": lambda: bench.throughput("mlp", 12800 if quick else 60000, 1 if quick else 3),
        "cnn": lambda: bench.throughput("cnn", 2560 if quick else 12800, 1),
        "cost_tiny": lambda: bench.loop_cost("tiny", 800, 100 if quick else 800),
        "cost_mlp": lambda: bench.loop_cost("mlp", 3200, 30 if quick else 150),
        "watch_mlp": lambda: bench.watch("mlp", 3200, 30 if quick else 100),
        "watch_cnn": lambda: bench.watch("cnn", 1280, 6 if quick else 20),
        "checkpoint": lambda: bench.checkpoint(10_000_000 if quick else 100_000_000, 3 if quick else 7),
    }
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    results, failures = {}, []
    for name, run in measurements.items():
        if name.split("_")[0] not in options.only:
            continue
        try:
            results[name] = run()
        except RuntimeError as error:
            failures.append(f"{name}: {error}")
        figures.write(options.json, {"quick": quick, "machine": machine, "results": results})
    return results, failures


def row(name, ours, peer, figure, form, target, met):
    shown = f"{form.format(figure['median'])} ({form.format(figure['min'])} to {form.format(figure['max'])})"
    return [name, ours, peer, shown, target, "yes" if met else "NO"]


def rows_of(results):
    rows = []
    for model, least in (("mlp", 1.8), ("cnn", 1.08)):
        if model in results:
            r = results[model]
            ours, peer = (f"{r[side]['median']:,.0f} images/s" for side in ("ours", "peer"))
            met = r["ratio"]["median"] >= least
            rows.append(row(f"{model} over PyTorch", ours, peer, r["ratio"], "{:.2f}", f">= {least}", met))
    for model in ("tiny", "mlp"):
        if f"cost_{model}" in results:
            r = results[f"cost_{model}"]
            ours, hand = (f"{r[side]['median']:.1f} µs/step" for side in ("loop", "hand"))
            met = r["difference"]["median"] <= 5
            rows.append(row(f"loop by hand, {model}", ours, hand, r["difference"], "{:+.1f} µs", "<= 5 µs", met))
    for model, most in (("mlp", 6), ("cnn", 3)):
        if f"watch_{model}" in results:
            r = results[f"watch_{model}"]
            plain = f"{r['plain']['median']:.1f} µs/step"
            python = f"Python: {r['python_statistics']['median']:+.1f} %"
            tracker = f"Python: {r['python_histograms']['median']:+.1f} %"
            for what, beside, bound in (
                ("watched", python, most),
                ("histograms", tracker, 1),
                ("walked", "-", 2 if model == "cnn" else 6),
            ):
                met = r[what]["median"] <= bound
                rows.append(row(f"{model} {what}", plain, beside, r[what], "{:+.1f} %", f"<= {bound} %", met))
    if "checkpoint" in results:
        r = results["checkpoint"]
        ours, copy = (f"{1e3 * r[side]['median']:.0f} ms" for side in ("blocked", "copy"))
        met = r["ratio"]["median"] <= 1.3
        rows.append(row(f"checkpoint, {r['bytes'] / 1e6:.0f} MB", ours, copy, r["ratio"], "{:.2f}", "<= 1.3", met))
    return rows


def print_table(rows):
    table = [["", "Gradwise", "beside it", "ratio or difference (range)", "target", "met"], *rows]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def parse_arguments():
    venv = ROOT / ".venv/bin/python"
    parts = ["mlp", "cnn", "cost", "watch", "checkpoint"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small and rough")
    parser.add_argument("--pairs", type=int, help="runs of each side (default 5, quick 2)")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, metavar="PART", help=", ".join(parts))
    parser.add_argument("--threads", type=int, default=0, help="of both sides; 0: their own choice")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--python", default=venv if venv.exists() else sys.executable, help="a Python that has torch")
    parser.add_argument("--folder", type=pathlib.Path, help="where runs and checkpoints are written for a while")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "build/benchmarks/training.json")
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    options = parser.parse_args()
    options.pairs = options.pairs or (2 if options.quick else 5)
    return options


def main():
    options = parse_arguments()
    results, failures = measure(options)
    rows = rows_of(results)
    print_table(rows)
    print(f"\nfigures in {options.json}")
    if failures:
        sys.exit("failed:\n  " + "\n  ".join(failures))
    if options.check and any(line[-1] == "NO" for line in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
