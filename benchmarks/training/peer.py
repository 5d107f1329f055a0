"""The peer of bench_training: the same training in PyTorch with its DataLoader. Prints one JSON object."""

import argparse
import gzip
import json
import pathlib
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def read_images(folder, count):
    """Normalised float32 images and labels, prepared in advance: that favours PyTorch, whose loader then only
    gathers and stacks, while Gradwise's converts from bytes in every epoch."""
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), dtype=np.uint8, offset=16).reshape(-1, 1, 28, 28)[:count]
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), dtype=np.uint8, offset=8)[:count]
    inputs = (torch.from_numpy(images.astype(np.float32)) / 255 - 0.2860) / 0.3530
    return inputs, torch.from_numpy(labels.astype(np.int64))


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


class Cnn(nn.Module):
    """The demo's network. `fast` has the operators and the memory layout of Gradwise's: channels last, pooling before
    the nonlinearity. Without it, the order in which it is usually written."""

    def __init__(self, fast):
        super().__init__()
        self.fast = fast
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(1, 24, 3, padding=1, bias=False), nn.Conv2d(24, 48, 3, padding=1, bias=False)]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(24), nn.BatchNorm2d(48)])
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(48 * 7 * 7, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10)
        )
        if fast:
            self.to(memory_format=torch.channels_last)

    def forward(self, x):
        if self.fast:
            x = x.contiguous(memory_format=torch.channels_last)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(convolution(x))
            x = self.relu(self.pool(x)) if self.fast else self.pool(self.relu(x))
        return self.head(x)


def read_statistics(model):
    """Four figures of each gradient, as a script would take them for its log."""
    for parameter in model.parameters():
        gradient = parameter.grad
        _ = gradient.norm().item(), gradient.mean().item(), gradient.std().item(), gradient.abs().max().item()


def make_histograms(model):
    """A histogram of each gradient, as trackers make them."""
    for parameter in model.parameters():
        np.histogram(parameter.grad.numpy(), bins=64)


def train_epoch(model, loader, optimizer, loss_function, look=None):
    losses = []
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = loss_function(model(inputs), labels)
        loss.backward()
        if look is not None:
            look(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def compare_watching(options, loader):
    """Seconds a step, plain and with what is watched from Python, in turn."""
    sides = {"plain": None, "statistics": read_statistics, "histograms": make_histograms}
    models = {name: Cnn(options.layout == "fast") if options.model == "cnn" else mlp() for name in sides}
    optimizers = {name: torch.optim.AdamW(model.parameters(), lr=1e-3) for name, model in models.items()}
    seconds = {name: [] for name in sides}
    for number in range(options.rounds + 1):
        for name, look in sides.items():
            start = time.perf_counter()
            train_epoch(models[name], loader, optimizers[name], nn.CrossEntropyLoss(), look)
            if number > 0:  # the first warms up
                seconds[name].append((time.perf_counter() - start) / len(loader))
    print(json.dumps(seconds))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["mlp", "cnn"], default="mlp")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--images", type=int, default=60000, help="images in an epoch")
    parser.add_argument("--epochs", type=int, default=2, help="measured epochs, after one for warming up")
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's own choice")
    parser.add_argument("--layout", choices=["fast", "plain"], default="fast", help="of the cnn")
    parser.add_argument("--watch", action="store_true", help="what it costs to watch gradients from Python")
    parser.add_argument("--rounds", type=int, default=10, help="of --watch")
    options = parser.parse_args()
    if options.threads > 0:
        torch.set_num_threads(options.threads)

    torch.manual_seed(0)
    inputs, labels = read_images(options.data, options.images)
    batch_size = 128 if options.model == "cnn" else 64
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=batch_size, shuffle=True)
    if options.watch:
        compare_watching(options, loader)
        return
    model = Cnn(options.layout == "fast") if options.model == "cnn" else mlp()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss_function = nn.CrossEntropyLoss()
    train_epoch(model, loader, optimizer, loss_function)
    start = time.perf_counter()
    for _ in range(options.epochs):
        train_epoch(model, loader, optimizer, loss_function)
    seconds = time.perf_counter() - start
    images = options.epochs * len(labels)
    print(json.dumps({"images": images, "seconds": seconds, "images_per_second": images / seconds}))


if __name__ == "__main__":
    main()
