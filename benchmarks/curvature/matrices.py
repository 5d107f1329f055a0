"""Rows of products, eigenvalues, traces, densities and dense matrices."""

import sys

import torch
from curvature.contest import Absent, Contest, peer, require_close, those_here
from curvature.networks import Case

import gradwise
from gradwise.curvature import GaussNewton, Hessian


def operator_of_curvlinops(case, name):
    curvlinops = peer("curvlinops")
    parameters = [p for p in case.model.parameters()]
    return getattr(curvlinops, name)(case.model, case.loss, parameters, [case.data], check_deterministic=False)


def product(case, ours, name):
    theirs, vector = operator_of_curvlinops(case, name), case.vector()
    matrix = ours(case.model, case.loss, case.data)
    return Contest(
        ours=lambda: matrix @ vector,
        peers={"curvlinops": lambda: theirs @ vector},
        check=lambda: require_close(matrix @ vector, theirs @ vector, f"{name} @ v"),
    )


def hessian_product(case: Case, quick: bool) -> Contest:
    return product(case, Hessian, "HessianLinearOperator")


def gauss_newton_product(case: Case, quick: bool) -> Contest:
    return product(case, GaussNewton, "GGNLinearOperator")


class PyHessian:
    """A `pyhessian.hessian`, and the number of its products."""

    def __init__(self, case):
        package = peer("pyhessian")
        self.module = sys.modules["pyhessian.hessian"]
        self.products = 0
        plain = getattr(self.module.hessian_vector_product, "plain", self.module.hessian_vector_product)

        def counted(*args):
            self.products += 1
            return plain(*args)

        counted.plain = plain
        self.module.hessian_vector_product = counted
        self.model = case.fresh()
        self.hessian = package.hessian(self.model, case.loss, data=case.data, cuda=False)

    def close(self):
        self.model.zero_grad()  # its gradients hold the graph that holds them


def eigenvalue_by_pyhessian(case, tolerance):
    """The value and the products, from the model on."""
    torch.manual_seed(1)
    found = PyHessian(case)
    value = found.hessian.eigenvalues(maxIter=10_000, tol=tolerance)[0][0]
    found.close()
    return value, found.products


def eigenvalue_by_arpack(matrix):
    linalg = peer("scipy.sparse.linalg")
    as_scipy = linalg.LinearOperator(
        matrix.shape, dtype="float32", matvec=lambda v: (matrix @ torch.from_numpy(v).reshape(-1)).numpy()
    )
    return float(linalg.eigsh(as_scipy, k=1, which="LA", tol=1e-5, return_eigenvectors=False)[0])


def eigenvalue(case, peers_tolerances):
    """The peer by the loosest of its tolerances that gives a true error of 1e-3, or by the tightest."""
    exact = eigenvalue_by_arpack(Hessian(case.model, case.loss, case.data))

    def ours():
        return Hessian(case.model, case.loss, case.data).top_eigenvalues(1, tol=1e-3)

    for tolerance in peers_tolerances:
        value, products = eigenvalue_by_pyhessian(case, tolerance)
        if abs(value / exact - 1) <= 1e-3:
            break
    found = ours()
    error, peers_error = (abs(v / exact - 1) for v in (found.eigenvalues[0], value))

    def check():
        if not error <= 1e-3:
            raise ValueError(f"top eigenvalue: {found.eigenvalues[0]} beside {exact} of ARPACK, allowed: 1e-3 of it")

    return Contest(
        ours, {"PyHessian": lambda: eigenvalue_by_pyhessian(case, tolerance)}, check, fewer=(found.products, products),
        notes=[f"products {found.products} and {products}, true errors {error:.1g} and {peers_error:.1g}, "
               f"PyHessian's tolerance {tolerance:g}"],
    )  # fmt: skip


def top_eigenvalue(case: Case, quick: bool) -> Contest:
    """To a true error of 1e-3 on both sides."""
    return eigenvalue(case, [1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6])


def eigenvalue_by_tolerance(case: Case, quick: bool) -> Contest:
    """To a tolerance of 1e-3, which of PyHessian is the change from one iteration to the next."""
    return eigenvalue(case, [1e-3])


def exact_trace(case):
    backpack, extensions = peer("backpack"), peer("backpack.extensions")
    model, loss = backpack.extend(case.fresh()), backpack.extend(torch.nn.CrossEntropyLoss())
    with backpack.backpack(extensions.DiagHessian()):
        loss(model(case.x), case.y).backward()
    return sum(float(p.diag_h.double().sum()) for p in model.parameters())


PRODUCTS = [6, 12, 18, 24, 30, 36, 42, 48, 60, 72, 96, 144, 192, 288, 384, 576, 768, 1152, 1536]


def products_for(estimate, exact, seeds):
    """The fewest products of which the root mean square error is within 1 %."""
    for products in PRODUCTS:
        squares = [(estimate(products, seed) / exact - 1) ** 2 for seed in range(seeds)]
        if (sum(squares) / seeds) ** 0.5 <= 0.01:
            return products
    raise Absent(f"no trace within 1 % by {PRODUCTS[-1]} products")


def traces_by_peers(case):
    """Of (products, seed), by name."""

    def by_curvlinops(function):
        matrix = operator_of_curvlinops(case, "HessianLinearOperator")
        trace_of = getattr(peer("curvlinops"), function)

        def estimate(products, seed):
            torch.manual_seed(seed)
            return float(trace_of(matrix, products))

        return estimate

    def by_pyhessian():
        hessian = PyHessian(case).hessian

        def estimate(products, seed):
            torch.manual_seed(seed)
            found = hessian.trace(maxIter=products, tol=0)
            return sum(found) / len(found)

        return estimate

    names = ["hutchinson_trace", "hutchpp_trace", "xtrace"]
    return {f"curvlinops {name}": lambda name=name: by_curvlinops(name) for name in names} | {"PyHessian": by_pyhessian}


def trace(case: Case, quick: bool) -> Contest:
    """Each method with the products that it needs for a true error of 1 %; the best of either side. Hutchinson's, which
    is one method in three packages, has one number. Of "layers" a product is a figure, which takes less."""
    exact, seeds, notes, failed = exact_trace(case), 4 if quick else 24, [], []
    matrix = Hessian(case.model, case.loss, case.data)

    def by_gradwise(method):
        return lambda products, seed: matrix.trace(products=products, method=method, seed=seed).value

    hutchinson = products_for(by_gradwise("hutchinson"), exact, 3 * seeds)

    counts = {}

    def with_products(name, estimate):
        one_method = "hutchinson" in name or name == "PyHessian"
        counts[name] = hutchinson if one_method else products_for(estimate, exact, seeds)
        notes.append(f"{name}: {counts[name]} products")
        value = estimate(counts[name], 0)
        if not abs(value / exact - 1) <= 0.05:
            raise ValueError(f"trace: {value} by {name}, {exact} is right")
        return lambda: estimate(counts[name], 0)

    methods = ("hutchinson", "hutch++", "xtrace", "layers")
    ours = {method: with_products(method, by_gradwise(method)) for method in methods}
    best = min(ours, key=lambda method: counts[method])
    makers = {name: lambda n=name, make=make: with_products(n, make()) for name, make in traces_by_peers(case).items()}
    return Contest(ours[best], those_here(makers, notes, failed), lambda: None, notes, failed=failed)


def density(case: Case, quick: bool) -> Contest:
    """30 steps of Lanczos from 10 vectors. The peer is given the ends of the spectrum, which it looks for otherwise."""
    curvlinops = peer("curvlinops.papyan2020traces.spectrum")
    theirs, matrix = operator_of_curvlinops(case, "HessianLinearOperator"), Hessian(case.model, case.loss, case.data)
    eigenvalues = matrix.spectral_density(steps=30, vectors=2).eigenvalues
    ends = (float(eigenvalues[0]), float(eigenvalues[-1]))

    def ours():
        return matrix.spectral_density(steps=30, vectors=10)

    def of_curvlinops():
        return curvlinops.lanczos_approximate_spectrum(theirs, 30, num_repeats=10, boundaries=ends)

    def check():
        vector = case.vector()
        require_close(matrix @ vector, theirs @ vector, "the matrix of the density")
        found = ours()
        for name, (points, values) in (
            ("ours", (found.eigenvalues, found.density)),
            ("curvlinops", of_curvlinops()),
        ):
            mass = float(torch.trapezoid(values.double(), points.double()))
            if abs(mass - 1) > 0.1:
                raise ValueError(f"{name}: the density's integral is {mass:.3g}, allowed: 1 within 0.1")

    return Contest(ours, {"curvlinops": of_curvlinops}, check)


def dense_hessian(case: Case, quick: bool) -> Contest:
    names = [name for name, _ in case.model.named_parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in case.model.parameters()])
    shapes = [p.shape for p in case.model.parameters()]

    def loss(vector):
        parts = vector.split([shape.numel() for shape in shapes])
        weights = {name: part.reshape(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return case.loss(torch.func.functional_call(case.model, weights, (case.x,)), case.y)

    def ours():
        return gradwise.GradientComputationUtils.hessian(loss, flat, chunk_size=64)

    def of_torch():
        return torch.func.hessian(loss)(flat)

    return Contest(
        ours, {"torch.func": of_torch}, lambda: require_close(ours(), of_torch(), "the dense Hessian"),
        notes=[f"{case.size:,} parameters"],
    )  # fmt: skip
