"""What speech models of any kind need before their first layer: the task's samples at their own rate and loudness.

Both steps are differentiable, and a row comes out the same alone and padded in a batch.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from adversarial.errors import ModelError
from adversarial.inputs import Inputs
from tasks.speech.compiled import torchaudio_functional
from tasks.speech.dataset import SAMPLE_RATE


MOST_PHASES: Final = 1_000  # of the resampling filter: rates that share no large factor need a filter for each phase


def check_rate(rate_hz: object, from_hz: int = SAMPLE_RATE) -> int:
    """A sampling rate that audio of another one can be brought to; raises ModelError."""
    if type(rate_hz) is not int or not 4_000 <= rate_hz <= 96_000:
        raise ModelError(f"sampling_rate must be a whole number of Hz from 4000 to 96000, got {rate_hz!r}")
    if rate_hz // math.gcd(rate_hz, from_hz) > MOST_PHASES:
        raise ModelError(f"sampling_rate {rate_hz} has too little in common with {from_hz} Hz to resample to it")
    return rate_hz


def resampled(inputs: Inputs, rate_hz: int, from_hz: int = SAMPLE_RATE) -> tuple[Tensor, Tensor]:
    """Samples at another rate, float32 [batch, longer], and which are real, bool; silence where none are.

    inputs: samples at from_hz in [-1, 1). The filter is torchaudio's windowed sinc; before and after an
    utterance it sees silence.
    """
    values = inputs.values
    mask = torch.ones_like(values, dtype=torch.bool) if inputs.mask is None else inputs.mask
    if rate_hz == from_hz:
        return values * mask, mask
    longer: Tensor = torchaudio_functional().resample(values * mask, from_hz, rate_hz)
    lengths = (mask.sum(1) * rate_hz + from_hz - 1) // from_hz
    real = torch.arange(longer.shape[1], device=longer.device) < lengths[:, None]
    return longer * real, real


def standardised(samples: Tensor, mask: Tensor) -> Tensor:
    """Each row with mean 0 and variance 1 over its real samples, as transformers' extractors do; 0 elsewhere."""
    counts = mask.sum(1, keepdim=True)
    centred = (samples - (samples * mask).sum(1, keepdim=True) / counts) * mask
    variance = centred.square().sum(1, keepdim=True) / counts
    return centred * (variance + 1e-7).rsqrt()
