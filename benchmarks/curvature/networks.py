"""Networks and data of fixed seed. Images are the centre of a class and noise, and the networks have made a few steps
of training, so that the curvature is that of a training: at the start the Hessian's trace is near zero, and no method
finds one per cent of that."""

import copy

import torch
from torch import nn

BATCH = 256
CLASSES = 10


def mlp():
    return nn.Sequential(nn.Linear(784, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, CLASSES))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, CLASSES),
    )  # fmt: skip


def small():
    """2,024 parameters."""
    return nn.Sequential(nn.Linear(20, 40), nn.Tanh(), nn.Linear(40, 24), nn.Tanh(), nn.Linear(24, 8))


SHAPES = {"mlp": (784,), "cnn": (1, 28, 28), "small": (20,)}


class Case:
    """A network with a batch and its loss; `fresh` gives a copy, for peers that change what they are given."""

    loss = nn.CrossEntropyLoss()

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        self.model = {"mlp": mlp, "cnn": cnn, "small": small}[name]()
        classes = 8 if name == "small" else CLASSES
        self.y = torch.randint(0, classes, (BATCH,))
        centres = torch.randn(classes, *SHAPES[name])
        self.x = (centres[self.y] + torch.randn(BATCH, *SHAPES[name])) / 2**0.5
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            self.loss(self.model(self.x), self.y).backward()
            optimizer.step()
        optimizer.zero_grad()

    @property
    def data(self):
        return self.x, self.y

    @property
    def size(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    def fresh(self) -> nn.Module:
        return copy.deepcopy(self.model)

    def vector(self) -> torch.Tensor:
        return torch.randn(self.size, generator=torch.Generator().manual_seed(1))
