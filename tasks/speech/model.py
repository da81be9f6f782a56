"""Architectures for spoken digits, by the name that a card gives, and their victim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from adversarial.inputs import Inputs, Scores
from adversarial.victims import freeze
from tasks.speech.architectures import FURTHER
from tasks.speech.features import LogMel
from tasks.speech.transcripts import SYMBOLS


class FrameConvolution(nn.Module):
    """A convolution over frames, [batch, frames, channels]; frames that are not real count as silence."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.linear = nn.Linear(kernel * inputs, outputs)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """mask: bool [batch, frames]."""
        reach = self.dilation * (self.kernel - 1) // 2
        padded = functional.pad(frames * mask[:, :, None], (0, 0, reach, reach))
        count = frames.shape[1]
        # Shifted copies and one matrix product: on a CPU faster than conv1d, whose layout is another.
        views = [padded[:, i * self.dilation :][:, : count : self.stride] for i in range(self.kernel)]
        mixed: Tensor = self.linear(torch.cat(views, -1))
        return mixed


class Block(nn.Module):
    """A residual convolution on frames that are normalised one by one."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = FrameConvolution(width, width, 3, dilation=dilation)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        return frames + functional.silu(self.convolution(self.norm(frames), mask))


class SmallCTC(nn.Module):
    """A convolutional CTC model (Graves et al. 2006, Connectionist temporal classification) over letters.

    Every norm is of one frame and every convolution masks its input, so that neither padding nor other rows
    change a row. A frame of the output lasts 20 ms and sees about 0.6 s.
    """

    def __init__(self, width: int = 112, blocks: int = 6) -> None:
        super().__init__()
        self.front = LogMel()
        self.entry = FrameConvolution(self.front.basis.shape[1], width, 5, stride=2)
        self.blocks = nn.ModuleList(Block(width, (1, 2, 4)[i % 3]) for i in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, SYMBOLS)

    def forward(self, samples: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, float [batch, frames, symbols], and which frames are real, bool [batch, frames].

        samples: float [batch, samples] in [-1, 1). mask: bool [batch, samples].
        """
        frames, valid = self.front(samples, mask)
        frames = functional.silu(self.entry(frames, valid))
        valid = valid[:, ::2]
        for block in self.blocks:
            frames = block(frames, valid)
        logits: Tensor = self.head(self.norm(frames))
        return logits, valid


class SpeechVictim:
    """A module from samples and their mask to logits and theirs, frozen unless it is to be trained."""

    differentiable = True

    def __init__(self, module: nn.Module, *, frozen: bool = True) -> None:
        self.module = freeze(module) if frozen else module

    def __call__(self, inputs: Inputs) -> Scores:
        mask = torch.ones_like(inputs.values, dtype=torch.bool) if inputs.mask is None else inputs.mask
        return Scores(*self.module(inputs.values, mask))


ARCHITECTURES: Final[dict[str, Callable[..., nn.Module]]] = {"small-ctc": SmallCTC, **FURTHER}
