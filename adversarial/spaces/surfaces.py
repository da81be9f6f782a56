"""The continuous surfaces as balls: pixels, waveforms, embeddings, observations."""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.errors import InvalidThreat
from adversarial.inputs import Inputs
from adversarial.spaces.ball import Ball
from adversarial.spaces.norms import geometry
from adversarial.threats import Threat


SAMPLE_STEP = 1.0 / 32768.0  # of 16-bit audio
NOMINAL = 3.0  # scales, which are standard deviations, that an observation without a range of its own lies within


def pixels(inputs: Inputs, threat: Threat) -> Ball:
    """Images in [0, 1], float [batch, channels, height, width].

    Budgets in pixel units; for l0 a number of values, so that each colour of a pixel counts.
    """
    _expect(threat, "pixels")
    zero, one = inputs.values.new_zeros(()), inputs.values.new_ones(())
    return Ball(inputs, _radius(inputs, threat), geometry(threat.norm), low=zero, high=one)


def waveform(inputs: Inputs, threat: Threat) -> Ball:
    """16-bit audio as floats in [-1, 1), float [batch, samples] with a mask of real samples.

    linf, l2 and l1 in units of full scale, l0 a number of samples; snr in decibels of the utterance's own energy over
    the perturbation's. What is applied lies on the grid of 16-bit samples, so that writing and reading a file changes
    nothing.
    """
    _expect(threat, "waveform")
    low, high = inputs.values.new_full((), -1.0), inputs.values.new_full((), 1.0 - SAMPLE_STEP)
    return Ball(
        inputs,
        _radius(inputs, threat),
        geometry(threat.norm),
        low=low,
        high=high,
        relative=threat.norm == "snr",
        quantum=SAMPLE_STEP,
    )


def embeddings(inputs: Inputs, threat: Threat) -> Ball:
    """Word vectors, float [batch, words, width] with a mask of real words. The norm is over a whole sentence."""
    _expect(threat, "embeddings")
    return Ball(inputs, _radius(inputs, threat), geometry(threat.norm))


def observations(
    inputs: Inputs, threat: Threat, scale: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Ball:
    """What an agent sees, float [batch, dimensions].

    scale: float [dimensions], positive and finite, fixed by the environment and never by the agent; budgets are
    multiples of it. low, high: the range of real observations where it is finite; under l0, which bounds no size, it
    is NOMINAL scales around zero where it is open.
    """
    _expect(threat, "observations")
    if not bool((torch.isfinite(scale) & (scale > 0)).all()):
        raise InvalidThreat(f"observation scales must be positive and finite, got {scale.tolist()}")
    if threat.norm == "l0":
        low, high = _closed(low, -NOMINAL * scale), _closed(high, NOMINAL * scale)
    return Ball(inputs, _radius(inputs, threat), geometry(threat.norm), scale=scale, low=low, high=high)


def snr_db(distance: Tensor) -> Tensor:
    """Signal-to-noise ratio in decibels of a relative distance, the unit that bounds snr threats; inf at 0."""
    return -20.0 * torch.log10(distance)


def _closed(bound: Tensor | None, nominal: Tensor) -> Tensor:
    return nominal if bound is None else torch.where(torch.isfinite(bound), bound, nominal)


def _radius(inputs: Inputs, threat: Threat) -> Tensor:
    return torch.full((len(inputs),), threat.radius, dtype=torch.float32, device=inputs.values.device)


def _expect(threat: Threat, surface: str) -> None:
    if threat.surface != surface:
        raise InvalidThreat(f"expected a threat on {surface}, got {threat}")
