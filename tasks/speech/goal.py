"""What an attacker of a transcriber wants: wrong words, as many as there are to get wrong, or words of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import torch
from torch import Tensor
from torch.nn import functional

from adversarial.errors import InvalidOption, NotApplicable, UnknownName
from adversarial.goals import Judgement
from adversarial.inputs import Scores
from tasks.speech.losses import frame_margin, unlikelihood
from tasks.speech.transcripts import Transcriber, collapse, decode, encode, letters, word_errors


FRAME_MARGIN: Final = "frame-margin"


@dataclass(frozen=True, slots=True)
class WorstTranscript:
    """Word errors in the transcript of each row, up to as many as the reference has words.

    references: the right transcripts. tokens: their symbols, int64 [batch, longest]. lengths: int64 [batch].
    first_error: whether a row is done at its first word error (the goal `flip`) or at the last (`worst`). path: the
    symbols of the best path at the undisturbed utterance, int64 [batch, frames], where it is known.
    """

    references: tuple[str, ...]
    tokens: Tensor
    lengths: Tensor
    first_error: bool = False
    path: Tensor | None = None

    @classmethod
    def of(
        cls, references: Sequence[str], device: torch.device | str = "cpu", *, first_error: bool = False
    ) -> WorstTranscript:
        return cls(tuple(references), *encode(references, device), first_error)

    @property
    def targeted(self) -> bool:
        return False

    @property
    def relative_losses(self) -> frozenset[str]:
        return frozenset({FRAME_MARGIN})

    def relative_to(self, clean: Scores) -> Self:
        return self if isinstance(clean.reader, Transcriber) else replace(self, path=clean.values.argmax(2))

    def loss(self, scores: Scores, name: str, towards: Tensor | None = None) -> Tensor:
        """`ce`: the negative log-likelihood of the reference over its length, by CTC or by the victim's decoder.
        `frame-margin`: see there; a decoder, which writes tokens and has no frames, is attacked by its likelihood."""
        if towards is not None:
            raise NotApplicable("transcripts have no classes to lead to")
        if name not in ("ce", FRAME_MARGIN):
            raise UnknownName.among("loss of transcripts", name, ("ce", FRAME_MARGIN))
        if name == "ce" or isinstance(scores.reader, Transcriber):
            return unlikelihood(scores, self.references, self.tokens, self.lengths)
        if self.path is None:
            raise InvalidOption(
                f"{FRAME_MARGIN} compares with the undisturbed utterance: knowing_clean_scores asks for it"
            )
        return frame_margin(scores, self.path)

    def judge(self, scores: Scores) -> Judgement:
        rates = [
            word_errors(reference, transcript).total / len(reference.split())
            for reference, transcript in zip(self.references, decode(scores), strict=True)
        ]
        rate = torch.tensor(rates, dtype=torch.float32, device=scores.values.device)
        damage = torch.where(scores.finite(), rate.clamp(max=1.0), 0.0)
        success = damage > 0
        return Judgement(success, damage, success if self.first_error else damage >= 1)

    def take(self, rows: Tensor) -> Self:
        references = tuple(self.references[row] for row in rows.tolist())
        path = None if self.path is None else self.path[rows]
        return type(self)(references, self.tokens[rows], self.lengths[rows], self.first_error, path)


@dataclass(frozen=True, slots=True)
class TargetTranscript:
    """A transcript of the attacker's choice; a row is done when the victim says it.

    references, targets: the right transcripts and the wanted ones. tokens: the targets' symbols, int64
    [batch, longest], filled up with blanks. lengths: int64 [batch].
    """

    references: tuple[str, ...]
    targets: tuple[str, ...]
    tokens: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, references: Sequence[str], targets: Sequence[str], device: torch.device | str = "cpu") -> Self:
        """Raises InvalidOption where a target is its own reference: it is reached by doing nothing."""
        targets = [" ".join(target.split()) for target in targets]  # as a transcript is read
        for row, (reference, target) in enumerate(zip(references, targets, strict=True)):
            if " ".join(reference.split()) == target:
                raise InvalidOption(f"target {target!r} of row {row} is its transcript; choose another one")
        return cls(tuple(references), tuple(targets), *encode(targets, device))

    @property
    def targeted(self) -> bool:
        return True

    def loss(self, scores: Scores, name: str, towards: Tensor | None = None) -> Tensor:
        """`ce`: the log-likelihood of the target over its length, by CTC or by the victim's decoder."""
        if towards is not None:
            raise NotApplicable("transcripts have no classes to lead to")
        if name != "ce":
            raise UnknownName.among("loss of transcripts", name, ("ce",))
        return -unlikelihood(scores, self.targets, self.tokens, self.lengths)

    def judge(self, scores: Scores) -> Judgement:
        """By the best path of each row, compared letter by letter: only where it has the target's is there a transcript
        to read. A decoder's transcripts are all read. Damage is success."""
        if isinstance(scores.reader, Transcriber):
            said = [text == target for text, target in zip(decode(scores), self.targets, strict=True)]
            success = torch.tensor(said, device=scores.values.device) & scores.finite()
            return Judgement(success, success.to(torch.float32), success)
        found = letters(collapse(scores))
        width = max(found.shape[1], self.tokens.shape[1])
        found, wanted = (functional.pad(part, (0, width - part.shape[1])) for part in (found, letters(self.tokens)))
        matches = (found == wanted).all(1) & scores.finite()
        success = matches.clone()
        rows = matches.nonzero().squeeze(1)
        if len(rows):
            mask = None if scores.mask is None else scores.mask[rows]
            read = decode(Scores(scores.values[rows], mask))
            success[rows] = torch.tensor(
                [text == self.targets[row] for text, row in zip(read, rows.tolist(), strict=True)],
                device=success.device,
            )
        return Judgement(success, success.to(torch.float32), success)

    def take(self, rows: Tensor) -> Self:
        chosen = rows.tolist()
        return type(self)(
            tuple(self.references[row] for row in chosen),
            tuple(self.targets[row] for row in chosen),
            self.tokens[rows],
            self.lengths[rows],
        )
