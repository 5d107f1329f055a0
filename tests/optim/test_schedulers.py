"""Every scheduler against `torch.optim.lr_scheduler`: 10,000 steps, two groups, at most one unit in the last place."""

import functools
import json
import math
import os
import pathlib
import subprocess

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

STEPS = 10_000
BUILD = pathlib.Path(os.environ.get("GRADWISE_BUILD", pathlib.Path(__file__).parents[2] / "build"))
PROBE = BUILD / "tests" / "scheduler_probe"

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

# The functions that scheduler_probe.cpp knows by these names.
LAMBDAS = {
    "inverse": lambda step: 1.0 / (1.0 + 0.01 * step),
    "power": lambda step: 0.999**step,
    "often": lambda step: 0.99 if step % 7 == 0 else 1.001,
}
SCALES = {"sine": lambda x: 0.5 * (1.0 + math.sin(x * math.pi / 2.0))}


def one(kind, **options):
    return {"type": kind, "options": options}


def chained(*parts):
    return {"type": "ChainedScheduler", "options": {}, "schedulers": list(parts)}


def sequential(milestones, *parts):
    return {"type": "SequentialLR", "options": {"milestones": milestones}, "schedulers": list(parts)}


def cyclic(**options):
    return one("CyclicLR", **({"base_lr": [1e-3, 2e-3], "max_lr": [0.1, 0.3]} | options))


def one_cycle(**options):
    return one("OneCycleLR", **({"max_lr": [0.1, 0.3], "total_steps": STEPS} | options))


CASES = {
    "step": one("StepLR", step_size=30, gamma=0.97),
    "step_default_gamma": one("StepLR", step_size=3000),
    "step_every": one("StepLR", step_size=1, gamma=0.9991),
    "step_to_nothing": one("StepLR", step_size=25),
    "multi_step": one("MultiStepLR", milestones=[100, 2500, 9000], gamma=0.3),
    "multi_step_repeated": one("MultiStepLR", milestones=[7000, 50, 50, 50, 800], gamma=0.7),
    "multi_step_at_start": one("MultiStepLR", milestones=[0, 1, 2]),
    "exponential": one("ExponentialLR", gamma=0.9995),
    "exponential_growing": one("ExponentialLR", gamma=1.0003),
    "constant": one("ConstantLR"),
    "constant_long": one("ConstantLR", factor=0.137, total_iters=6000),
    "constant_never": one("ConstantLR", factor=0.5, total_iters=0),
    "linear": one("LinearLR"),
    "linear_long": one("LinearLR", start_factor=0.013, end_factor=0.77, total_iters=7777),
    "linear_falling": one("LinearLR", start_factor=1.0, end_factor=0.0, total_iters=9001),
    "polynomial": one("PolynomialLR", total_iters=8000, power=0.9),
    "polynomial_default": one("PolynomialLR"),
    "polynomial_square": one("PolynomialLR", total_iters=10_000, power=2.0),
    "cosine": one("CosineAnnealingLR", T_max=10_000),
    "cosine_eta": one("CosineAnnealingLR", T_max=9973, eta_min=1e-4),
    "cosine_many": one("CosineAnnealingLR", T_max=50, eta_min=1e-3),
    "cosine_odd": one("CosineAnnealingLR", T_max=333),
    "cosine_one": one("CosineAnnealingLR", T_max=1),
    "restarts": one("CosineAnnealingWarmRestarts", T_0=100),
    "restarts_doubling": one("CosineAnnealingWarmRestarts", T_0=7, T_mult=2, eta_min=1e-5),
    "restarts_tripling": one("CosineAnnealingWarmRestarts", T_0=1, T_mult=3),
    "one_cycle": one_cycle(),
    "one_cycle_linear": one_cycle(anneal_strategy="linear", pct_start=0.41),
    "one_cycle_three": one_cycle(three_phase=True, pct_start=0.37),
    "one_cycle_three_linear": one_cycle(three_phase=True, anneal_strategy="linear", total_steps=10_001),
    "one_cycle_factors": one_cycle(div_factor=7.0, final_div_factor=33.0, total_steps=12_345),
    "one_cycle_momentum": one_cycle(base_momentum=[0.71, 0.72], max_momentum=[0.93, 0.97]),
    "one_cycle_still": one_cycle(cycle_momentum=False),
    "one_cycle_at_once": one_cycle(pct_start=0.0),
    "cyclic": cyclic(step_size_up=150),
    "cyclic_default": cyclic(),
    "cyclic_down": cyclic(step_size_up=70, step_size_down=311),
    "cyclic_halving": cyclic(step_size_up=401, mode="triangular2"),
    "cyclic_exp": cyclic(step_size_up=99, step_size_down=201, mode="exp_range", gamma=0.9994),
    "cyclic_scaled": cyclic(step_size_up=130, scale_fn="sine"),
    "cyclic_scaled_by_step": cyclic(step_size_up=130, scale_fn="sine", scale_mode="iterations"),
    "cyclic_momentum": cyclic(step_size_up=33, base_momentum=[0.7, 0.75], max_momentum=[0.9, 0.99]),
    "cyclic_still": cyclic(step_size_up=33, cycle_momentum=False),
    "plateau": one("ReduceLROnPlateau"),
    "plateau_patient": one("ReduceLROnPlateau", factor=0.83, patience=40, cooldown=13, min_lr=[1e-6, 1e-3]),
    "plateau_max": one("ReduceLROnPlateau", mode="max", factor=0.95, patience=2, threshold=1e-2),
    "plateau_absolute": one("ReduceLROnPlateau", threshold_mode="abs", threshold=1e-3, factor=0.9, eps=1e-5),
    "plateau_max_absolute": one("ReduceLROnPlateau", mode="max", threshold_mode="abs", factor=0.9, patience=0),
    "lambda": one("LambdaLR", lr_lambda=["inverse"]),
    "lambda_each": one("LambdaLR", lr_lambda=["power", "inverse"]),
    "multiplicative": one("MultiplicativeLR", lr_lambda=["often"]),
    "multiplicative_each": one("MultiplicativeLR", lr_lambda=["often", "power"]),
    "chained": chained(one("ConstantLR", factor=0.1, total_iters=200), one("ExponentialLR", gamma=0.9996)),
    "chained_three": chained(
        one("LinearLR", total_iters=500), one("CosineAnnealingLR", T_max=9000), one("StepLR", step_size=4000)
    ),
    "sequential": sequential(
        [500], one("LinearLR", start_factor=0.01, total_iters=500), one("CosineAnnealingLR", T_max=9500, eta_min=1e-5)
    ),
    "sequential_many": sequential(
        [20, 1000, 2000, 3000, 4000, 5000],
        one("ConstantLR", factor=0.1, total_iters=20),
        one("ExponentialLR", gamma=0.999),
        one("StepLR", step_size=300, gamma=0.5),
        one("MultiStepLR", milestones=[0, 100, 200], gamma=0.7),
        one("PolynomialLR", total_iters=900, power=1.5),
        one("LinearLR", total_iters=100),
        one("ConstantLR", factor=0.3, total_iters=50),
    ),
    "sequential_lambdas": sequential(
        [100, 300], one("MultiplicativeLR", lr_lambda=["often"]), one("LambdaLR", lr_lambda=["power"]),
        one("MultiplicativeLR", lr_lambda=["power"]),
    ),
    "sequential_restarts": sequential(
        [300, 6000], one("LinearLR", total_iters=300), one("CosineAnnealingWarmRestarts", T_0=50, T_mult=2),
        one("CosineAnnealingWarmRestarts", T_0=90, eta_min=1e-4),
    ),
    "sequential_one_cycle": sequential([100], one("LinearLR", total_iters=100), one_cycle()),
    "sequential_cyclic": sequential([100], one("LinearLR", total_iters=100), cyclic(step_size_up=77)),
    "sequential_cyclic_first": sequential([900], cyclic(step_size_up=77), one("ExponentialLR", gamma=0.999)),
    "sequential_from_zero": sequential(
        [0, 50], one("ConstantLR"), one("ExponentialLR", gamma=0.99), one("CosineAnnealingLR", T_max=400)
    ),
    "sequential_of_chained": sequential(
        [400],
        chained(one("LinearLR", total_iters=100), one("ExponentialLR", gamma=0.99)),
        one("PolynomialLR", total_iters=3000),
    ),
    "sequential_of_sequential": sequential(
        [800],
        sequential([100], one("LinearLR", total_iters=100), one("ExponentialLR", gamma=0.995)),
        one("CosineAnnealingLR", T_max=5000),
    ),
    "chained_sequential": chained(
        sequential([100], one("LinearLR", total_iters=100), one("CosineAnnealingLR", T_max=9900)),
        one("MultiStepLR", milestones=[5000], gamma=0.5),
    ),
}

GROUPS = [{"lr": 0.1, "momentum": 0.9}, {"lr": 0.0337, "momentum": 0.8}]


def metrics_of(description):
    """A noisy metric that gets better, for the scheduler that wants one."""
    if description["type"] != "ReduceLROnPlateau":
        return []
    sign = -1.0 if description["options"].get("mode") == "max" else 1.0
    noise = np.random.default_rng(3).normal(size=STEPS)
    return (sign * (1.0 + 5.0 / (1.0 + np.arange(STEPS) / 400.0) + 0.05 * noise)).tolist()


def torch_scheduler(description, optimizer):
    options = dict(description["options"])
    parts = [torch_scheduler(part, optimizer) for part in description.get("schedulers", [])]
    kind = getattr(lr_scheduler, description["type"])
    if description["type"] == "ChainedScheduler":
        return kind(parts, optimizer)
    if description["type"] == "SequentialLR":
        return kind(optimizer, parts, **options)
    if "lr_lambda" in options:
        functions = [LAMBDAS[name] for name in options["lr_lambda"]]
        options["lr_lambda"] = functions if len(functions) > 1 else functions[0]
    if "scale_fn" in options:
        options["scale_fn"] = SCALES[options["scale_fn"]]
    return kind(optimizer, **options)


def torch_values(description, adam):
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in GROUPS]
    if adam:
        groups = [{"params": p, "lr": g["lr"], "betas": (g["momentum"], 0.999)} for p, g in zip(parameters, GROUPS)]
        optimizer = torch.optim.Adam(groups)
    else:
        groups = [{"params": p} | g for p, g in zip(parameters, GROUPS)]
        optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    scheduler = torch_scheduler(description, optimizer)

    def rates():
        return [x for g in optimizer.param_groups for x in (g["lr"], g["betas"][0] if adam else g["momentum"])]

    rows = [rates()]
    metrics = metrics_of(description)
    for step in range(STEPS):
        scheduler.step(*metrics[step : step + 1])
        rows.append(rates())
    return np.array(rows, dtype=np.float64)


def lower_case(description):
    """C++ writes T_max as t_max."""
    result = description | {"options": {key.lower(): value for key, value in description["options"].items()}}
    if "schedulers" in description:
        result["schedulers"] = [lower_case(part) for part in description["schedulers"]]
    return result


SAVE_AT = (99, 5003)


@functools.cache
def probe_texts():
    """What the probe prints for every case, uninterrupted (None) and saved and loaded at a step, by one process."""
    keys = [(name, save_at) for name in CASES for save_at in (None, *SAVE_AT)]
    lines = [json.dumps(probe_case(CASES[name], save_at)) for name, save_at in keys]
    done = subprocess.run([PROBE], input="\n".join(lines), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    texts = done.stdout.split("end\n")[:-1]
    assert len(texts) == len(keys)
    return dict(zip(keys, texts))


def probe_case(description, save_at):
    case = {"scheduler": lower_case(description), "groups": GROUPS, "steps": STEPS}
    if metrics := metrics_of(description):
        case["metrics"] = metrics
    return case if save_at is None else case | {"save_at": save_at}


def probe_values(name):
    return np.array([[float(x) for x in line.split()] for line in probe_texts()[name, None].splitlines()])


def assert_within_one_ulp(ours, theirs):
    assert ours.shape == theirs.shape
    assert np.isfinite(theirs).all() and np.isfinite(ours).all()
    apart = np.argwhere(np.abs(ours - theirs) > np.spacing(np.abs(theirs)))
    for step, column in apart[:1]:
        pytest.fail(f"step {step}, column {column}: {ours[step, column]!r}, torch {theirs[step, column]!r}")


@pytest.mark.parametrize("name", CASES)
def test_equals_torch(name):
    assert_within_one_ulp(probe_values(name), torch_values(CASES[name], adam=False))


def closed_form(description):
    """The rates of each step by torch's formula, which knows no step before."""
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in GROUPS]
    optimizer = torch.optim.SGD([{"params": p} | g for p, g in zip(parameters, GROUPS)], lr=0.1)
    scheduler = torch_scheduler(description, optimizer)
    rows = []
    for step in range(STEPS + 1):
        scheduler.last_epoch = step
        rows.append(scheduler._get_closed_form_lr())
    return np.array(rows, dtype=np.float64)


# torch's two ways of a constant over no steps differ: stepped, it is the factor for good.
CLOSED = [
    name
    for name, case in CASES.items()
    if hasattr(getattr(lr_scheduler, case["type"]), "_get_closed_form_lr") and name != "constant_never"
]


@pytest.mark.parametrize("name", CLOSED)
def test_equals_the_closed_form(name):
    # Rates that follow one from the other gather rounding errors, and lose digits where a cosine is near zero.
    np.testing.assert_allclose(probe_values(name)[:, ::2], closed_form(CASES[name]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["one_cycle", "one_cycle_three", "cyclic", "cyclic_exp", "sequential_one_cycle"])
def test_beta1_equals_torch(name):
    assert_within_one_ulp(probe_values(name), torch_values(CASES[name], adam=True))


@pytest.mark.parametrize("save_at", SAVE_AT)
@pytest.mark.parametrize("name", CASES)
def test_resume_changes_nothing(name, save_at):
    assert probe_texts()[name, save_at] == probe_texts()[name, None]


def test_cases_move_the_rate():
    """A table of schedules that all stand still would prove nothing."""
    for name in ["step", "cosine", "plateau", "plateau_max", "plateau_absolute", "plateau_max_absolute", "sequential"]:
        assert len(np.unique(probe_values(name)[:, 0])) > 5, name
