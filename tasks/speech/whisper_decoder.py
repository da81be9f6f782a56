"""The half of Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356) that writes: how likely a text is, and
which text it writes by itself."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from adversarial.errors import DataError
from adversarial.inputs import Scores
from tasks.speech.custom_data import MARK
from tasks.speech.dataset import WORDS


MOST_TOKENS: Final = 128  # of a transcript; a decoder that goes round in circles is cut off there
_DIGIT: Final = re.compile("[0-9]")
_APOSTROPHE: Final = re.compile("['\u2019]")
_NO_WORD: Final = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """Lower case, single spaces, no punctuation, no marks, figures as words: ` 1, 2. [um] Four!` is `one two four`."""
    text = MARK.sub(" ", text)
    text = _DIGIT.sub(lambda figure: f" {WORDS[int(figure[0])]} ", text)
    return " ".join(_NO_WORD.sub(" ", _APOSTROPHE.sub("", text)).lower().split())


def spellings(text: str) -> tuple[str, ...]:
    """Ways to write a normalised text: as words, as a sentence, and in figures where all its words are digits."""
    words = text.split()
    found = [f" {text}", f" {', '.join(words).capitalize()}."]
    if all(word in WORDS for word in words):
        figures = [str(WORDS.index(word)) for word in words]
        found += [f" {', '.join(figures)}.", f" {''.join(figures)}"]
    return tuple(found)


class Writer:
    """Whisper's decoder: a tasks.speech.transcripts.Transcriber.

    prompt: tokens before every text. end: the token that ends it. suppressed, suppressed_first: tokens that are never
    written, anywhere or as the first; they count for transcripts, not for likelihoods.
    """

    def __init__(
        self,
        module: nn.Module,
        tokenizer: Any,
        prompt: Sequence[int],
        end: int,
        suppressed: Sequence[int] = (),
        suppressed_first: Sequence[int] = (),
    ) -> None:
        model: Any = module
        self._model = model
        self._tokenizer = tokenizer
        self._prompt, self._end = list(prompt), end
        self._suppressed, self._suppressed_first = list(suppressed), list(suppressed_first)
        self._words: int = self._model.config.vocab_size
        self._room: int = self._model.config.max_target_positions - len(self._prompt)
        self.longest = min(MOST_TOKENS, self._room)
        self.tokens = lru_cache(maxsize=4096)(self._tokens)

    def likelihood(self, scores: Scores, texts: Sequence[str]) -> Tensor:
        """The sum over a text's spellings of their likelihoods, as a logarithm, over its number of tokens."""
        spelled, device = [self.tokens(text) for text in texts], scores.values.device
        packed = [self._packed(ways) for ways in spelled]
        longest = max(map(len, packed))
        rest = (self._end, 0, -1, self._end, -1)
        filled = [row + [rest] * (longest - len(row)) for row in packed]
        fed, places, ways, wanted, counted = torch.tensor(filled, device=device).unbind(-1)
        hidden = self._model.model.decoder(
            input_ids=fed,
            attention_mask=_apart(ways, places, scores.values.dtype),
            position_ids=places,
            encoder_hidden_states=scores.values,
            use_cache=False,
        ).last_hidden_state
        logits = self._model.proj_out(hidden)
        each = -functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
        most = torch.arange(max(map(len, spelled)), device=device)
        total = (each[:, :, None] * (counted[:, :, None] == most)).sum(1)
        exists = most < torch.tensor([[len(every)] for every in spelled], device=device)
        first = torch.tensor([len(every[0]) + 1 for every in spelled], device=device)
        return total.masked_fill(~exists, -torch.inf).logsumexp(1) / first

    @torch.no_grad()
    def transcripts(self, scores: Scores) -> list[str]:
        """The greedy transcripts, normalised."""
        states = scores.values
        fed = torch.tensor(self._prompt, device=states.device).expand(len(states), -1)
        done = torch.zeros(len(states), dtype=torch.bool, device=states.device)
        cache, said = None, []
        for place in range(self.longest):
            answer = self._model.model.decoder(
                input_ids=fed, encoder_hidden_states=states, past_key_values=cache, use_cache=True
            )
            cache = answer.past_key_values
            logits = self._model.proj_out(answer.last_hidden_state[:, -1])
            logits[:, self._suppressed] = -torch.inf
            if place == 0:
                logits[:, self._suppressed_first] = -torch.inf
            chosen = torch.where(done, self._end, logits.argmax(1))
            done = done | (chosen == self._end)
            said.append(chosen)
            if bool(done.all()):
                break
            fed = chosen[:, None]
        written = torch.stack(said, 1).tolist()
        return [normalised(self._tokenizer.decode(_until(row, self._end), skip_special_tokens=True)) for row in written]

    def _packed(self, ways: Sequence[Sequence[int]]) -> list[tuple[int, int, int, int, int]]:
        """A row's spellings one after the other, so that what was heard is taken in once for all of them. For each
        position: the token that is fed, its place in its spelling, the spelling, the token that shall follow, and the
        spelling again where that counts, -1 within the prompt."""
        found = []
        for way, tokens in enumerate(ways):
            line = [*self._prompt, *tokens, self._end]
            for place, (token, following) in enumerate(itertools.pairwise(line)):
                found.append((token, place, way, following, way if place >= len(self._prompt) - 1 else -1))
        return found

    def _tokens(self, text: str) -> tuple[tuple[int, ...], ...]:
        """The spellings that the tokenizer can write, each once; raises DataError where there is none or no room."""
        found: dict[tuple[int, ...], None] = {}
        for spelling in spellings(text):
            tokens = tuple(self._tokenizer.encode(spelling, add_special_tokens=False))
            if normalised(self._tokenizer.decode(list(tokens), skip_special_tokens=True)) == text:
                found[tokens] = None
        ways = tuple(way for way in found if 0 < len(way) < self._room and max(way) < self._words)
        if not ways:
            raise DataError(f"the model's tokenizer cannot write {text!r} within {self._room} tokens")
        return ways


def _apart(ways: Tensor, places: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask, [batch, 1, positions, positions]: each attends to its own spelling, up to its own place."""
    open_ = (ways[:, :, None] == ways[:, None]) & (places[:, None] <= places[:, :, None])
    return torch.zeros(open_.shape, dtype=dtype, device=ways.device).masked_fill(~open_, torch.finfo(dtype).min)[
        :, None
    ]


def _until(tokens: list[int], end: int) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens
