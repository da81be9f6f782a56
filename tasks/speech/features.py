"""A log-mel front end that gradients pass through and that neighbours in a batch cannot reach.

After Davis & Mermelstein 1980 (Comparison of parametric representations for monosyllabic word recognition).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tasks.speech.compiled import torchaudio_functional


class LogMel(nn.Module):
    """Frames of log mel power, each mel band with mean 0 and variance 1 over the utterance's own frames.

    Frames start at the first sample and never reach past the last one, so an utterance has the same
    frames alone and padded in a batch; one shorter than a frame is filled up with silence. window, hop, fft:
    in samples; at 8 kHz a window of 200 lasts 25 ms, a hop of 80 lasts 10 ms.
    """

    fourier: Tensor
    basis: Tensor

    def __init__(
        self, bands: int = 40, sample_rate_hz: int = 8_000, window: int = 200, hop: int = 80, fft: int = 256
    ) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        # As one matrix the windowed transform is cheaper than a short FFT, above all in the backward pass.
        time, bins = torch.arange(window, dtype=torch.float64), fft // 2 + 1
        angle = time[:, None] * torch.arange(bins, dtype=torch.float64) * (2 * math.pi / fft)
        hann = torch.hann_window(window, dtype=torch.float64)[:, None]
        waves = torch.cat([angle.cos(), -angle.sin()], 1) * hann
        basis = torchaudio_functional().melscale_fbanks(bins, 60.0, sample_rate_hz / 2, bands, sample_rate_hz)
        self.register_buffer("fourier", waves.to(torch.float32), persistent=False)
        self.register_buffer("basis", basis, persistent=False)

    def lengths(self, samples: Tensor) -> Tensor:
        """Frames of utterances of that many samples, at least one; int64."""
        return 1 + (samples - self.window).clamp(min=0) // self.hop

    def forward(self, samples: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel frames, float32 [batch, frames, bands], and which of them are real, bool [batch, frames].

        samples: float [batch, samples] in [-1, 1). mask: bool [batch, samples], True on the left of each row.
        """
        samples = nn.functional.pad(samples * mask, (0, max(0, self.window - samples.shape[1])))
        spectrum = samples.unfold(1, self.window, self.hop) @ self.fourier
        real, imaginary = spectrum.chunk(2, -1)
        # Squares, never abs(): its gradient is not finite at zero.
        mel = (real.square() + imaginary.square()) @ self.basis
        counts = self.lengths(mask.sum(1))[:, None]
        valid = torch.arange(mel.shape[1], device=mel.device) < counts
        return _normalised((mel + FLOOR).log(), valid, counts[:, :, None]), valid


FLOOR = 1e-6  # of power: at or below the background of the quietest recordings, so that it bounds gradients only


def _normalised(frames: Tensor, valid: Tensor, counts: Tensor) -> Tensor:
    live = valid[:, :, None]
    centred = (frames - (frames * live).sum(1, keepdim=True) / counts) * live
    variance = centred.square().sum(1, keepdim=True) / counts
    return centred * (variance + 1e-2).rsqrt()
