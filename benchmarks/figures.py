"""How the benchmarks run programs, write their figures and sum them up."""

import json
import os
import pathlib
import statistics
import subprocess


def run_json(*command):
    """Runs a program that prints a JSON object as its last line."""
    done = subprocess.run([str(word) for word in command], text=True, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed with exit code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def write(path, figures):
    """As JSON, under a temporary name until it is whole."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(figures, indent=1) + "\n")
    os.replace(unfinished, path)


def ratios(ours, peers):
    """Of each round."""
    return [a / b for a, b in zip(ours, peers, strict=True)]


def overhead(whole, share):
    """Of each round: what the whole takes beyond the share, which was measured by itself."""
    middle = statistics.median(share)
    return [one - middle for one in whole]


def spread(values):
    """Median with the middle half of many values, or with all of a few."""
    low, high = min(values), max(values)
    if len(values) >= 8:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": statistics.median(values), "low": low, "high": high}
