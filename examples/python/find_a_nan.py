"""Where the first inf or NaN of a step came from: operator, layer, and what it was given."""

import torch
from torch import nn

import gradwise


class Normalise(nn.Module):
    """Divides each row by its deviation, and forgets that a row may have none."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.std(dim=1, keepdim=True)


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Normalise(), nn.Linear(8, 3))
with torch.no_grad():
    model[0].bias.fill_(-10)  # every unit is dead
x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
found = gradwise.find_nonfinite(model, nn.functional.cross_entropy, x, y)
print(found.message)
print("->", found.advice)
