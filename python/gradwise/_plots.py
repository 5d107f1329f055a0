"""Pictures with matplotlib: of an analysis, a watch, a spectrum. Each draws into axes that are given, or its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ._checks import check_axes
from ._optional import need
from .errors import GradwiseUsageError

if TYPE_CHECKING:
    from .gradient_analysis import Analysis

MOST_LINES = 8  # that colours and a legend can tell apart
_MOST_INSIDE = 6  # lines, of which a legend finds room between them
_STYLES = ("-", "--", ":", "-.")
_INCHES_A_NAME = 0.2
_MOST_INCHES = 40.0
_LEAST_DENSITY = 1e-6  # what a logarithmic axis begins with


def own_axes(ax: Any, columns: int = 0, rows: int = 0) -> Any:
    """Those that are given, or ones of their own with room for so many names along x and y."""
    check_axes(ax)
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


def chosen(what: str, drawings: dict[str, Any]) -> Any:
    if what not in drawings:
        raise ValueError(f"what is {what!r}, allowed: {', '.join(drawings)}")
    return drawings[what]


def log_scale(ax: Any, values: Iterable[float]) -> None:
    known = [value for value in values if math.isfinite(value)]
    if known and min(known) > 0:
        ax.set_yscale("log")


def _ranges_widely(values: Iterable[float]) -> bool:
    """Whether they are positive and spread over more than two powers of ten, as the core's pictures ask."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) > 100 * min(known)


def label(ax: Any, title: str, x: str, y: str) -> Any:
    ax.set_title(title)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(True, alpha=0.3)
    return ax


def bars(ax: Any, title: str, quantity: str, names: Sequence[str], values: Sequence[float],
         errors: Sequence[float] | None = None) -> Any:  # fmt: skip
    """One horizontal bar a name, the first on top; with whiskers where there are `errors`."""
    ax = own_axes(ax, rows=len(names))
    ax.barh(range(len(names)), values, xerr=errors)
    _name_ticks(ax, ax.yaxis, names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    if _ranges_widely(values):  # a bar's length says nothing on a logarithmic axis
        ax.set_xscale("log")
    return label(ax, title, quantity, "")


def evenly(count: int, most: int) -> list[int]:
    return list(range(count)) if count <= most else [i * (count - 1) // (most - 1) for i in range(most)]


def next_style(ax: Any) -> dict[str, Any]:
    """A colour and a dash that no line of the axes has: the colours in turn, then all of them with another dash."""
    colours = need("plot", "matplotlib", package="matplotlib").rcParams["axes.prop_cycle"].by_key().get("color", ["C0"])
    turn, colour = divmod(len(ax.lines), len(colours))
    return {"color": colours[colour], "linestyle": _STYLES[turn % len(_STYLES)]}


def legend(ax: Any) -> None:
    """Beside the data where there are many lines and the figure makes room for what is outside of the axes."""
    beside = len(ax.lines) > _MOST_INSIDE and ax.figure.get_layout_engine() is not None
    ax.legend(fontsize="small", **({"loc": "center left", "bbox_to_anchor": (1.01, 0.5)} if beside else {}))


def _alone(values: Sequence[float]) -> list[int]:
    """Places of points that no line reaches."""
    drawn = [False, *map(math.isfinite, values), False]
    return [i - 1 for i in range(1, len(drawn) - 1) if drawn[i] and not drawn[i - 1] and not drawn[i + 1]]


def lines(ax: Any, title: str, x: str, y: str, series: dict[str, tuple[Sequence[float], Sequence[float]]],
          of_all: int = 0) -> Any:  # fmt: skip
    """Points (x, y) of each name; of many, some spread over their order, told in the title as "8 of 21". `of_all`: how
    many there are where `series` is a part of them."""
    ax = own_axes(ax)
    shown = [list(series.items())[i] for i in evenly(len(series), MOST_LINES)]
    for name, (across, up) in shown:
        alone = _alone(up)
        ax.plot(across, up, label=name, marker="." if alone else "", markevery=alone or None, **next_style(ax))
    if len(series) > 1:
        legend(ax)
    count = max(of_all, len(series))
    return label(ax, f"{title}, {len(shown)} of {count}" if len(shown) < count else title, x, y)


def matrix(ax: Any, title: str, rows: Sequence[Sequence[float]], names: Sequence[str]) -> Any:
    """Cosines from -1 to 1, with a name for each row."""
    ax = own_axes(ax, len(rows), len(rows))
    shown = ax.imshow(rows, vmin=-1, vmax=1, cmap="RdBu_r")
    _name_ticks(ax, ax.xaxis, names, rotation=90)
    _name_ticks(ax, ax.yaxis, names)
    ax.set_title(title)
    ax.figure.colorbar(shown, ax=ax, label="cosine")
    return ax


# --- an analysis ---


def _numbered(word: str, rows: Sequence[Sequence[float]]) -> list[str]:
    return [f"{word} {i}" for i in range(len(rows))]


def _layer_names(a: Analysis) -> list[str]:
    """Of the rows of `between_layers`: those of an analysis without norms are known by their depth alone."""
    return [layer.name for layer in a.layers] or _numbered("layer", a.angles.between_layers)


def _draw_flow(a: Analysis, ax: Any) -> Any:
    ax = own_axes(ax, columns=len(a.flow.weights))
    ax.plot(range(len(a.flow.rms)), a.flow.rms, marker="o")
    _name_ticks(ax, ax.xaxis, a.flow.weights, rotation=90)
    log_scale(ax, a.flow.rms)
    return label(ax, "Flow: gradients by depth", "", "RMS of the gradient")


def density_curve(ax: Any, title: str, across: Sequence[float], up: Sequence[float], errors: Sequence[float]) -> Any:
    """A spectral density, with a band of one standard error where there are `errors`."""
    ax = own_axes(ax)
    shown = [max(share, _LEAST_DENSITY) for share in up]
    if len(errors):
        low, high = ([max(y + sign * e, _LEAST_DENSITY) for y, e in zip(up, errors, strict=True)] for sign in (-1, 1))
        ax.fill_between(across, low, high, alpha=0.4, label="one standard error")
        ax.plot(across, shown, label="density")
        ax.legend(fontsize="small")
    else:
        ax.fill_between(across, shown, _LEAST_DENSITY)
    ax.set_yscale("log")
    ax.set_ylim(bottom=_LEAST_DENSITY)
    return label(ax, title, "eigenvalue", "density")


# Of the `hessian` of an analysis.


def draw_spectrum(hessian: Any, ax: Any) -> Any:
    across, up = zip(*hessian["density"], strict=True)
    return density_curve(ax, "Spectrum of the Hessian", across, up, hessian["density_errors"])


def draw_curvature(hessian: Any, ax: Any) -> Any:
    layers = hessian["layers"]
    return bars(
        ax, "Largest eigenvalue of each layer's block of the Hessian", "eigenvalue, residual",
        [layer["name"] for layer in layers], [layer["largest"] for layer in layers],
        [layer["largest_error"] for layer in layers],
    )  # fmt: skip


def draw_trace(hessian: Any, ax: Any) -> Any:
    rows = [{"name": "whole network"} | {key: hessian[key] for key in ("trace", "trace_error")}, *hessian["layers"]]
    return bars(
        ax, "Trace of the Hessian, and of each layer's block", "trace, one standard error",
        [row["name"] for row in rows], [row["trace"] for row in rows], [row["trace_error"] for row in rows],
    )  # fmt: skip


def draw_edge(hessian: Any, ax: Any) -> Any:
    edge = hessian["edge_of_stability"]
    ax = own_axes(ax)
    ax.barh([edge["optimizer"]], [edge["value"]], xerr=[edge["error"]])
    ax.axvline(edge["threshold"], linestyle="--", color="tab:red", label=f"edge at {edge['threshold']:.3g}")
    ax.set_ylim(-1.5, 1.5)
    ax.legend(fontsize="small")
    of = " of the preconditioned Hessian" if edge["preconditioned"] else ""
    return label(ax, "Edge of stability: beyond the line steps grow", f"learning rate x largest eigenvalue{of}", "")


def has_edge(hessian: Any) -> bool:
    """A learning rate of 0 says nothing of the curvature."""
    value = hessian["edge_of_stability"]["value"]
    return math.isfinite(value) and value != 0


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
        lambda a, ax: matrix(ax, "Cosines between layers", a.angles.between_layers, _layer_names(a)),
        lambda a: a.angles.between_layers,
    ),
    "spectrum": (lambda a, ax: draw_spectrum(a.hessian, ax), lambda a: a.hessian.density),
    "curvature": (lambda a, ax: draw_curvature(a.hessian, ax), lambda a: a.hessian["layers"]),
    "trace": (lambda a, ax: draw_trace(a.hessian, ax), lambda a: math.isfinite(a.hessian.trace)),
    "edge": (lambda a, ax: draw_edge(a.hessian, ax), lambda a: has_edge(a.hessian)),
}  # fmt: skip


def plot_analysis(analysis: Analysis, what: str, ax: Any) -> Any:
    draw, found = chosen(what, _OF_ANALYSIS)
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
    title = chosen(what, titles)
    if not readings:
        raise GradwiseUsageError("the watch has no readings to plot: take a step first")
    return bars(ax, "The last step, by parameter", title, list(readings), [r[what] for r in readings.values()])
