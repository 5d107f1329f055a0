"""Analyses of a model's gradients, beside the training and without a trace in it."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable
from typing import Any

import torch

from . import _core, _plots
from ._checks import check_int, check_mapping, check_tensors, path_of
from ._documented import documented_by
from ._forward_hook import aside
from ._records import Issue, Record, Table, issues, record
from ._step_rule import step_rule
from .errors import GradwiseError, GradwiseUsageError

__all__ = ["GradientAnalysisConfig", "GradientAnalyzer", "GradientMonitoring"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class GradientAnalysisConfig:
    """What is computed, and the thresholds: keywords, which are attributes too, to read and to assign.

    `gradient_norm_threshold`: global norm above which it is told. `gradient_angle_threshold`: radians beyond a right
    angle from which two gradients conflict. `micro_batches`: parts that a batch is cut into for angles and noise.
    `hessian_eigenvalues`, `hessian_steps`, `trace_vectors`, `density_vectors`: effort for `compute_hessian`;
    `hessian_layers`: whether it looks at each layer's block too. An analyzer takes the configuration as it is when the
    analyzer is made; its own, `analyzer.config`, is fixed.
    """

    options: dict[str, Any]
    _fixed: bool

    def __init__(self, compute_hessian: bool = False, compute_gradient_norms: bool = True,
                 compute_gradient_angles: bool = True, compute_gradient_correlation: bool = True,
                 compute_gradient_flow: bool = True, gradient_norm_threshold: float = 1.0,
                 gradient_angle_threshold: float = 0.1, **options: Any) -> None:  # fmt: skip
        given = {
            "compute_hessian": compute_hessian,
            "compute_gradient_norms": compute_gradient_norms,
            "compute_gradient_angles": compute_gradient_angles,
            "compute_gradient_correlation": compute_gradient_correlation,
            "compute_gradient_flow": compute_gradient_flow,
            "gradient_norm_threshold": gradient_norm_threshold,
            "gradient_angle_threshold": gradient_angle_threshold,
        } | options
        # With the core's defaults of what is not given; refuses what is not allowed.
        vars(self).update(options=_core.analysis_options(given), _fixed=False)

    def __getattr__(self, name: str) -> Any:
        options = vars(self).get("options", {})
        if name not in options:
            raise AttributeError(f"there is no option {name!r}, there are: {', '.join(options)}")
        return options[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if self._fixed:
            raise AttributeError(f"{name} is of an analyzer's configuration, allowed: a new analyzer with another one")
        vars(self)["options"] = _core.analysis_options(self.options | {name: value})

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.options]

    def __repr__(self) -> str:
        return f"GradientAnalysisConfig({', '.join(f'{key}={value!r}' for key, value in self.options.items())})"


_MATRICES = (("angles", "between_layers"), ("correlation", "micro_batches"), ("correlation", "centred"),
             ("correlation", "between_classes"))  # fmt: skip


def _found(native: _core.Analysis) -> Record:
    """The core's figures come with sorted names and flat matrices: layers by depth, matrices as lists of rows."""
    found = record(native.to_dict())
    cosines = found["angles"]["layers"]
    found["angles"]["layers"] = Record({layer.name: cosines[layer.name] for layer in found["layers"] if cosines})
    for part, key in _MATRICES:
        flat = found[part][key]
        side = math.isqrt(len(flat))
        found[part][key] = [flat[row * side : (row + 1) * side] for row in range(side)]
    return found


class Analysis(Record):
    """What one analysis has found: `loss`, `norm`, `parameters`, `layers`, `flow`, `angles`, `correlation`, `hessian`,
    `activations`; NaN where a figure was not asked for. `angles.layers` is in the order of `layers`, as are the rows of
    `angles.between_layers`. That one and the matrices of `correlation` (`micro_batches`, `centred`, `between_classes`)
    are lists of n rows of n numbers.

    `hessian`: `sharpness`, `eigenvalues` with `eigenvalue_errors` (residuals), `trace` with `trace_error`, `density`
    with `density_errors`, `products` with it, `layers` (`largest`, `trace`, their errors and `products`), and
    `edge_of_stability`: `value` (learning rate x largest eigenvalue, of the preconditioned Hessian where
    `preconditioned`) beside its `threshold`, or why it is `unknown`. A pickled one has all of this; only
    `detect_gradient_issues` doesn't take it.
    """

    def __init__(self, native: _core.Analysis | None, found: dict[str, Any] | None = None) -> None:
        super().__init__(_found(native) if native is not None and found is None else found or {})
        object.__setattr__(self, "_native", native)

    def __copy__(self) -> Analysis:
        return Analysis(self._native, self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Analysis:
        return Analysis(self._native, copy.deepcopy(dict(self), memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return Analysis, (None, dict(self))

    def plot(self, what: str = "norms", ax: Any = None) -> Any:
        """Draws with matplotlib into `ax`, or into axes of its own, and gives them. `what`: norms, flow,
        micro_batches, classes, layers, spectrum, curvature, trace, edge."""
        return _plots.plot_analysis(self, what, ax)

    def to_pandas(self) -> Any:
        """A row for each parameter."""
        return Table(self["parameters"]).to_pandas()

    def _repr_html_(self) -> str:
        head = Record({key: self[key] for key in ("loss", "samples", "norm")})
        return head._repr_html_() + Table(self["parameters"])._repr_html_()


def _config(config: GradientAnalysisConfig | dict[str, Any] | None) -> GradientAnalysisConfig:
    """An analyzer's own."""
    given = config.options if isinstance(config, GradientAnalysisConfig) else {} if config is None else config
    check_mapping(config=given)
    own = GradientAnalysisConfig(**given)
    vars(own)["_fixed"] = True
    return own


@documented_by(_core.GradientAnalyzer)
class GradientAnalyzer:
    """
    results = GradientAnalyzer().analyze_gradients(model, loss_function, x, y)

    `progress(part, done, total)` is told of each product with the Hessian. An `optimizer` (SGD, Adam, AdamW) makes
    `hessian.edge_of_stability` known.
    """

    def __init__(self, config: GradientAnalysisConfig | dict[str, Any] | None = None, *,
                 progress: Callable[[str, int, int], object] | None = None) -> None:  # fmt: skip
        if progress is not None and not callable(progress):
            raise TypeError(f"progress is {progress!r}, allowed: a callable of (part, products done, products)")
        self.config = _config(config)
        self._native = _core.GradientAnalyzer(self.config.options, progress)
        self._last: Analysis | None = None

    def analyze_gradients(self, model: torch.nn.Module, loss_function: Loss, input_data: torch.Tensor,
                          target_data: torch.Tensor, *,
                          optimizer: torch.optim.Optimizer | None = None) -> Analysis:  # fmt: skip
        check_tensors(input_data=input_data, target_data=target_data)
        rule = step_rule(optimizer, model)
        with aside():
            self._last = Analysis(self._native.analyze_gradients(model, loss_function, input_data, target_data, rule))
        return self._last

    def analyze_data(self, model: torch.nn.Module, loss_function: Loss, dataloader: Iterable[Any], *,
                     optimizer: torch.optim.Optimizer | None = None) -> Analysis:  # fmt: skip
        """Over the first `most_batches` batches of a data loader, taken together."""
        rule = step_rule(optimizer, model)
        with aside():
            self._last = Analysis(self._native.analyze_data(model, loss_function, dataloader, rule))
        return self._last

    def get_gradient_statistics(self) -> Record:
        """Over all analyses so far."""
        return record(self._native.get_gradient_statistics())

    def detect_gradient_issues(self, results: Analysis) -> Table[Issue]:
        if not isinstance(results, Analysis):
            raise TypeError(f"results is a {type(results).__name__}, allowed: what analyze_gradients gave")
        if results._native is None:
            raise TypeError("results is an analysis that was pickled, allowed: what analyze_gradients gave")
        return issues(self._native.detect_gradient_issues(results._native))

    def plot_gradient_analysis(self, save_path: str | os.PathLike[str] = "gradient_analysis.png") -> str:
        """Draws the last analysis (PNG, SVG or PDF by the extension) with the program gnuplot; gives the path. A
        GradwiseError where gnuplot or the folder is missing, or the folder can't be written to."""
        path = path_of("save_path", save_path)
        drawn, reason = self._native.plot_gradient_analysis(path)
        if not drawn:
            raise GradwiseError(f"{path} was not drawn: {reason}")
        return path

    def plot(self, what: str = "norms", ax: Any = None) -> Any:
        """`Analysis.plot` of the last one."""
        if self._last is None:
            raise GradwiseUsageError("there is no analysis to plot: call analyze_gradients first")
        return self._last.plot(what, ax)


@documented_by(_core.GradientMonitoring)
class GradientMonitoring:
    def __init__(self, config: GradientAnalysisConfig | dict[str, Any] | None = None) -> None:
        self.config = _config(config)
        self._native = _core.GradientMonitoring(self.config.options)

    def monitor_training_step(self, model: torch.nn.Module, loss_function: Loss, input_data: torch.Tensor,
                              target_data: torch.Tensor, step: int) -> Record:  # fmt: skip
        """Gives `step`, `analysis` and `issues`."""
        check_tensors(input_data=input_data, target_data=target_data)
        check_int(step=step)
        with aside():
            seen = self._native.monitor_training_step(model, loss_function, input_data, target_data, step)
        return Record(step=seen["step"], analysis=Analysis(seen["analysis"]), issues=issues(seen["issues"]))

    def get_monitoring_summary(self) -> Record:
        return record(self._native.get_monitoring_summary())

    def save_monitoring_report(self, path: str | os.PathLike[str]) -> None:
        """JSON for a path that ends in .json, else text."""
        self._native.save_monitoring_report(path_of("path", path))
