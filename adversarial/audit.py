"""The harness audits, the attack proposes: what an attack left behind is measured again from the inputs alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adversarial.errors import AuditFailure
from adversarial.inputs import Inputs
from adversarial.spaces.protocol import Space


@dataclass(frozen=True, slots=True)
class Audited:
    """What passed.

    inputs: the disturbed batch. distance: float64 [batch], in the units of the space's radius.
    """

    inputs: Inputs
    distance: Tensor


def audit(
    space: Space,
    d: Tensor,
    before: Inputs,
    weights_before: tuple[int, ...] = (),
    weights_after: tuple[int, ...] = (),
) -> Audited:
    """Applies d and checks that it obeys the space.

    before: a copy of the undisturbed batch, taken before the attack ran. weights_before, weights_after: the victim's
    weight_versions on both sides of the attack. Raises AuditFailure where the attack wrote into its input or into the
    victim's weights, where d is not finite, where padding changed, or where a row has left the input range or is
    further than its radius and the tolerance of float32. A perturbation over budget fails; it is never clipped into a
    success.
    """
    if not space.inputs.same_as(before):
        raise AuditFailure("the attack changed its input in place; attacks must write to perturbations only")
    if weights_before != weights_after:
        raise AuditFailure(
            "the victim's weights or buffers changed during the attack; attacks must leave the victim alone, "
            "and the victim must be in evaluation mode"
        )
    if d.shape != space.null().shape:
        raise AuditFailure(f"a perturbation of shape {list(space.null().shape)} expected, got {list(d.shape)}")
    if d.is_floating_point() and not bool(torch.isfinite(d).all()):
        raise AuditFailure(f"the perturbation of {_rows(~torch.isfinite(d).flatten(1).all(1))} is not finite")
    inputs = space.apply(d)
    touched = ~space.intact(inputs)
    if bool(touched.any()):
        raise AuditFailure(f"the attack changed padding in {_rows(touched)}")
    distance = space.distance(inputs)
    over = ~(distance <= space.radius.to(torch.float64) + space.tolerance())  # so that NaN is over, too
    if bool(over.any()):
        row = int(over.nonzero()[0])
        raise AuditFailure(
            f"over budget in {_rows(over)}: row {row} is at {float(distance[row]):.9g}, "
            f"allowed is {float(space.radius[row]):.9g} (inf: outside of the input range, or no candidate)"
        )
    return Audited(inputs, distance)


def _rows(flags: Tensor) -> str:
    rows = flags.nonzero().squeeze(1).tolist()
    return f"{len(rows)} of {len(flags)} rows (first: {rows[0]})"
