"""The command line: what it prints, how it exits, and what bad input does."""

import gzip
import os
import signal
import subprocess

import numpy as np
import pytest
import torch
from conftest import GRADWISE, gradwise, start, train, wait_for, write_idx
from safetensors.torch import load_file


def test_version_and_help():
    assert gradwise("--version", check=0).stdout.startswith("gradwise ")
    for command in ([], ["train"], ["runs"], ["report"], ["plot"], ["compare"], ["analyze"], ["doctor"], ["config"]):
        assert "--help" in gradwise(*command, "--help", check=0).stdout


def test_usage_errors_exit_2():
    gradwise(check=2)
    assert "nonsense" in gradwise("nonsense", check=2).stderr
    gradwise("train", check=2)
    gradwise("train", "missing.toml", check=2)


def test_train_makes_a_run(config, tmp_path):
    done = train(config, tmp_path / "run")
    assert "test accuracy: " in done.stdout
    run = tmp_path / "run"
    for name in ("config.toml", "run.sqlite", "events.jsonl", "report.txt", "model.safetensors"):
        assert (run / name).is_file(), name
    newest = max(run.rglob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    assert newest == run / "model.safetensors"
    weights = load_file(newest)
    assert weights["layer1.weight"].shape == (16, 64)
    assert float(done.stdout.split("test accuracy: ")[1].split()[0]) > 80
    report = gradwise("report", run, check=0).stdout
    assert "finished" in report and "val accuracy" in report
    assert "finished" in gradwise("runs", "--root", tmp_path, check=0).stdout
    assert "finished" in gradwise("runs", tmp_path, check=0).stdout
    assert max(map(len, report.splitlines())) <= 110


def test_resolved_configuration_reads_back(config, tmp_path):
    first = gradwise("config", config, "--set", "optimizer.lr=0.1", check=0).stdout
    again = tmp_path / "again.toml"
    again.write_text(first)
    assert gradwise("config", again, check=0).stdout == first
    assert "lr = 0.1\n" in first


def test_explain_names_every_key():
    text = gradwise("config", "--explain", check=0).stdout
    for key in ("run.dir", "loader.batch_size", "train.schedule.warmup_steps", "optimizer.decay_vectors"):
        assert f"  {key}  (" in text
    assert max(map(len, text.splitlines())) <= 130


def test_explain_of_one_group_or_key():
    assert gradwise("config", "--explain", "optimizer.lr", check=0).stdout.startswith("  optimizer.lr  (number")
    group = gradwise("config", "--explain", "train.schedule", check=0).stdout
    assert group.startswith("\n[train.schedule]") and "train.schedule.warmup_steps" in group
    assert "optimizer." not in group
    assert 'did you mean "optimizer"?' in gradwise("config", "--explain", "optimizr", check=2).stderr
    assert "; the groups are run, data, loader, model" in gradwise("config", "--explain", "zzzzzzzz", check=2).stderr


def test_a_slip_in_the_name_of_a_command():
    error = gradwise("trian", "x.toml", check=2).stderr
    assert 'did you mean "train"?' in error and "doctor" in error


def test_warns_of_an_option_that_the_optimizer_does_not_have(config, tmp_path):
    run = ("train", config, "--set", f"run.dir={tmp_path / 'run'}", "--set", "optimizer.momentum=0.9")
    assert "optimizer.momentum is set, and adamw has no use for it" in gradwise(*run, check=0).stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    assert "--resume" in gradwise("completion", shell, check=0).stdout


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epoch=3", ["unknown key train.epoch", "did you mean train.epochs?"]),
        ("loader.zzzzzzzz=3", ["unknown key loader.zzzzzzzz; allowed in [loader]: batch_size, shuffle,", ", flip"]),
        ("train.ema.zzzzzzzz=3", ["unknown key train.ema.zzzzzzzz; allowed in [train.ema]: decay,"]),
        ("zzzzzzzz=3", ["unknown key zzzzzzzz; the groups are run, data, loader, model, loss, optimizer, train,"]),
        ("train.epochs=many", ["train.epochs", "many", "whole number"]),
        ("train.epochs=0", ["train.epochs is 0", ">= 1"]),
        ("optimizer.lr=-1", ["optimizer.lr is -1", ">= 0"]),
        ("model.name=mpl", ["model.name", "mlp, cnn, resnet, transformer, script"]),
        ("optimizer.name=adamx", ["optimizer.name", "adamw, adam, sgd"]),
        ("train.schedule.name=cosin", ["train.schedule.name", "cosine"]),
        ("train.monitor=f1", ["train.monitor", "f1"]),
        ("train.metrics=['f1']", ["f1", "accuracy"]),
        ("loader.batch_size=1000", ["1000", "600"]),
        ("loss.name=mse", ["needs numbers as targets; these are classes"]),
        ("data.classes=3", ["label of sample", "is 3, allowed: from 0 to 2"]),
        ("run.threads=100000", ["run.threads is 100000", "from 0 to 1024"]),
        ("run.device=cuda:99", ["cuda:99", "allowed: cpu"]),
        ("train.max_steps=4", ["warmup_steps is 5"]),
        ("run.device=gpu", ["run.device", "gpu", "cpu"]),
        ("nonsense", ["nonsense", "key=value"]),
    ],
)
def test_bad_configuration(config, tmp_path, override, words):
    done = gradwise("train", config, "--set", f"run.dir={tmp_path / 'run'}", "--set", override)
    assert done.returncode in (1, 2), done.stdout
    assert not (tmp_path / "run").exists()
    for word in words:
        assert word in done.stderr, done.stderr
    assert "what():" not in done.stderr and "frame #" not in done.stderr


def test_bad_key_names_its_line(config, tmp_path):
    config.write_text(config.read_text().replace("lr = 0.01", "learning_rate = 1"))
    stderr = train(config, tmp_path / "run", check=2).stderr
    line = config.read_text().splitlines().index("learning_rate = 1") + 1
    assert f"optimizer.learning_rate ({config}, line {line})" in stderr


@pytest.mark.parametrize("command", ["train", "runs", "report", "config", "completion"])
def test_version_and_help_everywhere(command):
    assert gradwise(command, "--version", check=0).stdout.startswith("gradwise ")
    assert command in gradwise(command, "--help", check=0).stdout


def damaged(images, folder, damage):
    for path in images.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    target = folder / "train-images.gz"
    if damage == "truncated":
        target.write_bytes(target.read_bytes()[:2000])
    elif damage == "magic":
        target.write_bytes(gzip.compress(b"PNG!" + bytes(100)))
    elif damage == "short":
        target.write_bytes(gzip.compress(gzip.decompress(target.read_bytes())[:-10]))
    elif damage == "counts":
        write_idx(folder / "train-labels.gz", np.zeros(599))
    elif damage == "images as labels":
        (folder / "train-labels.gz").write_bytes(target.read_bytes())
    elif damage == "missing":
        target.unlink()
    return folder


@pytest.mark.parametrize("damage", ["truncated", "magic", "short", "counts", "images as labels", "missing"])
def test_damaged_data(config, images, tmp_path, damage):
    folder = tmp_path / "data"
    folder.mkdir()
    damaged(images, folder, damage)
    config.write_text(config.read_text().replace(str(images), str(folder)))
    done = train(config, tmp_path / "run", check=1 if damage != "counts" else None)
    assert done.returncode in (1, 2)
    assert "gradwise: error:" in done.stderr and "train-" in done.stderr
    assert not (tmp_path / "run").exists()


def test_test_labels_out_of_range(config, images, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    damaged(images, folder, "none")
    write_idx(folder / "test-labels.gz", np.full(100, 9))
    config.write_text(config.read_text().replace(str(images), str(folder)))
    done = train(config, tmp_path / "run", check=None)
    assert done.returncode == 2 and "is 9, allowed: from 0 to 3" in done.stderr


def test_run_is_not_overwritten(config, tmp_path):
    train(config, tmp_path / "run", "train.max_steps=7")
    assert "--resume" in train(config, tmp_path / "run", check=1).stderr


def test_target_that_is_no_folder(config, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in train(config, tmp_path / "file" / "run", check=1).stderr


def test_folder_that_cannot_be_written(config):
    """/sys takes no new folder, root's either."""
    stderr = train(config, "/sys/gradwise-run", check=1).stderr
    assert "can't make the folder /sys/gradwise-run" in stderr


def test_two_processes_on_one_run(config, tmp_path):
    run = tmp_path / "run"
    with start(config, run, "train.epochs=100000") as first:
        wait_for(lambda: list(run.glob("checkpoints/checkpoint-*")))
        done = gradwise("train", "--resume", run, check=1)
        assert f"process {first.pid}" in done.stderr
        first.send_signal(signal.SIGINT)
        first.wait()


def test_script_model(config, tmp_path):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(64, 4)

        def forward(self, x):
            return self.layer(x.flatten(1))

    torch.jit.script(Net()).save(str(tmp_path / "net.pt"))
    done = train(config, tmp_path / "run", "model.name=script", f"model.file={tmp_path}/net.pt")
    assert "test accuracy" in done.stdout
    assert set(load_file(tmp_path / "run" / "model.safetensors")) == {"layer.weight", "layer.bias"}


def test_a_busy_machine_is_told_of_once_and_not_where_the_policy_is_set(config, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    cores, before = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    told = train(config, tmp_path / "run", "train.max_steps=8").stdout.count("the machine is busy (load ")
    after = os.getloadavg()[0]
    if (before >= cores) == (after >= cores):  # not on the edge
        assert told == int(before >= cores)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert "the machine is busy" not in train(config, tmp_path / "again", "train.max_steps=8").stdout


def test_a_subject_or_a_folder_that_is_not_there(tmp_path):
    for command in ("analyze", "doctor"):
        assert "there is no run nope" in gradwise(command, "nope", cwd=tmp_path, check=2).stderr
    assert "there is no folder nope" in gradwise("runs", "nope", cwd=tmp_path, check=2).stderr
    assert gradwise("runs", cwd=tmp_path, check=0).stdout == "no runs in runs\n"


@pytest.mark.parametrize(
    "command", [["train", "--resume"], ["report"], ["plot"], ["compare", "run"], ["analyze"], ["doctor"]]
)
def test_a_run_that_is_none_is_a_wrong_call(config, tmp_path, command):
    if "run" in command:
        train(config, tmp_path / "run", "train.max_steps=7")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, complaint in (("nope", "there is no run nope"), ("empty", "empty is no run: it has no ")):
        done = gradwise(*command, name, cwd=tmp_path, check=2)
        assert done.stderr.startswith("gradwise: error: [run] ") and complaint in done.stderr
    if command[0] not in ("analyze", "doctor"):  # a file is a configuration for these
        assert "file is no run: it has no " in gradwise(*command, "file", cwd=tmp_path, check=2).stderr
    assert not (tmp_path / "nope").exists() and not list((tmp_path / "empty").iterdir())


def test_a_run_without_its_configuration_is_shown_but_not_worked_on(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, "train.max_steps=7")
    (run / "config.toml").unlink()
    for command in (["train", "--resume"], ["analyze"], ["doctor"]):
        stderr = gradwise(*command, run, check=2).stderr
        assert f"{run} has no config.toml, as a program of its own has recorded it" in stderr
        assert "gradwise report has the diagnosis on record" in stderr
    gradwise("report", run, check=0)
    plotted = gradwise("plot", run).stdout  # fails as a whole without gnuplot
    assert "gradwise analyze" not in plotted and "gradwise.GradientAnalyzer" in plotted


def test_help_tells_the_exit_status():
    assert "2 the call is wrong" in gradwise("--help", check=0).stdout


def test_nonfinite_first_loss(config, tmp_path):
    done = train(config, tmp_path / "run", "loader.scale=1e37", check=1)
    assert "the loss of the first step is" in done.stderr


def test_nothing_is_left_of_a_run_that_never_began(config, tmp_path):
    run = tmp_path / "run"
    train(config, run, "loader.scale=1e37", check=1)
    assert not run.exists()
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 1; exec {GRADWISE} train {config} --set run.dir={run}"],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 1 and not run.exists(), done.stdout + done.stderr


def test_paths_beside_the_configuration(images, config, tmp_path):
    config.write_text(config.read_text().replace(f"{images}/", "pictures/"))
    (config.parent / "pictures").symlink_to(images)
    run = tmp_path / "run"
    train(config, run, "train.max_steps=7")
    gradwise("train", "--resume", run, "--set", "train.max_steps=8", check=0)


def test_a_slip_in_the_metrics_is_named(config, tmp_path):
    done = train(config, tmp_path / "run", 'train.metrics=["acuracy"]', check=2)
    assert "acuracy" in done.stderr and "accuracy" in done.stderr


def test_output_that_nobody_reads(config, tmp_path):
    run = tmp_path / "run"
    command = f"set -o pipefail; {GRADWISE} train {config} --set run.dir={run} --set train.epochs=3 | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (run / "report.txt").exists()
