#!/usr/bin/env python3
"""How often Gradwise's diagnosis is right, on training programs whose fault is known.

    cmake --preset release -DGRADWISE_BENCHMARKS=ON && cmake --build build --target benchmarks
    python3 benchmarks/run_diagnosis.py                 # everything, both sets: up to two hours on two cores
    python3 benchmarks/run_diagnosis.py --quick         # a few minutes
    python3 benchmarks/run_diagnosis.py --set tune      # the half that thresholds were tuned on

A program is an architecture, a data set, an optimizer, a seed, and one fault or none. Seeds 1 to 3 on the first half
of the architectures' data sets are there to tune on; seeds 4 to 8 and the other half were never looked at. A faulty
program counts as a positive where its training suffers beside its healthy twin's: held-out loss more than 10 % and
0.05 above it, or accuracy 3 points below it; the others are left out. The rules of SageMaker Debugger and of
AUTOTRAINER, at their published defaults, see the same readings.
"""

import argparse
import concurrent.futures
import json
import math
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Architecture, data, and which half it belongs to.
GROUND = [
    ("mlp", "blobs", "tune"),
    ("tanh_mlp", "circles", "tune"),
    ("cnn", "fashion", "tune"),
    ("residual", "waves", "tune"),
    ("recurrent", "fashion", "tune"),
    ("transformer", "blobs", "tune"),
    ("mlp", "fashion", "test"),
    ("mlp", "diabetes", "test"),
    ("mlp", "circles", "test"),
    ("tanh_mlp", "waves", "test"),
    ("cnn", "fashion", "test"),
    ("residual", "blobs", "test"),
    ("residual", "fashion", "test"),
    ("recurrent", "waves", "test"),
    ("transformer", "fashion", "test"),
]
OPTIMIZERS = ("adamw", "sgd", "rmsprop")
CLASS_DATA = {"fashion", "blobs", "circles"}
SEEDS = {"tune": (1, 2, 3), "test": (4, 5, 6, 7, 8)}
# More healthy programs, with every optimizer, so that a false alarm in fifty shows.
HEALTHY_SEEDS = {"tune": range(100, 105), "test": range(200, 212)}
# Shape of a healthy program: (depth, width) by seed, so that depth and width vary too.
SHAPES = [(2, 32), (3, 32), (3, 64), (2, 64), (4, 48)]


def optimizer_of(architecture, index):
    names = [name for name in OPTIMIZERS if not (architecture == "transformer" and name == "sgd")]
    return names[index % len(names)]


def base_program(position, seed, optimizer):
    architecture, data, _ = GROUND[position]
    depth, width = SHAPES[(position + seed) % len(SHAPES)]
    return {
        "architecture": architecture,
        "data": data,
        "optimizer": optimizer,
        "seed": seed,
        "depth": depth,
        "width": width,
        "steps": 300,
    }


def healthy_programs(which, quick):
    """Healthy programs beyond the twins of the faulty ones."""
    for position, (architecture, _, half) in enumerate(GROUND):
        if half == which:
            for seed in HEALTHY_SEEDS[which][: 2 if quick else None]:
                for optimizer in OPTIMIZERS if architecture != "transformer" else OPTIMIZERS[::2]:
                    yield {**base_program(position, seed, optimizer), "fault": "none"}


def programs(faults, which, quick):
    """Every healthy program of a set, and every fault that its ground can have."""
    yield from healthy_programs(which, quick)
    for position, (architecture, data, half) in enumerate(GROUND):
        if half != which:
            continue
        for seed in SEEDS[which][:1] if quick else SEEDS[which]:
            base = base_program(position, seed, optimizer_of(architecture, position + seed))
            yield {**base, "fault": "none"}
            for number, fault in enumerate(faults):
                if fault["architectures"] and architecture not in fault["architectures"]:
                    continue
                if fault["for_classes_only"] and data not in CLASS_DATA:
                    continue
                severity = (0.7, 1.0, 1.5)[(seed + number) % 3]
                yield {**base, "fault": fault["name"], "severity": severity}


def run_some(program, chunk):
    """Answers of one process to a list of programs."""
    lines = "\n".join(json.dumps(words) for words in chunk)
    done = subprocess.run([program], input=lines, text=True, stdout=subprocess.PIPE, cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit(f"{program} failed with exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def run_all(program, wanted, jobs):
    chunks = [wanted[i::40] for i in range(40)]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return [answer for part in pool.map(lambda chunk: run_some(program, chunk), chunks) for answer in part]


def key_of(words):
    return tuple(words[name] for name in ("architecture", "data", "optimizer", "seed"))


def number(value):
    return float(value) if value is not None else math.nan


def suffers(sick, healthy):
    loss, twin = number(sick["test_loss"]), number(healthy["test_loss"])
    if not math.isfinite(loss) or sick.get("error"):
        return True
    worse = loss > 1.1 * twin and loss > twin + 0.05
    less_right = sick.get("test_accuracy", 1) < healthy.get("test_accuracy", 1) - 0.03
    return worse or less_right


def healthy_of(answers):
    return {key_of(a["scenario"]): a for a in answers if a["scenario"]["fault"] == "none"}


def judge(answers, faults):
    """One row a program: what was right about its diagnosis. Faults that did no harm are left out."""
    healthy = healthy_of(answers)
    by_name = {fault["name"]: fault for fault in faults}
    rows = []
    for answer in answers:
        words = answer["scenario"]
        fault = by_name.get(words["fault"])
        if fault and not suffers(answer, healthy[key_of(words)]):
            continue
        findings = answer["findings"]
        causes = [finding["cause"] for finding in findings]
        row = {
            "fault": words["fault"],
            "scenario": words,
            "answer": answer,
            "alarm": bool(findings),
            "sagemaker": bool(answer["sagemaker"]),
            "autotrainer": bool(answer["autotrainer"]),
        }
        if fault:
            right = [finding for finding in findings if finding["cause"] in fault["causes"]]
            row["first"] = bool(causes) and causes[0] in fault["causes"]
            row["first_three"] = any(cause in fault["causes"] for cause in causes[:3])
            row["layer"] = None
            if fault["layer"] and right:
                row["layer"] = right[0]["layer"].startswith(fault["layer"])
            start = 100 if words["fault"] == "nan_in_operator" else 1
            row["delay"] = max(0, min(f["step"] for f in findings) - start) if findings else None
        rows.append(row)
    return rows


def loss_of(answer):
    loss = number(answer["test_loss"])
    return loss if math.isfinite(loss) else math.inf


def repair(program, rows, healthy, choices, jobs, rounds=4):
    """Follows the remedies of the diagnosis as `gradwise doctor --fix` does, as long as the training suffers: all
    remedies of the first cause are tried, the one that helps most is kept; where none does, the next cause has its
    turn. Marks each row as repaired or not."""
    patients = []
    for row in rows:
        if row["fault"] != "none":
            row["repaired"] = False
            patients.append({"row": row, "best": row["answer"], "remedies": [], "useless": set()})
    for _ in range(rounds):
        tries = []
        for patient in patients:
            causes = [f["cause"] for f in patient["best"]["findings"] if f["cause"] in choices]
            patient["cause"] = next((cause for cause in causes if cause not in patient["useless"]), None)
            if patient["row"]["repaired"] or not patient["cause"]:
                continue
            for choice in range(choices[patient["cause"]]):
                remedies = [*patient["remedies"], [patient["cause"], choice]]
                tries.append((patient, {**patient["row"]["scenario"], "remedies": remedies}))
        answers = {json.dumps(a["scenario"]): a for a in run_all(program, [words for _, words in tries], jobs)}
        for patient in {id(patient): patient for patient, _ in tries}.values():
            ways = [words for other, words in tries if other is patient]
            best = min((answers[json.dumps(words, sort_keys=True)] for words in ways), key=loss_of)
            if loss_of(best) < loss_of(patient["best"]):
                patient["best"], patient["remedies"] = best, best["scenario"]["remedies"]
                patient["useless"].clear()
            else:
                patient["useless"].add(patient["cause"])
            patient["row"]["repaired"] = not suffers(patient["best"], healthy[key_of(best["scenario"])])


def share(values):
    values = [value for value in values if value is not None]
    return f"{100 * sum(values) / len(values):5.1f} %" if values else "    -  "


def print_table(rows, title):
    print(f"\n{title}")
    head = ("fault", "n", "found", "cause 1st", "in first 3", "layer", "delay", "repaired", "SageMaker", "AUTOTRAINER")
    print(f"{head[0]:30s}{head[1]:>5s}" + "".join(f"{word:>12s}" for word in head[2:]))
    sick = [row for row in rows if row["fault"] != "none"]
    for name in [*sorted({row["fault"] for row in sick}), "all"]:
        some = [row for row in sick if name in ("all", row["fault"])]
        delays = [row["delay"] for row in some if row["delay"] is not None]
        cells = [
            share([row["alarm"] for row in some]),
            share([row["first"] for row in some]),
            share([row["first_three"] for row in some]),
            share([row["layer"] for row in some]),
            f"{statistics.median(delays):.0f}" if delays else "-",
            share([row.get("repaired") for row in some]),
            share([row["sagemaker"] for row in some]),
            share([row["autotrainer"] for row in some]),
        ]
        print(f"{name:30s}{len(some):5d}" + "".join(f"{cell:>12s}" for cell in cells))
    well = [row for row in rows if row["fault"] == "none"]
    print(
        f"{'healthy: false alarms':30s}{len(well):5d}{share([row['alarm'] for row in well]):>12s}"
        + " " * 60
        + f"{share([row['sagemaker'] for row in well]):>12s}{share([row['autotrainer'] for row in well]):>12s}"
    )


def print_misses(rows):
    for row in rows:
        words = row["scenario"]
        causes = [f"{f['cause']} ({f['confidence']:.2f}, {f['step']})" for f in row["answer"]["findings"]]
        if row["alarm"] if row["fault"] == "none" else not row["first"]:
            print(" ".join(str(words[n]) for n in ("fault", "architecture", "data", "optimizer", "seed")), "->", causes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("tune", "test", "both"), default="both")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--only", help="one fault, with the healthy twins")
    parser.add_argument("--misses", action="store_true", help="list every program whose cause was not named first")
    parser.add_argument("--repair", action="store_true", help="follow the remedies too, and see whether they help")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--json", type=pathlib.Path, help="write every answer there")
    options = parser.parse_args()
    program = options.build / "benchmarks" / "bench_diagnosis"
    if not program.exists():
        sys.exit(f"{program} is not there; build it first:\n{__doc__.splitlines()[2]}")
    known = json.loads(subprocess.run([program, "--faults"], text=True, stdout=subprocess.PIPE, check=True).stdout)
    faults = known["faults"]
    if options.only:
        faults = [fault for fault in faults if fault["name"] == options.only]
    everything = []
    for which in ("tune", "test") if options.set == "both" else (options.set,):
        answers = run_all(program, list(programs(faults, which, options.quick)), options.jobs)
        rows = judge(answers, faults)
        if options.repair:
            repair(program, rows, healthy_of(answers), known["remedies"], options.jobs)
        print_table(rows, f"{which} set, {len(answers)} programs")
        if options.misses:
            print_misses(rows)
        everything += answers
    if options.json:
        options.json.write_text(json.dumps(everything))


if __name__ == "__main__":
    main()
