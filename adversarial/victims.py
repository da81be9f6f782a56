"""A model as attacks may see it, with its defense inside."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, MethodType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from adversarial.errors import ModelError
from adversarial.inputs import Inputs, Scores
from adversarial.logits import logits_of


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
    """A torch module, or a function, from values (and a mask, where there is one) to logits.

    The modules in it are set to evaluation mode and their weights are frozen: gradients of weights are never needed,
    and cost half a backward pass. Where all weights are of one other float type, inputs are cast to it, which is part
    of the model. Answers are read by logits_of, in float32; raises ModelError for those that are none.
    """

    differentiable = True

    def __init__(self, module: Callable[..., Any]) -> None:
        modules = modules_of(module)
        for part in modules:
            freeze(part)
        self.module: Any = module
        self._dtype = _float_type(modules)

    def __call__(self, inputs: Inputs) -> Scores:
        values = inputs.values
        if self._dtype is not None and values.is_floating_point():
            values = values.to(self._dtype)
        answer = self.module(values) if inputs.mask is None else self.module(values, inputs.mask)
        logits = logits_of(answer, len(values))
        if logits.device != values.device:
            raise ModelError(f"the model answers on {logits.device}, and its inputs are on {values.device}")
        return Scores(logits)


def ask(victim: Victim, inputs: Inputs) -> Scores:
    """The victim's answer to tensors that are kept, without a gradient. It reads a copy: victims may write into what
    they read, as activations in place do."""
    with torch.no_grad():
        return victim(inputs.clone())


def freeze(module: nn.Module) -> nn.Module:
    """The same module in evaluation mode, without gradients of weights."""
    if any(mode_of(part) for part in module.modules()):
        try:
            module.eval()
        except NotImplementedError:  # an exported program is in the mode that it was exported in
            for part in module.modules():
                part.training = False
    for weight in module.parameters():  # not module.requires_grad_, which compiled scripts refuse
        weight.requires_grad_(False)
    return module


def mode_of(part: nn.Module) -> bool:
    """Whether a module is in training mode; one that was optimised for inference has no mode."""
    return bool(getattr(part, "training", False))


def modules_of(part: object) -> list[nn.Module]:
    """The outermost modules in a victim, a function, or a list of them, each once."""
    found: dict[int, nn.Module] = {}
    for module in _modules(part, set()):
        found.setdefault(id(module), module)
    return list(found.values())


def _modules(part: object, seen: set[int]) -> Iterator[nn.Module]:
    if isinstance(part, nn.Module):
        yield part
        return
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, MethodType):
        yield from _modules(part.__self__, seen)
    elif isinstance(part, functools.partial):
        yield from _modules(part.func, seen)
    for value in _parts(part):
        if isinstance(value, (list, tuple)) or (callable(value) and not isinstance(value, type)):
            yield from _modules(value, seen)


def _parts(part: object) -> Iterable[object]:
    if isinstance(part, (list, tuple)):
        return part
    if isinstance(part, functools.partial):
        return (*part.args, *part.keywords.values())
    if isinstance(part, FunctionType):
        return _used_by(part)
    return vars(part).values() if hasattr(part, "__dict__") else ()


def _used_by(function: FunctionType) -> list[object]:
    """What a function closes over, and the modules among the globals that it names."""
    try:
        used = inspect.getclosurevars(function)
    except ValueError:  # a variable that is yet to be bound
        return []
    return [*used.nonlocals.values(), *(value for value in used.globals.values() if isinstance(value, nn.Module))]


def _float_type(modules: list[nn.Module]) -> torch.dtype | None:
    """The one float type of all weights; None where that is float32, where there are several, or none."""
    types = {weight.dtype for module in modules for weight in module.parameters() if weight.is_floating_point()}
    return None if len(types) != 1 or types == {torch.float32} else types.pop()


def weight_versions(victim: object) -> tuple[int, ...]:
    """Numbers for each weight that a write to it changes; what an audit compares before and after an attack.

    Weights are found in the victim's modules and in those of the victims inside it. A write through `.data`, which
    torch itself does not note, stays unseen.
    """
    return tuple(
        number
        for module in modules_of(victim)
        for tensor in (*module.parameters(), *module.buffers())
        for number in (tensor.data_ptr(), tensor._version)
    )
