"""Modules whose output is no tensor: the loss function gets the module's own object."""

import collections
import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise


@dataclasses.dataclass
class Answer:
    hidden: torch.Tensor
    scores: torch.Tensor


class ModelOutput(collections.OrderedDict):  # as transformers has it: a dict whose keys are attributes
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


KINDS = {
    "dict": (lambda h, s: {"state": None, "hidden": [h], "scores": s}, lambda o: o["scores"]),
    "tuple": (lambda h, s: (s, (h, h)), lambda o: o[0]),
    "list": (lambda h, s: [torch.tensor([1]), h, s], lambda o: o[2]),
    "dataclass": (lambda h, s: Answer(h, s), lambda o: o.scores),
    "model_output": (lambda h, s: ModelOutput(loss=None, logits=s, hidden_states=(h,)), lambda o: o.logits),
}


class Giving(nn.Module):
    def __init__(self, give):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.give = nn.Linear(4, 8), nn.Linear(8, 3), give

    def forward(self, x):
        hidden = torch.tanh(self.first(x))
        return self.give(hidden, self.second(hidden))


def pair(kind):
    """A module of the kind and its loss, and the same of a plain tensor."""
    give, scores = KINDS[kind]
    own = Giving(give), lambda output, target: functional.cross_entropy(scores(output), target)
    return own, (Giving(lambda h, s: s), functional.cross_entropy)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_of_a_plain_output(kind, data):
    (own, own_loss), (plain, plain_loss) = pair(kind)
    a, b = gradwise.AutogradOptimizer(own, lr=1e-2), gradwise.AutogradOptimizer(plain, lr=1e-2)
    for _ in range(5):
        assert a.step(own_loss, *data).loss == b.step(plain_loss, *data).loss
    a.accumulate(own_loss, *data)
    b.accumulate(plain_loss, *data)
    assert a.finish_step().grad_norm == b.finish_step().grad_norm
    for p, q in zip(own.parameters(), plain.parameters(), strict=True):
        assert torch.equal(p, q)


def test_the_loss_gets_the_very_object(data):
    given, got = [], []
    model = Giving(lambda h, s: given.append((s, h)) or given[-1])
    gradwise.AutogradOptimizer(model).step(lambda o, t: got.append(o) or functional.cross_entropy(o[0], t), *data)
    assert len(got) == 1 and got[0] is given[0]


def test_no_graph_outlives_its_step(data):
    import gc
    import weakref

    seen = []

    def loss(output, target):
        seen.append(weakref.ref(output[0]))
        return functional.cross_entropy(output[0], target)

    optimizer = gradwise.AutogradOptimizer(Giving(lambda h, s: (s, h)))
    gc.disable()
    try:
        optimizer.step(loss, *data)
        assert seen[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", ["dict", "model_output"])
def test_loop_analysis_and_search_take_them_too(kind, data):
    (own, own_loss), (plain, plain_loss) = pair(kind)
    config = gradwise.GradientAnalysisConfig(compute_hessian=True)
    found = gradwise.GradientAnalyzer(config).analyze_gradients(own, own_loss, *data)
    expected = gradwise.GradientAnalyzer(config).analyze_gradients(plain, plain_loss, *data)
    assert found.norm == pytest.approx(expected.norm)
    assert found.hessian.sharpness == pytest.approx(expected.hessian.sharpness, rel=1e-4)
    assert gradwise.find_nonfinite(own, own_loss, *data) is None
    bad = lambda output, target: torch.log(-own_loss(output, target))  # noqa: E731
    assert gradwise.find_nonfinite(own, bad, *data).op == "aten::log"
    options = {"metrics": ["accuracy"]} if kind == "model_output" else {}  # of what "logits" has
    a = gradwise.AutogradTrainingLoop(own, lr=1e-2, options=options)
    b = gradwise.AutogradTrainingLoop(plain, lr=1e-2, options=options)
    assert a.train_epoch([data] * 3, own_loss).losses == b.train_epoch([data] * 3, plain_loss).losses
    seen, wanted = a.validate([data], own_loss), b.validate([data], plain_loss)
    assert (seen.validation_loss, seen.metrics) == (wanted.validation_loss, wanted.metrics)


@pytest.mark.parametrize("make", ["Hessian", "GaussNewton", "EmpiricalFisher"])
def test_curvature_shows_the_way_out(make, data):
    (own, own_loss), _ = pair("model_output")
    with pytest.raises(TypeError, match=r"output is a ModelOutput, allowed: torch.Tensor; wrap the model .*\.logits"):
        getattr(gradwise.curvature, make)(own, own_loss, data).trace()

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = own

        def forward(self, x):
            return self.model(x).logits

    assert getattr(gradwise.curvature, make)(Logits(), functional.cross_entropy, data).trace().value > 0


def test_an_output_without_a_tensor_is_refused(data):
    with pytest.raises(gradwise.GradwiseUsageError, match="output is a dict, allowed: torch.Tensor, or what holds one"):
        gradwise.AutogradOptimizer(Giving(lambda h, s: {"scores": None})).step(lambda o, t: None, *data)
