"""A watch under what PyTorch trains with: compilers, several processes, loss scales, accumulation, other hooks."""

import copy
import os
import shutil
import socket
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise


def gradients_of(model, x, y):
    """By autograd.grad, which runs no hook of a watch."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    with torch.random.fork_rng():
        return dict(zip(names, torch.autograd.grad(functional.cross_entropy(model(x), y), parameters), strict=True))


def step(model, optimizer, x, y, watch=None):
    optimizer.zero_grad()
    loss = functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    if watch is not None:
        watch.step(loss)
    return loss


def norms(readings):
    return {name: reading.grad_norm for name, reading in readings.items()}


def norm_of(gradients):
    return {name: float(g.norm()) for name, g in gradients.items()}


BACKENDS = ["aot_eager", pytest.param("inductor", marks=pytest.mark.skipif(not shutil.which("c++"), reason="no c++"))]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("watched", ["compiled", "inner, before", "inner, in place"])
def test_compiled_models(network, data, backend, watched):
    if backend == "inductor" and watched != "compiled":
        pytest.skip("one compilation by the C++ compiler is enough")
    torch.compiler.reset()
    bare = network()
    expected = norm_of(gradients_of(bare, *data))
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.0)
    if watched == "compiled":
        model = torch.compile(bare, backend=backend, fullgraph=True)
        watch = gradwise.watch(model, optimizer)
    elif watched == "inner, before":
        watch = gradwise.watch(bare, optimizer)
        model = torch.compile(bare, backend=backend, fullgraph=True)
    else:
        model = bare
        watch = gradwise.watch(bare, optimizer)
        model.compile(backend=backend, fullgraph=True)
    for _ in range(3):
        step(model, optimizer, *data, watch)
    assert norms(watch.readings()) == pytest.approx(expected, rel=1e-4)
    assert watch.last_step.samples == (60 if watched == "compiled" else 0)  # a hook within the graph counts nothing
    watch.detach()
    step(model, optimizer, *data)


PROCESSES = """
import sys
import torch, torch.distributed as dist
from torch import nn
from torch.nn import functional
import gradwise
rank, world, port, bucket_view = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "True"
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
torch.manual_seed(0)
bare = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
x, y = torch.randn(20, 4), torch.randint(0, 3, (20,))
expected = torch.autograd.grad(functional.cross_entropy(bare(x), y), list(bare.parameters()))
model = nn.parallel.DistributedDataParallel(bare, gradient_as_bucket_view=bucket_view)
optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
watch = gradwise.watch(model, optimizer)
part = slice(rank * 20 // world, (rank + 1) * 20 // world)
for _ in range(3):
    optimizer.zero_grad()
    loss = functional.cross_entropy(model(x[part]), y[part])
    loss.backward()
    watch.backward_end()
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    optimizer.step()
    watch.step(loss)
for (name, reading), gradient in zip(watch.readings().items(), expected):
    assert not name.startswith("module."), name
    torch.testing.assert_close(reading.grad_norm, float(gradient.norm()), rtol=1e-4, atol=1e-6)
assert watch.last_step.samples == 20 // world
watch.detach()
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.parametrize("world, bucket_view", [(1, False), (2, False), (2, True)])
def test_data_parallel_readings_are_those_of_the_averaged_gradients(world, bucket_view):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n{PROCESSES}"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(rank), str(world), str(port), str(bucket_view)],
                         stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        for rank in range(world)
    ]  # fmt: skip
    for process in started:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_with_a_scaler(network, data, dtype):
    model = network()
    expected = norm_of(gradients_of(model, *data))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    watch = gradwise.watch(model, optimizer, scaler=scaler)
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype):
            loss = functional.cross_entropy(model(data[0]), data[1])
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        scaler.step(optimizer)
        scaler.update()
        watch.step(loss)
    assert norms(watch.readings()) == pytest.approx(expected, rel=0.05)
    assert watch.last_step.loss_scale == 256


@pytest.mark.parametrize("told_after_update", [False, True])
def test_steps_that_the_scaler_leaves_out_are_told(network, data, tmp_path, told_after_update):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=1)
    with gradwise.watch(model, optimizer, scaler=scaler, run=tmp_path / "run") as watch:
        for factor in (1.0, float("inf"), 1.0, 1.0):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(data[0]), data[1])
            scaler.scale(loss * factor).backward()
            scaler.step(optimizer)
            if told_after_update:
                scaler.update()
                watch.step(loss)
            else:
                watch.step(loss)
                scaler.update()
    steps = gradwise.load_run(tmp_path / "run").steps()
    assert [row.skipped for row in steps] == [False, True, False, False]
    assert [row.samples for row in steps] == [60] * 4


@pytest.mark.parametrize("told", ["each", "last", "never"])
def test_accumulation(network, data, told):
    x, y = data
    model = network()
    whole = norm_of(gradients_of(model, x, y))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    watch = gradwise.watch(model, optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        for i in range(3):
            loss = functional.cross_entropy(model(x[20 * i : 20 * i + 20]), y[20 * i : 20 * i + 20])
            (loss / 3).backward()
            if i == 2:
                optimizer.step()
            if told == "each" or (told == "last" and i == 2):
                watch.step(loss)
    assert norms(watch.readings()) == pytest.approx(whole, rel=1e-4)
    last = watch.last_step
    assert (watch.steps, last.samples, last.micro_batches) == (3, 60, 3)
    mean = functional.cross_entropy(model(x), y).item()
    expected = {"each": pytest.approx(mean, rel=1e-5), "last": pytest.approx(loss.item()), "never": None}
    assert last.loss == expected[told]
    assert all(last.seconds[name] > 0 for name in ("forward", "backward", "update"))
    parts = sum(last.seconds[name] for name in ("data", "forward", "backward", "update"))
    assert parts <= last.seconds.total


@pytest.mark.parametrize("optimizer_class", [torch.optim.SGD, torch.optim.LBFGS, gradwise.AdamW])
def test_closures_run_backward_within_the_optimizers_step(network, data, optimizer_class):
    model, unwatched = network(), network()
    expected = norm_of(gradients_of(model, *data))
    for trained in (model, unwatched):
        optimizer = optimizer_class(trained.parameters(), lr=0.1)
        watch = gradwise.watch(model, optimizer) if trained is model else None

        def closure(trained=trained, optimizer=optimizer):
            optimizer.zero_grad()
            loss = functional.cross_entropy(trained(data[0]), data[1])
            loss.backward()
            return loss

        before = [p.detach().clone() for p in trained.parameters()]
        optimizer.step(closure)
        if watch is not None:
            watch.step()
            first = watch.readings()
            update = torch.cat([(p.detach() - b).flatten() for p, b in zip(model.parameters(), before, strict=True)])
            found = sum(r.update_norm**2 for r in first.values()) ** 0.5
            assert found == pytest.approx(float(update.norm()), rel=1e-3)
            assert watch.last_step.grad_norm == pytest.approx(sum(n**2 for n in expected.values()) ** 0.5, rel=1e-4)
        optimizer.step(closure)
    for a, b in zip(model.parameters(), unwatched.parameters(), strict=True):
        assert torch.equal(a, b)


def test_two_optimizers_of_one_model(network, data):
    model = network()
    expected = norm_of(gradients_of(model, *data))
    optimizers = [torch.optim.SGD(model[0].parameters(), lr=0.1), torch.optim.AdamW(model[2].parameters(), lr=0.1)]
    watch = gradwise.watch(model, optimizers)
    before = [p.detach().clone() for p in model.parameters()]
    loss = functional.cross_entropy(model(data[0]), data[1])
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    watch.step(loss)
    readings = watch.readings()
    assert norms(readings) == pytest.approx(expected, rel=1e-4) and watch.steps == 1
    for (name, p), old in zip(model.named_parameters(), before, strict=True):
        assert readings[name].update_norm == pytest.approx(float((p.detach() - old).norm()), rel=1e-3)


def test_hooks_of_the_users_own_do_not_silence_a_watch(network, data):
    model = network()
    expected = norm_of(gradients_of(model, *data))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    called = []
    early = model[0].weight.register_post_accumulate_grad_hook(lambda p: called.append("early"))
    watch = gradwise.watch(model, optimizer)
    late = [p.register_post_accumulate_grad_hook(lambda p: called.append("late")) for p in model.parameters()]
    step(model, optimizer, *data, watch)
    assert norms(watch.readings()) == pytest.approx(expected, rel=1e-4)
    assert sorted(called) == ["early"] + ["late"] * 4
    for handle in [early, *late]:
        handle.remove()
    step(model, optimizer, *data, watch)
    assert norms(watch.readings()) == pytest.approx(expected, rel=1e-4) and len(called) == 5
    watch.detach()
    model[0].weight.register_post_accumulate_grad_hook(lambda p: called.append("after"))
    step(model, optimizer, *data)
    assert called[5:] == ["after"]


def test_a_model_has_one_watch(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gradwise.watch(model, optimizer)
    with pytest.raises(gradwise.GradwiseUsageError, match=r"watched already, by <gradwise.Watch.*detach\(\) or"):
        gradwise.watch(torch.compile(model, backend="eager"), optimizer)
    part = gradwise.watch(model[0])  # another module is another model
    step(model, optimizer, *data, watch)
    part.step()
    assert part.readings()["weight"].grad_norm == watch.readings()["0.weight"].grad_norm
    watch.detach()
    gradwise.watch(model, optimizer).detach()
    dropped = gradwise.watch(network())
    inner = dropped._model
    del dropped
    gradwise.watch(inner).detach()


def test_samples_are_those_of_training_passes(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gradwise.watch(model, optimizer)
    step(model, optimizer, *data, watch)
    assert watch.last_step.samples == 60
    model.eval()
    model(data[0])
    model.train()
    with torch.no_grad():
        model(data[0])
    gradwise.GradientAnalyzer().analyze_gradients(model, functional.cross_entropy, *data)
    step(model, optimizer, data[0][:7], data[1][:7], watch)
    assert watch.last_step.samples == 7
    loss = step(model, optimizer, *data)
    watch.step(loss, samples=5)
    assert watch.last_step.samples == 5
    watch.detach()
    assert not model._forward_pre_hooks and not model._forward_hooks
    unseen = gradwise.watch(model, optimizer, forward_hook=False)
    step(model, optimizer, *data, unseen)
    assert unseen.last_step.samples == 0


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "interrupted"), (LookupError, "failed")])
def test_a_watch_that_an_exception_ends_says_so_on_record(network, tmp_path, error, status):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(error), gradwise.watch(model, optimizer, run=tmp_path / "run"):
        raise error("mine")
    assert gradwise.load_run(tmp_path / "run").status == status


def test_diagnosis_stays_after_the_watch(data):
    torch.manual_seed(0)
    model = nn.Sequential(*[part for _ in range(15) for part in (nn.Linear(4, 4), nn.Sigmoid())], nn.Linear(4, 3))
    optimizer = torch.optim.AdamW(model.parameters())
    with gradwise.watch(model, optimizer) as watch:
        for _ in range(40):
            step(model, optimizer, *data, watch)
        during = watch.diagnosis()
    assert during and watch.diagnosis() == during and watch.detached


def test_a_copy_of_a_watched_model_is_not_watched(network, data):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    watch = gradwise.watch(model, optimizer)
    step(model, optimizer, *data, watch)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    step(twin, twin_optimizer, *data)
    watch.step()
    assert watch.steps == 1
