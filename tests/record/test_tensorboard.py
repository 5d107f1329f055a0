"""The records of a run against other readers: TensorBoard's own, Python's sqlite3 and json."""

import json
import math
import os
import pathlib
import sqlite3
import subprocess

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

BUILD = pathlib.Path(os.environ.get("GRADWISE_BUILD", pathlib.Path(__file__).parents[2] / "build"))
PROBE = BUILD / "tests" / "record_probe"

START = 1_700_000_000
STEPS = range(1, 11)
SKIPPED = 4  # its loss and gradient norm were not measured

TRAIN_FIGURES = {
    "train/loss": lambda step: 2 / step,
    "train/grad_norm": lambda step: step,
    "train/lr": lambda step: 0.001 * step,
    "train/update_ratio": lambda step: 0.001 * step,
    "train/param_norm": lambda step: 10 + step,
    "train/peak_bytes": lambda step: step * 2**20,
    "train/samples_per_second": lambda step: 800,
}
OTHER_FIGURES = {
    "validation/loss": {5: 0.5, 10: 0.625},
    "validation/accuracy": {5: 0.875, 10: 0.75},
    "validation/top_5": {5: 0.9375, 10: 0.9375},
    "test/loss": {10: 0.625},
    "test/accuracy": {10: 0.75},
    "test/top_5": {10: 0.9375},
    "epoch/mean_loss": {5: 1.25, 10: 0.25},
    "epoch/samples_per_second": {5: 800, 10: 800},
}


def write_run(folder, *words):
    subprocess.run([PROBE, folder, *map(str, words)], check=True)


def accumulated(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    return accumulator


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path)
    return tmp_path


def test_tensorboard_knows_every_tag(run):
    assert set(accumulated(run).Tags()["scalars"]) == {*TRAIN_FIGURES, *OTHER_FIGURES}


@pytest.mark.parametrize("tag", TRAIN_FIGURES)
def test_tensorboard_reads_the_figures_of_steps(run, tag):
    scalars = accumulated(run).Scalars(tag)
    skipped = {SKIPPED} if tag in ("train/loss", "train/grad_norm") else set()
    assert [s.step for s in scalars] == [step for step in STEPS if step not in skipped]
    for scalar in scalars:
        assert scalar.value == pytest.approx(TRAIN_FIGURES[tag](scalar.step), rel=1e-6)
        assert scalar.wall_time == START + scalar.step


@pytest.mark.parametrize("tag", OTHER_FIGURES)
def test_tensorboard_reads_the_other_figures(run, tag):
    assert {s.step: s.value for s in accumulated(run).Scalars(tag)} == OTHER_FIGURES[tag]


def test_tensorboard_reads_the_file_from_its_first_to_its_last_record(run):
    (path,) = run.glob("events.out.tfevents.*")
    events = list(EventFileLoader(str(path)).Load())
    assert events[0].file_version == "brain.Event:2"
    assert len(events) == 1 + 7 * 10 - 2 + 3 * 3 + 2 * 2


def test_tensorboard_drops_what_a_resumed_run_tells_again(run):
    write_run(run, 6)
    assert len(list(run.glob("events.out.tfevents.*"))) == 2
    losses = {s.step: s.value for s in accumulated(run).Scalars("train/loss")}
    assert sorted(losses) == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    for step, loss in losses.items():
        assert loss == pytest.approx(2 / step + (100 if step > 6 else 0), rel=1e-6)


def test_sqlite_reads_the_run(run):
    with sqlite3.connect(run / "run.sqlite") as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        rows = store.execute("SELECT step, loss, clipped, total_seconds FROM steps ORDER BY step").fetchall()
        assert rows == [(s, None if s == SKIPPED else 2 / s, int(s > 6), 0.08) for s in STEPS]
        assert store.execute("SELECT value FROM run WHERE key = 'status'").fetchone() == ("finished",)
        assert store.execute("SELECT count(*) FROM issues").fetchone() == (2,)


def test_every_line_of_jsonl_parses(run):
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    kinds = [event["kind"] for event in events]
    assert kinds[0] == "run_started" and kinds[-1] == "run_finished"
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "run_started": 1, "step": 10, "epoch": 2, "validation": 3, "checkpoint": 2, "issue": 1, "message": 1,
        "run_finished": 1,
    }
    peaks = [event["peak_bytes"] for event in events if event["kind"] == "step"]
    assert peaks == [step * 2**20 for step in STEPS]
    losses = {event["step"]: event["loss"] for event in events if event["kind"] == "step"}
    assert losses == {step: None if step == SKIPPED else 2 / step for step in STEPS}
    assert all(math.isfinite(event["time"]) for event in events)


def test_a_resumed_run_tells_each_step_once(run):
    write_run(run, 6)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events if event["kind"] == "step"] == list(STEPS)
    with sqlite3.connect(run / "run.sqlite") as store:
        rows = store.execute("SELECT step, loss FROM steps ORDER BY step").fetchall()
    assert rows == [(s, None if s == SKIPPED else 2 / s + (100 if s > 6 else 0)) for s in STEPS]
