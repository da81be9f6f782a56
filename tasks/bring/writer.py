"""The half of Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356) that writes: how likely a text is, and
which text it writes by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from adversarial.errors import DataError
from adversarial.inputs import Scores
from tasks.speech.corpus import WORDS


MOST_TOKENS: Final = 128  # of a transcript; a decoder that goes round in circles is cut off there
_DIGIT: Final = re.compile("[0-9]")
_APOSTROPHE: Final = re.compile("['\u2019]")
_NO_WORD: Final = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """Lower case, single spaces, no punctuation, figures as words: ` 1, 2. Four!` is `one two four`."""
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
        spelled = [self.tokens(text) for text in texts]
        device = scores.values.device
        rows = torch.tensor([row for row, ways in enumerate(spelled) for _ in ways], device=device)
        ways = [way for every in spelled for way in every]
        longest = max(map(len, ways))
        tokens = torch.tensor([[*way, *[self._end] * (longest + 1 - len(way))] for way in ways], device=device)
        counts = torch.tensor([len(way) + 1 for way in ways], device=device)
        prompt = torch.tensor(self._prompt, device=device).expand(len(ways), -1)
        # Padding on the right: no token attends to what comes after it.
        states = scores.values.index_select(0, rows)
        hidden = self._model.model.decoder(
            input_ids=torch.cat([prompt, tokens[:, :-1]], 1), encoder_hidden_states=states, use_cache=False
        ).last_hidden_state
        logits = self._model.proj_out(hidden[:, len(self._prompt) - 1 :])
        each = -functional.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
        real = torch.arange(tokens.shape[1], device=device) < counts[:, None]
        total = torch.where(real, each, 0.0).sum(1)
        most = max(map(len, spelled))
        place = torch.tensor([way for every in spelled for way in range(len(every))], device=device)
        table = total.new_full((len(texts), most), -torch.inf).index_put((rows, place), total)
        first = torch.tensor([len(every[0]) + 1 for every in spelled], device=device)
        return table.logsumexp(1) / first

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


def _until(tokens: list[int], end: int) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens
