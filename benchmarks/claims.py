"""What README and docs/performance.md claim, as rows of the benchmarks' figures, and the judging of rows.

A row has the median, low and high of its rounds, and a unit. Less is better in each:
  ratio   Gradwise's time or memory over the peer's
  points  what it adds to a loop, in % of the loop
  µs      what it adds to a step
"""

import statistics

import figures
from run_optimizer import SHARE_KINDS, TARGETS

# How far above the high of the stored rounds a median may be.
SLACK = {"ratio": 0.15, "points": 3.0, "µs": 5.0}  # of a ratio: a share of its stored median


def row(values, unit="ratio"):
    return figures.spread(values) | {"unit": unit}


def training(results):
    rows = {}
    for model in ("mlp", "cnn"):
        if model in results:
            rows[f"time over PyTorch's, {model}"] = row([1 / ratio for ratio in results[model]["ratio"]["all"]])
        for what in ("watched", "histograms", "walked"):
            if f"watch_{model}" in results:
                rows[f"{what}, {model}"] = row(results[f"watch_{model}"][what]["all"], "points")
    for model in ("tiny", "mlp"):
        if f"cost_{model}" in results:
            rows[f"the loop's own cost, {model}"] = row(results[f"cost_{model}"]["difference"]["all"], "µs")
    if "checkpoint" in results:
        rows["checkpoint"] = row(results["checkpoint"]["ratio"]["all"])
    return rows


def optimizer(results):
    rows = {}
    for shapes, ours, peer, process, _ in TARGETS:
        seconds = results.get(shapes, {}).get(process, {}).get("seconds", {})
        if ours in seconds and peer in seconds:
            rows[f"{shapes}: {ours} / {peer}"] = row(figures.ratios(seconds[ours], seconds[peer]))
    for shapes, result in results.items():
        if "C++" not in result:
            continue
        after, inside = (result["C++"]["whole_step"][name] for name in ("after_backward", "in_backward"))
        rows[f"{shapes}: time, in backward / after"] = row(figures.ratios(inside["seconds"], after["seconds"]))
        rows[f"{shapes}: peak memory, in backward / after"] = row([inside["peak_bytes"] / after["peak_bytes"]])
    for kind in SHARE_KINDS if "C++" in results.get("gpt2", {}) else ():
        found = results["gpt2"]["C++"]
        at_full_rate = found["bytes_per_parameter"][kind] * found["elements"] / found["copied_bytes"]
        taken = figures.ratios(found["seconds"][kind], found["copy"])
        rows[f"gpt2: {kind} / its bytes at the machine's rate"] = row([ratio / at_full_rate for ratio in taken])
    return rows


def curvature(results):
    return {name: row(result["ratio"]["all"]) for name, result in results.items() if "ratio" in result}


def python(results):
    rows = {}
    for model, seconds in results["training"].items():
        rows[f"time over PyTorch's, {model}"] = row(figures.ratios(seconds["gradwise"], seconds["torch"]))
    for model, seconds in results["loops"].items():
        for way in ("watch", "watch, histograms every 10"):
            added = [100 * (ratio - 1) for ratio in figures.ratios(seconds[way], seconds["off"])]
            rows[f"{way}, {model}"] = row(added, "points")
    call = results["call"]
    beyond = figures.overhead(call["gradwise"], call["core"])
    rows["a call, beyond the same from C++ / torch's own"] = row(figures.ratios(beyond, call["torch"]))
    added = [100 * ratio for ratio in figures.ratios(results["import"]["gradwise"], results["import"]["torch"])]
    rows["import, of torch's"] = row(added, "points")
    return rows


def start_up(results):
    return {"gradwise --version / import torch": row(figures.ratios(results["gradwise"], results["torch"]))}


ROWS = {"training": training, "optimizer": optimizer, "curvature": curvature, "python": python, "start_up": start_up}


def bandwidth(results):
    """GB/s that the machine reads and writes, from the optimizer's figures."""
    found = results.get("gpt2", {}).get("C++")
    return found and found["copied_bytes"] / statistics.median(found["copy"]) / 1e9


def slack(one):
    return SLACK[one["unit"]] * (one["median"] if one["unit"] == "ratio" else 1)


def text(one):
    form = "{:.3f}" if one["unit"] == "ratio" else "{:+.1f}"
    median, low, high = (form.format(one[name]) for name in ("median", "low", "high"))
    unit = {"ratio": "", "points": " %", "µs": " µs"}[one["unit"]]
    return f"{median}{unit} ({low} to {high})"


def judge(rows, stored):
    """What is wrong: rows that are missing, and those whose median lies above the stored high by more than the slack.
    What is only to be told: rows that are not stored."""
    wrong = []
    for name, old in stored.items():
        if name not in rows:
            wrong.append(f"{name}: not measured, stored {text(old)}")
            continue
        if not rows[name]["median"] <= old["high"] + slack(old):  # NaN too
            wrong.append(f"{name}: {text(rows[name])}, stored {text(old)}")
    return wrong, [f"{name}: {text(found)}, not stored" for name, found in rows.items() if name not in stored]
