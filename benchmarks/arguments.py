"""What people pass to the Python API, as the tensors, victims and functions of a run; or one sentence why not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from adversarial.borrowing import weights_device
from adversarial.entries import AttackEntry, SurfaceEntry
from adversarial.errors import DataError, InvalidOption, ModelError, RobustArenaError
from adversarial.inputs import Inputs
from adversarial.registry import resolve
from adversarial.signatures import check_parameters
from adversarial.victims import ModuleVictim, Victim, ask
from tasks.measuring.arrays import ArrayTask


Array = Any  # a tensor, a numpy array, or (nested) lists of numbers

LOOK: Final = 2  # rows that a model is asked about before anything is measured; rows alone follow
LONGEST: Final = 300  # characters of another library's message


def array_task(
    inputs: Array,
    labels: Array,
    *,
    targets: Array | None = None,
    mask: Array | None = None,
    scale: Array | None = None,
    fit: tuple[Array, ...] | None = None,
    surface: SurfaceEntry,
) -> ArrayTask:
    """The task of a call's arguments, on the device of its inputs. Raises DataError."""
    values = as_floats("inputs", inputs)
    device = values.device
    learned = None
    if fit is not None:
        if not isinstance(fit, (tuple, list)) or len(fit) not in (2, 3):
            raise DataError("fit must be (inputs, labels), or (inputs, labels, targets) where there are targets")
        wanted = as_classes("fit's targets", fit[2], device) if len(fit) == 3 else None
        learned = (
            Inputs(as_floats("fit's inputs", fit[0]).to(device)),
            as_classes("fit's labels", fit[1], device),
            wanted,
        )
    return ArrayTask(
        Inputs(values, None if mask is None else _tensor("mask", mask).to(device)),
        as_classes("labels", labels, device),
        None if targets is None else as_classes("targets", targets, device),
        None if scale is None else as_floats("scale", scale).to(device),
        learned,
        surface,
    )


def as_floats(name: str, values: Array) -> Tensor:
    """A float32 tensor of its own graph and layout. Raises DataError for anything but floats."""
    tensor = _tensor(name, values)
    if not tensor.is_floating_point():
        raise DataError(
            f"{name} must be floats, got {tensor.dtype}; scale pixels to [0, 1] by x.float() / 255, "
            "16-bit samples to [-1, 1) by x.float() / 32768"
        )
    return tensor.float().contiguous()


def as_classes(name: str, values: Array, device: torch.device) -> Tensor:
    """An int64 tensor [examples] of whole numbers. Raises DataError, also where there is a column for each class."""
    tensor = _tensor(name, values)
    if tensor.ndim != 1 or tensor.is_floating_point() or tensor.is_complex():
        hint = "; .argmax(1) makes them of a column for each class" if tensor.ndim == 2 else ""
        raise DataError(f"{name} must be whole numbers [examples], got {tensor.dtype} {list(tensor.shape)}{hint}")
    return tensor.to(device, torch.int64)


def _tensor(name: str, values: Array) -> Tensor:
    if isinstance(values, Tensor):
        if values.layout != torch.strided or values.is_meta or values.is_quantized or values.is_nested:
            raise DataError(f"{name} must be a dense tensor that holds its values, got {values.layout}, {values.dtype}")
        tensor = values.detach()
        return tensor.clone() if tensor.is_inference() else tensor
    try:
        if isinstance(values, (list, tuple)) and values and isinstance(values[0], Tensor):
            return torch.stack(list(values)).detach()
        return torch.tensor(np.ascontiguousarray(values))
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name} must be a tensor or an array of numbers, got {type(values).__name__}: {error}"
        ) from None


def as_victim(model: object) -> Victim:
    """The model as attacks see it. Raises ModelError for what cannot be called."""
    if isinstance(model, Victim) and not isinstance(model, torch.nn.Module):
        return model
    if not callable(model):
        raise ModelError(
            f"a model is a torch module, a function of a batch, or a Victim; got {type(model).__name__}"
            + (": robustarena.load_model(...) makes one of a name" if isinstance(model, str) else "")
        )
    return ModuleVictim(model)


def look_at(victim: Victim, task: ArrayTask) -> None:
    """Asks about two rows together and one alone, and counts the classes, before anything is measured.

    No attack sees these answers. Raises ModelError for a model that cannot read the inputs or makes no decision of
    them, DataError for a class that it does not have.
    """
    values = task.inputs.values
    device = weights_device(victim)
    if device is not None and device != values.device:
        raise ModelError(f"the model is on {device}, the inputs are on {values.device}; move one of them with .to(...)")
    counts = []
    for count in sorted({1, min(LOOK, len(values))}, reverse=True):
        rows = Inputs(values[:count], None if task.inputs.mask is None else task.inputs.mask[:count])
        counts.append(_classes(victim, rows))
    classes = counts[-1]
    if len(set(counts)) > 1:
        raise ModelError(f"the model answers {counts[0]} classes to several rows and {classes} to one")
    for name, numbers in (("label", task.labels), ("target", task.targets)):
        if numbers is not None and int(numbers.max()) >= classes:
            row = int((numbers >= classes).nonzero()[0])
            raise DataError(
                f"{name} {int(numbers[row])} of row {row}, but the model has {classes} classes, 0 to {classes - 1}"
            )


def _classes(victim: Victim, inputs: Inputs) -> int:
    shape = list(inputs.values.shape)
    try:
        scores = ask(victim, inputs)
        values = scores.values
    except (RobustArenaError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        message = " ".join(str(error).split())[:LONGEST]
        raise ModelError(
            f"the model does not read float32 {shape}{' and a mask' if inputs.mask is not None else ''} "
            f"(rows leave as they break, so batches come in any size): {type(error).__name__}: {message}"
        ) from error
    if values.ndim != 2 or len(values) != len(inputs) or values.shape[1] < 2:
        raise ModelError(f"the model answers {list(values.shape)} to {shape}; expected logits [{len(inputs)}, classes]")
    return values.shape[1]


def bound(entry: AttackEntry, params: Mapping[str, Any]) -> partial[Any]:
    """The attack's function with its parameters. Raises InvalidOption as check_parameters does."""
    check_parameters(entry, params)
    return partial(resolve(entry.code), **{**entry.params, **params})


def whole_number(name: str, value: object, least: int) -> int:
    """The number. Raises InvalidOption where it is none, or below the least."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or int(value) < least:
        raise InvalidOption(f"{name} must be a whole number of at least {least}, got {value!r:.80}")
    return int(value)
