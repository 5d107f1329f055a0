"""The gradient of every sample of a batch, and what can be told of them without making them.

    gradients = gradwise.per_sample_gradients(model, loss_function, x, y)    # name -> (samples, *shape)
    norms = gradwise.per_sample_norms(model, loss_function, x, y)            # (samples,)

`PerSampleGradients` has more, and uses its memory again, which is several times as fast from its second call on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from . import _core
from ._checks import check_tensors
from ._documented import documented_by
from ._records import Record

__all__ = ["PerSampleGradients", "per_sample_gradients", "per_sample_norms"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Tensors = dict[str, torch.Tensor]


@documented_by(_core.PerSampleGradients)
class PerSampleGradients:
    """With respect to the parameters that ask for one, as a loop over the samples gives them:
    `loss_function(model(x[i:i+1]), y[i:i+1])`.

    Parameters
    ----------
    model : torch.nn.Module
        A batch norm in training mode is refused: it joins the samples.
    loss_function : callable of (output, target)
        Its reduction plays no part: it sees every sample as a batch of one.

    Notes
    -----
    Samples are along dimension 0 of input, target and output. Model, gradients and random state stay as they were.
    """

    def __init__(self, model: torch.nn.Module, loss_function: Loss) -> None:
        self._native = _core.PerSampleGradients(model, loss_function)

    @property
    def loop_reason(self) -> str:
        """Why the rules did not tell the last batch, and whether vmap went over its samples or each took a pass of its
        own; empty where they did."""
        return self._native.loop_reason()

    def gradients(self, input_data: torch.Tensor, target_data: torch.Tensor | None = None) -> Tensors:
        """Of each parameter a tensor (samples, *shape). The next call writes to the same memory: clone what is to
        stay."""
        return self._native.gradients(*_batch(input_data, target_data))

    def norms(self, input_data: torch.Tensor, target_data: torch.Tensor | None = None) -> Record:
        """`norms` (samples,) over all parameters, and `parameter_norms` of each; no gradient is kept."""
        norms, by_parameter = self._native.norms(*_batch(input_data, target_data))
        return Record(norms=norms, parameter_norms=by_parameter)

    def inner_products(self, input_data: torch.Tensor, target_data: torch.Tensor | None = None) -> torch.Tensor:
        """(samples, samples): inner products over all parameters."""
        return self._native.inner_products(*_batch(input_data, target_data))

    def moments(self, input_data: torch.Tensor, target_data: torch.Tensor | None = None) -> Record:
        """`mean`, `second_moment` and `signal_to_noise` (mean^2 / variance) of each coordinate, by parameter."""
        return Record(self._native.moments(*_batch(input_data, target_data)))

    def clipped_gradient(
        self, input_data: torch.Tensor, target_data: torch.Tensor | None = None, *, max_norm: float
    ) -> Record:
        """`gradient`, by parameter: the sum of the samples' gradients, each scaled down to `max_norm`; `norms`
        (samples,) before that."""
        gradient, norms = self._native.clipped_gradient(*_batch(input_data, target_data), max_norm)
        return Record(gradient=gradient, norms=norms)

    def noise_scale(self, input_data: torch.Tensor, target_data: torch.Tensor | None = None) -> Record:
        """`noise_scale`, in samples, and the `variance` and `squared_norm` that it is the ratio of (McCandlish et al.,
        2018)."""
        return Record(self._native.noise_scale(*_batch(input_data, target_data)))


def per_sample_gradients(
    model: torch.nn.Module, loss_function: Loss, input_data: torch.Tensor, target_data: torch.Tensor | None = None
) -> Tensors:
    """The gradients of one batch, by the parameters' names: (samples, *shape)."""
    return PerSampleGradients(model, loss_function).gradients(input_data, target_data)


def per_sample_norms(
    model: torch.nn.Module, loss_function: Loss, input_data: torch.Tensor, target_data: torch.Tensor | None = None
) -> torch.Tensor:
    """The norms (samples,) of the gradients of one batch, over all parameters."""
    norms: torch.Tensor = PerSampleGradients(model, loss_function).norms(input_data, target_data).norms
    return norms


def _batch(input_data: Any, target_data: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    check_tensors(input_data=input_data)
    if target_data is not None:
        check_tensors(target_data=target_data)
    return input_data, target_data
