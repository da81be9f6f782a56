"""The front end and the model: an utterance alone and padded among others is the same utterance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adversarial.inputs import Inputs
from tasks.speech.features import FLOOR, LogMel
from tasks.speech.model import SmallCTC, SpeechVictim


LENGTHS = (4_000, 199, 12_345, 7_999, 280, 0)


def utterances(lengths: tuple[int, ...] = LENGTHS) -> tuple[Tensor, Tensor]:
    """Noise of several loudnesses, padded to the longest."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    loudness = torch.logspace(-3, -1, len(lengths))[:, None]
    return torch.randn(mask.shape, generator=generator) * loudness * mask, mask


def test_frames_alone_and_in_a_batch_agree() -> None:
    front = LogMel()
    samples, mask = utterances()
    together, valid = front(samples, mask)
    for row, length in enumerate(LENGTHS):
        alone, own = front(samples[row : row + 1, :length], mask[row : row + 1, :length])
        assert bool(own.all())
        assert int(valid[row].sum()) == own.shape[1]
        torch.testing.assert_close(together[row][valid[row]], alone[0], rtol=0, atol=1e-5)


def test_frames_never_reach_into_padding() -> None:
    front = LogMel()
    samples, mask = utterances()
    torch.testing.assert_close(front(samples + ~mask * 0.5, mask), front(samples, mask), rtol=0, atol=0)


def test_frame_counts() -> None:
    counts = LogMel().lengths(torch.tensor([0, 1, 200, 279, 280, 8_000]))
    assert counts.tolist() == [1, 1, 1, 1, 2, 98]


def test_frames_are_log_mel_power() -> None:
    """Against a short-time Fourier transform, with the same normalisation."""
    front = LogMel()
    samples, mask = utterances((4_000,))
    # Its frames hold the window of 200 in the middle of 256 samples: 28 on either side.
    padded = torch.nn.functional.pad(samples, (28, 28))
    spectrum = torch.stft(padded, 256, 80, 200, torch.hann_window(200), center=False, return_complex=True)
    power = (spectrum.abs() ** 2).transpose(1, 2) @ front.basis
    expected = (power + FLOOR).log()
    expected = expected - expected.mean(1, keepdim=True)
    expected = expected / (expected.var(1, correction=0, keepdim=True) + 1e-2).sqrt()
    torch.testing.assert_close(front(samples, mask)[0], expected, rtol=0, atol=1e-4)


def test_no_band_is_empty() -> None:
    assert bool((LogMel().basis.sum(0) > 0).all())


def test_logits_alone_and_in_a_batch_agree() -> None:
    torch.manual_seed(0)
    victim = SpeechVictim(SmallCTC())
    samples, mask = utterances()
    together = victim(Inputs(samples, mask))
    assert together.mask is not None
    for row, length in enumerate(LENGTHS):
        alone = victim(Inputs(samples[row : row + 1, :length]))
        torch.testing.assert_close(together.values[row][together.mask[row]], alone.values[0], rtol=0, atol=1e-5)


def test_rows_never_meet() -> None:
    """The gradient of one row's scores is zero in every other row, and in its own padding."""
    torch.manual_seed(0)
    victim = SpeechVictim(SmallCTC())
    samples, mask = utterances()
    samples.requires_grad_(True)
    scores = victim(Inputs(samples, mask))
    assert scores.mask is not None
    (gradient,) = torch.autograd.grad(scores.values[3][scores.mask[3]].square().sum(), samples)
    reached = torch.zeros_like(mask)
    reached[3] = mask[3]
    assert bool((gradient[~reached] == 0).all())
    assert bool((gradient[3] != 0).any())


@pytest.mark.parametrize("level", [0.0, 1e-6, 1.0])
def test_gradients_are_finite_in_silence_and_at_full_scale(level: float) -> None:
    front = LogMel()
    samples = torch.full((1, 1_000), level, requires_grad=True)
    frames, _ = front(samples, torch.ones(1, 1_000, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(frames.square().sum(), samples)
    assert bool(torch.isfinite(gradient).all())
