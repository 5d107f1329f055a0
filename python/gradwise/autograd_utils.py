"""Custom functions and losses, gradients of any order, averaged weights, hooks, the optimizer step and the loop."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

from . import _core
from ._native_optimizer import native_options
from ._records import Record, record

__all__ = [
    "AutogradHooks",
    "AutogradOptimizer",
    "AutogradTrainingLoop",
    "CustomAutogradFunction",
    "CustomLossFunction",
    "ExponentialMovingAverage",
    "GradientComputationUtils",
    "find_nonfinite",
]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Device = str | torch.device


class CustomAutogradFunction:
    """The matrix product with a backward of its own: `apply(input_tensor, weight)`, (..., m, k) times (..., k, n)."""

    @staticmethod
    def apply(input_tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return _core.matrix_product(input_tensor, weight)

    relu = staticmethod(_core.custom_relu)

    @staticmethod
    def leaky_relu(input: torch.Tensor, negative_slope: float = 0.01) -> torch.Tensor:
        return _core.custom_leaky_relu(input, negative_slope)

    @staticmethod
    def linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return _core.custom_linear(input, weight, bias)

    @staticmethod
    def activation(input: torch.Tensor, value: Callable[[torch.Tensor], torch.Tensor],
                   derivative: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:  # fmt: skip
        """An activation of your own, from its value and its derivative, both written with PyTorch's operators."""
        return _core.custom_activation(input, value, derivative)


class CustomLossFunction:
    """Losses with a hand-written backward, differentiable twice. Call one with its inputs:

    loss_function = CustomLossFunction.huber(delta=0.5)
    loss = loss_function(output, target)
    """

    def __init__(self, native: Any, name: str) -> None:
        self._native = native
        self._name = name

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self._native(list(inputs))
        return loss

    def __repr__(self) -> str:
        return f"CustomLossFunction.{self._name}"

    @classmethod
    def huber(cls, delta: float = 1.0, reduction: str = "mean") -> CustomLossFunction:
        """e²/2 where |e| <= delta, else delta (|e| - delta/2)."""
        return cls(_core.huber_loss(delta, reduction), f"huber(delta={delta})")

    @classmethod
    def focal(cls, gamma: float = 2.0, alpha: float | None = None, reduction: str = "mean") -> CustomLossFunction:
        """Logits (N, C, ...) with classes (N, ...), or logits and floating targets of one shape."""
        return cls(_core.focal_loss(gamma, -1.0 if alpha is None else alpha, reduction), f"focal(gamma={gamma})")

    @classmethod
    def label_smoothed_cross_entropy(
        cls, smoothing: float = 0.1, ignore_index: int = -100, reduction: str = "mean"
    ) -> CustomLossFunction:
        return cls(
            _core.label_smoothed_cross_entropy(smoothing, ignore_index, reduction),
            f"label_smoothed_cross_entropy(smoothing={smoothing})",
        )

    @classmethod
    def contrastive(cls, margin: float = 1.0, reduction: str = "mean") -> CustomLossFunction:
        """Called with a (N, D), b (N, D) and `same` (N): 1 for pairs of a kind, 0 for others."""
        return cls(_core.contrastive_loss(margin, reduction), f"contrastive(margin={margin})")

    @classmethod
    def triplet(
        cls, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, reduction: str = "mean"
    ) -> CustomLossFunction:
        """Called with anchor, positive and negative (N, D)."""
        return cls(_core.triplet_loss(margin, p, eps, reduction), f"triplet(margin={margin})")


def _several(value: Any) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else list(value)


def _like(given: Any, results: Sequence[torch.Tensor]) -> Any:
    return results[0] if isinstance(given, torch.Tensor) else tuple(results)


class GradientComputationUtils:
    """Gradients of any order, of functions and of models. Where one tensor goes in, one comes out."""

    @staticmethod
    def gradients(outputs: Any, inputs: Any, grad_outputs: Any = None, create_graph: bool = False,
                  retain_graph: bool = False) -> Any:  # fmt: skip
        """Gradients with respect to `inputs`; zeros where nothing depends on one. `.grad` stays as it is."""
        weights = [] if grad_outputs is None else _several(grad_outputs)
        found = _core.gradients(_several(outputs), _several(inputs), weights, create_graph, retain_graph)
        return _like(inputs, found)

    @staticmethod
    def jacobian(function: Callable[..., Any], inputs: Any, mode: str = "automatic",
                 chunk_size: int | None = None) -> Any:  # fmt: skip
        """Of `function(*inputs)`: output shape + input shape, one an input. `mode`: automatic, reverse, forward."""
        primals = _several(inputs)
        return _like(inputs, _core.jacobian(function, primals, list(range(len(primals))), mode, chunk_size))

    @staticmethod
    def hessian(function: Callable[..., torch.Tensor], inputs: Any, chunk_size: int | None = None) -> Any:
        """Second derivatives of a scalar function; of several inputs a tuple of rows of blocks."""
        primals = _several(inputs)
        found = _core.hessian(function, primals, list(range(len(primals))), chunk_size)
        if isinstance(inputs, torch.Tensor):
            return found[0]
        n = len(primals)
        return tuple(tuple(found[row * n + column] for column in range(n)) for row in range(n))

    @staticmethod
    def vjp(function: Callable[..., Any], inputs: Any, cotangents: Any) -> tuple[Any, Any]:
        """The function's value, and cotangents times its Jacobian."""
        outputs, found = _core.vjp(function, _several(inputs), _several(cotangents))
        return _like(cotangents, outputs), _like(inputs, found)

    @staticmethod
    def jvp(function: Callable[..., Any], inputs: Any, tangents: Any) -> tuple[Any, Any]:
        """The function's value, and its Jacobian times the tangents."""
        outputs, found = _core.jvp(function, _several(inputs), _several(tangents))
        single = len(outputs) == 1
        return (outputs[0], found[0]) if single else (tuple(outputs), tuple(found))

    @staticmethod
    def hessian_vector_product(function: Callable[..., torch.Tensor], inputs: Any, vectors: Any) -> tuple[Any, Any]:
        """The value of a scalar function, and its Hessian times the vectors."""
        value, _, products = _core.hvp(function, _several(inputs), _several(vectors))
        return value, _like(inputs, products)

    @staticmethod
    def gradient_norm(model: torch.nn.Module, norm_type: float = 2.0) -> float:
        """Global norm of the gradients that the parameters hold."""
        return float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None], norm_type))

    @staticmethod
    def layer_gradient_norms(model: torch.nn.Module, norm_type: float = 2.0) -> dict[str, float]:
        """The norm of each parameter's gradient, by name."""
        return {
            name: float(torch.linalg.vector_norm(p.grad, norm_type))
            for name, p in model.named_parameters()
            if p.grad is not None
        }

    @staticmethod
    def clip_gradients(model: torch.nn.Module, max_norm: float = 1.0, method: str = "norm") -> float:
        """In place, to a global norm (`method="norm"`) or element by element ("value"); gives the norm before."""
        before = GradientComputationUtils.gradient_norm(model)
        if method == "norm":
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        elif method == "value":
            torch.nn.utils.clip_grad_value_(model.parameters(), max_norm)
        else:
            raise ValueError(f"method is {method!r}, allowed: 'norm', 'value'")
        return before

    @staticmethod
    def gradient_penalty(output: torch.Tensor, input: torch.Tensor, target: float = 1.0) -> torch.Tensor:
        """Mean of (norm of the output's gradient by the input - target)², differentiable (WGAN-GP)."""
        return _core.gradient_penalty(output, input, target)

    @staticmethod
    def gradcheck(function: Callable[..., Any], inputs: Any, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
                  nondet_tol: float = 0.0, check_undefined_grad: bool = True,
                  raise_exception: bool = True) -> bool:  # fmt: skip
        """Gradients against central differences; arguments as `torch.autograd.gradcheck`."""
        return _core.gradcheck(
            function, _several(inputs), eps, atol, rtol, nondet_tol, check_undefined_grad, raise_exception
        )

    @staticmethod
    def gradgradcheck(function: Callable[..., Any], inputs: Any, eps: float = 1e-6, atol: float = 1e-5,
                      rtol: float = 1e-3, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
                      raise_exception: bool = True) -> bool:  # fmt: skip
        """The same of second derivatives."""
        return _core.gradgradcheck(
            function, _several(inputs), eps, atol, rtol, nondet_tol, check_undefined_grad, raise_exception
        )


class ExponentialMovingAverage:
    """Averaged parameters, with the interface of the package torch_ema.

    ema = ExponentialMovingAverage(model.parameters(), decay=0.995)
    ...; optimizer.step(); ema.update()
    with ema.average_parameters():
        validate(model)

    `use_num_updates` warms up: decay is min(decay, (1 + n) / (10 + n)) in update n. Of a module given in place of its
    parameters, `use_buffers=True` averages the floating-point buffers too and copies the others.
    """

    def __init__(self, parameters: Iterable[torch.Tensor] | torch.nn.Module, decay: float = 0.995,
                 use_num_updates: bool = True, use_buffers: bool = False) -> None:  # fmt: skip
        if not 0.0 <= decay <= 1.0:
            raise ValueError("Decay must be between 0 and 1")
        buffers: list[torch.Tensor] = []
        if isinstance(parameters, torch.nn.Module):
            buffers = list(parameters.buffers()) if use_buffers else []
            parameters = parameters.parameters()
        self._parameters = [p for p in parameters if p.requires_grad]
        self._buffers = buffers
        self._native = _core.ExponentialMovingAverage(
            [f"p{i}" for i in range(len(self._parameters))],
            self._parameters,
            [f"b{i}" for i in range(len(buffers))],
            buffers,
            {"decay": float(decay), "warmup": bool(use_num_updates)},
        )
        self._stored: list[torch.Tensor] | None = None

    @property
    def decay(self) -> float:
        return self._native.decay()

    @property
    def num_updates(self) -> int:
        return self._native.num_updates()

    @property
    def shadow_params(self) -> list[torch.Tensor]:
        return self._native.averages()[: len(self._parameters)]

    @property
    def collected_params(self) -> list[torch.Tensor] | None:
        return self._stored

    def _targets(self, parameters: Iterable[torch.Tensor] | None) -> list[torch.Tensor]:
        if parameters is None:
            return [*self._parameters, *self._buffers]
        given = [p for p in parameters if p.requires_grad]
        if len(given) != len(self._parameters):
            raise ValueError(
                "Number of parameters passed as argument is different from number of shadow parameters maintained by "
                "this ExponentialMovingAverage"
            )
        return list(given)

    def update(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        """Moves the averages, of the parameters or towards others that are given in their place."""
        if parameters is None:
            self._native.update()
            return
        given = self._targets(parameters)
        with torch.no_grad():
            kept = [p.detach().clone() for p in self._parameters]
            for own, other in zip(self._parameters, given, strict=True):
                own.copy_(other)
            try:
                self._native.update()
            finally:
                for own, before in zip(self._parameters, kept, strict=True):
                    own.copy_(before)

    def copy_to(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        with torch.no_grad():
            for target, average in zip(self._targets(parameters), self._native.averages(), strict=False):
                target.copy_(average)

    def store(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        self._stored = [p.detach().clone() for p in self._targets(parameters)]

    def restore(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        if self._stored is None:
            raise RuntimeError("This ExponentialMovingAverage has no `store()`ed weights to `restore()`")
        with torch.no_grad():
            for target, before in zip(self._targets(parameters), self._stored, strict=True):
                target.copy_(before)

    @contextlib.contextmanager
    def average_parameters(self, parameters: Iterable[torch.Tensor] | None = None) -> Iterator[None]:
        """The averages in the parameters' place for a scope; what `store` holds stays."""
        targets = None if parameters is None else list(parameters)
        kept = self._stored
        self.store(targets)
        self.copy_to(targets)
        try:
            yield
        finally:
            self.restore(targets)
            self._stored = kept

    def to(self, device: Device | None = None, dtype: torch.dtype | None = None) -> None:
        if device is not None:
            self._native.to_device(torch.device(device))
        if dtype is not None:
            self._native.to_dtype(dtype)

    def state_dict(self) -> dict[str, Any]:
        return {
            "decay": self.decay,
            "num_updates": self.num_updates,
            "shadow_params": [average.clone() for average in self.shadow_params],
            "collected_params": self._stored,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a state of this class or of torch_ema's."""
        shadow = list(state_dict["shadow_params"])
        if len(shadow) != len(self._parameters):
            raise ValueError(f"the state has {len(shadow)} shadow_params, there are {len(self._parameters)} parameters")
        values, tensors = self._native.state()
        now = json.loads(values)
        now["decay"] = state_dict["decay"]
        now["warmup"] = state_dict["num_updates"] is not None
        now["num_updates"] = state_dict["num_updates"] or 0
        tensors |= {f"p{i}": average for i, average in enumerate(shadow)}
        self._native.load_state(json.dumps(now), tensors)
        self._stored = state_dict.get("collected_params")


def _optimizer(model: torch.nn.Module, optimizer_class: Any, options: dict[str, Any]) -> Any:
    """The core's options for an optimizer class, or an instance of it."""
    if isinstance(optimizer_class, torch.optim.Optimizer):
        return optimizer_class
    native = native_options(optimizer_class, options)
    return optimizer_class(model.parameters(), **options) if native is None else native


class AutogradOptimizer:
    """Forward, backward, clipping and update in one call.

    `optimizer_class` is a class of torch.optim, given as a class; AdamW, Adam, SGD, RMSprop, Adagrad and LBFGS run
    in the core's one pass, every other class (or an optimizer that you have made) as it is. Further keywords are its
    options. `step_options` are those of the step: ``{"clip": {"method": "agc"}, "precision": "bfloat16"}``.
    """

    def __init__(self, model: torch.nn.Module, optimizer_class: Any = torch.optim.AdamW, lr: float = 1e-3,
                 weight_decay: float = 1e-2, *, step_options: dict[str, Any] | None = None,
                 **options: Any) -> None:  # fmt: skip
        given = {"lr": lr, "weight_decay": weight_decay} | options
        if optimizer_class is torch.optim.LBFGS:
            given.pop("weight_decay")
        self.model = model
        self._native = _core.AutogradOptimizer(model, _optimizer(model, optimizer_class, given), step_options or {})

    def step(self, loss_function: Loss, input_data: torch.Tensor, target_data: torch.Tensor,
             clip_gradients: bool = True, max_grad_norm: float = 1.0) -> Record:  # fmt: skip
        """One step on a batch; gives `loss`, `grad_norm`, `grad_norm_clipped`, `clipped`, `lr`, `param_norm`,
        `update_ratio`, `seconds` of each phase, `issues`."""
        return record(self._native.step(loss_function, input_data, target_data, clip_gradients, float(max_grad_norm)))

    def accumulate(self, loss_function: Loss, input_data: torch.Tensor, target_data: torch.Tensor,
                   window: int = 1) -> None:  # fmt: skip
        """Forward and backward of one of `window` micro-batches."""
        self._native.accumulate(loss_function, input_data, target_data, window)

    def finish_step(self, clip_gradients: bool = True, max_grad_norm: float = 1.0) -> Record:
        """The update by what was accumulated: that of one batch of all micro-batches."""
        return record(self._native.finish_step(clip_gradients, float(max_grad_norm)))

    @property
    def lr(self) -> list[float]:
        """The learning rate of each parameter group."""
        return self._native.rates()

    @lr.setter
    def lr(self, rates: float | Sequence[float]) -> None:
        groups = len(self._native.rates())
        self._native.set_rates([float(rates)] * groups if isinstance(rates, (int, float)) else list(rates))

    @property
    def steps(self) -> int:
        return self._native.steps

    @property
    def skipped_steps(self) -> int:
        return self._native.skipped_steps

    def state_dict(self) -> dict[str, Any]:
        values, tensors = self._native.state()
        return {"values": json.loads(values), "tensors": tensors}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._native.load_state(json.dumps(state_dict["values"]), state_dict["tensors"])


class AutogradTrainingLoop:
    """A training loop over any module, optimizer class and iterable of (input, target).

    Keywords beyond those of the optimizer are in `options`, as `gradwise config --explain` lists them under `train`:
    ``{"epochs": 5, "metrics": ["accuracy"], "use_ema": True, "schedule": {"name": "cosine"}}``. `checkpoints` is a
    folder for checkpoints, from which `resume` goes on to the same bits.
    """

    def __init__(self, model: torch.nn.Module, optimizer_class: Any = torch.optim.AdamW, lr: float = 1e-3,
                 weight_decay: float = 1e-2, *, options: dict[str, Any] | None = None,
                 checkpoints: str | os.PathLike[str] | None = None, **optimizer_options: Any) -> None:  # fmt: skip
        given = {"lr": lr, "weight_decay": weight_decay} | optimizer_options
        if optimizer_class is torch.optim.LBFGS:
            given.pop("weight_decay")
        self.model = model
        folder = "" if checkpoints is None else os.fspath(checkpoints)
        self._native = _core.AutogradTrainingLoop(
            model, _optimizer(model, optimizer_class, given), options or {}, folder
        )

    def train_epoch(self, dataloader: Iterable[Any], loss_function: Loss, device: Device = "cpu",
                    clip_gradients: bool = True, max_grad_norm: float = 1.0) -> Record:  # fmt: skip
        """One epoch; gives `losses` (one a step), `grad_norms`, `learning_rates`, `samples_per_second`."""
        return record(
            self._native.train_epoch(
                dataloader, loss_function, torch.device(device), clip_gradients, float(max_grad_norm)
            )
        )

    def validate(self, dataloader: Iterable[Any], loss_function: Loss, device: Device = "cpu") -> Record:
        """In evaluation mode, with the averaged weights where there is an average; gives `validation_loss` and
        `metrics`."""
        return record(self._native.validate(dataloader, loss_function, torch.device(device)))

    def fit(self, training: Iterable[Any], loss_function: Loss, validation: Iterable[Any] | None = None,
            device: Device = "cpu") -> Record:  # fmt: skip
        """All epochs, with validation, early stopping and checkpoints as the options say."""
        return record(self._native.fit(training, validation, loss_function, torch.device(device)))

    def on(self, point: str, callback: Callable[[Record], str | None]) -> None:
        """Calls back at a point ("step_end", "epoch_end", ...); an answer of "skip", "stop" or "roll_back" steers."""
        self._native.on(point, lambda told: callback(record(told)))

    def request_stop(self) -> None:
        self._native.request_stop()

    def save_checkpoint(self) -> str:
        """Saves now, and gives the folder."""
        return self._native.save_checkpoint()

    def resume(self, checkpoint: str | os.PathLike[str], device: Device = "cpu") -> None:
        self._native.resume(os.fspath(checkpoint), torch.device(device))

    @property
    def steps(self) -> int:
        return self._native.steps


class AutogradHooks:
    """Figures, or tensors, of gradients, activations and their gradients, by name pattern.

    with AutogradHooks(model, patterns=["encoder.*"]) as hooks:
        loss_function(model(x), y).backward()
    for seen in hooks.records(): print(seen.name, seen.norm)
    """

    def __init__(self, model: torch.nn.Module, patterns: Sequence[str] = ("*",), parameter_gradients: bool = True,
                 activations: bool = True, activation_gradients: bool = True,
                 keep_tensors: bool = False) -> None:  # fmt: skip
        native = _core.AutogradHooks(
            model,
            {
                "patterns": list(patterns),
                "parameter_gradients": parameter_gradients,
                "activations": activations,
                "activation_gradients": activation_gradients,
                "keep_tensors": keep_tensors,
            },
        )
        self._native = native
        self._handles = []
        if activations or activation_gradients:
            for name, part in model.named_modules():
                if name and not any(part.children()):
                    self._handles.append(part.register_forward_hook(_observer(native, name)))

    def records(self) -> list[Record]:
        return [record(seen) for seen in self._native.records()]

    def clear(self) -> None:
        self._native.clear()

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._native.remove()

    def __enter__(self) -> AutogradHooks:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def _observer(native: Any, name: str) -> Callable[..., None]:
    def observe(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            native.observe(name, output)

    return observe


def find_nonfinite(model: torch.nn.Module, loss_function: Loss, input_data: torch.Tensor,
                   target_data: torch.Tensor) -> Record | None:  # fmt: skip
    """Replays a step and names the first operator and layer that made inf or NaN: `phase`, `op`, `layer`, `inputs`,
    `output`, `message`, `advice`. None where loss and gradients are finite."""
    found = _core.find_nonfinite(model, loss_function, input_data, target_data)
    return None if found is None else record(found)
