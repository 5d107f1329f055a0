"""Pictures of a run with matplotlib, as `gradwise plot` has them with gnuplot."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ._checks import check_axes
from ._plots import (
    MOST_LINES,
    chosen,
    draw_curvature,
    draw_edge,
    draw_spectrum,
    draw_trace,
    evenly,
    has_edge,
    label,
    lines,
    log_scale,
    next_style,
    own_axes,
)

if TYPE_CHECKING:
    from .runs import Run

_MOMENTS = 5  # of a run that the flow is shown at
_MOST_RIDGES = 24
_OVERLAP = 2.5  # rows that a ridge reaches over
_BINS, _LEAST_POWER = 32, -26  # bin b holds 2^(b-26) <= |g| < 2^(b-25)
_LEAST_SHARE = 3e-3  # of the elements, that a bin is shown for
_MEBIBYTE = 2**20
_ANALYSIS = "gradient_analysis.json"  # what `gradwise analyze` leaves in a run's folder


def _weights(run: Run) -> dict[str, float]:
    """Number of elements of each weight: of what has two dimensions or more, or else of all that is trained."""
    trained = [row for row in run.parameters() if row.trainable]
    return {row.name: row.elements for row in [p for p in trained if len(p.shape) > 1] or trained}


def _of_steps(title: str, value: Callable[[Any], float], logarithmic: bool = True) -> Callable[[Run, Any], Any]:
    def draw(run: Run, ax: Any) -> Any:
        rows = run.steps()
        values = [value(row) for row in rows]
        ax = lines(ax, run.name or run.path, "step", title, {title: ([row.step for row in rows], values)})
        if logarithmic:
            log_scale(ax, values)
        return ax

    return draw


def _draw_loss(run: Run, ax: Any) -> Any:
    rows = run.steps()
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {
        "training": ([row.step for row in rows], [row.loss for row in rows])
    }
    for row in run.validations():
        if row.metric == "loss":
            across, up = series.setdefault(row.data, ([], []))
            across.append(row.step)  # type: ignore[attr-defined]
            up.append(row.value)  # type: ignore[attr-defined]
    return lines(ax, run.name or run.path, "step", "loss", series)


def _of_readings(title: str, key: str, logarithmic: bool = True) -> Callable[[Run, Any], Any]:
    def draw(run: Run, ax: Any) -> Any:
        series: dict[str, tuple[list[float], list[float]]] = {}
        for row in run.readings():
            across, up = series.setdefault(row.parameter, ([], []))
            across.append(row.step)
            up.append(row[key])
        weights = _weights(run)
        shown = {name: series[name] for name in weights if name in series} if len(series) > MOST_LINES else series
        ax = lines(ax, run.name or run.path, "step", title, dict(shown or series), len(series))
        if logarithmic:
            log_scale(ax, (value for line in ax.lines for value in line.get_ydata()))
        return ax

    return draw


def _draw_flow(run: Run, ax: Any) -> Any:
    weights = _weights(run)
    by_step: dict[int, dict[str, float]] = {}
    for row in run.readings():
        by_step.setdefault(row.step, {})[row.parameter] = row.grad_norm
    ax = own_axes(ax)
    shown = [list(by_step)[i] for i in evenly(len(by_step), _MOMENTS)]
    drawn: list[float] = []
    for step in shown:
        values = [by_step[step].get(name, math.nan) / math.sqrt(size) for name, size in weights.items()]
        ax.plot(range(len(weights)), values, marker="o", label=f"step {step}", **next_style(ax))
        drawn += values
    ax.set_xticks(range(len(weights)), list(weights), rotation=90)
    log_scale(ax, drawn)
    ax.legend(fontsize="small")
    return label(ax, "Flow: gradients by depth", "", "RMS of the gradient")


def _draw_histograms(run: Run, ax: Any) -> Any:
    """One above the other, the oldest at the bottom, of the largest weight that has some."""
    rows = run.histograms()
    sizes = {row.name: row.elements for row in run.parameters()}
    largest = max((row.parameter for row in rows), key=lambda name: sizes[name])
    of_it = [row for row in rows if row.parameter == largest]
    ax = own_axes(ax)
    ridges = [of_it[i] for i in evenly(len(of_it), _MOST_RIDGES)]
    seen = []
    for height, row in reversed(list(enumerate(ridges))):  # from the back to the front
        counts = [row.counts[b] + row.counts[b + _BINS] for b in range(_BINS)]
        shares = [count / max(1, sum(counts)) for count in counts]
        seen += [b for b, share in enumerate(shares) if share > _LEAST_SHARE]
        across = [b + _LEAST_POWER + 0.5 for b in range(_BINS)]
        up = [height + _OVERLAP * share / max(1e-9, *shares) for share in shares]
        age = height / max(1, len(ridges) - 1)  # dark to bright
        ax.fill_between(across, height, up, alpha=0.75, color=(0.2 + 0.7 * age, 0.2 + 0.5 * age, 0.5 - 0.2 * age))
        ax.plot(across, up, color="0.3", linewidth=0.8)
    ticks = evenly(len(ridges), 6)
    ax.set_yticks(ticks, [str(ridges[i].step) for i in ticks])
    if seen:
        ax.set_xlim(min(seen) + _LEAST_POWER - 1, max(seen) + _LEAST_POWER + 2)
    count = len({row.parameter for row in rows})
    of = f", the largest of {count}" if count > 1 else ""
    return label(ax, f"Gradient magnitudes over time: {largest}{of}", "log2 |gradient element|", "step")


def _draw_activations(run: Run, ax: Any) -> Any:
    series: dict[str, tuple[list[float], list[float]]] = {}
    for row in run.activations():
        for key in ("dead", "saturated"):
            if not math.isnan(row[key]):
                across, up = series.setdefault(f"{row.op} after {row.layer or '?'}: {key}", ([], []))
                across.append(row.step)
                up.append(100 * row[key])
    ax = lines(ax, "Dead units and saturated outputs", "step", "share (%)", dict(series))
    ax.set_ylim(0, 100)
    return ax


def _draw_noise(run: Run, ax: Any) -> Any:
    samples = {row.step: row.samples for row in run.steps()}
    rows = [row for row in run.noise_scales() if row.noise_scale > 0]
    steps = [row.step for row in rows]
    scales, batches = [row.noise_scale for row in rows], [samples.get(step, math.nan) for step in steps]
    ax = lines(ax, "Noise scale: the batch size beyond which more samples help little", "step", "samples",
               {"noise scale": (steps, scales), "batch size": (steps, batches)})  # fmt: skip
    log_scale(ax, scales + batches)
    return ax


def _draw_memory(run: Run, ax: Any) -> Any:
    rows = run.steps()
    peaks = [row.peak_bytes / _MEBIBYTE for row in rows]
    ax = lines(ax, "Peak memory of a step, above what was held before it", "step", "MiB",
               {"peak": ([row.step for row in rows], peaks)})  # fmt: skip
    ax.set_ylim(bottom=0)
    return ax


def _stored_hessian(run: Run) -> dict[str, Any]:
    """Of the analysis in the run's folder; empty where there is none."""
    path = os.path.join(run.path, _ANALYSIS)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        hessian: dict[str, Any] = json.load(file)["hessian"]
    return _numbers(hessian) if hessian["eigenvalues"] else {}


def _numbers(value: Any) -> Any:
    """null is what was not measured."""
    if isinstance(value, dict):
        return {key: _numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    return math.nan if value is None else value


def _of_hessian(draw: Callable[[Any, Any], Any]) -> Callable[[Run, Any], Any]:
    return lambda run, ax: draw(_stored_hessian(run), ax)


def _any(values: Sequence[float]) -> bool:
    return any(math.isfinite(value) for value in values)


_OF_RUN: dict[str, Callable[[Run, Any], Any]] = {
    "loss": _draw_loss,
    "grad_norm": _of_steps("gradient norm", lambda row: row.grad_norm),
    "lr": _of_steps("learning rate", lambda row: row.lr, False),
    "seconds": _of_steps("seconds a step", lambda row: row.seconds.total),
    "gradients": _of_readings("gradient norm", "grad_norm"),
    "updates": _of_readings("update-to-weight ratio", "update_ratio"),
    "weights": _of_readings("weight norm", "weight_norm"),
    "cosines": _of_readings("cosine with the gradient before", "grad_cosine", False),
    "flow": _draw_flow,
    "histograms": _draw_histograms,
    "activations": _draw_activations,
    "noise": _draw_noise,
    "memory": _draw_memory,
    "spectrum": _of_hessian(draw_spectrum),
    "curvature": _of_hessian(draw_curvature),
    "trace": _of_hessian(draw_trace),
    "edge": _of_hessian(draw_edge),
}


# Whether the run holds what is drawn, and what puts it there.
_ANALYZED = "gradwise analyze RUN --hessian"
# Of a run without a configuration, which `gradwise analyze` needs; {what} is the figure.
_ANALYZED_HERE = (
    'gradwise.GradientAnalyzer({{"compute_hessian": True}})'
    '.analyze_gradients(model, loss_function, x, y, optimizer=optimizer).plot("{what}")'
    ", as the run has no configuration"
)
_STEPS: tuple[Callable[[Run], Any], str] = (lambda run: run.steps(), "a step")
_READINGS: tuple[Callable[[Run], Any], str] = (lambda run: run.readings(), "watch.gradients.every")
_NEEDS: dict[str, tuple[Callable[[Run], Any], str]] = {
    "loss": (lambda run: run.steps() or run.validations(), "a step"),
    **dict.fromkeys(("grad_norm", "lr", "seconds"), _STEPS),
    **dict.fromkeys(("gradients", "updates", "weights", "cosines", "flow"), _READINGS),
    "histograms": (lambda run: run.histograms(), "histograms_every"),
    "activations": (
        lambda run: _any([row[key] for row in run.activations() for key in ("dead", "saturated")]),
        "ReLU, sigmoid or tanh, and watch.observe(loss), or the option activations_every of a loop",
    ),
    "noise": (
        lambda run: any(row.noise_scale > 0 for row in run.noise_scales()),
        "some 20 steps with gradients and samples",
    ),
    "memory": (
        lambda run: _any([row.peak_bytes for row in run.steps()]),
        "the option measure_memory of AutogradTrainingLoop",
    ),
    "spectrum": (lambda run: _stored_hessian(run).get("density"), _ANALYZED),
    "curvature": (lambda run: _stored_hessian(run).get("layers"), _ANALYZED),
    "trace": (_stored_hessian, _ANALYZED),
    "edge": (lambda run: (h := _stored_hessian(run)) and has_edge(h), _ANALYZED + " with an optimizer's rate"),
}


def _needed(run: Run, what: str) -> str:
    needed = _NEEDS[what][1]
    configured = os.path.exists(os.path.join(run.path, "config.toml"))
    return needed if configured or not needed.startswith(_ANALYZED) else _ANALYZED_HERE.format(what=what)


def plot_run(run: Run, what: str, ax: Any) -> Any:
    draw = chosen(what, _OF_RUN)
    check_axes(ax)
    if what in _NEEDS and not _NEEDS[what][0](run):
        raise ValueError(f"what is {what!r}, and the run holds nothing of it; it takes {_needed(run, what)}")
    return draw(run, ax)
