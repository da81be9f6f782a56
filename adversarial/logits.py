"""What modules answer, read as logits: the one place that knows the forms in which people give them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adversarial.errors import ModelError


def logits_of(answer: object, rows: int) -> Tensor:
    """The logits in a module's answer to a batch of `rows`, float32 [rows, classes], their graph kept.

    A tensor of any float type; the first of a tuple or list; the `logits` of a dict or of an output of transformers, or
    a dict's only tensor. Looks at shapes and types alone. Raises ModelError with what to do for all else.
    """
    values = answer if isinstance(answer, Tensor) else _tensor_of(answer)
    if (
        values.layout == torch.strided
        and values.ndim == 2
        and values.shape[0] == rows
        and values.shape[1] > 1
        and values.is_floating_point()
    ):
        return values.float()
    raise ModelError(_fault(values, rows))


def _fault(values: Tensor, rows: int) -> str:
    """Why these are no logits of so many rows, and what to do."""
    shape = list(values.shape)
    given = f"the model answers {shape} to {'one row' if rows == 1 else f'{rows} rows'}"
    if values.layout != torch.strided:
        return f"{given}, {values.layout}; expected a dense tensor: call .to_dense()"
    if not values.is_floating_point():
        return f"{given}, of {values.dtype}; expected logits, the floats that a decision is made of"
    if values.ndim == 0 or (values.ndim == 1 and rows == 1 and shape != [1]):
        return f"{given}; expected [rows, classes]: keep the first axis, whatever its size"
    if shape[0] != rows:
        return f"{given}; expected [{rows}, classes], logits of each row"
    if values.numel() == rows:
        return f"{given}, one logit each; give one a class: with z = logits.reshape(-1, 1), torch.cat([-z, z], 1)"
    trailing = all(size == 1 for size in shape[2:])
    advice = "call .flatten(1) on it" if trailing else "decisions have one axis of classes"
    return f"{given}; expected [rows, classes]: {advice}"


def _tensor_of(answer: object) -> Tensor:
    named = answer.get("logits") if isinstance(answer, Mapping) else getattr(answer, "logits", None)
    if isinstance(named, Tensor):
        return named
    if isinstance(answer, Mapping):
        tensors = [value for value in answer.values() if isinstance(value, Tensor)]
        if len(tensors) == 1:
            return tensors[0]
        keys = ", ".join(map(str, answer)) or "nothing"
        raise ModelError(f"the model answers a dict of {keys}; expected `logits`, or one tensor only")
    if isinstance(answer, (tuple, list)) and answer and isinstance(answer[0], Tensor):
        return answer[0]
    if answer is None:
        raise ModelError("the model answers None; expected logits [rows, classes]: does its forward return them?")
    raise ModelError(
        f"the model answers {type(answer).__name__}; expected logits [rows, classes]: a tensor, a tuple that starts "
        "with it, or a dict with `logits`"
    )
