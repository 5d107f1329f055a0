"""What results look like: tables for pandas, HTML for notebooks, matplotlib's axes."""

import html.parser
import json
import sqlite3
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise


NOISE = [(10, 5.0), (20, 90.0), (30, None), (40, 700.0)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A sick training on record, and its watch."""
    torch.manual_seed(0)
    x = torch.randn(60, 4)
    y = (x.sum(1) > 0).long()
    model = nn.Sequential(*[part for _ in range(15) for part in (nn.Linear(4, 4), nn.Sigmoid())], nn.Linear(4, 3))
    optimizer = torch.optim.AdamW(model.parameters())
    folder = tmp_path_factory.mktemp("runs") / "a <b>"
    with gradwise.watch(model, optimizer, run=folder, record_every=5, histograms_every=10) as watch:
        for _ in range(40):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            watch.observe(loss)
            loss.backward()
            optimizer.step()
            watch.step(loss)
    analysis = gradwise.GradientAnalyzer({"compute_hessian": True}).analyze_gradients(
        model, functional.cross_entropy, x, y, optimizer=torch.optim.SGD(model.parameters(), lr=0.5)
    )
    # What the loop and `gradwise analyze` would add.
    (folder / "gradient_analysis.json").write_text(json.dumps({"step": 40, "hessian": analysis.hessian.to_dict()}))
    with sqlite3.connect(folder / "run.sqlite") as store:
        store.execute("UPDATE steps SET peak_bytes = step * 1048576")
        store.execute("DELETE FROM step_readings")
        store.executemany("INSERT INTO step_readings(step, noise_scale) VALUES (?, ?)", NOISE)
    return gradwise.load_run(folder), watch, analysis


class Balanced(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], set(), ""

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def shown(thing):
    page = Balanced()
    page.feed(thing._repr_html_())
    assert page.open == []
    return page


def test_html_is_whole_and_escaped(trained):
    run, watch, analysis = trained
    told = shown(run)
    assert "a <b>" in told.text and "b" in told.seen and "40 steps" in told.text
    finding = run.diagnosis()[0]
    for thing in (run, watch, run.diagnosis(), watch.diagnosis()):
        assert finding.title in shown(thing).text and finding.remedy in shown(thing).text
    assert shown(run.diagnosis()[:0]).text and "nothing found" in shown(type(run.diagnosis())()).text
    assert "0.weight" in shown(analysis).text and "0.weight" in shown(watch.readings()).text
    assert "the first 20 of 40 rows" in shown(run.steps()).text
    assert run.issues[0].rule in shown(run.issues).text


def test_a_diagnosis_prints_a_line_a_finding(trained, network):
    run, watch, _ = trained
    for found in (run.diagnosis(), watch.diagnosis()):
        assert found and str(found).splitlines() == [str(finding) for finding in found]
        assert str(found).startswith(found[0].title) and found[0].remedy in str(found)
    assert str(gradwise.watch(network()).diagnosis()) == "nothing found"


def test_pandas(trained):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    run, watch, analysis = trained
    frame = run.steps().to_pandas()
    assert isinstance(frame, pandas.DataFrame) and list(frame.step) == list(range(1, 41))
    assert list(frame.loss) == run.steps().to_dict()["loss"]
    assert set(run.readings().to_pandas().parameter) == set(watch.readings())
    assert len(run.issues.to_pandas()) == len(run.issues) and run.diagnosis().to_pandas().cause[0]
    assert list(analysis.to_pandas().name) == [p.name for p in analysis.parameters]
    assert list(watch.readings().to_pandas().parameter) == list(watch.readings())
    assert watch.readings().to_dict()["0.weight"]["weight_norm"] == watch.readings()["0.weight"].weight_norm


OF_RUN = ["loss", "grad_norm", "lr", "seconds", "gradients", "updates", "weights", "cosines", "flow", "histograms",
          "activations", "noise", "memory", "spectrum", "curvature", "trace", "edge"]  # fmt: skip
OF_ANALYSIS = ["norms", "flow", "micro_batches", "classes", "layers", "spectrum", "curvature", "trace", "edge"]
OF_WATCH = ["grad_norm", "weight_norm", "update_ratio", "grad_max", "grad_zeros", "grad_cosine"]


PICTURES = [(whose, what) for whose, names in enumerate((OF_RUN, OF_WATCH, OF_ANALYSIS)) for what in names]


@pytest.mark.parametrize("whose, what", PICTURES)
def test_plots_go_into_the_axes_that_are_given(trained, tmp_path, whose, what):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, ax = pyplot.subplots()
    assert trained[whose].plot(what, ax=ax) is ax
    assert ax.has_data() and (ax.get_title() or ax.get_xlabel())
    figure.savefig(tmp_path / "a.png")
    own = trained[whose].plot(what)
    assert own.figure is not figure
    pyplot.close("all")


def test_plots_show_the_figures(trained):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    run, watch, analysis = trained
    assert list(run.plot("loss").lines[0].get_ydata()) == [row.loss for row in run.steps()]
    bars = watch.plot("weight_norm").patches
    assert [bar.get_width() for bar in bars] == [r.weight_norm for r in watch.readings().values()]
    assert [bar.get_width() for bar in analysis.plot("norms").patches] == [layer.norm for layer in analysis.layers]
    assert analysis.plot("norms").get_xscale() == "log", "a gradient that vanishes"
    assert watch.plot("weight_norm").get_xscale() == "linear", "bars of like size"
    assert analysis.plot("spectrum").get_yscale() == "log"
    matplotlib.pyplot.close("all")
    for thing in (run, watch, analysis):
        with pytest.raises(ValueError, match="what is 'nothing', allowed: "):
            thing.plot("nothing")
    with pytest.raises(ValueError, match="did not compute, allowed: "):
        without = gradwise.GradientAnalyzer({"compute_gradient_flow": False})
        model = nn.Linear(4, 2)
        x, y = torch.randn(8, 4), torch.zeros(8).long()
        without.analyze_gradients(model, functional.cross_entropy, x, y).plot("flow")
    with pytest.raises(gradwise.GradwiseUsageError, match="call analyze_gradients first"):
        gradwise.GradientAnalyzer().plot()


def test_plots_show_what_the_run_holds(trained):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    run, watch, analysis = trained
    weights = {row.name: row.elements for row in run.parameters() if len(row.shape) == 2}
    assert len(weights) == 16 and weights["30.weight"] == 12
    flow = run.plot("flow").lines
    steps = [row.step for row in run.readings() if row.parameter == "0.weight"]
    assert [line.get_label() for line in (flow[0], flow[-1])] == [f"step {steps[0]}", f"step {steps[-1]}"]
    last = {row.parameter: row.grad_norm for row in run.readings() if row.step == steps[-1]}
    assert list(flow[-1].get_ydata()) == pytest.approx([last[name] / size**0.5 for name, size in weights.items()])

    counts = [row.counts for row in run.histograms() if row.parameter == "0.weight"]
    assert counts and all(len(row) == 64 and sum(row) == 16 for row in counts)
    largest = next(name for name, size in weights.items() if size == max(weights.values()))
    ridges = run.plot("histograms")
    assert largest in ridges.get_title() and len(ridges.lines) == len(counts)

    sigmoids = [row for row in run.activations() if row.op == "sigmoid"]
    first = [100 * row.saturated for row in sigmoids if row.layer == sigmoids[0].layer]
    assert list(run.plot("activations").lines[0].get_ydata()) == first

    scale, batch = run.plot("noise").lines
    assert list(zip(scale.get_xdata(), scale.get_ydata(), strict=True)) == [(10, 5), (20, 90), (40, 700)]
    assert set(batch.get_ydata()) == {60}
    assert list(run.plot("memory").lines[0].get_ydata()) == [row.step for row in run.steps()]

    for thing in (run, analysis):
        widths = [bar.get_width() for bar in thing.plot("trace").patches]
        assert widths == [analysis.hessian.trace, *(layer.trace for layer in analysis.hessian["layers"])]
        edge = thing.plot("edge")
        (bar,), (line,) = edge.patches, [found for found in edge.lines if found.get_linestyle() == "--"]
        assert bar.get_width() == pytest.approx(0.5 * analysis.hessian.sharpness)
        assert set(line.get_xdata()) == {2.0}
    matplotlib.pyplot.close("all")


def test_a_run_that_is_none_is_a_wrong_call(tmp_path):
    with pytest.raises(gradwise.GradwiseUsageError, match="there is no run .*nope$"):
        gradwise.load_run(tmp_path / "nope")
    with pytest.raises(gradwise.GradwiseUsageError, match="is no run: it has no run.sqlite$"):
        gradwise.load_run(tmp_path)


def test_plots_say_what_is_missing(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradwise.watch(model, optimizer, run=tmp_path / "run") as watch:
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        optimizer.step()
        watch.step(loss)
    run = gradwise.load_run(tmp_path / "run")
    for what in ("histograms", "activations", "noise", "memory"):
        with pytest.raises(ValueError, match=f"what is '{what}', and the run holds nothing of it; it takes "):
            run.plot(what)


def test_what_a_run_without_a_configuration_takes_for_its_hessian_draws_it(tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    model = nn.Linear(4, 2)
    x, y = torch.randn(8, 4), torch.randn(8, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradwise.watch(model, optimizer, run=tmp_path / "run") as watch:
        loss = functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        watch.step(loss)
    run = gradwise.load_run(tmp_path / "run")
    names = {"gradwise": gradwise, "model": model, "loss_function": functional.mse_loss, "x": x, "y": y}
    titles = {"spectrum": "Spectrum", "curvature": "Largest eigenvalue", "trace": "Trace", "edge": "Edge of stability"}
    for what, title in titles.items():
        with pytest.raises(ValueError, match="the run holds nothing of it; it takes gradwise.GradientAnalyzer") as told:
            run.plot(what)
        call = str(told.value).split("it takes ")[1].removesuffix(", as the run has no configuration")
        assert eval(call, names | {"optimizer": optimizer}).get_title().startswith(title)
    (tmp_path / "run" / "config.toml").write_text("")
    for what in titles:
        with pytest.raises(ValueError, match="it takes gradwise analyze RUN --hessian"):
            run.plot(what)
    matplotlib.pyplot.close("all")


def test_a_spectral_density_is_drawn():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    found = gradwise.curvature.from_matrix(torch.diag(torch.linspace(0, 5, 50, dtype=torch.float64))).spectral_density()
    from matplotlib import pyplot

    figure, ax = pyplot.subplots()
    assert found.plot(ax) is ax and ax.get_yscale() == "log"
    curve = ax.lines[0]
    assert list(curve.get_xdata()) == found.eigenvalues.tolist()
    assert list(curve.get_ydata()) == found.density.clamp(min=1e-6).tolist()
    assert found.plot().figure is not figure
    pyplot.close("all")


@pytest.mark.parametrize("package, call", [("pandas", "to_pandas()"), ("matplotlib", "plot('grad_norm')")])
def test_neither_is_imported_before_it_is_used_and_what_is_missing_is_named(package, call):
    code = f"""
import sys
sys.path[:0] = {[p for p in sys.path if p]!r}
import gradwise, torch
assert {package!r} not in sys.modules
for name in ("pandas", "matplotlib", "matplotlib.pyplot"):
    sys.modules[name] = None  # as if it were not installed
model = torch.nn.Linear(2, 2)
watch = gradwise.watch(model)
loss = model(torch.ones(1, 2)).sum()
loss.backward()
watch.step(loss)
thing = watch.readings() if {package!r} == "pandas" else watch
try:
    thing.{call}
except gradwise.GradwiseImportError as error:
    assert "needs {package}, which is not installed: pip install {package}" in str(error), error
else:
    raise AssertionError("no error")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def apart(ax, axis):
    """How many names an axis shows, none over another."""
    ax.figure.canvas.draw()
    boxes = sorted((label.get_window_extent() for label in axis.get_ticklabels()), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 for low, high in zip(boxes, boxes[1:], strict=False))
    return len(boxes)


def test_names_of_many_parameters_do_not_overlap():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(40)])
    analysis = gradwise.GradientAnalyzer().analyze_gradients(
        model, functional.mse_loss, torch.randn(16, 3), torch.randn(16, 3)
    )
    own = analysis.plot("norms")
    assert apart(own, own.yaxis) == 40
    assert [bar.get_height() for bar in own.patches] == pytest.approx([0.8] * 40)
    given = analysis.plot("norms", pyplot.subplots(figsize=(4, 3))[1])
    assert 5 <= apart(given, given.yaxis) < 40 and given.figure.get_size_inches().tolist() == [4, 3]
    assert given.get_yticklabels()[0].get_text() == "0" and len(given.patches) == 40
    pyplot.close("all")


def test_lines_of_many_parameters_are_spread_over_the_depth(trained):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    run, _, _ = trained
    for what in ("gradients", "updates", "weights", "cosines"):
        ax = run.plot(what)
        assert [line.get_label() for line in ax.lines] == [f"{2 * i}.weight" for i in (0, 2, 4, 6, 8, 10, 12, 15)]
        assert ax.get_title().endswith(", 8 of 32"), "weights and biases"
    activations = run.plot("activations")
    names = [line.get_label() for line in activations.lines]
    assert len(names) == 8 and activations.get_title().endswith(", 8 of 15")
    assert names[0].startswith("sigmoid after 0:") and names[-1].startswith("sigmoid after 28:")
    assert run.plot("histograms").get_title().endswith(", the largest of 32")
    assert run.plot("loss").get_title() == run.name
    matplotlib.pyplot.close("all")


def test_learning_rates_stand_on_a_linear_axis(trained):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    assert trained[0].plot("lr").get_yscale() == "linear"
    matplotlib.pyplot.close("all")


def test_plots_before_any_step_say_so(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    with gradwise.watch(nn.Linear(4, 2), run=tmp_path / "run") as watch:
        with pytest.raises(gradwise.GradwiseUsageError, match="no readings to plot: take a step first"):
            watch.plot()
    run = gradwise.load_run(tmp_path / "run")
    for what in OF_RUN:
        with pytest.raises(ValueError, match=f"what is '{what}', and the run holds nothing of it; it takes "):
            run.plot(what)
