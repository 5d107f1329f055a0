"""What gradwise.AdamW and gradwise.SGD remember, and parameters that come and go, against torch's."""

import copy

import pytest
import torch

import gradwise


def parameters(count=3, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 5, generator=generator, dtype=dtype).requires_grad_() for _ in range(count)]


def give_gradients(tensors, step):
    generator = torch.Generator().manual_seed(100 + step)
    for tensor in tensors:
        tensor.grad = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype)


def take_steps(optimizer, tensors, steps):
    for step in steps:
        give_gradients(tensors, step)
        optimizer.step()


def pair(options=None, dtype=torch.float64):
    a, b = parameters(dtype=dtype), parameters(dtype=dtype)
    return a, gradwise.AdamW(a, **(options or {})), b, torch.optim.AdamW(b)


def assert_near(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


# --- state ---


def test_moments_of_bfloat16_weights_keep_their_bits_over_a_resume():
    a = parameters(dtype=torch.bfloat16)
    mine = gradwise.AdamW(a, lr=0.1)
    take_steps(mine, a, range(3))
    b = [p.detach().clone().requires_grad_() for p in a]
    resumed = gradwise.AdamW(b, lr=0.1)
    resumed.load_state_dict(copy.deepcopy(mine.state_dict()))
    assert resumed.state[b[0]]["exp_avg"].dtype == torch.float32
    for tensors, optimizer in ((a, mine), (b, resumed)):
        take_steps(optimizer, tensors, range(3, 8))
    assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))
    assert torch.equal(mine.state[a[1]]["exp_avg"], resumed.state[b[1]]["exp_avg"])


def test_state_is_always_that_of_now():
    a, mine, b, torchs = pair()
    take_steps(mine, a, range(1))
    held = mine.state[a[0]]
    take_steps(mine, a, range(1, 5))
    take_steps(torchs, b, range(5))
    for state in (held, mine.state[a[0]]):
        assert set(state) == set(torchs.state[b[0]])
        for name, value in torchs.state[b[0]].items():
            torch.testing.assert_close(state[name], value, check_dtype=name != "step")


def test_state_follows_a_module_to_another_type():
    module = torch.nn.Linear(5, 4)
    mine = gradwise.AdamW(module.parameters())
    take_steps(mine, list(module.parameters()), range(2))
    held = mine.state[module.weight]
    module.double()
    take_steps(mine, list(module.parameters()), range(2, 4))
    assert held["exp_avg"].dtype == torch.float64 and float(held["step"]) == 4
    before = held["exp_avg"].clone()
    take_steps(mine, list(module.parameters()), range(4, 5))
    assert not torch.equal(held["exp_avg"], before)


@pytest.mark.parametrize("held", [False, True])
def test_a_state_that_is_cleared_begins_anew(held):
    a, mine, b, torchs = pair()
    take_steps(mine, a, range(3))
    take_steps(torchs, b, range(3))
    state = mine.state if held else None
    take_steps(mine, a, range(3, 4))
    take_steps(torchs, b, range(3, 4))
    (state if held else mine.state).clear()
    torchs.state.clear()
    take_steps(mine, a, range(4, 7))
    take_steps(torchs, b, range(4, 7))
    assert_near(a, b)
    assert float(mine.state[a[2]]["step"]) == 3


def test_one_parameter_begins_anew_or_from_what_it_is_given():
    a, mine, b, torchs = pair()
    take_steps(mine, a, range(3))
    take_steps(torchs, b, range(3))
    for optimizer, tensors in ((mine, a), (torchs, b)):
        del optimizer.state[tensors[0]]
        optimizer.state[tensors[1]]["exp_avg"] = torch.ones(4, 5, dtype=torch.float64)
        optimizer.state[tensors[2]]["step"].fill_(7)
        take_steps(optimizer, tensors, range(3, 6))
    assert_near(a, b)
    assert [float(mine.state[p]["step"]) for p in a] == [3, 6, 10]


def test_sgd_with_random_rounding_counts_for_a_resume():
    a = parameters(dtype=torch.bfloat16)
    mine = gradwise.SGD(a, lr=0.01, momentum=0.9, stochastic_rounding=True)
    take_steps(mine, a, range(3))
    b = [p.detach().clone().requires_grad_() for p in a]
    resumed = gradwise.SGD(b, lr=0.01, momentum=0.9, stochastic_rounding=True)
    resumed.load_state_dict(copy.deepcopy(mine.state_dict()))
    for tensors, optimizer in ((a, mine), (b, resumed)):
        take_steps(optimizer, tensors, range(3, 6))
    assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))
    torch.optim.SGD(parameters(dtype=torch.bfloat16), momentum=0.9).load_state_dict(mine.state_dict())


# --- groups ---


def test_a_parameter_that_is_taken_out_stays_as_it_is():
    a = parameters(4)
    mine = gradwise.AdamW([{"params": a[:2]}, {"params": a[2:3]}, {"params": a[3:]}], ema_decay=0.9)
    take_steps(mine, a, range(2))
    mine.param_groups[0]["params"].pop()
    del mine.param_groups[1]
    before = [p.detach().clone() for p in a]
    take_steps(mine, a, range(2, 4))
    assert [torch.equal(p, q) for p, q in zip(a, before, strict=True)] == [False, True, True, False]
    assert len(mine.ema.shadow_params) == 2 and len(mine.state_dict()["state"]) == 2


def test_a_parameter_that_is_appended_trains_and_is_averaged():
    a, b = parameters(), parameters()
    mine, torchs = gradwise.AdamW(a[:1], ema_decay=0.9), torch.optim.AdamW(b[:1])
    average = [p.detach().clone() for p in a]
    for step in range(6):
        if step == 2:
            mine.param_groups[0]["params"].append(a[1])
            torchs.param_groups[0]["params"].append(b[1])
        if step == 4:
            mine.add_param_group({"params": a[2:]})
            torchs.add_param_group({"params": b[2:]})
            assert len(mine.ema.shadow_params) == 3
        take_steps(mine, a, [step])
        take_steps(torchs, b, [step])
        decay = min(0.9, (2 + step) / (11 + step))
        for index in range(1 + step // 2):
            average[index].lerp_(b[index].detach(), 1 - decay)
    assert_near(a, b)
    assert_near(mine.ema.shadow_params, average)


def test_a_parameter_that_is_unfrozen_is_averaged_too():
    a = parameters()
    a[1].requires_grad_(False)
    mine = gradwise.AdamW(a, ema_decay=0.9)
    take_steps(mine, [a[0], a[2]], range(2))
    assert len(mine.ema.shadow_params) == 3 and len(mine.state) == 2
    a[1].requires_grad_()
    take_steps(mine, a, range(2, 4))
    assert len(mine.ema.shadow_params) == 3 and float(mine.state[a[1]]["step"]) == 2


# --- options of the pass ---


@pytest.mark.parametrize("warmup", [True, False])
def test_the_average_takes_a_period(warmup):
    a = parameters()
    mine = gradwise.AdamW(a, ema_decay=0.9, ema_every=3, ema_warmup=warmup)
    average = [p.detach().clone() for p in a]
    for step in range(1, 11):
        take_steps(mine, a, [step])
        if step == 5:
            saved = copy.deepcopy(mine.ema.state_dict())
            mine.ema.update()  # undone by what is loaded
            mine.ema.load_state_dict(saved)
        if step % 3 == 0:
            decay = min(0.9, (1 + step // 3) / (10 + step // 3)) if warmup else 0.9
            for shadow, p in zip(average, a, strict=True):
                shadow.lerp_(p.detach(), 1 - decay)
    assert_near(mine.ema.shadow_params, average)


def test_parity_has_torchs_bits():
    a, mine, b, _ = pair({"parity": True, "foreach": True, "fused": None}, torch.float32)
    torchs = torch.optim.AdamW(b, foreach=False)
    take_steps(mine, a, range(5))
    take_steps(torchs, b, range(5))
    assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def test_moments_of_sixteen_bits_and_random_rounding():
    a, mine, b, torchs = pair({"state_dtype": "bfloat16", "stochastic_rounding": True}, torch.float32)
    take_steps(mine, a, range(5))
    take_steps(torchs, b, range(5))
    assert mine.state[a[0]]["exp_avg"].dtype == torch.bfloat16
    for p, q in zip(a, b, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=5e-4)  # five steps of 1e-3
        assert not torch.equal(p, q)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"state_dtype": "float16"}, ValueError, "state_dtype is 'float16', allowed: 'float32', 'bfloat16'"),
        ({"differentiable": True}, ValueError, "differentiable is True, allowed: False"),
        ({"momentum": 0.9}, TypeError, "AdamW has no option momentum, allowed: "),
        ({"wd": 1}, TypeError, "AdamW has no option wd, allowed: lr, betas, eps, weight_decay, .*, ema_decay, "),
        ({"ema_decay": 2.0}, ValueError, "^ema_decay is 2.0, allowed: from 0 to 1"),
        ({"ema_decay": "much"}, TypeError, "^ema_decay is 'much', allowed: a number"),
        ({"ema_decay": 0.9, "ema_every": 0}, ValueError, "^ema_every is 0, allowed: >= 1"),
        ({"ema_decay": 0.9, "ema_every": 1.5}, TypeError, "^ema_every is 1.5, allowed: an int"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        gradwise.AdamW(parameters(), **options)


def test_an_optimizer_without_an_average_says_how_it_gets_one():
    with pytest.raises(AttributeError, match=r"this SGD averages no weights, allowed: SGD\(\.\.\., ema_decay=0.999\)"):
        gradwise.SGD(parameters()).ema.average_parameters()
