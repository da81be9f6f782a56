"""What is checked in a model before it is measured, each with a few passes on a handful of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

from adversarial.diagnostics import TOLERANCE, Trace
from adversarial.goals import Goal
from adversarial.inputs import Inputs, Scores
from adversarial.victims import EmbeddingVictim, Victim


SAME: Final = 1e-6  # of the scores' size: two passes of one model on the same inputs
VECTORS: Final = 1e-4  # of the scores' size: inputs read as ids and as vectors

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked. detail: what was found. advice: what to do, for notes and problems."""

    name: str
    level: Level
    detail: str
    advice: str = ""


CheckFunction = Callable[[Victim, Inputs, Scores, Goal], Check | None]


def evaluation_mode(victim: Victim) -> Check:
    """Whether every module in the victim is in evaluation mode, and its weights frozen."""
    modules = list(_modules(victim))
    training = sorted({type(module).__name__ for module in modules if module.training})
    if training:
        return Check(
            "evaluation-mode",
            "problem",
            f"in training mode: {', '.join(training[:4])}",
            "call model.eval(): dropout draws numbers there, and batch normalisation mixes rows",
        )
    if any(weight.requires_grad for module in modules for weight in module.parameters()):
        return Check(
            "evaluation-mode",
            "note",
            "weights still collect gradients, which costs time and memory",
            "call model.requires_grad_(False)",
        )
    return Check("evaluation-mode", "ok", "nothing trains")


def _modules(part: object) -> Iterator[nn.Module]:
    """The modules in a victim, and in what it keeps them in."""
    if isinstance(part, nn.Module):
        yield from part.modules()
    elif isinstance(part, (list, tuple)):
        for inner in part:
            yield from _modules(inner)
    elif hasattr(part, "__dict__"):
        for inner in vars(part).values():
            if isinstance(inner, (nn.Module, Victim, list, tuple)):
                yield from _modules(inner)


def value_range(victim: Victim, inputs: Inputs, scores: Scores, goal: Goal) -> Check:  # noqa: ARG001
    """Whether scores are finite, and logits rather than probabilities."""
    values, broken = scores.values, int((~scores.finite()).sum())
    if broken:
        return Check(
            "range",
            "problem",
            f"{broken} of {len(values)} rows of scores hold NaN or infinity",
            "look for a logarithm of 0, a division by 0, or weights that overflowed in training",
        )
    found = f"from {float(values.min()):.3g} to {float(values.max()):.3g}"
    sums = values.sum(-1)
    if values.ndim == 2 and bool((values >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        return Check(
            "range",
            "note",
            f"scores look like probabilities, {found}",
            "answer logits, before the softmax: gradients through saturated probabilities are zero",
        )
    return Check("range", "ok", f"finite, {found}")


def same_again(victim: Victim, inputs: Inputs, scores: Scores, goal: Goal) -> Check:  # noqa: ARG001
    """Whether a second pass gives the same scores."""
    with torch.no_grad():
        gap = _gap(scores.values, victim(inputs).values)
    if gap > SAME:
        return Check(
            "same-again",
            "problem",
            f"two passes on the same inputs differ by {gap:.2g} of the scores' size",
            "a model must not draw numbers: no dropout, no noise of its own, no state between calls",
        )
    return Check("same-again", "ok", "two passes agree")


def batching(victim: Victim, inputs: Inputs, scores: Scores, goal: Goal) -> Check:  # noqa: ARG001
    """Whether each row is answered alone as in the batch, without the padding that it needs there."""
    advice = "rows must not meet: batch normalisation in evaluation mode, padding hidden by the mask"
    trace = Trace()
    try:
        with torch.no_grad():
            for row in range(len(inputs)):
                trace.add_batch_gap(scores, row, victim(inputs.alone(row)))
    except Exception as error:
        return Check("batching", "problem", f"a row alone is not answered: {type(error).__name__}: {error}", advice)
    if trace.batch_gap > TOLERANCE:
        found = f"a row's scores alone and in a batch differ by {trace.batch_gap:.2g} of their size"
        return Check("batching", "problem", found, advice)
    return Check("batching", "ok", f"rows alone and in a batch agree to {max(trace.batch_gap, 1e-8):.0e}")


def gradient(victim: Victim, inputs: Inputs, scores: Scores, goal: Goal) -> Check:  # noqa: ARG001
    """Whether a gradient of the goal's loss reaches the inputs, or the vectors of their ids."""
    blind = "only attacks that need no gradient can be run; the others are n/a"
    if not victim.differentiable:
        return Check("gradient", "note", "the model says that it is not differentiable", blind)
    values = inputs.values
    if not values.is_floating_point():
        if not isinstance(victim, EmbeddingVictim):
            return Check("gradient", "note", "the model reads ids and no vectors of them", f"{blind}: offer embed()")
        values = victim.embed(values)
    variable = values.detach().clone().requires_grad_(True)
    losses = goal.loss(victim(Inputs(variable, inputs.mask)), "ce")
    found = torch.autograd.grad(losses.sum(), variable, allow_unused=True)[0] if losses.requires_grad else None
    if found is None:
        return Check(
            "gradient",
            "problem",
            "no gradient of the scores reaches the inputs",
            "no detach(), no_grad(), numpy or rounding on the way; or say differentiable = False",
        )
    largest = found.flatten(1).abs().amax(1)
    if not bool(torch.isfinite(largest).all()):
        return Check("gradient", "problem", "gradients hold NaN or infinity", "no abs(), sqrt() or log() at 0")
    zero = int((largest == 0).sum())
    if zero == len(largest):
        return Check(
            "gradient", "problem", "gradients are zero in every row", "no rounding, no steps, no saturated softmax"
        )
    if zero:
        return Check(
            "gradient", "note", f"gradients are zero in {zero} of {len(largest)} rows", "are the scores saturated?"
        )
    return Check("gradient", "ok", f"reaches every row, largest entry {float(largest.max()):.2g}")


def vectors(victim: Victim, inputs: Inputs, scores: Scores, goal: Goal) -> Check | None:  # noqa: ARG001
    """Whether ids and their vectors get the same scores; None where the victim reads one of them only."""
    if inputs.values.is_floating_point() or not isinstance(victim, EmbeddingVictim):
        return None
    with torch.no_grad():
        gap = _gap(scores.values, victim(Inputs(victim.embed(inputs.values), inputs.mask)).values)
    if gap > VECTORS:
        return Check(
            "vectors",
            "problem",
            f"ids and their vectors are answered differently, by {gap:.2g} of the scores' size",
            "embed() must give what the model makes of ids itself",
        )
    return Check("vectors", "ok", "ids and their vectors are answered alike")


def weights_unchanged(before: tuple[int, ...], after: tuple[int, ...]) -> Check:
    """Whether passes left weights and buffers alone, by what weight_versions said before and after them; the audit of
    an attack asks for the same."""
    if before != after:
        return Check(
            "weights",
            "problem",
            "passes of the model changed its weights or buffers",
            "no counters or running statistics in forward(): every attack on such a model fails its audit",
        )
    return Check("weights", "ok", "passes leave weights and buffers alone")


def _gap(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the scores' size; infinite where shapes differ or something is NaN."""
    if one.shape != other.shape:
        return float("inf")
    gap = (one - other).abs().max() / one.abs().max().clamp(min=1.0)
    return float(torch.nan_to_num(gap, nan=float("inf")))


CHECKS: Final[Mapping[str, CheckFunction]] = {
    "range": value_range,
    "same-again": same_again,
    "batching": batching,
    "gradient": gradient,
    "vectors": vectors,
}
