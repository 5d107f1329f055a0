"""What operators over a data set take, checked: batches, patterns of parameters, a progress callback, a loss."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def batches_of(data: Any) -> Iterable[Any]:
    if isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[1], torch.Tensor):
        return [tuple(data)]
    if isinstance(data, (torch.Tensor, str)) or not isinstance(data, Iterable):
        raise TypeError(f"data is a {type(data).__name__}, allowed: a batch (x, y), or an iterable of batches")
    return data


def patterns_of(parameters: Any) -> list[str]:
    if isinstance(parameters, str):
        raise TypeError(f"parameters is {parameters!r}, allowed: a list of patterns")
    return list(parameters or [])


def check_progress(progress: object) -> None:
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is {progress!r}, allowed: a callable of (batches done, batches)")


_LIKELIHOODS: dict[str, tuple[Any, type[torch.nn.Module]]] = {
    "cross_entropy": (torch.nn.functional.cross_entropy, torch.nn.CrossEntropyLoss),
    "binary_cross_entropy": (torch.nn.functional.binary_cross_entropy_with_logits, torch.nn.BCEWithLogitsLoss),
    "mse": (torch.nn.functional.mse_loss, torch.nn.MSELoss),
}


def likelihood_of(loss_function: Any, reduction: object) -> str:
    """The name of the loss of these that it is."""
    if isinstance(loss_function, str):
        return loss_function
    for name, (function, module) in _LIKELIHOODS.items():
        if loss_function is function:
            return name
        if type(loss_function) is module:
            given = vars(loss_function) | dict(loss_function.named_buffers())
            changed = [key for key in ("weight", "pos_weight") if given.get(key) is not None]
            changed += [key for key in ("label_smoothing",) if given.get(key)]
            if changed or given["reduction"] != reduction:
                raise ValueError(f"loss_function has {', '.join(changed) or 'reduction'} of its own, allowed: a plain "
                                 f"{module.__name__} of reduction {reduction!r}")  # fmt: skip
            return name
    raise ValueError(
        f"loss_function is {loss_function!r}, allowed: {', '.join(_LIKELIHOODS)}, or torch's function or module for one"
    )
