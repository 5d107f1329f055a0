"""Analyses of a model's gradients, beside the training and without a trace in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import torch

from . import _core, _plots
from ._checks import check_tensors
from ._documented import documented_by
from ._forward_hook import aside
from ._records import Issue, Record, Table, issues, record
from ._step_rule import step_rule
from .errors import GradwiseUsageError

__all__ = ["GradientAnalysisConfig", "GradientAnalyzer", "GradientMonitoring"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class GradientAnalysisConfig:
    """What is computed, and the thresholds.

    `gradient_norm_threshold`: global norm above which it is told. `gradient_angle_threshold`: radians beyond a right
    angle from which two gradients conflict. `micro_batches`: parts that a batch is cut into for angles and noise.
    `hessian_eigenvalues`, `hessian_steps`, `trace_vectors`, `density_vectors`: effort for `compute_hessian`;
    `hessian_layers`: whether it looks at each layer's block too.
    """

    def __init__(self, compute_hessian: bool = False, compute_gradient_norms: bool = True,
                 compute_gradient_angles: bool = True, compute_gradient_correlation: bool = True,
                 compute_gradient_flow: bool = True, gradient_norm_threshold: float = 1.0,
                 gradient_angle_threshold: float = 0.1, **options: Any) -> None:  # fmt: skip
        self.options: dict[str, Any] = {
            "compute_hessian": compute_hessian,
            "compute_gradient_norms": compute_gradient_norms,
            "compute_gradient_angles": compute_gradient_angles,
            "compute_gradient_correlation": compute_gradient_correlation,
            "compute_gradient_flow": compute_gradient_flow,
            "gradient_norm_threshold": gradient_norm_threshold,
            "gradient_angle_threshold": gradient_angle_threshold,
        } | options
        _core.GradientAnalyzer(self.options, None)  # refuses what is not allowed

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["options"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __repr__(self) -> str:
        return f"GradientAnalysisConfig({', '.join(f'{key}={value!r}' for key, value in self.options.items())})"


class Analysis(Record):
    """What one analysis has found: `loss`, `norm`, `parameters`, `layers`, `flow`, `angles`, `correlation`, `hessian`,
    `activations`; NaN where a figure was not asked for.

    `hessian`: `sharpness`, `eigenvalues` with `eigenvalue_errors` (residuals), `trace` with `trace_error`, `density`
    with `density_errors`, `layers` (`largest`, `trace` and their errors), and `edge_of_stability`: `value` (learning
    rate x largest eigenvalue, of the preconditioned Hessian where `preconditioned`) beside its `threshold`, or why it
    is `unknown`.
    """

    def __init__(self, native: Any) -> None:
        super().__init__(record(native.to_dict()))
        object.__setattr__(self, "_native", native)

    def plot(self, what: str = "norms", ax: Any = None) -> Any:
        """Draws with matplotlib into `ax`, or into axes of its own, and gives them. `what`: norms, flow,
        micro_batches, classes, layers, spectrum, curvature."""
        return _plots.plot_analysis(self, what, ax)

    def to_pandas(self) -> Any:
        """A row for each parameter."""
        return Table(self["parameters"]).to_pandas()

    def _repr_html_(self) -> str:
        head = Record({key: self[key] for key in ("loss", "samples", "norm")})
        return head._repr_html_() + Table(self["parameters"])._repr_html_()


def _config(config: GradientAnalysisConfig | dict[str, Any] | None) -> GradientAnalysisConfig:
    return config if isinstance(config, GradientAnalysisConfig) else GradientAnalysisConfig(**(config or {}))


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
        return issues(self._native.detect_gradient_issues(results._native))

    def plot_gradient_analysis(self, save_path: str | os.PathLike[str] = "gradient_analysis.png") -> str:
        """Draws the last analysis (PNG, SVG or PDF by the extension) with gnuplot; gives the path."""
        drawn, reason = self._native.plot_gradient_analysis(os.fspath(save_path))
        if not drawn:
            raise RuntimeError(f"{save_path} was not drawn: {reason}")
        return os.fspath(save_path)

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
        with aside():
            return record(self._native.monitor_training_step(model, loss_function, input_data, target_data, step))

    def get_monitoring_summary(self) -> Record:
        return record(self._native.get_monitoring_summary())

    def save_monitoring_report(self, path: str | os.PathLike[str]) -> None:
        """JSON for a path that ends in .json, else text."""
        self._native.save_monitoring_report(os.fspath(path))
