"""Optimizers against PyTorch, driven through optim_probe with the same numbers."""

import inspect

import numpy as np
import pytest
import torch
from optim_probe import DTYPES, SHAPES, STEPS, assert_near, probe
from torch.testing._internal.common_optimizers import optim_db

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def rule(kind, ours, torch_class, **theirs):
    """`ours` and `theirs` are options of the same meaning; learning rate and weight decay are given to both."""
    lr = theirs.setdefault("lr", 0.01)
    return {"name": kind, "lr": lr} | ours, torch_class, theirs


def adam(kind, ours=None, **theirs):
    """Adam's beta1 and beta2 are one option in torch."""
    ours = {"weight_decay": theirs.get("weight_decay", 0.0)} | (ours or {})
    theirs.setdefault("weight_decay", 0.0)
    if "betas" in theirs:
        ours |= {"beta1": theirs["betas"][0], "beta2": theirs["betas"][1]}
    ours |= {key: theirs[key] for key in ("amsgrad", "eps") if key in theirs}
    return rule(kind, ours, torch.optim.AdamW if kind == "adamw" else torch.optim.Adam, **theirs)


def same_names(kind, torch_class, **options):
    """An optimizer whose options have torch's names."""
    options.setdefault("weight_decay", 0.0)
    return rule(kind, dict(options), torch_class, **options)


def rmsprop(**options):
    return same_names("rmsprop", torch.optim.RMSprop, **options)


def sgd(**options):
    return same_names("sgd", torch.optim.SGD, **options)


def adagrad(ours=None, **theirs):
    theirs = {"weight_decay": 0.0, "eps": 1e-10} | theirs
    shared = {key: theirs[key] for key in ("weight_decay", "eps", "lr_decay") if key in theirs}
    return rule("adagrad", shared | (ours or {}), torch.optim.Adagrad, **theirs)


OPTIMIZERS = {
    "adamw": adam("adamw", weight_decay=0.01),
    "adamw_no_decay": adam("adamw"),
    "adamw_strong_decay": adam("adamw", weight_decay=0.3, lr=0.1),
    "adamw_amsgrad": adam("adamw", weight_decay=0.01, amsgrad=True),
    "adamw_betas": adam("adamw", betas=(0.5, 0.9), eps=1e-3),
    "adam": adam("adam"),
    "adam_decay": adam("adam", weight_decay=0.1),
    "adam_amsgrad": adam("adam", weight_decay=0.1, amsgrad=True, betas=(0.8, 0.95)),
    "sgd": sgd(),
    "sgd_decay": sgd(weight_decay=0.1),
    "sgd_momentum": sgd(momentum=0.9),
    "sgd_dampening": sgd(momentum=0.9, dampening=0.3, weight_decay=0.01),
    "sgd_nesterov": sgd(momentum=0.8, nesterov=True, weight_decay=0.01),
    "rmsprop": rmsprop(),
    "rmsprop_alpha": rmsprop(alpha=0.8, eps=1e-4, weight_decay=0.1),
    "rmsprop_momentum": rmsprop(momentum=0.9, lr=1e-3),
    "rmsprop_centered": rmsprop(centered=True),
    "rmsprop_all": rmsprop(centered=True, momentum=0.5, weight_decay=0.01, alpha=0.95, lr=1e-3),
    "adagrad": adagrad(),
    "adagrad_decays": adagrad(lr=0.1, lr_decay=0.01, weight_decay=0.1),
    "adagrad_start": adagrad({"initial_accumulator": 0.5}, initial_accumulator_value=0.5, eps=1e-3),
}


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms"."""

    def __init__(self, parameters, lr, betas, weight_decay):
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                moment = self.state[parameter].setdefault("m", torch.zeros_like(parameter))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_((beta1 * moment + (1 - beta1) * parameter.grad).sign() * group["lr"])
                moment.mul_(beta2).add_(parameter.grad, alpha=1 - beta2)


OPTIMIZERS["lion"] = rule(
    "lion", {"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1}, Lion, betas=(0.9, 0.99), weight_decay=0.1
)


def optimizer_input(dtype, seed):
    """Start values and a gradient a step, of sizes from 0.001 to 10."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in SHAPES.items():
        sizes = 10 ** (torch.rand(STEPS, generator=generator, dtype=torch.float64) * 4 - 3)
        rows = torch.randn(STEPS, *shape, generator=generator, dtype=torch.float64)
        tensors[f"p/{name}"] = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        tensors[f"g/{name}"] = (rows * sizes.reshape(-1, *[1] * len(shape))).to(dtype)
    return tensors


def train_in_torch(tensors, make_optimizer):
    parameters = {name[2:]: tensor.clone().requires_grad_() for name, tensor in tensors.items() if name[0] == "p"}
    optimizer = make_optimizer(parameters)
    for step in range(STEPS):
        for name, parameter in parameters.items():
            parameter.grad = tensors[f"g/{name}"][step].clone()
        optimizer.step()
    return {name: parameter.detach() for name, parameter in parameters.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_equals_torchs(tmp_path, name, dtype):
    ours, torch_class, theirs = OPTIMIZERS[name]
    tensors = optimizer_input(DTYPES[dtype], seed=len(name))
    case = {"kind": "optimizer", "options": ours, "loss": "linear", "steps": STEPS}
    actual, _ = probe(tmp_path, case, tensors)
    expected = train_in_torch(tensors, lambda parameters: torch_class(parameters.values(), **theirs))
    assert_near(actual, expected, TOLERANCE[dtype])
    moved = (expected["a"] - tensors["p/a"]).abs().max()
    assert moved > 100 * TOLERANCE[dtype], "nothing was tested: the parameters did not move"


OUR_OPTIONS = {
    "lr", "weight_decay", "eps", "amsgrad", "maximize", "momentum", "dampening", "nesterov", "alpha", "centered",
    "lr_decay", "initial_accumulator",
}  # fmt: skip


def cases_of_optim_db():
    """Every option set that PyTorch tests its own optimizers with, where ours has that optimizer."""
    names = {"Adam": "adam", "AdamW": "adamw", "SGD": "sgd", "RMSprop": "rmsprop", "Adagrad": "adagrad"}
    renamed = {"initial_accumulator_value": "initial_accumulator"}
    for info in optim_db:
        for given in info.optim_inputs_func(device="cpu") if info.optim_cls.__name__ in names else []:
            theirs = {k: v.item() if isinstance(v, torch.Tensor) else v for k, v in given.kwargs.items()}
            for key in ("fused", "foreach", "capturable", "differentiable"):
                theirs.pop(key, None)
            if "betas" in theirs:
                theirs["betas"] = tuple(float(beta) for beta in theirs["betas"])
            name = info.optim_cls.__name__
            torchs = {k: v.default for k, v in inspect.signature(info.optim_cls).parameters.items()} | theirs
            ours = {renamed.get(k, k): v for k, v in torchs.items() if renamed.get(k, k) in OUR_OPTIONS}
            if "betas" in torchs:
                ours["beta1"], ours["beta2"] = torchs["betas"]
            yield pytest.param({"name": names[name]} | ours, info.optim_cls, theirs, id=f"{name}-{given.desc}")


@pytest.mark.parametrize("ours, torch_class, theirs", list(cases_of_optim_db()))
def test_optimizer_equals_torchs_under_its_own_cases(tmp_path, ours, torch_class, theirs):
    tensors = optimizer_input(torch.float64, seed=3)
    case = {"kind": "optimizer", "options": ours, "loss": "linear", "steps": STEPS}
    actual, _ = probe(tmp_path, case, tensors)
    expected = train_in_torch(tensors, lambda parameters: torch_class(parameters.values(), **theirs))
    assert_near(actual, expected, 1e-11)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "lion"])
def test_parity_has_the_bits_of_torchs_single_tensor_form(tmp_path, name):
    ours, torch_class, theirs = OPTIMIZERS[name]
    tensors = optimizer_input(torch.float32, seed=len(name))
    case = {"kind": "optimizer", "options": ours | {"parity": True}, "loss": "linear", "steps": STEPS}
    actual, _ = probe(tmp_path, case, tensors)
    expected = train_in_torch(tensors, lambda parameters: torch_class(parameters.values(), foreach=False, **theirs))
    for parameter, values in expected.items():
        np.testing.assert_array_equal(actual[parameter].numpy(), values.numpy(), err_msg=parameter)


@pytest.mark.parametrize("kind, torch_class", [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_parameter_groups_equal_torchs(tmp_path, kind, torch_class):
    tensors = optimizer_input(torch.float64, seed=5)
    rules = ["a lr=0.1", "e weight_decay=0.5"]
    options = {"name": kind, "lr": 0.01, "weight_decay": 0.1, "decay_vectors": False, "groups": rules}
    case = {"kind": "optimizer", "options": options, "loss": "linear", "steps": STEPS}
    actual, _ = probe(tmp_path, case, tensors)

    def grouped(parameters):
        groups = [
            {"params": [parameters["a"]], "lr": 0.1, "weight_decay": 0.1},
            {"params": [parameters["e"]], "lr": 0.01, "weight_decay": 0.5},
            {"params": [parameters["d"]], "lr": 0.01, "weight_decay": 0.1},
            {"params": [parameters["b"], parameters["c"]], "lr": 0.01, "weight_decay": 0.0},
        ]
        return torch_class(groups)

    assert_near(actual, train_in_torch(tensors, grouped), 1e-12)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-9)])
@pytest.mark.parametrize("line_search, lr", [(True, 1.0), (False, 0.2)])
def test_lbfgs_equals_torchs(tmp_path, line_search, lr, dtype, tolerance):
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name in ("a", "b", "c"):
        shape = SHAPES[name]
        tensors[f"p/{name}"] = torch.randn(shape, generator=generator).to(DTYPES[dtype])
        target = torch.randn(1, *shape, generator=generator)
        curvature = torch.rand(1, *shape, generator=generator) * 9 + 1
        tensors[f"g/{name}"] = torch.cat([target, curvature]).to(DTYPES[dtype])
    options = {"name": "lbfgs", "lr": lr, "max_iter": 4, "history_size": 3, "line_search": line_search}
    case = {"kind": "optimizer", "options": options, "loss": "quadratic", "steps": 3}
    actual, _ = probe(tmp_path, case, tensors)

    parameters = {name[2:]: tensor.clone().requires_grad_() for name, tensor in tensors.items() if name[0] == "p"}
    optimizer = torch.optim.LBFGS(
        parameters.values(), lr=lr, max_iter=4, history_size=3, line_search_fn="strong_wolfe" if line_search else None
    )

    def closure():
        optimizer.zero_grad()
        loss = 0
        for name, parameter in sorted(parameters.items()):
            target, curvature = tensors[f"g/{name}"]
            loss = loss + ((parameter - target).square() * curvature).sum() * 0.5
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert_near(actual, {name: parameter.detach() for name, parameter in parameters.items()}, tolerance)
