"""A sick training, and what it suffers from: fifteen sigmoid layers, whose gradient vanishes on its way down."""

import torch
from torch import nn

import gradwise

torch.manual_seed(0)
x = torch.randn(256, 16)
y = (x.sum(1) > 0).long()
layers = [part for _ in range(15) for part in (nn.Linear(16, 16), nn.Sigmoid())]
model = nn.Sequential(*layers, nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

with gradwise.watch(model, optimizer) as watch:
    for step in range(100):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        watch.observe(loss)  # activations too, off the graph
        loss.backward()
        optimizer.step()
        watch.step(loss)
    for finding in watch.diagnosis():
        print(finding)
        for issue in finding.evidence:
            print("   ", issue)
