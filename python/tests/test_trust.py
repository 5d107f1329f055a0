"""What must hold in a long process: no memory is kept, and copies, forks, threads and sudden ends do no harm."""

import copy
import gc
import io
import multiprocessing
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import weakref

import pytest
import torch
from torch.nn import functional

import gradwise

# The full counts are a soak: GRADWISE_SOAK=1.
PART = 1 if os.environ.get("GRADWISE_SOAK") else 10


@pytest.fixture
def one_thread():
    """Small work is quicker so, and a fork loses OpenMP's other threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def step(model, optimizer, data, watch=None):
    optimizer.zero_grad()
    loss = functional.cross_entropy(model(data[0]), data[1])
    loss.backward()
    optimizer.step()
    if watch is not None:
        watch.step(loss)


def kilobytes():
    gc.collect()
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def grown(work, rounds):
    """Kilobytes that `rounds` rounds keep, beside what a first tenth of them has filled in caches."""
    for _ in range(max(rounds // 10, 100)):
        work()
    before = kilobytes()
    for _ in range(rounds):
        work()
    return kilobytes() - before


def test_attaching_and_detaching_keeps_no_memory(network, data, one_thread):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())

    def work():
        with gradwise.watch(model, optimizer) as watch:
            step(model, optimizer, data, watch)

    assert grown(work, 10_000 // PART) < 4096
    assert not optimizer._optimizer_step_pre_hooks and not model._forward_hooks and not model._forward_pre_hooks


def test_analyses_keep_no_memory(network, data, one_thread):
    model = network()
    analyzer = gradwise.GradientAnalyzer()
    assert grown(lambda: analyzer.analyze_gradients(model, functional.cross_entropy, *data), 1_000 // PART) < 4096


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("with_optimizer", [False, True])
def test_a_watched_model_is_collected(network, data, tmp_path, with_optimizer, detach):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    watch = gradwise.watch(model, optimizer if with_optimizer else None, run=tmp_path / "run")
    hooks = gradwise.AutogradHooks(model)
    step(model, optimizer, data, watch)
    gone = weakref.ref(model), weakref.ref(watch)
    if detach:
        watch.detach()
        hooks.remove()
    del model, optimizer, watch, hooks
    gc.collect()
    assert [one() for one in gone] == [None, None]
    run = gradwise.load_run(tmp_path / "run")
    assert run.status == "finished" and len(run.steps()) == 1


def test_a_detached_watch_lets_go_of_what_it_watched(network, data):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    watch = gradwise.watch(model, optimizer)
    step(model, optimizer, data, watch)
    watch.detach()
    gone = weakref.ref(model), weakref.ref(optimizer), weakref.ref(model[0].weight)
    del model, optimizer
    gc.collect()
    assert [one() for one in gone] == [None] * 3
    assert watch.readings()["0.weight"].grad_norm > 0 and watch.last_step.loss > 0


def test_a_pickled_model_needs_no_gradwise(network, data):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    watch = gradwise.watch(model, optimizer)
    step(model, optimizer, data, watch)
    file = io.BytesIO()
    torch.save(model, file)
    assert b"gradwise" not in file.getvalue()
    for twin in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(io.BytesIO(file.getvalue()), weights_only=False),
    ):
        assert torch.equal(twin(data[0]), model(data[0]))
        functional.cross_entropy(twin(data[0]), data[1]).backward()
    for again in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        again.zero_grad()
        again.step()
    watch.step()
    assert watch.steps == 1 and copy.deepcopy({"watch": watch}) == {"watch": None}
    assert pickle.loads(pickle.dumps([watch])) == [None]


def in_child(model, optimizer, data, watch, told):
    try:
        step(model, optimizer, data)
        watch.detach()
        again = gradwise.watch(model, optimizer)
        step(model, optimizer, data, again)
        with pytest.raises(gradwise.GradwiseUsageError, match="the watch is detached"):
            watch.step(1.0)
        told.put((again.steps, watch.detached, watch.diagnosis() == []))
        del watch, again
        gc.collect()
    except BaseException as error:
        told.put(repr(error))
        raise


def test_a_forked_process_leaves_the_watch_to_its_parent(network, data, tmp_path, one_thread):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gradwise.watch(model, optimizer, run=tmp_path / "run")
    step(model, optimizer, data, watch)
    fork = multiprocessing.get_context("fork")
    told = fork.Queue()
    child = fork.Process(target=in_child, args=(model, optimizer, data, watch, told))
    child.start()
    answer = told.get(timeout=60)
    child.join(timeout=60)
    assert answer == (1, True, True) and child.exitcode == 0
    step(model, optimizer, data, watch)
    watch.detach()
    run = gradwise.load_run(tmp_path / "run")
    assert run.status == "finished" and len(run.steps()) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_collection_in_a_forked_process_leaves_the_run_to_its_parent(network, data, tmp_path, one_thread):
    models = [network()]
    watches = [gradwise.watch(models[0], run=tmp_path / "run")]
    functional.cross_entropy(models[0](data[0]), data[1]).backward()
    watches[0].step(0.5)
    if (child := os.fork()) == 0:
        gone = weakref.ref(watches[0])
        watches.clear()
        models.clear()
        gc.collect()
        os._exit(7 if gone() is None else 8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert gradwise.load_run(tmp_path / "run").status == "running"
    functional.cross_entropy(models[0](data[0]), data[1]).backward()
    watches[0].step(0.25)
    watches[0].detach()
    assert gradwise.load_run(tmp_path / "run").steps().to_dict()["loss"] == [0.5, 0.25]


def test_threads_train_and_watch_side_by_side(network, data):
    alone = network()
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
    for _ in range(20):
        step(alone, optimizer, data)
    models, errors, watches = [network() for _ in range(4)], [], []

    def work(model):
        try:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(4):  # and hooks come and go meanwhile
                with gradwise.watch(model, optimizer) as watch:
                    for _ in range(5):
                        step(model, optimizer, data, watch)
                watches.append(watch)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert errors == [] and [watch.steps for watch in watches] == [5] * 16
    for model in models:
        for a, b in zip(model.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(a, b)


ENDS = {
    "finished": "",
    "failed": "raise KeyError('mine')",
    "interrupted": "raise KeyboardInterrupt",
    "exit": "sys.exit(3)",
    "within backward": "loss.register_hook(lambda g: 1 / 0); loss.backward()",
}


@pytest.mark.parametrize("end", ENDS)
def test_an_interpreter_that_ends_in_mid_training_ends_its_run(end, tmp_path):
    code = f"""
import sys
sys.path[:0] = {[p for p in sys.path if p]!r}
import torch, gradwise
model = torch.nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
watch = gradwise.watch(model, optimizer, run={str(tmp_path / "run")!r})
for _ in range(3):
    loss = model(torch.ones(4, 3)).square().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    watch.step(loss)
loss = model(torch.ones(4, 3)).square().sum()
{ENDS[end]}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    expected = {"failed": 1, "within backward": 1, "exit": 3, "interrupted": -2}.get(end, 0)
    assert done.returncode == expected, done.stderr
    assert "Fatal" not in done.stderr and "terminate called" not in done.stderr
    run = gradwise.load_run(tmp_path / "run")
    assert run.status == {"exit": "finished", "within backward": "failed"}.get(end, end)
    assert len(run.steps()) == 3
