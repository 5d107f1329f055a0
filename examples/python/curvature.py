"""Curvature of a model's loss: eigenvalues, trace and spectrum, from products with the Hessian alone."""

import torch
from torch import nn

from gradwise.curvature import GaussNewton, Hessian

torch.manual_seed(0)
x = torch.randn(256, 10)
y = torch.randint(0, 3, (256,))
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 3))

hessian = Hessian(model, nn.functional.cross_entropy, (x, y))
top = hessian.top_eigenvalues(5)
for value, error in zip(top.eigenvalues, top.errors, strict=True):
    print(f"eigenvalue {value:.4f}, within {error:.1e}")
trace = hessian.trace()
print(f"trace {trace.value:.3f} ± {trace.standard_error:.3f}")
grid, density = hessian.spectral_density()
print(f"spectrum from {grid.min():.3f} to {grid.max():.3f}, {float(density.max()):.0f} dense at {grid[density.argmax()]:.3f}")
gauss_newton = GaussNewton(model, nn.functional.cross_entropy, (x, y))
print(f"Gauss-Newton's trace {gauss_newton.trace().value:.3f}")
