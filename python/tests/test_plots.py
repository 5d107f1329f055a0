"""Lines, legends and matrices that matplotlib draws."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise
from gradwise import _plots


@pytest.mark.parametrize("norms", [True, False])
def test_layers_are_named_in_the_order_of_their_rows(norms):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    torch.manual_seed(3)
    model = nn.Sequential(*[nn.Linear(3, 3, bias=False) for _ in range(11)])
    x, y = torch.randn(16, 3), torch.randn(16, 3)
    analyzer = gradwise.GradientAnalyzer({"compute_gradient_norms": norms, "micro_batches": 4})
    analysis = analyzer.analyze_gradients(model, functional.mse_loss, x, y)
    depth = [str(i) for i in range(11)]
    ax = analysis.plot("layers")
    names = depth if norms else [f"layer {i}" for i in range(11)]
    for axis in (ax.xaxis, ax.yaxis):
        assert [tick.get_text() for tick in axis.get_ticklabels()] == names
    assert ax.images[0].get_array().tolist() == analysis.angles.between_layers
    matplotlib.pyplot.close("all")
    assert list(analysis.angles.layers) == (depth if norms else [])
    parts = [
        torch.cat([g.flatten() for g in torch.autograd.grad(functional.mse_loss(model(a), b), model.parameters())])
        for a, b in zip(x.chunk(4), y.chunk(4), strict=True)
    ]
    rows = torch.stack(parts)
    cosines = functional.cosine_similarity(rows[:, None], rows[None], dim=2)
    torch.testing.assert_close(torch.tensor(analysis.correlation.micro_batches), cosines, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(torch.tensor(analysis.correlation.centred), torch.corrcoef(rows), atol=1e-4, rtol=1e-3)
    if norms:
        whole = rows.mean(0)
        share = {name: float(part.norm() / whole.norm()) for name, part in zip(depth, whole.chunk(11), strict=True)}
        assert {name: angle.cosine for name, angle in analysis.angles.layers.items()} == pytest.approx(share, abs=1e-4)


def test_no_two_lines_look_alike_and_points_between_gaps_are_seen():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    gap = float("nan")
    points = {str(i): ([1, 2, 3, 4, 5, 6], [1.0, gap, 3.0, 4.0, gap, 6.0]) for i in range(8)}
    with matplotlib.rc_context({"axes.prop_cycle": matplotlib.cycler(color=["red", "blue", "green"])}):
        ax = _plots.lines(None, "", "", "", points)
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 8
    assert all(line.get_marker() == "." and line.get_markevery() == [0, 5] for line in ax.lines)
    whole = _plots.lines(None, "", "", "", {"a": ([1, 2], [1.0, 2.0])}).lines[0]
    assert whole.get_marker() == ""
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize("count, beside", [(6, False), (7, True)])
def test_legends_of_many_lines_stand_beside_the_data(count, beside):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    ax = _plots.lines(None, "", "", "", {f"layer {i}": ([1, 2], [i, i + 1]) for i in range(count)})
    ax.figure.canvas.draw()
    box, data = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert (box.x0 >= data.x1) == beside and box.x1 <= ax.figure.bbox.x1
    matplotlib.pyplot.close("all")
