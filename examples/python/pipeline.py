"""The whole way on Fashion-MNIST: train under watch, validate, analyse, report.

    python examples/python/pipeline.py            # two epochs, about half a minute
"""

import argparse
import gzip
import pathlib

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import gradwise
from gradwise.autograd_utils import AutogradTrainingLoop
from gradwise.gradient_analysis import GradientAnalysisConfig, GradientAnalyzer, GradientMonitoring

FOLDER = pathlib.Path("/usr/share/datasets/fashion-mnist")


def read(name: str, header: int) -> torch.Tensor:
    with gzip.open(FOLDER / name) as file:
        return torch.frombuffer(bytearray(file.read()[header:]), dtype=torch.uint8)


def dataset(part: str, count: int) -> TensorDataset:
    images = read(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 784)[:count].float() / 255
    return TensorDataset(images, read(f"{part}-labels-idx1-ubyte.gz", 8)[:count].long())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of the images")
    quick = parser.parse_args().quick
    torch.manual_seed(0)
    training = DataLoader(dataset("train", 6000 if quick else 60000), batch_size=64, shuffle=True)
    validation = DataLoader(dataset("t10k", 1000 if quick else 10000), batch_size=500)
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    loss_function = nn.CrossEntropyLoss()

    loop = AutogradTrainingLoop(
        model, torch.optim.AdamW, lr=1e-3, weight_decay=1e-2, options={"metrics": ["accuracy"], "use_ema": True}
    )
    # A norm above 1 is usual here, and clipped.
    monitoring = GradientMonitoring(
        GradientAnalysisConfig(compute_gradient_correlation=False, gradient_norm_threshold=10.0)
    )
    images, labels = next(iter(training))
    for epoch in range(2):
        epoch_stats = loop.train_epoch(training, loss_function, device="cpu", clip_gradients=True, max_grad_norm=1.0)
        val_stats = loop.validate(validation, loss_function, device="cpu")
        result = monitoring.monitor_training_step(model, loss_function, images, labels, step=loop.steps)
        print(
            f"epoch {epoch}: loss {sum(epoch_stats['losses']) / len(epoch_stats['losses']):.3f}, validation "
            f"{val_stats['validation_loss']:.3f}, accuracy {val_stats['metrics']['accuracy']:.2%}, "
            f"{epoch_stats['samples_per_second']:,.0f} images/s"
        )
        for issue in result["issues"]:
            print(" ", issue)
    analyzer = GradientAnalyzer(GradientAnalysisConfig(compute_hessian=True))
    results = analyzer.analyze_gradients(model, loss_function, images, labels)
    print(f"noise scale {results.correlation.noise_scale:.0f} samples, sharpness {results.hessian.eigenvalues[0]:.1f}")
    analyzer.plot_gradient_analysis(save_path="gradient_analysis.png")
    monitoring.save_monitoring_report("monitoring_report.txt")
    print("made gradient_analysis.png and monitoring_report.txt with gradwise", gradwise.__version__)


if __name__ == "__main__":
    main()
