"""Runs that are stopped, and what goes on from their checkpoints."""

import json
import signal
import sqlite3
import subprocess

import pytest
from conftest import GRADWISE, gradwise, start, train, wait_for


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_saves_and_resumes(config, tmp_path, signum, status):
    run = tmp_path / "run"
    with start(config, run, "train.epochs=2000") as process:
        wait_for(lambda: list(run.glob("checkpoints/checkpoint-*")))
        process.send_signal(signum)
        output = process.communicate()[0]
    assert process.returncode == status, output
    assert f"gradwise train --resume {run}" in output
    assert "interrupted" in gradwise("runs", "--root", tmp_path, check=0).stdout
    epochs = 1 + int(max(run.glob("checkpoints/checkpoint-*"), key=checkpoint_step).name.split("-")[1]) // 13
    done = gradwise("train", "--resume", run, "--set", f"train.epochs={epochs + 1}", check=0)
    assert "test accuracy" in done.stdout


def checkpoint_step(path):
    return int(path.name.split("-")[1])


def test_truncated_checkpoint_falls_back(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, "train.max_steps=12")
    newest = max(run.glob("checkpoints/checkpoint-*"), key=checkpoint_step)
    file = newest / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    done = gradwise("train", "--resume", run, "--set", "train.max_steps=15", check=0)
    assert "warning" in done.stderr and str(newest) in done.stderr


def test_checkpoint_of_another_architecture(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, "train.max_steps=7")
    done = gradwise("train", "--resume", run, "--set", "model.hidden=[12]", check=1)
    assert "layer1.weight" in done.stderr and "[12, 64]" in done.stderr and "[16, 64]" in done.stderr


def test_resume_of_what_is_no_run(tmp_path):
    assert "has no config.toml" in gradwise("train", "--resume", tmp_path, check=2).stderr


def test_longer_training_keeps_learning(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, "train.epochs=2")
    gradwise("train", "--resume", run, "--set", "train.epochs=4", check=0)
    rates = [line["lr"] for line in map(json.loads, (run / "events.jsonl").open()) if line["kind"] == "step"]
    assert len(rates) == 52 and rates[26] > 0


def test_what_a_resumed_run_cannot_change(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, "train.max_steps=7")
    done = gradwise("train", "--resume", run, "--set", "optimizer.lr=0.5", check=2)
    assert "optimizer.lr=0.5 can't be changed" in done.stderr


def test_a_resumed_run_keeps_what_is_done(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, "train.epochs=3")
    before = (run / "config.toml").read_text()
    done = gradwise("train", "--resume", run, "--set", "train.epochs=1", check=2)
    assert "train.epochs is 1, allowed: at least the 3 that are done" in done.stderr
    assert (run / "config.toml").read_text() == before


def test_the_next_command_goes_on_from_where_the_run_stopped(config, tmp_path):
    run = tmp_path / "run"
    done = train(config, run, "train.max_steps=7")
    assert "--set train.max_steps=14" in done.stdout
    words = next(line for line in done.stdout.splitlines() if "--resume" in line).split()
    gradwise(*words[words.index("train") :], check=0)
    with sqlite3.connect(run / "run.sqlite") as store:
        assert store.execute("select max(step) from steps").fetchone() == (14,)


def steps_of(run):
    with sqlite3.connect(run / "run.sqlite") as store:
        return store.execute("select max(step) from steps").fetchone()[0]


def test_a_run_that_stopped_early_stays_so_until_its_patience_is_raised(config, tmp_path):
    run = tmp_path / "run"
    stopping = ("train.early_stopping.patience=2", "train.early_stopping.min_delta=1000", "train.epochs=9")
    done = train(config, run, *stopping)
    assert "stopped: loss did not improve in 2 validations" in done.stdout
    assert "--set train.early_stopping.patience=4" in done.stdout
    steps, weights = steps_of(run), (run / "model.safetensors").read_bytes()
    again = gradwise("train", "--resume", run, check=0)
    assert "nothing left to do: loss did not improve in 2 validations" in again.stdout
    assert "--set train.early_stopping.patience=4" in again.stdout
    assert steps_of(run) == steps and (run / "model.safetensors").read_bytes() == weights
    words = next(line for line in done.stdout.splitlines() if "--resume" in line).split()
    gradwise(*words[words.index("train") :], check=0)
    assert steps_of(run) == steps + 2 * 13


def test_a_budget_of_seconds_is_named_as_what_to_raise(config, tmp_path):
    run = tmp_path / "run"
    done = train(config, run, "train.max_seconds=0.001", "train.epochs=9")
    assert "--set train.max_seconds=0.002" in done.stdout
    steps = steps_of(run)
    again = gradwise("train", "--resume", run, check=0)
    assert "nothing left to do: max_seconds is reached" in again.stdout and steps_of(run) == steps


def test_a_run_whose_loss_is_lost_is_sent_to_the_doctor(config, tmp_path):
    done = train(config, tmp_path / "run", "optimizer.name=sgd", "optimizer.lr=1e30", "train.step.on_nonfinite=ignore",
                 "train.step.clip.method=none")
    assert f"gradwise doctor {tmp_path}/run/config.toml --fix" in done.stdout
    assert "--resume" not in done.stdout and "-nan" not in done.stdout


def test_second_signal_ends_at_once(config, tmp_path):
    run = tmp_path / "run"
    with start(config, run, "train.epochs=100000") as process:
        wait_for(lambda: list(run.glob("checkpoints/checkpoint-*")))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    newest = max(int(path.name.removeprefix("checkpoint-")) for path in run.glob("checkpoints/checkpoint-*"))
    gradwise("train", "--resume", run, "--set", f"train.max_steps={newest + 10}", check=0)


def test_full_disk_keeps_the_older_checkpoint(config, tmp_path):
    """A file-size limit makes writes fail as a full disk does."""
    run = tmp_path / "run"
    train(config, run, "train.max_steps=6")
    before = sorted(path.name for path in run.glob("checkpoints/checkpoint-*"))
    command = f"ulimit -f 1; exec {GRADWISE} train --resume {run} --set train.max_steps=12"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "File too large" in done.stderr
    assert sorted(path.name for path in run.glob("checkpoints/checkpoint-*")) == before
    gradwise("train", "--resume", run, "--set", "train.max_steps=12", check=0)
