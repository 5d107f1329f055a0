"""Pictures, comparison, analysis and the doctor, on runs of the command line."""

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, gradwise

DRAWN = pytest.mark.skipif(shutil.which("gnuplot") is None, reason="gnuplot is not installed")


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    """A run of 75 steps, read often."""
    folder = tmp_path_factory.mktemp("watched")
    config = folder / "small.toml"
    config.write_text(
        f"""
[data]
train_images = "{images}/train-images.gz"
train_labels = "{images}/train-labels.gz"
test_images = "{images}/test-images.gz"
test_labels = "{images}/test-labels.gz"
[loader]
batch_size = 24
scale = 0.004
[model]
hidden = [16, 16]
[train]
epochs = 3
metrics = ["accuracy"]
measure_memory = true
[watch]
record_every = 5
activations_every = 5
[watch.gradients]
histograms_every = 5
"""
    )
    gradwise("train", config, "--set", f"run.dir={folder}/run", check=0)
    return folder / "run"


def test_a_sick_training_ends_with_its_diagnosis(run, tmp_path):
    sick = gradwise("train", run / "config.toml", "--set", f"run.dir={tmp_path}/run", "--set", "optimizer.lr=5.0", check=0)
    assert "diagnosis, most likely cause first" in sick.stdout
    assert "the learning rate is too high" in sick.stdout
    assert "the learning rate is too high" in (tmp_path / "run" / "report.txt").read_text()
    assert "the learning rate is too high" in (tmp_path / "run" / "report.html").read_text()


@DRAWN
def test_plots_are_made_and_what_is_missing_is_said(run, tmp_path):
    done = gradwise("plot", run, "-o", tmp_path / "pictures", check=0)
    drawn = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert {"training", "norms", "flow", "updates", "angles", "histograms", "activations", "memory"} <= drawn
    assert len(done.stdout.splitlines()) == 10
    assert "hessian      -  the run holds nothing of this kind; it takes gradwise analyze RUN --hessian" in done.stdout
    gradwise("plot", run, "--what", "hessian", "-o", tmp_path / "none", check=1)
    assert not (tmp_path / "none").exists()
    gradwise("plot", run, "--what", "flow", "-o", tmp_path / "flow.pdf", check=0)
    assert (tmp_path / "flow.pdf").read_bytes().startswith(b"%PDF")


def test_plot_refuses_what_it_cannot_draw(run, tmp_path):
    assert 'there is no figure "norm"; did you mean "norms"?' in gradwise("plot", run, "--what", "norm", check=2).stderr
    assert "allowed: .png, .svg, .pdf" in gradwise(
        "plot", run, "--what", "norms", "-o", tmp_path / "a.gif", check=2).stderr
    assert "is one file" in gradwise("plot", run, "-o", tmp_path / "a.png", check=2).stderr


def test_plot_says_once_that_pictures_have_no_place(run, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for output in (file, file / "x", file / "norms.png", Path("/sys/gradwise-pictures")):  # root can't make the last
        what = ("--what", "norms") if output.suffix else ()
        done = gradwise("plot", run, *what, "-o", output, check=2)
        assert done.stderr.count("gradwise: error: ") == 1 and done.stdout == ""
        assert f"[plot] -o is {output}, and the folder " in done.stderr and "can't be made: " in done.stderr
        assert "; allowed: a folder that can be written to, or a picture's file in one" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_plot_into_a_folder_that_cannot_be_written_to(run, tmp_path):
    tmp_path.chmod(0o500)
    stderr = gradwise("plot", run, "-o", tmp_path, check=2).stderr
    tmp_path.chmod(0o700)
    assert stderr.count("gradwise: error: ") == 1
    assert f"-o is {tmp_path}, and the folder {tmp_path} can't be written to; allowed: " in stderr


def test_without_gnuplot_the_rest_goes_on(run, tmp_path, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    assert "gnuplot is not installed" in gradwise("plot", run, "--what", "norms", check=1).stderr
    report = gradwise("report", run, check=0)
    assert "gnuplot is not installed" in report.stderr
    assert "no picture" in (run / "report.html").read_text()
    monkeypatch.setenv("PATH", os.defpath)
    gradwise("report", run, check=0)


def test_compare(run, tmp_path):
    other = tmp_path / "other"
    gradwise("train", run / "config.toml", "--set", f"run.dir={other}", "--set", "optimizer.lr=0.02", check=0)
    text = gradwise("compare", run, other, check=0).stdout
    assert "optimizer.lr" in text and "optimizer.name" not in text
    gradwise("compare", run, check=2)


def test_analyze_a_run_and_a_configuration(run, tmp_path):
    text = gradwise("analyze", run, "--hessian", "-o", tmp_path, check=0).stdout
    assert "at step 75" in text and "largest eigenvalues" in text
    figures = json.loads((tmp_path / "gradient_analysis.json").read_text())
    assert figures["samples"] == 8 * 24
    assert len(figures["correlation"]["micro_batches"]) == 64
    fresh = gradwise("analyze", run / "config.toml", "-o", tmp_path, "--set", "analysis.micro_batches=4", check=0).stdout
    assert "fresh weights" in fresh
    bad = gradwise("analyze", run, "-o", tmp_path, "--set", "analysis.micro_batches=1000", check=2)
    assert "angles and correlation need at least micro_batches = 1000" in bad.stderr


@pytest.fixture
def own_run(run, tmp_path):
    """A copy of the run, to leave an analysis in."""
    return shutil.copytree(run, tmp_path / "copy", symlinks=True)


def test_analyze_shows_the_hessian(own_run):
    quick = ("--hessian", "--set", "analysis.hessian_steps=6")
    done = gradwise("analyze", own_run, *quick, check=0)
    text = done.stdout
    assert "hessian, graph of the gradient  product 0/1\n" in done.stderr, "progress in plain lines"
    assert text.startswith(str(own_run)) and "product 0/1" not in text, "results alone"
    assert "steps grow beyond 38 (learning rate" in text
    assert "x largest eigenvalue of the preconditioned Hessian; adamw)" in " ".join(text.split())
    rows = [line.split() for line in text.splitlines()]
    assert ["layer", "parameters", "largest", "eigenvalue", "residual", "trace", "standard", "error"] in rows
    figures = json.loads((own_run / "gradient_analysis.json").read_text())
    hessian = figures["hessian"]
    assert figures["step"] == 75
    assert [len(row) for row in rows if row and row[0] == hessian["layers"][0]["name"]] == [4, 6]
    assert sum(layer["parameters"] for layer in hessian["layers"]) == 64 * 16 + 16 + 16 * 16 + 16 + 16 * 4 + 4
    of_layers = sum(layer["products"] for layer in hessian["layers"])
    assert f"{hessian['products']} with the Hessian, {of_layers} with blocks of layers" in " ".join(text.split())
    assert 1 + 2 * 6 + 8 < hessian["products"] <= 1 + 2 * 6 + 8 + 6
    edge = hessian["edge_of_stability"]
    assert edge["optimizer"] == "adamw" and edge["threshold"] == pytest.approx(38) and edge["value"] > 0
    every = gradwise("analyze", own_run, *quick, "--set", "run.terminal.plain_interval=0", check=0).stderr
    assert "hessian, trace  product 8/8  ETA 0:00\n" in every and every.count("hessian, layers  product") > 8


def test_analyze_knows_the_edge_of_stability_where_there_is_one(run, tmp_path):
    quick = ("--hessian", "-o", tmp_path, "--set", "analysis.hessian_steps=4", "--set", "analysis.hessian_layers=false")
    fresh = gradwise("analyze", run / "config.toml", *quick, check=0).stdout
    assert "not known for adamw: the optimizer has made no step yet" in " ".join(fresh.split())
    sgd = ("--set", "optimizer.name=sgd", "--set", "optimizer.momentum=0.5")
    still = gradwise("analyze", run / "config.toml", *quick, *sgd, "--set", "optimizer.lr=0", check=0).stdout
    still = " ".join(still.split())
    assert "not known for sgd: its learning rate is 0" in still
    moving = gradwise("analyze", run / "config.toml", *quick, *sgd, "--set", "optimizer.lr=0.1", check=0)
    hessian = json.loads((tmp_path / "gradient_analysis.json").read_text())["hessian"]
    assert hessian["edge_of_stability"]["value"] == pytest.approx(0.1 * hessian["sharpness"])
    assert hessian["layers"] == [] and "residual   trace" not in moving.stdout


def test_analyze_takes_the_base_rate_where_a_schedule_has_ended_at_zero(run, tmp_path):
    ended = tmp_path / "ended"
    settings = (f"run.dir={ended}", "train.schedule.name=cosine", "optimizer.name=sgd", "optimizer.lr=0.02")
    gradwise("train", run / "config.toml", *(word for text in settings for word in ("--set", text)), check=0)
    quick = ("--hessian", "--set", "analysis.hessian_steps=4", "--set", "analysis.hessian_layers=false")
    text = gradwise("analyze", ended, *quick, check=0).stdout
    assert "x largest eigenvalue; sgd at its base rate)" in " ".join(text.split())
    hessian = json.loads((ended / "gradient_analysis.json").read_text())["hessian"]
    edge = hessian["edge_of_stability"]
    assert edge["learning_rate"] == 0.02 and not edge["preconditioned"]
    assert edge["value"] == pytest.approx(0.02 * hessian["sharpness"])


def test_analyze_says_why_the_noise_scale_has_no_error(run, tmp_path):
    text = gradwise("analyze", run, "-o", tmp_path, "--set", "analysis.micro_batches=2", check=0).stdout
    line = next(line for line in text.splitlines() if "noise scale" in line)
    assert "its standard error takes 3 micro-batches" in line or "not measured: noise hides the gradient" in line
    done = gradwise("analyze", run, "-o", tmp_path, check=0)
    line = next(line for line in done.stdout.splitlines() if "noise scale" in line)
    assert " +- " in line or "not measured: noise hides the gradient" in line
    assert "hessian, " not in done.stderr, "no progress where there is no Hessian"


@DRAWN
def test_the_stored_hessian_is_drawn(own_run):
    gradwise("analyze", own_run, "--hessian", "--set", "analysis.hessian_steps=6", check=0)
    done = gradwise("plot", own_run, "--what", "hessian", check=0)
    assert "hessian.png" in done.stdout
    assert (own_run / "plots" / "hessian.png").read_bytes().startswith(b"\x89PNG")


@DRAWN
def test_a_damaged_analysis_costs_its_own_picture_alone(own_run):
    (own_run / "gradient_analysis.json").write_text("{")
    done = gradwise("plot", own_run, check=1)
    assert "no picture of hessian" in done.stderr and "is not an analysis of this version" in done.stderr
    assert (own_run / "plots" / "memory.png").exists()
    gradwise("report", own_run, check=0)
    assert "is not an analysis of this version" in (own_run / "report.html").read_text()


def test_doctor_finds_and_mends_a_rate_that_is_too_high(run, tmp_path):
    config = tmp_path / "hot.toml"
    config.write_text((run / "config.toml").read_text())
    sick = ("--set", "optimizer.lr=5.0", "--set", "train.schedule.warmup_steps=0", "--steps", 60)
    assert "the learning rate is too high" in gradwise("doctor", config, *sick, check=0).stdout
    mended = tmp_path / "mended.toml"
    text = gradwise("doctor", config, *sick, "--fix", "-o", mended, check=0).stdout
    rounds = text.split("trying remedies")[1:]
    for trials in (r for r in rounds if "  kept: " in r):
        best = [line for line in trials.splitlines() if line.endswith("<- best so far")]
        figures = [float(line.split("compared: held-out loss ")[1].split()[0]) for line in best]
        assert figures == sorted(figures, reverse=True)
        kept = trials.split("  kept: ")[1].splitlines()[0]
        assert best[-1].strip().startswith(kept.split(" (held-out loss")[0])
        assert f"(held-out loss {figures[-1]:.4g}," in kept
    assert "  kept: " in rounds[0]
    command = text.split("\nor ")[1].splitlines()[0]
    assert command.count("optimizer.lr=") == 1, "a key that was set twice is given once"
    assert "\ndir = ''\n" in mended.read_text()
    before, after = (float(text.split(f"\n{word}")[1].split("held-out data ")[1].split(",")[0].split()[0])
                     for word in ("before", "after "))
    assert after < before
    assert mended.exists()


@pytest.mark.parametrize("rate", [10, 1e6, 1e12])
def test_a_nan_that_the_rate_brings_is_no_cause_of_its_own(rate):
    config = ROOT / "examples/configs/csv_regression.toml"
    text = gradwise("doctor", config, "--set", f"optimizer.lr={rate}", "--steps", 60, check=0).stdout
    findings = [line for line in text.splitlines() if "seen from step" in line]
    assert "the learning rate is too high" in findings[0]
    assert not any("makes inf or NaN" in line for line in findings)
    assert "symptom   aten::" in text, "the operator is told all the same"


def test_rules_are_listed_with_what_can_be_set():
    everything = gradwise("rules", check=0).stdout
    assert everything.count("\n-> ") + everything.count("    -> ") >= 67
    assert "dead_units.share = 0.5" in gradwise("rules", "dead_units", check=0).stdout
    assert 'did you mean "dead_units"?' in gradwise("rules", "ded_units", check=2).stderr


def test_doctor_says_nothing_of_a_healthy_configuration(run):
    assert "healthy" in gradwise("doctor", run / "config.toml", "--steps", 60, check=0).stdout


def test_doctor_looks_beyond_the_warm_up(run):
    config = run / "config.toml"
    warm = ("--set", "train.schedule.warmup_steps=40")
    text = gradwise("doctor", config, *warm, "--set", "train.epochs=20", check=0).stdout
    assert "240 steps under watch" in text and "healthy" in text
    text = gradwise("doctor", config, *warm, "--steps", 40, check=0).stdout
    assert "only the warm-up was seen, 40 of its 40 steps" in text and "healthy" not in text
    text = gradwise("doctor", config, *warm, "--steps", 41, check=0).stdout
    assert "only the warm-up" not in text
    by_epoch = ("--set", "train.schedule.warmup_steps=2", "--set", "train.schedule.per=epoch")
    text = gradwise("doctor", config, *by_epoch, "--steps", 50, check=0).stdout
    assert "only the warm-up was seen, 50 of its 50 steps" in text


def test_doctor_looks_at_a_run_that_has_ended(run):
    text = gradwise("doctor", run, "--steps", 60, check=0).stdout
    assert "60 steps under watch" in text and "nan" not in text and "inf" not in text


def test_updates_in_backward_are_watched_all_the_same(run, tmp_path):
    config = run / "config.toml"
    run = tmp_path / "in-backward"
    override = ("--set", f"run.dir={run}", "--set", "train.accumulate=1", "--set", "train.step.in_backward=true")
    gradwise("train", config, *override, check=0)
    seen = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    norms = [line["grad_norm"] for line in seen if line["kind"] == "step"]
    assert len(norms) > 10 and all(norm > 0 for norm in norms)
    assert "norms.png" in gradwise("plot", run, "--what", "norms", check=0).stdout
    read = [p for line in seen if line["kind"] == "readings" for p in line["parameters"].values()]
    assert read and all(p["grad_norm"] > 0 and p["update_norm"] > 0 for p in read)
    bad = gradwise("train", config, *override, "--set", "train.accumulate=2", check=2)
    assert "train.accumulate = 1" in bad.stderr
