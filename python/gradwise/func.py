"""The transforms of `torch.func`, by the core: its names, its order of arguments, its results.

Functions take and give tensors, also inside of lists, tuples and dicts; what else they take stays as it is. They nest,
with `torch.func`'s own too. Beside `torch.func` they differentiate by tensors that the function captures as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._C import _functorch
from torch.utils._pytree import TreeSpec, _broadcast_to_and_flatten, tree_flatten, tree_unflatten

from . import _core
from ._documented import documented_by
from ._forward_mode import warn_of_fallback
from .errors import GradwiseUsageError

__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp", "vmap"]

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]


_TENSOR = object()  # stands for a tensor among leaves


def _marked(leaves: Sequence[Any]) -> list[Any]:
    return [_TENSOR if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]


def _filled(leaves: Sequence[Any], tensors: Sequence[torch.Tensor]) -> list[Any]:
    given = iter(tensors)
    return [next(given) if leaf is _TENSOR else leaf for leaf in leaves]


class _Flat:
    """A function of several arguments as the core takes it: from tensors to a tuple of outputs and one of aux results.

    It remembers how arguments and results are put together.
    """

    def __init__(self, place: str, function: Function, args: Sequence[Any], kwargs: dict[str, Any],
                 has_aux: bool) -> None:  # fmt: skip
        if not callable(function):
            raise TypeError(f"[{place}] func is {function!r}, allowed: a callable")
        self.place, self.function, self.kwargs, self.has_aux = place, function, kwargs, has_aux
        self.specs: list[TreeSpec] = []
        self.arguments: list[list[int]] = []  # the places of each argument's tensors among all of them
        self.tensors: list[torch.Tensor] = []
        self.leaves: list[Any] = []
        for arg in args:
            leaves, spec = tree_flatten(arg)
            before = len(self.tensors)
            self.tensors += [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
            self.leaves += _marked(leaves)
            self.specs.append(spec)
            self.arguments.append(list(range(before, len(self.tensors))))
        self.output: TreeSpec | None = None
        self.aux_leaves: list[Any] = []
        self.aux: TreeSpec | None = None

    def __call__(self, *tensors: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        leaves = iter(_filled(self.leaves, tensors))
        args = [tree_unflatten([next(leaves) for _ in range(spec.num_leaves)], spec) for spec in self.specs]
        result = self.function(*args, **self.kwargs)
        aux = None
        if self.has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise GradwiseUsageError(
                    f"[{self.place}] the function gave a {type(result)}, allowed with has_aux: a tuple (output, aux)"
                )
            result, aux = result
        outputs, self.output = tree_flatten(result)
        for output in outputs:
            if not isinstance(output, torch.Tensor):
                raise GradwiseUsageError(f"[{self.place}] the function gave a {type(output)}, allowed: tensors")
        aux_leaves, self.aux = tree_flatten(aux)
        self.aux_leaves = _marked(aux_leaves)
        return tuple(outputs), tuple(leaf for leaf in aux_leaves if isinstance(leaf, torch.Tensor))

    def result_of(self, outputs: Sequence[Any]) -> Any:
        assert self.output is not None
        return tree_unflatten(list(outputs), self.output)

    def aux_of(self, tensors: Sequence[torch.Tensor]) -> Any:
        assert self.aux is not None
        return tree_unflatten(_filled(self.aux_leaves, tensors), self.aux)

    def chosen(self, argnums: Argnums) -> list[int]:
        """Which arguments are meant, counted from the front."""
        wanted = argnums if isinstance(argnums, tuple) else (argnums,)
        count = len(self.arguments)
        for number in wanted:
            if not isinstance(number, int) or not -count <= number < count:
                raise GradwiseUsageError(f"[{self.place}] argnums is {argnums!r}, the function has {count} arguments")
        return [number % count for number in wanted]

    def places_of(self, arguments: Sequence[int]) -> list[int]:
        """Their tensors among all tensors."""
        for argument in arguments:
            if len(self.arguments[argument]) != self.specs[argument].num_leaves or not self.arguments[argument]:
                raise GradwiseUsageError(
                    f"[{self.place}] argument {argument} has something in it that is no tensor, or no tensor at all: "
                    "there is no derivative by it"
                )
        return [place for argument in arguments for place in self.arguments[argument]]

    def like_arguments(self, argnums: Argnums, values: Sequence[Any]) -> Any:
        """One value a tensor of the chosen arguments, put together as those are; a tuple where argnums is one."""
        rest = iter(values)
        made = []
        for argument in self.chosen(argnums):
            spec = self.specs[argument]
            made.append(tree_unflatten([next(rest) for _ in range(spec.num_leaves)], spec))
        return tuple(made) if isinstance(argnums, tuple) else made[0]


def _tensors_like(place: str, name: str, given: Any, spec: TreeSpec) -> list[torch.Tensor]:
    leaves, found = tree_flatten(given)
    if found != spec:
        raise GradwiseUsageError(f"[{place}] {name} are put together as {found}, allowed: as {spec}")
    return leaves


@documented_by(_core.func_grad)
def grad(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """Gives the gradient by `argnums`; with `has_aux`, (gradient, aux)."""

    def gradient(*args: Any, **kwargs: Any) -> Any:
        flat = _Flat("grad", func, args, kwargs, has_aux)
        places = flat.places_of(flat.chosen(argnums))
        found = _core.func_grad(flat, flat.tensors, places)
        gradients = flat.like_arguments(argnums, found)
        return (gradients, flat.aux_of(found[len(places) :])) if has_aux else gradients

    return gradient


@documented_by(_core.func_grad_and_value)
def grad_and_value(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """Gives (gradient, value); with `has_aux`, (gradient, (value, aux))."""

    def gradient_and_value(*args: Any, **kwargs: Any) -> Any:
        flat = _Flat("grad_and_value", func, args, kwargs, has_aux)
        found, value, aux = _core.func_grad_and_value(flat, flat.tensors, flat.places_of(flat.chosen(argnums)))
        output = flat.result_of([value])
        return flat.like_arguments(argnums, found), ((output, flat.aux_of(aux)) if has_aux else output)

    return gradient_and_value


@documented_by(_core.func_vjp)
def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """Gives (output, function from cotangents to a tuple of gradients), and aux behind them with `has_aux`."""
    flat = _Flat("vjp", func, primals, {}, has_aux)
    everything = tuple(range(len(primals)))
    flat.places_of(everything)
    outputs, pull_back, aux = _core.func_vjp(flat, flat.tensors)
    spec = flat.output
    assert spec is not None

    def pull(cotangents: Any) -> Any:
        return flat.like_arguments(everything, pull_back(_tensors_like("vjp", "cotangents", cotangents, spec)))

    output = flat.result_of(outputs)
    return (output, pull, flat.aux_of(aux)) if has_aux else (output, pull)


@documented_by(_core.func_jvp)
def jvp(func: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...], *, has_aux: bool = False) -> Any:
    """Gives (output, its tangents), and aux behind them with `has_aux`.

    Where something in `func` has no forward derivative, two backward passes make the tangents, and a warning says so.
    """
    if not isinstance(primals, tuple) or not primals:
        raise GradwiseUsageError(f"[jvp] primals is {primals!r}, allowed: a tuple of at least one argument")
    flat = _Flat("jvp", func, primals, {}, has_aux)
    flat.places_of(range(len(primals)))
    given = _tensors_like("jvp", "tangents", tangents, tree_flatten(primals)[1])
    outputs, found, aux, reason = _core.func_jvp(flat, flat.tensors, given)
    warn_of_fallback("jvp", reason)
    output, tangent = flat.result_of(outputs), flat.result_of(found)
    return (output, tangent, flat.aux_of(aux)) if has_aux else (output, tangent)


@documented_by(_core.func_linearize)
def linearize(func: Function, *primals: Any) -> tuple[Any, Function]:
    """Gives (output, function from tangents to the output's)."""
    flat = _Flat("linearize", func, primals, {}, has_aux=False)
    flat.places_of(range(len(primals)))
    outputs, derivative = _core.func_linearize(flat, flat.tensors)
    spec = tree_flatten(primals)[1]

    def push(*tangents: Any) -> Any:
        return flat.result_of(derivative(_tensors_like("linearize", "tangents", tangents, spec)))

    return flat.result_of(outputs), push


def _jacobian(place: str, func: Function, argnums: Argnums, has_aux: bool, forward: bool,
              chunk_size: int | None, randomness: str = "same") -> Function:  # fmt: skip
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        flat = _Flat(place, func, args, kwargs, has_aux)
        columns = flat.places_of(flat.chosen(argnums))
        found = _core.func_jacobian(flat, flat.tensors, columns, forward, chunk_size, randomness)
        assert flat.output is not None
        rows = flat.output.num_leaves
        blocks = [flat.like_arguments(argnums, found[row * len(columns) :]) for row in range(rows)]
        result = flat.result_of(blocks)
        return (result, flat.aux_of(found[rows * len(columns) :])) if has_aux else result

    return jacobian


@documented_by(_core.func_jacobian)
def jacrev(func: Function, argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None) -> Function:
    """In reverse mode: one backward pass an output element, `chunk_size` of them at once."""
    return _jacobian("jacrev", func, argnums, has_aux, False, chunk_size)


@documented_by(_core.func_jacobian)
def jacfwd(func: Function, argnums: Argnums = 0, has_aux: bool = False, *, chunk_size: int | None = None,
           randomness: str = "same") -> Function:  # fmt: skip
    """In forward mode: one forward pass an input element, `chunk_size` of them at once. `randomness` between the
    columns, as of `vmap`; by default what is random in `func` is the same for each, while `torch.func` refuses it."""
    return _jacobian("jacfwd", func, argnums, has_aux, True, chunk_size, randomness)


@documented_by(_core.hessian)
def hessian(func: Function, argnums: Argnums = 0) -> Function:
    """Made as `jacfwd(jacrev(func))`."""
    return jacfwd(jacrev(func, argnums), argnums)


class _FlatBatch(_Flat):
    """A function that runs inside of vmap, which sorts out the results that are the same for all."""

    def __init__(self, function: Function, args: Sequence[Any], kwargs: dict[str, Any], out_dims: Any) -> None:
        super().__init__("vmap", function, args, kwargs, has_aux=False)
        self.out_dims = out_dims
        self.places: list[int | None] = []
        self.same: dict[int, torch.Tensor] = {}  # by their place among the results

    def __call__(self, *tensors: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        outputs, aux = super().__call__(*tensors)
        assert self.output is not None
        places = _broadcast_to_and_flatten(self.out_dims, self.output)
        if places is None or not all(place is None or isinstance(place, int) for place in places):
            raise GradwiseUsageError(
                f"[vmap] out_dims is {self.out_dims!r}, the results are put together as {self.output}"
            )
        self.places = places
        self.same = {i: output for i, (output, place) in enumerate(zip(outputs, places)) if place is None}
        for i, output in self.same.items():
            if _functorch.maybe_get_level(output) == _functorch.maybe_current_level():
                raise GradwiseUsageError(f"[vmap] out_dims has None for result {i}, which differs between the slices")
        return outputs, aux


@documented_by(_core.func_vmap)
def vmap(func: Function, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
         chunk_size: int | None = None) -> Function:  # fmt: skip
    """`in_dims`: the dimension of all arguments, or a tuple of one for each, which may be put together as the argument
    is; None: not gone over. `out_dims`: where each result gets it; None: nowhere, for a result that is the same for
    all. `randomness`: "error", "different" or "same". Keywords of `func` are not gone over.
    """

    def over_all(*args: Any, **kwargs: Any) -> Any:
        flat = _FlatBatch(func, args, kwargs, out_dims)
        leaves, spec = tree_flatten(args)
        dims = _broadcast_to_and_flatten(in_dims, spec)
        if dims is None:
            raise GradwiseUsageError(f"[vmap] in_dims is {in_dims!r}, the arguments are put together as {spec}")
        for leaf, dim in zip(leaves, dims):
            if dim is not None and not (isinstance(dim, int) and isinstance(leaf, torch.Tensor)):
                raise GradwiseUsageError(
                    f"[vmap] in_dims has {dim!r} for a {type(leaf)}, allowed: an int for a tensor, or None"
                )
        tensor_dims = [dim for leaf, dim in zip(leaves, dims) if isinstance(leaf, torch.Tensor)]
        found = _core.func_vmap(flat, flat.tensors, tensor_dims, randomness, chunk_size)
        return flat.result_of(
            [flat.same[i] if place is None else tensor.movedim(0, place)
             for i, (tensor, place) in enumerate(zip(found, flat.places))]
        )  # fmt: skip

    return over_all
