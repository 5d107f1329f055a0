import os
import pathlib
import sys

import pytest
import torch
from torch import nn

BUILD = pathlib.Path(os.environ.get("GRADWISE_BUILD", pathlib.Path(__file__).parents[2] / "build"))
sys.path.insert(0, str(BUILD / "python"))


@pytest.fixture
def network():
    def make(seed=0, dtype=torch.float32):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)

    return make


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 4, generator=generator)
    return x, (x.sum(1) > 0).long() + (x[:, 0] > 1).long()
