"""What a run writes, read back by TensorBoard's own reader, sqlite3 and json."""

import json
import sqlite3

import pytest
from conftest import gradwise
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


@pytest.fixture
def run(config, tmp_path):
    folder = tmp_path / "run"
    gradwise("train", config, "--set", f"run.dir={folder}", "--set", "train.max_steps=20", check=0)
    return folder


def steps_in_store(run):
    with sqlite3.connect(run / "run.sqlite") as store:
        return dict(store.execute("SELECT step, loss FROM steps ORDER BY step"))


def test_the_three_agree(run):
    stored = steps_in_store(run)
    assert list(stored) == list(range(1, 21))
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert {line["step"]: line["loss"] for line in lines if line["kind"] == "step"} == stored
    board = EventAccumulator(str(run))
    board.Reload()
    scalars = {event.step: event.value for event in board.Scalars("train/loss")}
    assert scalars == pytest.approx(stored, rel=1e-6)
    assert {"validation/loss", "validation/accuracy", "train/lr", "train/grad_norm"} <= set(board.Tags()["scalars"])


def test_resume_leaves_no_step_twice(run):
    with open(run / "events.jsonl", "a") as file:
        file.write('{"time": 1, "step": 20, "ki')  # a kill in the middle of a line
    gradwise("train", "--resume", run, "--set", "train.max_steps=24", check=0)
    assert list(steps_in_store(run)) == list(range(1, 25))
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, 25))
    board = EventAccumulator(str(run))
    board.Reload()
    assert [event.step for event in board.Scalars("train/loss")] == list(range(1, 25))
