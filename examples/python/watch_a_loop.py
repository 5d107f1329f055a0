"""Three lines in a loop of your own: every gradient, weight and update is read, and what is wrong is told."""

import torch
from torch import nn

import gradwise

torch.manual_seed(0)
x = torch.randn(512, 8)
y = (x.sum(1) > 0).long()
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)

watch = gradwise.watch(model, optimizer)
for step in range(100):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    watch.step(loss)

for name, reading in watch.readings().items():
    print(f"{name}: gradient {reading.grad_norm:.2e}, update/weight {reading.update_ratio:.1e}")
print(watch.diagnosis())
