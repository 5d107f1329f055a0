"""Curvature of a model's loss: eigenvalues, trace and spectrum, from products with the Hessian alone."""

import torch
from torch import nn

from gradwise.curvature import GaussNewton, GradientCovariance, Hessian

torch.manual_seed(0)
x = torch.randn(256, 10)
y = torch.randint(0, 3, (256,))
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 3))

hessian = Hessian(model, nn.functional.cross_entropy, (x, y))
top = hessian.top_eigenvalues(5)
for value, error in zip(top.eigenvalues, top.errors, strict=True):
    print(f"eigenvalue {value:.4f}, within {error:.1e}")
trace = hessian.trace(tol=0.05)
print(f"trace {trace.value:.3f}, between {trace.low:.3f} and {trace.high:.3f}, from {trace.products} products")
spectrum = hessian.spectral_density()
grid, density = spectrum.eigenvalues, spectrum.density
peak = grid[density.argmax()]
print(f"spectrum from {grid.min():.3f} to {grid.max():.3f}, {float(density.max()):.0f} dense at {peak:.3f}")
gauss_newton = GaussNewton(model, nn.functional.cross_entropy, (x, y))
print(f"Gauss-Newton's trace {gauss_newton.trace().value:.3f}")

batches = [(x[i : i + 100], y[i : i + 100]) for i in range(0, 256, 100)]  # the last one is ragged
covariance = GradientCovariance(model, nn.functional.cross_entropy, batches)
spread = covariance.trace(method="xtrace")
print(f"noise scale {spread.value / float(covariance.gradient.square().sum()):.0f} samples")
last = Hessian(model, nn.functional.cross_entropy, batches, parameters=["2.*"], block="parameter", damping=1e-3)
print(f"the last layer's largest eigenvalue {last.top_eigenvalues().eigenvalues[0]:.4f}")
