"""Lightning, Transformers and Accelerate, the real ones: each trains the same batches as a loop by hand."""

import csv
import importlib
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise

STEPS = 6


@pytest.fixture
def dataset(data):
    return torch.utils.data.TensorDataset(*data)


def loader(dataset, size=10):
    return torch.utils.data.DataLoader(dataset, batch_size=size)


def by_hand(model, dataset, accumulate=1, max_norm=None, lr=0.1):
    """Losses and gradient norms of one epoch, a step each."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    batches, losses, norms = list(loader(dataset)), [], []
    for start in range(0, len(batches), accumulate):
        optimizer.zero_grad()
        parts = [functional.cross_entropy(model(x), y) for x, y in batches[start : start + accumulate]]
        loss = torch.stack(parts).mean()
        loss.backward()
        losses.append(loss.item())
        norms.append(float(nn.utils.get_total_norm([p.grad for p in model.parameters()])))
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
    return losses, norms


def same_weights(ours, theirs):
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def nothing_left(model):
    assert not model._forward_pre_hooks and not model._forward_hooks


@pytest.mark.parametrize("framework", ["lightning", "transformers", "accelerate"])
def test_nothing_is_imported_before_it_is_used_and_what_is_missing_is_named(framework):
    code = f"""
import sys
import gradwise.integrations.{framework} as module
assert not {{"lightning", "pytorch_lightning", "transformers", "accelerate"}} & set(sys.modules)
for name in ("lightning", "lightning.pytorch", "pytorch_lightning", "transformers", "accelerate"):
    sys.modules[name] = None  # as if it were not installed
try:
    module.watch(None, None, None) if {framework!r} == "accelerate" else module.GradwiseCallback
except gradwise_error as error:
    assert isinstance(error, ImportError), error
    assert "pip install {framework}" in str(error), error
else:
    raise AssertionError("no error")
"""
    code = "from gradwise import GradwiseImportError as gradwise_error\n" + code
    path = [p for p in sys.path if p]
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}"],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- Lightning ---


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def lightning(request, monkeypatch):
    pytest.importorskip(request.param.partition(".")[0], reason=f"{request.param} is not installed")
    framework = importlib.import_module(request.param)
    from gradwise.integrations import lightning as ours

    # One of the two names is in use in a process; here, each in its turn.
    vars(ours).pop("GradwiseCallback", None)
    for name in ("lightning.pytorch", "pytorch_lightning"):
        if name != request.param:
            monkeypatch.delitem(sys.modules, name, raising=False)
    assert issubclass(ours.GradwiseCallback, framework.Callback)
    return framework


def lightning_module(framework, network, manual=False, breaks_at=None):
    class Module(framework.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = network()
            self.automatic_optimization = not manual

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

        def training_step(self, batch, index):
            if index == breaks_at:
                raise KeyError("mine")
            loss = functional.cross_entropy(self.network(batch[0]), batch[1])
            if manual:
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            return loss

    return Module()


def lightning_trainer(framework, folder, callback, **options):
    loggers = importlib.import_module(framework.__name__ + ".loggers")
    return framework.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, log_every_n_steps=1, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[callback],
        logger=loggers.CSVLogger(folder, name="", version=""), **options,
    )  # fmt: skip


@pytest.mark.parametrize("manual, accumulate, max_norm", [(False, 1, None), (False, 2, 0.01), (True, 1, None)])
def test_lightning(lightning, network, dataset, tmp_path, manual, accumulate, max_norm):
    from gradwise.integrations.lightning import GradwiseCallback

    callback = GradwiseCallback(run=tmp_path / "run")
    module = lightning_module(lightning, network, manual)
    given = {} if manual else {"accumulate_grad_batches": accumulate, "gradient_clip_val": max_norm}
    lightning_trainer(lightning, tmp_path, callback, **given).fit(module, loader(dataset))
    theirs = network()
    losses, norms = by_hand(theirs, dataset, accumulate, max_norm)
    same_weights(module.network, theirs)
    run = gradwise.load_run(tmp_path / "run")
    assert run.status == "finished" and callback.watch.detached
    assert [row.loss for row in run.steps()] == pytest.approx(losses, rel=1e-5)
    assert [row.grad_norm for row in run.steps()] == pytest.approx(norms, rel=1e-4)
    assert [row.samples for row in run.steps()] == [10 * accumulate] * len(losses)
    assert callback.diagnosis() == [] and callback.issues == []
    assert callback.readings()["network.0.weight"].update_norm > 0
    with open(tmp_path / "metrics.csv") as file:
        logged = [float(row["gradwise/grad_norm"]) for row in csv.DictReader(file) if row["gradwise/grad_norm"]]
    assert logged == pytest.approx(norms, rel=1e-4)
    nothing_left(module)


def test_lightning_in_bfloat16_and_float16(lightning, network, dataset, tmp_path):
    from gradwise.integrations.lightning import GradwiseCallback

    plugin = importlib.import_module(lightning.__name__ + ".plugins.precision").MixedPrecision
    for precision, scaler in (("bf16-mixed", None), ("16-mixed", torch.amp.GradScaler("cpu", init_scale=1024.0))):
        callback = GradwiseCallback(run=tmp_path / precision)
        module = lightning_module(lightning, network)
        trainer = lightning_trainer(lightning, tmp_path / precision, callback, plugins=plugin(precision, "cpu", scaler))
        trainer.fit(module, loader(dataset))
        _, norms = by_hand(network(), dataset)
        found = [row.grad_norm for row in gradwise.load_run(tmp_path / precision).steps()]
        assert found == pytest.approx(norms, rel=0.05), precision


def test_an_exception_in_lightning_ends_the_watch(lightning, network, dataset, tmp_path):
    from gradwise.integrations.lightning import GradwiseCallback

    callback = GradwiseCallback(run=tmp_path / "run")
    module = lightning_module(lightning, network, breaks_at=3)
    with pytest.raises(KeyError, match="mine"):
        lightning_trainer(lightning, tmp_path, callback).fit(module, loader(dataset))
    run = gradwise.load_run(tmp_path / "run")
    assert run.status == "failed" and len(run.steps()) == 3 and callback.watch.detached
    nothing_left(module)
    callback._run = None
    again = lightning_module(lightning, network)
    lightning_trainer(lightning, tmp_path / "again", callback).fit(again, loader(dataset))
    assert callback.watch.steps == STEPS


# --- Transformers ---


class WithLoss(nn.Module):
    """As a model of Transformers: the loss is in its output."""

    def __init__(self, network, breaks_at=None):
        super().__init__()
        self.network, self.calls, self.breaks_at = network, 0, breaks_at

    def forward(self, x, labels):
        self.calls += 1
        if self.calls == self.breaks_at:
            raise KeyError("mine")
        logits = self.network(x)
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def transformers_trainer(dataset, folder, model, **options):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    callbacks = options.pop("callbacks", [])
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=10, num_train_epochs=1, learning_rate=0.1,
        lr_scheduler_type="constant", optim="sgd", logging_steps=1, save_strategy="no", report_to="none",
        disable_tqdm=True, use_cpu=True, **options,
    )  # fmt: skip

    def collate(rows):
        return {"x": torch.stack([x for x, _ in rows]), "labels": torch.stack([y for _, y in rows])}

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    return InOrder(model=model, args=arguments, train_dataset=dataset, data_collator=collate, callbacks=callbacks)


@pytest.mark.parametrize("accumulate, max_norm", [(1, 0.0), (2, 0.01)])
def test_transformers(network, dataset, tmp_path, accumulate, max_norm):
    model = WithLoss(network())
    trainer = transformers_trainer(dataset, tmp_path, model, gradient_accumulation_steps=accumulate,
                                   max_grad_norm=max_norm)  # fmt: skip
    from gradwise.integrations.transformers import GradwiseCallback

    callback = GradwiseCallback(run=tmp_path / "run")
    with callback.watching(trainer):
        trainer.train()
    theirs = network()
    losses, norms = by_hand(theirs, dataset, accumulate, max_norm or None)
    same_weights(model.network, theirs)
    run = gradwise.load_run(tmp_path / "run")
    assert run.status == "finished" and callback.watch.detached
    assert [row.loss for row in run.steps()] == pytest.approx(losses, rel=1e-5)
    assert [row.grad_norm for row in run.steps()] == pytest.approx(norms, rel=1e-4)
    assert [row.samples for row in run.steps()] == [10 * accumulate] * len(losses)
    logged = [entry["gradwise/grad_norm"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged == pytest.approx(norms, rel=1e-4)
    assert callback.diagnosis() == [] and callback.readings()["network.0.weight"].update_norm > 0
    nothing_left(model)
    assert "clip_grad_norm_" not in vars(trainer.accelerator) and callback not in trainer.callback_handler.callbacks


def test_a_language_model_of_transformers(tmp_path):
    """A real one, whose loss is a sum over the window's tokens."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from gradwise.integrations.transformers import GradwiseCallback

    shape = {"n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 8, "vocab_size": 11}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape, bos_token_id=0, eos_token_id=0))
    tokens = torch.randint(0, 11, (16, 8), generator=torch.Generator().manual_seed(0))
    rows = [{"input_ids": row, "labels": row} for row in tokens]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=4, gradient_accumulation_steps=2, max_steps=2,
        logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    callback = GradwiseCallback(run=tmp_path / "run")
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[callback])
    trainer.train()
    steps = gradwise.load_run(tmp_path / "run").steps()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [row.loss for row in steps] == pytest.approx([entry["loss"] for entry in logged], abs=1e-3)
    assert [row.samples for row in steps] == [8, 8] and callback.watch.last_step.micro_batches == 2
    assert logged[-1]["gradwise/grad_norm"] == pytest.approx(steps[-1].grad_norm)


def test_an_exception_in_transformers_ends_the_watch(network, dataset, tmp_path):
    model = WithLoss(network(), breaks_at=4)
    trainer = transformers_trainer(dataset, tmp_path, model)
    from gradwise.integrations.transformers import GradwiseCallback

    callback = GradwiseCallback(run=tmp_path / "run")
    with pytest.raises(KeyError, match="mine"), callback.watching(trainer):
        trainer.train()
    run = gradwise.load_run(tmp_path / "run")
    assert run.status == "failed" and len(run.steps()) == 3 and callback.watch.detached
    nothing_left(model)


# --- Accelerate ---


@pytest.mark.parametrize("accumulate", [1, 2])
def test_accelerate(network, dataset, tmp_path, accumulate):
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
    from gradwise.integrations.accelerate import watch

    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulate, log_with="tensorboard",
                                         project_dir=tmp_path)  # fmt: skip
    accelerator.init_trackers("log")
    bare = network()
    model, optimizer, batches = accelerator.prepare(bare, torch.optim.SGD(bare.parameters(), lr=0.1), loader(dataset))
    with watch(accelerator, model, optimizer, run=tmp_path / "run", log_every=1) as watching:
        for x, y in batches:
            with accelerator.accumulate(model):
                loss = functional.cross_entropy(model(x), y)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            watching.step(loss)
    accelerator.end_training()
    theirs = network()
    losses, norms = by_hand(theirs, dataset, accumulate)
    same_weights(bare, theirs)
    steps = gradwise.load_run(tmp_path / "run").steps()
    assert [row.loss for row in steps] == pytest.approx(losses, rel=1e-5)
    assert [row.grad_norm for row in steps] == pytest.approx(norms, rel=1e-4)
    assert [row.samples for row in steps] == [10 * accumulate] * len(losses)
    assert watching.diagnosis() == [] and watching.readings()["0.weight"].update_norm > 0
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    told = events.EventAccumulator(str(tmp_path / "log")).Reload().Scalars("gradwise/grad_norm")
    assert [event.value for event in told] == pytest.approx(norms, rel=1e-4)
    nothing_left(bare)
    with pytest.raises(TypeError, match="accelerator is a int, allowed: accelerate.Accelerator"):
        watch(3, model, optimizer)
