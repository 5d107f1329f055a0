"""The diagnosis on a part of the benchmark's programs, of the set that its thresholds were tuned on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("GRADWISE_BUILD", ROOT / "build")) / "benchmarks" / "bench_diagnosis"
DATA = ("blobs", "waves")  # quick ones, which need no files


@pytest.fixture(scope="module")
def rows():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import run_diagnosis

    known = json.loads(subprocess.run([PROGRAM, "--faults"], text=True, stdout=subprocess.PIPE, check=True).stdout)
    programs = [words for words in run_diagnosis.programs(known["faults"], "tune", quick=True) if words["data"] in DATA]
    return run_diagnosis.judge(run_diagnosis.run_all(PROGRAM, programs, 1), known["faults"])


def test_finds_what_harms(rows):
    sick = [row for row in rows if row["fault"] != "none"]
    assert len(sick) > 40
    assert sum(row["alarm"] for row in sick) >= 0.95 * len(sick)
    assert sum(row["first"] for row in sick) >= 0.85 * len(sick)


def test_is_silent_of_healthy_trainings(rows):
    well = [row for row in rows if row["fault"] == "none"]
    assert len(well) > 12
    assert not [row["scenario"] for row in well if row["alarm"]]


def test_a_training_answers_alike_each_time(rows):
    words = json.dumps(next(row["scenario"] for row in rows if row["fault"] == "rate_too_high"))
    answers = {subprocess.run([PROGRAM], input=words, text=True, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout
               for _ in range(2)}
    assert len(answers) == 1
