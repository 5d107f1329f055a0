"""Every module of PyTorch's own test table, float32, on the CPU, in training mode and where it differs in evaluation:
its gradients as a watch and an analysis read them, beside autograd's, and its output
as hooks see it. No module is left out; of their samples, those
are whose input has a name, and for the analysis, which refuses them, those without a batch."""

import warnings

import pytest
import torch
from torch import nn
from torch.testing._internal.common_modules import module_db

import gradwise

MODES = [
    pytest.param(info, training, id=f"{info.formatted_name}-{'train' if training else 'eval'}")
    for info in module_db
    for training in ((True, False) if info.train_and_eval_differ else (True,))
]
MOST_SAMPLES = 8  # of a module's; some have hundreds


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small work is quicker so
    yield
    torch.set_num_threads(threads)


class Scaled(nn.Module):
    """The module with a weight before it, so that those without parameters have gradients too, its further inputs, and
    a scalar of whatever it gives."""

    def __init__(self, module, rest, kwargs):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.75))
        self.module, self.rest, self.kwargs = module, rest, kwargs

    def forward(self, x):
        return total(self.module(x * self.scale if x.is_floating_point() else x, *self.rest, **self.kwargs))


def total(output):
    """Each element with a weight of its own."""
    if isinstance(output, torch.Tensor):
        weights = torch.linspace(0.5, 1.5, output.numel()).reshape(output.shape)
        return (output * weights).sum()
    return sum(total(part) for part in output if part is not None)


def cases(info, training):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"device": "cpu", "dtype": torch.float32, "requires_grad": False, "training": training}
        inputs = info.module_inputs_func(info, **options)
        inputs = [sample for sample in inputs if sample.forward_input is not None and sample.forward_input.args]
        for sample in inputs[:: -(-len(inputs) // MOST_SAMPLES)]:
            torch.manual_seed(0)
            made = info.module_cls(*sample.constructor_input.args, **sample.constructor_input.kwargs).float()
            x, *rest = sample.forward_input.args
            module = Scaled(made, rest, sample.forward_input.kwargs).train(training)
            with torch.no_grad():
                module(x)  # lazy modules take their shapes
            yield module, x


def expected_gradients(module, x):
    torch.manual_seed(1)
    buffers = {name: tensor.clone() for name, tensor in module.named_buffers()}
    found = torch.autograd.grad(module(x), [p for p in module.parameters() if p.requires_grad], allow_unused=True)
    module.load_state_dict(buffers, strict=False)
    return found


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("info, training", MODES)
def test_a_watch_reads_every_module(info, training):
    for module, x in cases(info, training):
        expected = expected_gradients(module, x)
        optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.0)
        with gradwise.watch(module, optimizer) as watch:
            torch.manual_seed(1)
            loss = module(x)
            watch.observe(loss)
            loss.backward()
            optimizer.step()
            watch.step(loss)
            readings = list(watch.readings().values())
        for reading, gradient in zip(readings, expected, strict=True):
            assert reading.missing == (gradient is None)
            if gradient is not None:
                assert reading.grad_nans == int(gradient.isnan().sum())
                norm = float(gradient.nan_to_num(nan=0.0).norm())
                assert reading.grad_norm == pytest.approx(norm, rel=1e-4, abs=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("info", module_db, ids=lambda info: info.formatted_name)
def test_an_analysis_reads_every_module_and_leaves_no_trace(info):
    whole = {"compute_gradient_angles": False, "compute_gradient_correlation": False}  # no cutting into micro-batches
    for module, x in cases(info, training=True):
        if x.dim() > 0 and len(x) == 0:
            continue
        expected = expected_gradients(module, x)
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        torch.manual_seed(1)
        random = torch.get_rng_state()
        results = gradwise.GradientAnalyzer(whole).analyze_gradients(
            module, lambda output, target: output, x, torch.zeros(1)
        )
        assert torch.equal(random, torch.get_rng_state())
        assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
        assert all(p.grad is None for p in module.parameters())
        for found, gradient in zip(results.parameters, expected, strict=True):
            assert found.missing == (gradient is None)
            if gradient is not None:
                assert found.norm == pytest.approx(float(gradient.norm()), rel=1e-4, abs=1e-6, nan_ok=True)


def parts(output):
    if isinstance(output, torch.Tensor):
        return [output]
    return [tensor for part in output if part is not None for tensor in parts(part)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("info, training", MODES)
def test_hooks_see_what_every_module_gives_and_what_comes_back(info, training):
    for module, x in cases(info, training):
        given = []
        handle = module.module.register_forward_hook(lambda *call, given=given: given.append(call[-1]))
        torch.manual_seed(1)
        loss = module(x)
        outputs = [t for t in parts(given[0]) if t.is_floating_point()]
        through = [t for t in outputs if t.requires_grad]
        gradients = torch.autograd.grad(loss, through, allow_unused=True)
        handle.remove()
        with gradwise.AutogradHooks(module, patterns=["module", "module[*"]) as hooks:
            torch.manual_seed(1)
            module(x).backward()
        seen = {(record.kind, record.name): record for record in hooks.records()}
        activations = [record for (kind, _), record in seen.items() if kind == "activation"]
        assert len(activations) == len(outputs) > 0
        for record, output in zip(activations, outputs, strict=True):
            assert tuple(record.shape) == output.shape
            norm = float(output.detach().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).double().norm())
            assert record.norm == pytest.approx(norm, rel=1e-4, abs=1e-6)
        names = [record.name for record, output in zip(activations, outputs, strict=True) if output.requires_grad]
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is not None:
                found = seen["activation_gradient", name]
                norm = float(gradient.nan_to_num(nan=0.0).double().norm())
                assert found.norm == pytest.approx(norm, rel=1e-4, abs=1e-6)
