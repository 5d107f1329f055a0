#!/usr/bin/env python3
"""An optimizer step of Gradwise beside PyTorch's and LibTorch's, against the machine's memory bandwidth.

    cmake --preset release -DGRADWISE_BENCHMARKS=ON && cmake --build build --target benchmarks gradwise_python
    .venv/bin/python benchmarks/run_optimizer.py            # about four minutes on two cores
    .venv/bin/python benchmarks/run_optimizer.py --growth   # and steps of 10^4 to 5*10^8 elements, as a picture

In each process the ways to step take turns; a ratio is of one round, and the table shows the median, the least and the
largest over the rounds. Other work on the machine spoils the figures.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys

import figures
from figures import run_json

ROOT = pathlib.Path(__file__).resolve().parent.parent

# (shapes, ours, peer, in which process, at most or None)
TARGETS = [
    ("gpt2", "ours_norm_known", "aten_fused", "C++", 0.68),
    ("gpt2", "ours", "aten_fused", "C++", 0.68),
    ("cnn", "ours_norm_known", "aten_fused", "C++", None),
    ("cnn", "ours", "aten_fused", "C++", 0.60),
    ("gpt2", "ours", "aten_fused_stats", "C++", 0.28),
    ("cnn", "ours", "aten_fused_stats", "C++", 0.28),
    ("gpt2", "ours", "libtorch", "C++", 0.25),
    ("cnn", "ours", "libtorch", "C++", 0.25),
    ("small", "ours", "aten_fused_alone", "C++", 0.5),
    ("small", "ours", "ours_one_tensor", "C++", None),
    ("gpt2", "gradwise.AdamW", "torch fused", "Python", 0.68),
    ("cnn", "gradwise.AdamW", "torch fused", "Python", 0.60),
    ("gpt2", "gradwise.AdamW", "torch fused, statistics", "Python", 0.28),
    ("cnn", "gradwise.AdamW", "torch fused, statistics", "Python", None),
    ("gpt2", "gradwise.AdamW", "torch default, torch_ema", "Python", 0.25),
    ("cnn", "gradwise.AdamW", "torch default, torch_ema", "Python", 0.25),
    ("gpt2", "ours_bf16_state", "ours", "C++", 1.0),
    ("cnn", "ours_bf16_state", "ours", "C++", None),
]
SHARE_KINDS = ("ours", "ours_norm_known")  # that are held against the machine's bandwidth


def measure(options):
    """Figures by shapes and process, written as they come, and what failed."""
    program = options.build / "benchmarks/bench_optimizer"
    if not program.exists():
        sys.exit(f"{program} is not there; build it first:\n{__doc__.splitlines()[2]}")
    common = ["--repeats", options.repeats, "--threads", options.threads]
    commands = {"C++": [program], "Python": [sys.executable, ROOT / "benchmarks/optimizer/peers.py"]}
    results = {shapes: {} for shapes in ("gpt2", "cnn", "small")}
    failures = []
    for shapes, found in results.items():
        for process, command in commands.items():
            try:
                found[process] = run_json(*command, "--shapes", shapes, *common)
            except RuntimeError as error:
                failures.append(str(error))
            figures.write(options.json, results)
    return results, failures


def bandwidth_share(result, kind):
    rate = result["copied_bytes"] / statistics.median(result["copy"])
    moved = result["bytes_per_parameter"][kind] * result["elements"]
    return moved / statistics.median(result["seconds"][kind]) / rate


def print_share(result, kind):
    share = bandwidth_share(result, kind)
    verdict = "yes" if share >= 0.85 else "NO"
    print(f"gpt2, {kind}: {share:.2f} of the machine's own read+write rate, at least 0.85: {verdict}")
    return share < 0.85


def print_whole_step(shapes, result):
    after, inside = (result["whole_step"][name] for name in ("after_backward", "in_backward"))
    gradients = 4 * result["elements"]
    time = statistics.median(inside["seconds"]) / statistics.median(after["seconds"])
    print(
        f"{shapes}, whole step with the update in backward: peak {inside['peak_bytes'] / 2**20:.1f} MiB beside "
        f"{after['peak_bytes'] / 2**20:.1f} (gradients: {gradients / 2**20:.1f}), time {time:.2f}"
    )


def print_table(results):
    print(f"{'':8}{'step':18}{'beside':26}{'ms':>9}{'ms':>9}   ratio (range)          at most  met")
    missed = 0
    for shapes, ours, peer, process, most in TARGETS:
        seconds = results[shapes].get(process, {"seconds": {}})["seconds"]
        if ours not in seconds or peer not in seconds:
            print(f"{shapes:8}{ours:18}{peer:26}not measured")
            continue
        ratios = figures.ratios(seconds[ours], seconds[peer])
        median = statistics.median(ratios)
        met = "" if most is None else f"{most:7.2f}  {'yes' if median <= most else 'NO'}"
        missed += most is not None and median > most
        milliseconds = [1e3 * statistics.median(seconds[name]) for name in (ours, peer)]
        print(
            f"{shapes:8}{ours:18}{peer:26}{milliseconds[0]:9.2f}{milliseconds[1]:9.2f}   {median:.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})  {met}"
        )
    in_cpp = {shapes: found["C++"] for shapes, found in results.items() if "C++" in found}
    if "gpt2" in in_cpp:
        rate = in_cpp["gpt2"]["copied_bytes"] / statistics.median(in_cpp["gpt2"]["copy"])
        print(f"the machine reads and writes memory at {rate / 1e9:.1f} GB/s")
        missed += sum(print_share(in_cpp["gpt2"], kind) for kind in SHARE_KINDS)
    for shapes, found in in_cpp.items():
        print_whole_step(shapes, found)
    return missed


def growth(options):
    """Seconds for an element against the number of elements, drawn by gnuplot."""
    program = options.build / "benchmarks/bench_optimizer"
    kinds = ["ours", "aten_fused", "libtorch"]
    rows = []
    for size in (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 500_000_000):
        used = kinds if size < 500_000_000 else ["ours"]  # the others' tensors do not fit beside it
        result = run_json(
            program, "--shapes", size, "--kinds", ",".join(used), "--steps-only", "--repeats", 5, "--threads",
            options.threads,
        )  # fmt: skip
        seconds = result["seconds"]
        rows.append([size] + [1e9 * statistics.median(seconds[k]) / size if k in used else "NaN" for k in kinds])
        print(*rows[-1])
    data = options.build / "benchmarks/growth.txt"
    data.write_text("\n".join(" ".join(map(str, row)) for row in rows) + "\n")
    titles = ["Gradwise, with statistics", "ATen fused + foreach", "torch::optim + clip + average"]
    lines = ", ".join(
        f"'{data}' using 1:{i + 2} with linespoints lw 2 pt 7 title '{title}'" for i, title in enumerate(titles)
    )
    picture = options.picture
    subprocess.run(
        ["gnuplot", "-e", f"set terminal pngcairo size 1200,600 font ',16'; set output '{picture}'; set logscale xy; "
         "set xlabel 'parameters'; set ylabel 'nanoseconds for a parameter'; set grid; set key top right; "
         f"set format x '10^{{%T}}'; plot {lines}"],
        check=True,
    )  # fmt: skip
    print("drawn:", picture)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--growth", action="store_true", help="only the growth with size")
    parser.add_argument("--picture", type=pathlib.Path, default=ROOT / "docs/images/optimizer_growth.png")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "build/benchmarks/optimizer.json")
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    options = parser.parse_args()
    if options.growth:
        growth(options)
        return
    results, failures = measure(options)
    missed = print_table(results)
    print("figures in", options.json)
    if failures:
        sys.exit("failed:\n  " + "\n  ".join(failures))
    sys.exit(1 if options.check and missed else 0)


if __name__ == "__main__":
    main()
