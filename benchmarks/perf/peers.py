"""The other libraries' attacks, called as their own pages say: from a module, images and labels to disturbed images.

All get the same module, in evaluation mode with frozen weights. `make perf` installs them; each is imported at its
first use, and an absent one is a reason to skip.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn


NAMES: Final = ("foolbox", "torchattacks", "art")
ABSENT: Final = "the other attack libraries are not installed: make perf"


def installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in names)


def library(name: str) -> Any:
    """A library, or a module of one; what it warns of while it is imported is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """The libraries draw from global generators: seeded for the block, and as they were after it."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        yield
    random.setstate(states[0])
    np.random.set_state(states[1])


def in_batches(function: Callable[[Tensor, Tensor], Tensor], images: Tensor, labels: Tensor, size: int) -> Tensor:
    with seeded():
        parts = zip(torch.split(images, size), torch.split(labels, size), strict=True)
        return torch.cat([function(values.clone(), truth) for values, truth in parts]).detach()


@lru_cache(maxsize=8)
def classifier(module: nn.Module, shape: tuple[int, ...]) -> Any:
    """ART's view of a module with ten classes; made once, as its users do."""
    return library("art.estimators.classification").PyTorchClassifier(
        model=module,
        loss=nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def from_foolbox(attack: Any, module: nn.Module, images: Tensor, labels: Tensor, budget: float | None) -> Tensor:
    """foolbox's clipped images; without a budget it searches for the nearest ones."""
    model = library("foolbox").PyTorchModel(module, bounds=(0, 1), device="cpu")
    found: Tensor = attack(model, images, labels, epsilons=budget)[1]
    return found


def from_art(attack: Any, images: Tensor, labels: Tensor | None) -> Tensor:
    with seeded():
        found: Any = attack.generate(x=images.numpy(), y=None if labels is None else labels.numpy())
    return torch.from_numpy(found)


def pgd(
    library_name: str,
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    budget: float,
    step: float,
    steps: int,
    size: int,
) -> Tensor:
    """PGD in linf from the images themselves: from random starts, each library's would be others."""
    if library_name == "foolbox":
        attack = library("foolbox").attacks.LinfPGD(abs_stepsize=step, steps=steps, random_start=False)
        return in_batches(lambda x, y: from_foolbox(attack, module, x, y, budget), images, labels, size)
    if library_name == "torchattacks":
        theirs = library("torchattacks").PGD(module, eps=budget, alpha=step, steps=steps, random_start=False)
        return in_batches(lambda x, y: theirs(x, y), images, labels, size)
    found = library("art.attacks.evasion").ProjectedGradientDescent(
        classifier(module, tuple(images.shape[1:])),
        norm=np.inf,
        eps=budget,
        eps_step=step,
        max_iter=steps,
        num_random_init=0,
        batch_size=size,
        verbose=False,
    )
    return from_art(found, images, labels)


def fgsm(library_name: str, module: nn.Module, images: Tensor, labels: Tensor, *, budget: float, size: int) -> Tensor:
    """FGSM in linf."""
    if library_name == "foolbox":
        attack = library("foolbox").attacks.LinfFastGradientAttack()
        return in_batches(lambda x, y: from_foolbox(attack, module, x, y, budget), images, labels, size)
    if library_name == "torchattacks":
        theirs = library("torchattacks").FGSM(module, eps=budget)
        return in_batches(lambda x, y: theirs(x, y), images, labels, size)
    evasion, shape = library("art.attacks.evasion"), tuple(images.shape[1:])
    return from_art(evasion.FastGradientMethod(classifier(module, shape), eps=budget, batch_size=size), images, labels)


def deepfool(module: nn.Module, images: Tensor, labels: Tensor, *, steps: int, overshoot: float, size: int) -> Tensor:
    """DeepFool in l2, by foolbox."""
    attack = library("foolbox").attacks.L2DeepFoolAttack(steps=steps, overshoot=overshoot)
    return in_batches(lambda x, y: from_foolbox(attack, module, x, y, None), images, labels, size)


def carlini_wagner(
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    binary_steps: int,
    steps: int,
    rate: float,
    initial: float,
    size: int,
) -> Tensor:
    """C&W in l2, by foolbox; it gives up a search that stalls, its default."""
    attack = library("foolbox").attacks.L2CarliniWagnerAttack(
        binary_search_steps=binary_steps, steps=steps, stepsize=rate, initial_const=initial
    )
    return in_batches(lambda x, y: from_foolbox(attack, module, x, y, None), images, labels, size)


def jsma(
    library_name: str, module: nn.Module, images: Tensor, targets: Tensor, *, theta: float, gamma: float, size: int
) -> Tensor:
    """JSMA towards the target classes, by torchattacks or ART."""
    if library_name == "torchattacks":
        theirs = library("torchattacks").JSMA(module, theta=theta, gamma=gamma)  # aims at (label + 1) % 10
        return in_batches(lambda x, y: theirs(x, (y - 1) % 10), images, targets, size)
    found = library("art.attacks.evasion").SaliencyMapMethod(
        classifier(module, tuple(images.shape[1:])), theta=theta, gamma=gamma, batch_size=size, verbose=False
    )
    return from_art(found, images, targets)


def universal(module: nn.Module, images: Tensor, labels: Tensor, *, budget: float, passes: int, goal: float) -> Tensor:
    """ART's universal perturbation in linf, by DeepFool: at most so many passes, fewer once goal is fooled."""
    found = library("art.attacks.evasion").UniversalPerturbation(
        classifier(module, tuple(images.shape[1:])),
        attacker="deepfool",
        attacker_params={"verbose": False, "max_iter": 50, "epsilon": 0.02},
        delta=1 - goal,
        max_iter=passes,
        eps=budget,
        norm=np.inf,
        verbose=False,
    )
    return from_art(found, images, labels)
