"""A user's models, ready for a run and given back as they were found."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adversarial.errors import ModelError
from adversarial.victims import freeze, mode_of, modules_of


@contextlib.contextmanager
def borrowed(*models: object) -> Iterator[None]:
    """While this lasts, the modules in `models` (modules, functions, victims) are in evaluation mode and frozen, and
    gradients can be taken, whatever the caller has switched off.

    Afterwards, also after an error, each part is in its own mode again, each weight as trainable as before, each buffer
    holds what it held, and torch's generators go on where they were. Nothing writes into `.grad`. Raises ModelError for
    weights that nobody can differentiate through.
    """
    modules = [module for model in models for module in modules_of(model)]
    _check_weights(modules)
    found = [_Found.of(module) for module in modules]
    accelerators = sorted({weight.device.index or 0 for m in modules for weight in m.parameters() if weight.is_cuda})
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(accelerators):
            for module in modules:
                freeze(module)
            yield
    finally:
        for one in reversed(found):
            one.restore()


def weights_device(model: object) -> torch.device | None:
    """The one device of all weights; None where there are several, or none."""
    devices = {weight.device for module in modules_of(model) for weight in module.parameters()}
    return devices.pop() if len(devices) == 1 else None


@dataclass(frozen=True, slots=True)
class _Found:
    """How a module was found: its mode, that of each part of it, the weights that were trainable, and what its buffers
    held."""

    module: nn.Module
    training: bool
    modes: tuple[tuple[nn.Module, bool], ...]
    trainable: tuple[nn.Parameter, ...]
    buffers: tuple[tuple[nn.Module, str, Tensor, Tensor], ...]

    @classmethod
    def of(cls, module: nn.Module) -> _Found:
        return cls(
            module,
            mode_of(module),
            tuple((part, mode_of(part)) for part in module.modules()),
            tuple(weight for weight in module.parameters() if weight.requires_grad),
            tuple(
                (part, name, buffer, buffer.detach().clone())
                for part in module.modules()
                for name, buffer in part.named_buffers(recurse=False)
            ),
        )

    def restore(self) -> None:
        if self.training and not mode_of(self.module):
            # A module may do more than set flags, as adapters do that merge their weights for evaluation; and where its
            # own way fails, whatever it raises, the rest is still to be given back.
            with contextlib.suppress(Exception):
                self.module.train()
        for part, name, buffer, held in self.buffers:
            if not torch.equal(buffer, held):
                with torch.no_grad():
                    buffer.copy_(held)
            if getattr(part, name, None) is not buffer:
                setattr(part, name, buffer)
        for part, mode in self.modes:
            if mode_of(part) != mode:
                part.training = mode
        for weight in self.trainable:
            weight.requires_grad_(True)


def _check_weights(modules: list[nn.Module]) -> None:
    for module in modules:
        for name, weight in (*module.named_parameters(), *module.named_buffers()):
            if nn.parameter.is_lazy(weight):
                raise ModelError(f"the model's {name} has no shape yet; call the model once on your inputs first")
            if weight.is_inference():
                raise ModelError(
                    f"the model's {name} was made under torch.inference_mode(), which forbids gradients for good; "
                    "make or load the model outside of it"
                )
