"""Configurations and analyses as Python objects: attributes, copies, files."""

import copy
import pickle

import pytest
from torch.nn import functional

from gradwise import GradwiseError
from gradwise.gradient_analysis import GradientAnalysisConfig, GradientAnalyzer, GradientMonitoring


def test_a_configuration_is_read_and_assigned_by_attribute(network, data):
    config = GradientAnalysisConfig()
    assert (config.micro_batches, config.most_batches, config.gradient_norm_threshold) == (8, 8, 1.0)
    config.compute_hessian, config.hessian_steps = True, 5
    analyzer = GradientAnalyzer(config)
    assert analyzer.analyze_gradients(network(), functional.cross_entropy, *data).hessian.eigenvalues
    with pytest.raises(ValueError, match="micro_batches is 1, allowed: >= 2"):
        config.micro_batches = 1
    with pytest.raises(TypeError, match='did you mean "micro_batches"'):
        config.micro_batch = 4
    with pytest.raises(AttributeError, match="there is no option 'hessian', there are: compute_hessian, "):
        config.hessian  # noqa: B018
    assert config.micro_batches == 8 and copy.deepcopy(config).options == config.options
    with pytest.raises(AttributeError, match="compute_hessian is of an analyzer's configuration"):
        analyzer.config.compute_hessian = False


def test_copies_of_an_analysis(network, data):
    analyzer = GradientAnalyzer({"gradient_norm_threshold": 1e-3})
    analysis = analyzer.analyze_gradients(network(), functional.cross_entropy, *data)
    issues = analyzer.detect_gradient_issues(analysis)
    assert issues
    for twin in (copy.copy(analysis), copy.deepcopy(analysis)):
        assert twin.layers == analysis.layers and analyzer.detect_gradient_issues(twin) == issues
    assert copy.deepcopy(analysis).layers is not analysis.layers
    stored = pickle.loads(pickle.dumps(analysis))
    assert stored.layers == analysis.layers and stored.to_pandas().equals(analysis.to_pandas())
    with pytest.raises(TypeError, match="results is an analysis that was pickled"):
        analyzer.detect_gradient_issues(stored)


def test_what_was_monitored_is_an_analysis(network, data):
    monitoring = GradientMonitoring({"gradient_norm_threshold": 1e-3})
    seen = monitoring.monitor_training_step(network(), functional.cross_entropy, *data, step=7)
    assert seen.step == 7 and {issue.step for issue in seen.issues} == {7}
    told = GradientAnalyzer(monitoring.config).detect_gradient_issues(seen.analysis)
    assert {issue.rule for issue in told} == {issue.rule for issue in seen.issues}
    assert seen.analysis.to_pandas().shape[0] == 4


def test_a_picture_that_can_not_be_drawn(network, data, tmp_path, monkeypatch):
    analyzer = GradientAnalyzer()
    analyzer.analyze_gradients(network(), functional.cross_entropy, *data)
    with pytest.raises(GradwiseError, match=r"a\.png was not drawn: there is no folder .*/none$"):
        analyzer.plot_gradient_analysis(tmp_path / "none" / "a.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(GradwiseError, match="there is no folder .*/file$"):
        analyzer.plot_gradient_analysis(tmp_path / "file" / "a.png")
    with pytest.raises(ValueError, match='the file ending is ".gif", allowed: .png, .svg, .pdf'):
        analyzer.plot_gradient_analysis(tmp_path / "a.gif")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GradwiseError, match="a.png was not drawn: the program gnuplot is not installed"):
        analyzer.plot_gradient_analysis(tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
