"""A model as attacks may see it, with its defense inside."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from adversarial.inputs import Inputs, Scores


@runtime_checkable
class Victim(Protocol):
    """Reads inputs, answers scores. Rows never influence each other."""

    @property
    def differentiable(self) -> bool:
        """Whether gradients of the scores reach the inputs, be it straight through or in expectation."""

    def __call__(self, inputs: Inputs) -> Scores: ...


@runtime_checkable
class EmbeddingVictim(Victim, Protocol):
    """A victim of word ids that also reads word vectors: float values instead of int64 ones."""

    def embed(self, ids: Tensor) -> Tensor:
        """The vectors of word ids, [..., width] for ids [...]."""


class ModuleVictim:
    """A torch module from values (and a mask, where there is one) to logits.

    The module is set to evaluation mode and its weights are frozen: gradients of weights are never needed, and cost
    half a backward pass.
    """

    differentiable = True

    def __init__(self, module: nn.Module) -> None:
        self.module = freeze(module)

    def __call__(self, inputs: Inputs) -> Scores:
        if inputs.mask is None:
            return Scores(self.module(inputs.values))
        return Scores(self.module(inputs.values, inputs.mask))


def freeze(module: nn.Module) -> nn.Module:
    """The same module in evaluation mode, without gradients of weights."""
    return module.eval().requires_grad_(False)


def weight_versions(victim: object) -> tuple[int, ...]:
    """Numbers for each weight that a write to it changes; what an audit compares before and after an attack.

    Weights are found in the victim's modules and in those of the victims inside it. A write through `.data`, which
    torch itself does not note, stays unseen.
    """
    if isinstance(victim, nn.Module):
        tensors = (*victim.parameters(), *victim.buffers())
        return tuple(number for tensor in tensors for number in (tensor.data_ptr(), tensor._version))
    if isinstance(victim, (list, tuple)):
        return tuple(number for part in victim for number in weight_versions(part))
    if not hasattr(victim, "__dict__"):
        return ()
    parts = [part for part in vars(victim).values() if isinstance(part, (nn.Module, Victim, list, tuple))]
    return weight_versions(parts)
