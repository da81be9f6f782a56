"""What an attacker of a transcriber ascends, a value a row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from adversarial.inputs import Scores
from tasks.speech.transcripts import BLANK, Transcriber


def unlikelihood(scores: Scores, texts: Sequence[str], tokens: Tensor, lengths: Tensor) -> Tensor:
    """The negative log-likelihood of each row's text over its length, float32 [batch]. tokens, lengths: the text's
    symbols, for CTC."""
    if isinstance(scores.reader, Transcriber):
        return -scores.reader.likelihood(scores, texts)
    return ctc(scores, tokens, lengths)


def ctc(scores: Scores, tokens: Tensor, lengths: Tensor) -> Tensor:
    """CTC's negative log-likelihood over the target's length, float32 [batch]; 0 where no alignment fits."""
    batch, frames, _ = scores.values.shape
    real = torch.full((batch,), frames, device=tokens.device) if scores.mask is None else scores.mask.sum(1)
    losses = functional.ctc_loss(
        scores.values.log_softmax(-1).transpose(0, 1),
        tokens,
        real,
        lengths,
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )
    return losses / lengths


def frame_margin(scores: Scores, path: Tensor) -> Tensor:
    """Minus the sum over a row's frames of max(0, 1 + the score of the path's symbol - the best other score), float32
    [batch]: the margin of Carlini & Wagner 2016, https://arxiv.org/abs/1608.04644, frame by frame.

    path: int64 [batch, frames], the symbols of the best path at the undisturbed utterance. A frame that says something
    else by a margin of 1 counts no more, so the search turns to those that still say what they did. The likelihood of
    the right transcript falls as fast where one word is wrong already as where it is not, and is blind to the rest.
    """
    frames = min(scores.values.shape[1], path.shape[1])
    values, path = scores.values[:, :frames], path[:, :frames, None]
    own = values.gather(2, path).squeeze(2)
    others = values.scatter(2, path, -torch.inf).amax(2)
    # A frame that can say nothing else has no part in it.
    kept = torch.where(torch.isneginf(others), 0.0, functional.relu(1 + own - others))
    if scores.mask is not None:
        kept = torch.where(scores.mask[:, :frames], kept, 0.0)
    return -kept.sum(1)
