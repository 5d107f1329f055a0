"""ExponentialMovingAverage in the place of torch_ema's: each use on both classes, with the same outcome."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise

torch_ema = pytest.importorskip("torch_ema")
CLASSES = {"ours": gradwise.ExponentialMovingAverage, "theirs": torch_ema.ExponentialMovingAverage}


def train(model, steps=3):
    with torch.no_grad():
        for step in range(steps):
            for p in model.parameters():
                p.add_(torch.sin(p + step))
            yield step


def frozen_layers(cls, model):
    model[0].weight.requires_grad_(False)
    ema = cls(model.parameters(), decay=0.9)
    for _ in train(model):
        ema.update()
    return ema.shadow_params


def freezing_later(cls, model):
    ema = cls(model.parameters(), decay=0.9)
    for step in train(model):
        ema.update(model.parameters())
        model[0].requires_grad_(step != 0)
    return ema.shadow_params


def others_parameters(cls, model):
    ema = cls(model.parameters(), decay=0.5, use_num_updates=False)
    twin = copy.deepcopy(model)
    for _ in train(twin):
        ema.update(twin.parameters())
    ema.store(twin.parameters())
    ema.copy_to(twin.parameters())
    averaged = [p.detach().clone() for p in twin.parameters()]
    ema.restore(twin.parameters())
    return [*averaged, *twin.parameters(), *model.parameters()]


def decay_is_assigned(cls, model):
    ema = cls(model.parameters(), decay=0.9, use_num_updates=False)
    for step in train(model):
        ema.decay = 0.9 - 0.1 * step
        ema.update()
    return [*ema.shadow_params, ema.decay]


def updates_are_assigned(cls, model):
    ema = cls(model.parameters(), decay=0.9999)
    ema.num_updates = 50
    for _ in train(model):
        ema.update()
    counted = ema.num_updates
    ema.num_updates = None
    ema.update()
    return [*ema.shadow_params, counted, ema.num_updates]


def no_warm_up(cls, model):
    ema = cls(model.parameters(), decay=0.9, use_num_updates=False)
    ema.update()
    return [ema.num_updates, ema.state_dict()["num_updates"]]


def averages_are_assigned(cls, model):
    ema = cls(model.parameters(), decay=0.9)
    ema.shadow_params = [torch.zeros_like(p) for p in model.parameters()]
    ema.update()
    ema.collected_params = [torch.ones_like(p) for p in model.parameters()]
    ema.restore()
    return [*ema.shadow_params, *model.parameters()]


def type_changes(cls, model):
    ema = cls(model.parameters(), decay=0.9)
    ema.store()
    ema.to(dtype=torch.float32)
    return [t.dtype for t in (*ema.shadow_params, *ema.collected_params)]


def device_and_type_change(cls, model):
    ema = cls([*model.parameters(), torch.tensor([3])], decay=0.9)
    ema.store()
    ema.to(device="meta", dtype=torch.float16)
    return [(t.dtype, t.device.type) for t in (*ema.shadow_params, *ema.collected_params)]


def state_goes_both_ways(cls, model):
    model[2].requires_grad_(False)
    source = next(c for c in CLASSES.values() if c is not cls)(model.parameters(), decay=0.7)
    for _ in train(model):
        source.update()
    ema = cls(copy.deepcopy(model).parameters(), decay=0.5, use_num_updates=False)
    ema.load_state_dict(source.state_dict())
    return [*ema.shadow_params, ema.decay, ema.num_updates, ema.collected_params]


def a_state_takes_the_parameters_type(cls, model):
    state = cls(model.parameters(), decay=0.9).state_dict()
    state["collected_params"] = [p.detach() for p in model.parameters()]
    single = copy.deepcopy(model).float()
    ema = cls(single.parameters(), decay=0.9)
    ema.load_state_dict(state)
    return [t.dtype for t in (*ema.shadow_params, *ema.collected_params)]


def a_loaded_state_is_a_copy(cls, model):
    state = copy.deepcopy(cls(model.parameters(), decay=0.9).state_dict())
    ema = cls(model.parameters(), decay=0.9)
    ema.load_state_dict(state)
    state["shadow_params"][0].fill_(7)
    return ema.shadow_params


def a_state_of_decay_3(cls, model):
    ema = cls(model.parameters(), decay=0.9)
    ema.load_state_dict(ema.state_dict() | {"decay": 3.0})


def a_state_of_another_model(cls, model):
    ema = cls(model.parameters(), decay=0.9)
    ema.load_state_dict(cls(model[0].parameters(), decay=0.9).state_dict())


def decay_out_of_bounds(cls, model):
    cls(model.parameters(), decay=-0.1)


def another_number_of_parameters(cls, model):
    cls(model.parameters(), decay=0.9).update(model[0].parameters())


def nothing_stored(cls, model):
    cls(model.parameters(), decay=0.9).restore()


def the_model_is_not_kept_alive(cls, model):
    twin = copy.deepcopy(model)
    ema = cls(twin.parameters(), decay=0.9)
    watched = weakref.ref(twin[0].weight)
    del twin
    gc.collect()
    ema.copy_to(model.parameters())
    return [watched() is None, *ema.shadow_params]


def the_model_is_gone(cls, model):
    ema = cls(copy.deepcopy(model).parameters(), decay=0.9)
    gc.collect()
    ema.update()


def a_state_after_the_model_is_gone(cls, model):
    ema = cls(copy.deepcopy(model).parameters(), decay=0.9)
    gc.collect()
    ema.load_state_dict(cls(model.parameters(), decay=0.4).state_dict())
    return [*ema.shadow_params, ema.decay]


def averages_between_forward_and_backward(cls, model):
    ema = cls(model.parameters(), decay=0.9)
    for _ in train(model):
        ema.update()
    loss = functional.mse_loss(model(torch.ones(2, 4, dtype=torch.float64)), torch.zeros(2, 3, dtype=torch.float64))
    with ema.average_parameters():
        pass
    loss.backward()
    return [p.grad for p in model.parameters()]


def a_generator_of_parameters(cls, model):
    ema = cls((p for p in model.parameters()), decay=0.9)
    for _ in train(model):
        ema.update(p for p in model.parameters())
    with ema.average_parameters(p for p in model.parameters()):
        return [p.detach().clone() for p in model.parameters()]


CASES = [
    frozen_layers, freezing_later, others_parameters, decay_is_assigned, updates_are_assigned, no_warm_up,
    averages_are_assigned, type_changes, device_and_type_change, state_goes_both_ways,
    a_state_takes_the_parameters_type, a_loaded_state_is_a_copy, a_state_of_decay_3, a_state_of_another_model,
    decay_out_of_bounds, another_number_of_parameters, nothing_stored, the_model_is_not_kept_alive, the_model_is_gone,
    a_state_after_the_model_is_gone, averages_between_forward_and_backward, a_generator_of_parameters,
]  # fmt: skip


def outcome(case, cls, model):
    try:
        return case(cls, model)
    except Exception as error:
        return [type(error)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_torch_ema(case, network):
    ours, theirs = (outcome(case, cls, network(dtype=torch.float64)) for cls in CLASSES.values())
    torch.testing.assert_close(
        [x for x in ours if isinstance(x, torch.Tensor)], [x for x in theirs if isinstance(x, torch.Tensor)],
        rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    plain = [[x for x in found if not isinstance(x, torch.Tensor)] for found in (ours, theirs)]
    assert plain[0] == plain[1]


def test_of_a_module_the_buffers_too():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    ema = gradwise.ExponentialMovingAverage(model, decay=0.5, use_num_updates=False, use_buffers=True)
    before = copy.deepcopy(dict(model.named_buffers()))
    model(torch.randn(8, 4))
    ema.update()
    after = copy.deepcopy(dict(model.named_buffers()))
    with ema.average_parameters():
        for name, buffer in model.named_buffers():
            mean = (before[name] + after[name]) / 2 if buffer.is_floating_point() else after[name]
            torch.testing.assert_close(buffer, mean)
    assert all(torch.equal(buffer, after[name]) for name, buffer in model.named_buffers())


def test_goes_through_pickle_with_its_model(network):
    model = network()
    ema = gradwise.ExponentialMovingAverage(model.parameters(), decay=0.5)
    twin, copied = pickle.loads(pickle.dumps((model, ema)))
    for _ in train(twin):
        copied.update()
    assert copied.num_updates == 3 and ema.num_updates == 0
    alone = pickle.loads(pickle.dumps(ema))
    alone.update(model.parameters())
    with pytest.raises(ValueError, match="no longer exists"):
        alone.update()


def test_a_pass_moves_assigned_averages_and_refuses_what_does_not_fit():
    a = [torch.nn.Parameter(torch.ones(4, 3))]
    optimizer = gradwise.SGD(a, lr=0.0, ema_decay=0.5)
    optimizer.ema.shadow_params = [torch.zeros(4, 3)]
    a[0].grad = torch.zeros(4, 3)
    optimizer.ema.num_updates = None
    optimizer.step()
    assert torch.equal(optimizer.ema.shadow_params[0], torch.full((4, 3), 0.5))
    optimizer.ema.shadow_params = [torch.zeros(2, 3)]  # strides as the parameter's, fewer rows
    with pytest.raises(RuntimeError, match="size"):
        optimizer.step()
    optimizer.ema.shadow_params = []
    with pytest.raises(gradwise.GradwiseError, match="0 averages for 1"):
        optimizer.step()


def test_a_copy_averages_the_same_parameters_or_those_that_are_copied_along():
    model = nn.Linear(3, 2)
    ema = gradwise.ExponentialMovingAverage(model.parameters(), decay=0.5, use_num_updates=False)
    twin = copy.deepcopy(ema)
    other, along = copy.deepcopy((model, ema))
    with torch.no_grad():
        model.weight.add_(1)
        other.weight.add_(3)
    for average in (ema, twin, along):
        average.update()
    assert torch.equal(ema.shadow_params[0], twin.shadow_params[0])
    torch.testing.assert_close(along.shadow_params[0] - ema.shadow_params[0], torch.ones(2, 3))
