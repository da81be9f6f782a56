"""Successes of a pass in half precision, looked at again in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.goals import Goal, Judgement
from adversarial.inputs import Inputs
from adversarial.victims import Victim


def confirmed(
    victim: Victim,
    goal: Goal,
    inputs: Inputs,
    found: Judgement,
    losses: Tensor,
    loss: str | None,
    towards: Tensor | None,
) -> tuple[Judgement, Tensor]:
    """The successes among `inputs` judged again on a float32 pass, and their losses, float32 [batch]; a row that fails
    it is no success, whatever bfloat16 says."""
    rows = found.success.nonzero().squeeze(1)
    with torch.no_grad():
        own, scores = goal.take(rows), victim(inputs.take(rows))
        towards = None if towards is None else towards[rows]
        sure, again = own.judge(scores), losses[rows] if loss is None else own.loss(scores, loss, towards)
    return (
        Judgement(
            found.success.index_copy(0, rows, sure.success),
            found.damage.index_copy(0, rows, sure.damage),
            found.done.index_copy(0, rows, sure.done),
        ),
        losses.index_copy(0, rows, again.to(losses.dtype)),
    )
