"""Pictures with matplotlib: of a run, an analysis, a watch. Each draws into axes that are given, or into its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ._optional import need

if TYPE_CHECKING:
    from .gradient_analysis import Analysis
    from .runs import Run

_MOST_LINES = 12  # that colours and a legend can tell apart
_INCHES_A_NAME = 0.2
_MOST_INCHES = 40.0
_LEAST_DENSITY = 1e-6  # what a logarithmic axis begins with


def _axes(ax: Any, columns: int = 0, rows: int = 0) -> Any:
    """Those that are given, or ones of their own with room for so many names along x and y."""
    if ax is not None:
        return ax
    pyplot = need("plot", "matplotlib.pyplot", package="matplotlib")
    usual = pyplot.rcParams["figure.figsize"]
    wanted = (2 + _INCHES_A_NAME * names for names in (columns, rows))
    size = [min(max(pair), _MOST_INCHES) for pair in zip(usual, wanted, strict=True)]
    return pyplot.subplots(figsize=size, layout="constrained")[1]


def _name_ticks(ax: Any, axis: Any, names: Sequence[str], **style: Any) -> None:
    """A tick a name, or every so many of them where not all have room."""
    axis.set_ticks(range(len(names)), names, **style)
    box = ax.get_window_extent()
    room = (box.height if axis is ax.yaxis else box.width) / ax.figure.dpi * 72
    needed = 1.2 * sum(label.get_size() for label in axis.get_ticklabels())
    every = max(1, math.ceil(needed / room))
    axis.set_ticks(range(0, len(names), every), names[::every], **style)


def _chosen(what: str, drawings: dict[str, Any]) -> Any:
    if what not in drawings:
        raise ValueError(f"what is {what!r}, allowed: {', '.join(drawings)}")
    return drawings[what]


def _log_scale(ax: Any, values: Iterable[float]) -> None:
    known = [value for value in values if math.isfinite(value)]
    if known and min(known) > 0:
        ax.set_yscale("log")


def _ranges_widely(values: Iterable[float]) -> bool:
    """Whether they are positive and spread over more than two powers of ten, as the core's pictures ask."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) > 100 * min(known)


def _label(ax: Any, title: str, x: str, y: str) -> Any:
    ax.set_title(title)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(True, alpha=0.3)
    return ax


def bars(ax: Any, title: str, quantity: str, names: Sequence[str], values: Sequence[float],
         errors: Sequence[float] | None = None) -> Any:  # fmt: skip
    """One horizontal bar a name, the first on top; with whiskers where there are `errors`."""
    ax = _axes(ax, rows=len(names))
    ax.barh(range(len(names)), values, xerr=errors)
    _name_ticks(ax, ax.yaxis, names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    if _ranges_widely(values):  # a bar's length says nothing on a logarithmic axis
        ax.set_xscale("log")
    return _label(ax, title, quantity, "")


def lines(ax: Any, title: str, x: str, y: str, series: dict[str, tuple[Sequence[float], Sequence[float]]]) -> Any:
    """Points (x, y) of each name; of many, the first ones."""
    ax = _axes(ax)
    for name, (across, up) in list(series.items())[:_MOST_LINES]:
        ax.plot(across, up, label=name, marker="." if len(across) < 2 else "")
    if len(series) > 1:
        ax.legend(fontsize="small")
    return _label(ax, title, x, y)


def matrix(ax: Any, title: str, values: Sequence[float], names: Sequence[str]) -> Any:
    """Cosines, row by row, from -1 to 1."""
    side = len(names)
    ax = _axes(ax, side, side)
    rows = [list(values[row * side : (row + 1) * side]) for row in range(side)]
    shown = ax.imshow(rows, vmin=-1, vmax=1, cmap="RdBu_r")
    _name_ticks(ax, ax.xaxis, names, rotation=90)
    _name_ticks(ax, ax.yaxis, names)
    ax.set_title(title)
    ax.figure.colorbar(shown, ax=ax, label="cosine")
    return ax


# --- a run ---


def _of_steps(title: str, value: Callable[[Any], float]) -> Callable[[Run, Any], Any]:
    def draw(run: Run, ax: Any) -> Any:
        rows = run.steps()
        values = [value(row) for row in rows]
        ax = lines(ax, run.name or run.path, "step", title, {title: ([row.step for row in rows], values)})
        _log_scale(ax, values)
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
        ax = lines(ax, run.name or run.path, "step", title, dict(series))
        if logarithmic:
            _log_scale(ax, (value for _, up in series.values() for value in up))
        return ax

    return draw


_OF_RUN: dict[str, Callable[[Run, Any], Any]] = {
    "loss": _draw_loss,
    "grad_norm": _of_steps("gradient norm", lambda row: row.grad_norm),
    "lr": _of_steps("learning rate", lambda row: row.lr),
    "seconds": _of_steps("seconds a step", lambda row: row.seconds.total),
    "gradients": _of_readings("gradient norm", "grad_norm"),
    "updates": _of_readings("update-to-weight ratio", "update_ratio"),
    "weights": _of_readings("weight norm", "weight_norm"),
    "cosines": _of_readings("cosine with the gradient before", "grad_cosine", False),
}


def plot_run(run: Run, what: str, ax: Any) -> Any:
    return _chosen(what, _OF_RUN)(run, ax)


# --- an analysis ---


def _numbered(word: str, values: Sequence[float]) -> list[str]:
    return [f"{word} {i}" for i in range(math.isqrt(len(values)))]


def _draw_flow(a: Analysis, ax: Any) -> Any:
    ax = _axes(ax, columns=len(a.flow.weights))
    ax.plot(range(len(a.flow.rms)), a.flow.rms, marker="o")
    _name_ticks(ax, ax.xaxis, a.flow.weights, rotation=90)
    _log_scale(ax, a.flow.rms)
    return _label(ax, "Flow: gradients by depth", "", "RMS of the gradient")


def _draw_spectrum(a: Analysis, ax: Any) -> Any:
    ax = _axes(ax)
    across, up = zip(*a.hessian.density, strict=True)
    errors = a.hessian.density_errors
    if errors:
        low, high = ([max(y + sign * e, _LEAST_DENSITY) for y, e in zip(up, errors, strict=True)] for sign in (-1, 1))
        ax.fill_between(across, low, high, alpha=0.4, label="one standard error")
        ax.plot(across, [max(share, _LEAST_DENSITY) for share in up], label="density")
        ax.legend(fontsize="small")
    else:
        ax.fill_between(across, [max(share, _LEAST_DENSITY) for share in up], _LEAST_DENSITY)
    ax.set_yscale("log")
    ax.set_ylim(bottom=_LEAST_DENSITY)
    return _label(ax, "Spectrum of the Hessian", "eigenvalue", "density")


def _draw_curvature(a: Analysis, ax: Any) -> Any:
    layers = a.hessian["layers"]
    return bars(
        ax, "Largest eigenvalue of each layer's block of the Hessian", "eigenvalue, residual",
        [layer.name for layer in layers], [layer.largest for layer in layers],
        [layer.largest_error for layer in layers],
    )  # fmt: skip


# What is drawn, and whether the analysis holds it.
_OF_ANALYSIS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]] = {
    "norms": (
        lambda a, ax: bars(ax, "Gradient norm by layer", "norm (L2)", [layer.name for layer in a.layers],
                           [layer.norm for layer in a.layers]),
        lambda a: a.layers,
    ),
    "flow": (_draw_flow, lambda a: a.flow.weights),
    "micro_batches": (
        lambda a, ax: matrix(ax, "Cosines between gradients of micro-batches", a.correlation.micro_batches,
                             _numbered("part", a.correlation.micro_batches)),
        lambda a: a.correlation.micro_batches,
    ),
    "classes": (
        lambda a, ax: matrix(ax, "Cosines between gradients of classes", a.correlation.between_classes,
                             [f"class {c}" for c in a.correlation.classes]),
        lambda a: a.correlation.between_classes,
    ),
    "layers": (
        lambda a, ax: matrix(ax, "Cosines between layers", a.angles.between_layers, list(a.angles.layers)),
        lambda a: a.angles.between_layers,
    ),
    "spectrum": (_draw_spectrum, lambda a: a.hessian.density),
    "curvature": (_draw_curvature, lambda a: a.hessian["layers"]),
}  # fmt: skip


def plot_analysis(analysis: Analysis, what: str, ax: Any) -> Any:
    draw, found = _chosen(what, _OF_ANALYSIS)
    if not found(analysis):
        there = ", ".join(name for name, (_, has) in _OF_ANALYSIS.items() if has(analysis))
        raise ValueError(f"what is {what!r}, which this analysis did not compute, allowed: {there or 'nothing'}")
    return draw(analysis, ax)


# --- readings of a watch ---


def plot_readings(readings: dict[str, Any], what: str, ax: Any) -> Any:
    titles = {
        "grad_norm": "gradient norm", "weight_norm": "weight norm", "update_ratio": "update-to-weight ratio",
        "grad_max": "greatest gradient", "grad_zeros": "share of zeros", "grad_cosine": "cosine with the one before",
    }  # fmt: skip
    title = _chosen(what, titles)
    return bars(ax, "The last step, by parameter", title, list(readings), [r[what] for r in readings.values()])
