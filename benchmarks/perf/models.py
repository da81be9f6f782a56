"""The models of the speed tests: a small CNN for MNIST, undefended and adversarially trained, and a ResNet for CIFAR.

They are trained where the test runs, from a fixed seed on one thread, and kept in the ignored folder .benchmarks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.perf.data import ROOT, pictures


CACHE: Final = ROOT / ".benchmarks" / "models"


def mnist_cnn() -> nn.Module:
    """Two convolutions, a max-pooling and a linear layer: about 0.3 million multiplications an image."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 49, 10),
    )


class Residual(nn.Module):
    """Two convolutions with batch norm; the shortcut of a stage's first block drops pixels and adds empty channels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, outputs - inputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, values: Tensor) -> Tensor:
        shortcut = functional.pad(values[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return functional.relu(shortcut + self.body(values))


def cifar_resnet(width: int = 16, blocks: int = 1) -> nn.Module:
    """The CIFAR ResNet of He et al. 2015 with three stages; with one block each it has 8 layers."""
    stages: list[nn.Module] = []
    channels = width
    for stage in range(3):
        for block in range(blocks):
            outputs, stride = width << stage, 2 if stage and not block else 1
            stages.append(Residual(channels, outputs, stride))
            channels = outputs
    entry = (nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    return nn.Sequential(*entry, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


@dataclass(frozen=True, slots=True)
class Training:
    """How a model is made. budget: of PGD-7 in linf, reached after half of the epochs; 0 trains on clean images."""

    name: str
    build: Callable[[], nn.Module]
    data: str
    images: int
    epochs: int
    rate: float
    budget: float = 0.0
    batch: int = 64


MNIST: Final = "ylecun/mnist"
CIFAR: Final = "uoft-cs/cifar10"
TRAININGS: Final = {
    training.name: training
    for training in (
        Training("mnist-undefended", mnist_cnn, MNIST, 10_000, epochs=4, rate=2e-3),
        Training("mnist-adversarial", mnist_cnn, MNIST, 10_000, epochs=8, rate=2e-3, budget=0.25),
        Training("cifar-resnet", cifar_resnet, CIFAR, 5_000, epochs=4, rate=3e-3),
    )
}


def model(name: str) -> nn.Module:
    """A trained model of TRAININGS in evaluation mode, its weights frozen: every library gets this object.

    Raises DataMissing where it is yet to be trained and the data are not there.
    """
    training = TRAININGS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = training.build()
        path = CACHE / f"{name}-{_key(training, module)}.safetensors"
        if path.is_file():
            module.load_state_dict(load_file(path))
        else:
            _train(module, training)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(module.state_dict(), path)
    return module.eval().requires_grad_(False)


def _key(training: Training, module: nn.Module) -> str:
    """Another recipe, architecture or torch trains again."""
    recipe = (training.data, training.images, training.epochs, training.rate, training.budget, training.batch)
    return hashlib.sha256(repr((recipe, str(module), torch.__version__)).encode()).hexdigest()[:12]


def _train(module: nn.Module, training: Training) -> None:
    images, labels = pictures(training.data, "train", training.images)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    optimiser = torch.optim.Adam(module.parameters(), lr=training.rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, training.epochs)
    for epoch in range(training.epochs):
        budget = training.budget * min(1.0, 2 * (epoch + 1) / training.epochs)
        for rows in torch.split(torch.randperm(len(images)), training.batch):
            values, truth = images[rows], labels[rows]
            if budget:
                values = _disturbed(module, values, truth, budget)
            optimiser.zero_grad()
            torch.autograd.backward(functional.cross_entropy(module.train()(values), truth))
            optimiser.step()
        schedule.step()
    torch.set_num_threads(threads)


def _disturbed(module: nn.Module, images: Tensor, labels: Tensor, budget: float, steps: int = 7) -> Tensor:
    """Plain PGD from a random start, written out here: what is measured has no part in making its own opponent."""
    module.eval()
    d = torch.empty_like(images).uniform_(-budget, budget)
    for _ in range(steps):
        variable = (images + d).clamp(0, 1).requires_grad_(True)
        (gradient,) = torch.autograd.grad(functional.cross_entropy(module(variable), labels), variable)
        d = (d + 2.5 * budget / steps * gradient.sign()).clamp(-budget, budget)
    return (images + d).clamp(0, 1)
