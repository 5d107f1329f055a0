"""Estimators on operators that are known in full, against SciPy and dense decompositions."""

import os
import pathlib
import sys

import pytest
import scipy.sparse.linalg as scipy_linalg
import torch

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(pathlib.Path(os.environ.get("GRADWISE_BUILD", ROOT / "build")) / "python"))

import gradwise
from gradwise.curvature import from_function, from_matrix


def matrix_of(values):
    torch.manual_seed(1)
    q = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64)).Q
    full = q * values @ q.T
    return (full + full.T) / 2


@pytest.fixture
def definite():
    return matrix_of(torch.linspace(0.5, 20, 150, dtype=torch.float64))


@pytest.fixture
def indefinite():
    return matrix_of(torch.linspace(-3, 5, 150, dtype=torch.float64))


def test_eigenpairs_are_scipys(indefinite):
    found = from_matrix(indefinite).eigenpairs(largest=3, smallest=2, tol=1e-9)
    top, top_vectors = scipy_linalg.eigsh(indefinite.numpy(), 3, which="LA")
    low = scipy_linalg.eigsh(indefinite.numpy(), 2, which="SA", return_eigenvectors=False)
    assert found.converged and found.products <= 1000
    assert found.eigenvalues == pytest.approx([*sorted(top, reverse=True), *sorted(low, reverse=True)], abs=1e-8)
    overlaps = torch.from_numpy(top_vectors).T @ found.eigenvectors[:, :3]
    assert torch.linalg.matrix_norm(overlaps) == pytest.approx(3**0.5, abs=1e-6)
    values = torch.tensor(found.eigenvalues, dtype=torch.float64)
    residuals = (indefinite @ found.eigenvectors - found.eigenvectors * values).norm(dim=0)
    assert found.residuals == pytest.approx(residuals.tolist(), abs=1e-11)
    top_of_it = from_matrix(indefinite).top_eigenvalues(2, tol=1e-6, eigenvectors=True)
    assert set(top_of_it) == {"eigenvalues", "errors", "products", "converged", "eigenvectors"}
    assert top_of_it.eigenvectors.shape == (150, 2)


def test_lobpcg_finds_scipys_eigenpairs(indefinite):
    operator = from_matrix(indefinite)
    start = torch.randn(150, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).numpy()
    theirs, _ = scipy_linalg.lobpcg(indefinite.numpy(), start, tol=1e-7, maxiter=300, largest=True)
    exact = torch.linalg.eigvalsh(indefinite).flip(0)
    found = operator.eigenpairs(largest=3, smallest=1, tol=1e-9, method="lobpcg")
    assert found.converged
    assert found.eigenvalues == pytest.approx([*exact[:3].tolist(), float(exact[-1])], abs=1e-9)
    assert found.eigenvalues[:3] == pytest.approx(sorted(theirs, reverse=True), abs=1e-6)
    top = operator.top_eigenvalues(3, tol=1e-5, method="lobpcg")
    assert top.converged and top.eigenvalues == pytest.approx(exact[:3].tolist(), abs=1e-4)


def test_a_preconditioner_saves_products():
    torch.manual_seed(4)
    diagonal = torch.logspace(-2, 4, 300, dtype=torch.float64)
    noise = 1e-3 * torch.randn(300, 300, dtype=torch.float64)
    operator = from_matrix(torch.diag(diagonal) + noise + noise.T)
    inverse = from_function(lambda v: v / diagonal, 300, dtype=torch.float64)
    options = {"largest": 0, "smallest": 3, "tol": 1e-9, "method": "lobpcg"}
    found = operator.eigenpairs(**options, preconditioner=inverse)
    assert found.converged and found.products < 200 and not operator.eigenpairs(**options).converged
    assert found.eigenvalues[-1] == pytest.approx(
        float(torch.linalg.eigvalsh(torch.diag(diagonal) + noise + noise.T)[0]), abs=1e-7
    )
    with pytest.raises(TypeError, match="preconditioner is a Tensor, allowed: a LinearOperator"):
        operator.eigenpairs(preconditioner=diagonal)
    with pytest.raises(ValueError, match="a preconditioner is given, and the method is .lanczos."):
        operator.eigenpairs(preconditioner=inverse)
    with pytest.raises(ValueError, match="method is .power., allowed: lanczos, lobpcg"):
        operator.top_eigenvalues(method="power")


def test_solutions_are_scipys(definite, indefinite):
    b = torch.linspace(-1, 1, 150, dtype=torch.float64).cos()
    operator = from_function(lambda v: definite @ v, 150, dtype=torch.float64)
    assert operator.shape == (150, 150)
    found = operator.solve(b, tol=1e-10, damping=0.3)
    damped = definite + 0.3 * torch.eye(150, dtype=torch.float64)
    expected, status = scipy_linalg.cg(damped.numpy(), b.numpy(), rtol=1e-10)
    assert status == 0 and found.converged
    torch.testing.assert_close(found.x, torch.from_numpy(expected), rtol=1e-7, atol=1e-9)
    for damping in (0.0, 0.7):
        found = from_matrix(indefinite).solve(b, method="lsmr", tol=1e-9, damping=damping)
        expected = scipy_linalg.lsmr(indefinite.numpy(), b.numpy(), damp=damping, atol=1e-11, btol=1e-11, maxiter=2000)[
            0
        ]
        assert found.converged
        torch.testing.assert_close(found.x, torch.from_numpy(expected), rtol=1e-4, atol=1e-6)


def test_sampled_figures_are_within_their_errors(definite):
    operator = from_matrix(definite)
    for method in ("hutchinson", "hutch++", "xtrace", "xnystrace"):
        found = operator.trace(method=method, tol=0.02)
        assert found.converged and found.low < found.value < found.high
        assert abs(found.value - definite.trace()) < 5 * found.standard_error
        assert found.high - found.value <= 0.02 * found.value
    for method in ("hutchinson", "xdiag"):
        diagonal = operator.diagonal(method=method, products=100)
        scores = (diagonal.diagonal - definite.diag()) / diagonal.standard_errors
        assert scores.square().mean().sqrt() == pytest.approx(1, abs=0.35)
    norm = operator.frobenius_norm(tol=0.05)
    assert abs(norm.value - definite.norm()) < 5 * norm.standard_error
    determinant = operator.log_determinant(vectors=20)
    assert abs(determinant.value - torch.logdet(definite)) < 5 * determinant.standard_error
    condition = operator.condition_number()
    assert condition.value == pytest.approx(40, rel=1e-4) and condition.low <= 40 + 1e-8 <= condition.high + 1e-6


def test_quadrature_stops_at_the_tolerance(definite):
    operator = from_matrix(definite)
    determinant = operator.log_determinant(tol=0.02)
    assert determinant.converged and determinant.high - determinant.value <= 0.02 * abs(determinant.value)
    assert abs(determinant.value - torch.logdet(definite)) < 5 * determinant.standard_error
    assert not operator.log_determinant(vectors=5, tol=1e-9).converged
    density = operator.spectral_density(steps=10, width=0.1, tol=0.2)
    assert density.converged and density.products == 10 * density.samples and density.samples < 160
    with pytest.raises(ValueError, match="tolerance is -1, allowed: >= 0"):
        operator.log_determinant(tol=-1)


def test_the_density_has_a_band(indefinite):
    found = from_matrix(indefinite).spectral_density(vectors=6, points=80, width=0.05)
    assert found.eigenvalues.shape == found.density.shape == found.standard_errors.shape == (80,)
    assert torch.trapezoid(found.density, found.eigenvalues) == pytest.approx(1, abs=0.05)
    assert (found.standard_errors > 0).all() and found.products == 240


def test_the_same_seed_gives_the_same_figures(definite):
    operator = from_matrix(definite)
    assert operator.trace(seed=3) == operator.trace(seed=3) != operator.trace(seed=4)
    assert operator.eigenpairs(seed=3).eigenvalues == operator.eigenpairs(seed=3).eigenvalues


def test_wrong_calls_are_refused(definite, indefinite):
    operator = from_matrix(definite)
    with pytest.raises(ValueError, match=r'method is "x", allowed: hutchinson, hutch\+\+, xtrace, xnystrace'):
        operator.trace(method="x")
    with pytest.raises(ValueError, match="products is 3, allowed: >= 4"):
        operator.trace(products=3)
    with pytest.raises(ValueError, match="largest is -1, allowed: >= 0"):
        operator.eigenpairs(largest=-1)
    with pytest.raises(ValueError, match=r"b has the shape \[3\], allowed: \[150\]"):
        operator.solve(torch.zeros(3))
    with pytest.raises(gradwise.GradwiseError, match="curvature .* is -"):
        from_matrix(-definite).solve(torch.ones(150))
    with pytest.raises(gradwise.GradwiseError, match="smallest eigenvalue with the damping is -"):
        from_matrix(indefinite).condition_number()
    with pytest.raises(gradwise.GradwiseError, match="the operator is not symmetric"):
        from_matrix(torch.randn(5, 5))
    asymmetric = torch.randn(30, 30)
    with pytest.raises(gradwise.GradwiseError, match="the operator is not symmetric"):
        from_function(lambda v: asymmetric @ v, 30).trace(products=10)
    with pytest.raises(ValueError, match="the matrix has the shape"):
        from_matrix(torch.zeros(2, 3))
    with pytest.raises(TypeError, match="allowed: a callable"):
        from_function(3, 30)
    with pytest.raises(TypeError, match="allowed: a tensor"):
        from_function(lambda v: 1, 30).trace()


def test_what_a_function_raises_comes_back():
    def broken(vector):
        raise RuntimeError("passing")

    with pytest.raises(RuntimeError, match="passing"):
        from_function(broken, 10).trace()


@pytest.mark.parametrize("scale", [1.0, -3.0, 1e8])
def test_the_density_of_a_multiple_of_the_identity_has_a_width(scale):
    found = from_matrix(scale * torch.eye(30, dtype=torch.float64)).spectral_density()
    assert found.eigenvalues.diff().min() > 1e-4 * abs(scale)
    assert float(torch.trapezoid(found.density, found.eigenvalues)) == pytest.approx(1, abs=0.02)


def test_xnystrace_of_a_whole_space_rounds_as_its_products_do():
    torch.manual_seed(1)
    factor = torch.randn(30, 100)
    matrix = factor.T @ factor / 30
    bound = 10 * torch.finfo(torch.float32).eps
    for seed in range(20):
        found = from_matrix(matrix).trace(products=100, method="xnystrace", seed=seed)
        assert found.standard_error == 0
        assert found.value == pytest.approx(float(matrix.double().trace()), rel=bound)
