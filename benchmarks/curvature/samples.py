"""Rows of per-sample gradients and of checkpointing."""

import torch
from curvature.contest import Absent, Contest, peer, require_close, those_here
from curvature.networks import Case
from torch import nn
from torch.utils.checkpoint import checkpoint as torch_checkpoint

import gradwise
from gradwise import _core


def per_sample(case):
    if not hasattr(gradwise, "PerSampleGradients"):
        raise Absent("gradwise.PerSampleGradients")
    return gradwise.PerSampleGradients(case.model, case.loss)


def by_functorch(case):
    weights = {name: p.detach() for name, p in case.model.named_parameters()}

    def loss(weights, x, y):
        return case.loss(torch.func.functional_call(case.model, weights, (x[None],)), y[None])

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    return lambda: list(gradients(weights, case.x, case.y).values())


def by_opacus(case):
    model = peer("opacus.grad_sample").GradSampleModule(case.fresh(), loss_reduction="sum")
    loss = nn.CrossEntropyLoss(reduction="sum")

    def run():
        model.zero_grad()
        loss(model(case.x), case.y).backward()
        return [p.grad_sample for p in model.parameters()]

    return run


def by_backpack(case, extension, kept):
    backpack, extensions = peer("backpack"), peer("backpack.extensions")
    model, loss = backpack.extend(case.fresh()), backpack.extend(nn.CrossEntropyLoss(reduction="sum"))

    def run():
        model.zero_grad()
        with backpack.backpack(getattr(extensions, extension)()):
            loss(model(case.x), case.y).backward()
        return [getattr(p, kept) for p in model.parameters()]

    return run


def sample_gradients(case: Case, quick: bool) -> Contest:
    """Again and again, as in a training: ours writes to the same memory."""
    found, notes, failed = per_sample(case), [], []

    def ours():
        return list(found.gradients(case.x, case.y).values())

    def checked(make):
        run = make()
        require_close(ours(), run(), "per-sample gradients")
        return run

    makers = {
        "torch.func": lambda: checked(lambda: by_functorch(case)),
        "Opacus": lambda: checked(lambda: by_opacus(case)),
        "BackPACK": lambda: checked(lambda: by_backpack(case, "BatchGrad", "grad_batch")),
    }
    return Contest(ours, those_here(makers, notes, failed), lambda: None, notes, failed=failed)


def sample_norms(case: Case, quick: bool) -> Contest:
    found = per_sample(case)
    theirs = by_backpack(case, "BatchL2Grad", "batch_l2")
    return Contest(
        ours=lambda: found.norms(case.x, case.y),
        peers={"BackPACK": theirs},
        check=lambda: require_close(found.norms(case.x, case.y).norms, sum(theirs()).sqrt(), "per-sample norms"),
    )


def norms_over_gradient(case: Case, quick: bool) -> Contest:
    found, parameters = per_sample(case), list(case.model.parameters())

    def gradient():
        return torch.autograd.grad(case.loss(case.model(case.x), case.y), parameters)

    def check():
        rows = by_functorch(case)()
        norms = sum(row.flatten(1).square().sum(1) for row in rows).sqrt()
        require_close(found.norms(case.x, case.y).norms, norms, "per-sample norms")

    return Contest(lambda: found.norms(case.x, case.y), {"one gradient": gradient}, check)


class Encoder:
    """Six layers of a transformer, with dropout, each of them checkpointed."""

    def __init__(self, width=128, heads=4, layers=6):
        torch.manual_seed(0)
        self.layers = [nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True) for _ in range(layers)]
        self.x = torch.randn(16, 64, width)

    def step(self, checkpoint):
        torch.manual_seed(1)
        y = self.x
        for layer in self.layers:
            y = checkpoint(layer, y)
        return torch.autograd.grad(y.square().mean(), [p for layer in self.layers for p in layer.parameters()])

    def peak(self, checkpoint):
        with _core.PeakMemory() as memory:
            self.step(checkpoint)
        return memory.peak_bytes


def checkpointed_step(_: None, quick: bool) -> Contest:
    if not hasattr(gradwise, "checkpoint"):
        raise Absent("gradwise.checkpoint")
    encoder = Encoder()

    def of_torch(function, *args):
        return torch_checkpoint(function, *args, use_reentrant=False)

    def plain(function, *args):
        return function(*args)

    def ours():
        return encoder.step(gradwise.checkpoint)

    def check():
        for left, right in zip(ours(), encoder.step(of_torch), strict=True):
            if not torch.equal(left, right):
                raise ValueError("checkpointed step: the gradients differ")

    ours()
    peaks = [encoder.peak(way) for way in (gradwise.checkpoint, of_torch, plain)]
    return Contest(
        ours, {"torch.utils.checkpoint": lambda: encoder.step(of_torch)}, check, fewer=(peaks[0], 1.01 * peaks[1]),
        notes=["peak {:.1f} MiB beside {:.1f}, without checkpoints {:.1f}".format(*(p / 2**20 for p in peaks))],
    )  # fmt: skip
