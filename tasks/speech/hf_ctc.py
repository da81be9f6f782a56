"""CTC speech models of transformers (Wav2Vec2, HuBERT, WavLM and their kin) as victims of the speech tasks.

wav2vec 2.0, Baevski et al. 2020, https://arxiv.org/abs/2006.11477. Samples come in at the task's rate, are resampled
and normalised inside of the victim, and the model's letters go out in the order of the task's alphabet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from adversarial.entries import TaskEntry
from adversarial.errors import ModelError
from adversarial.inputs import Inputs, Scores
from adversarial.victims import freeze
from tasks.data import CustomData
from tasks.models import LoadedModel, Source
from tasks.models.folders import read_json
from tasks.speech.custom_data import letters_of, rate_of
from tasks.speech.dataset import SAMPLE_RATE
from tasks.speech.hf_folders import extractor_of, fetched, load_pretrained, loaded_model
from tasks.speech.preprocessing import check_rate, resampled, standardised
from tasks.speech.transcripts import ALPHABET, BLANK, SPACE, SYMBOLS


# Where a mask hides padding completely: convolutions see zeros beyond the end, and no norm runs over time.
MASKED_TYPES: Final = frozenset({"wav2vec2", "hubert", "unispeech", "unispeech-sat"})
PUNCTUATION: Final = frozenset('.,!?;:"-')  # read as the gap between words that it stands in
_PROBE: Final = (1_700, 4_000)  # samples of the two utterances that look at whether a mask hides padding
TOLERANCE: Final = 1e-4
NEVER: Final = -1e4  # the logit of a letter that the model lacks: no probability, and no infinity either


@dataclass(frozen=True, slots=True)
class Symbols:
    """Which of the model's symbols make up each symbol of the task's alphabet, and which lie beyond it.

    known: for each symbol of ALPHABET the model's, of which there are several where case or punctuation is folded, and
    none where the model never writes a letter that no transcript has.
    others: the rest; each keeps its own column after the alphabet's, so that a frame's best symbol stays the same and
    a transcript with a letter that the alphabet lacks is wrong.
    """

    known: tuple[tuple[int, ...], ...]
    others: tuple[int, ...]

    def fold(self, logits: Tensor) -> Tensor:
        """From [batch, frames, model symbols] to [batch, frames, alphabet and others]; exp adds up where it folds."""
        never = torch.full_like(logits[..., 0], NEVER)
        columns = [
            (logits[..., own[0]] if len(own) == 1 else logits[..., list(own)].logsumexp(-1)) if own else never
            for own in self.known
        ]
        return torch.cat([torch.stack(columns, -1), logits[..., list(self.others)]], -1)


def symbols_of(
    vocabulary: Mapping[str, int], blank: int, delimiter: str, count: int, needed: str = ALPHABET[2:SYMBOLS]
) -> Symbols:
    """Finds the alphabet in a model's vocabulary, upper and lower case alike.

    blank: the id of CTC's blank. delimiter: the token between words. count: the model's symbols. needed: letters of the
    transcripts. Raises ModelError
    where the model cannot write a letter of the task, and for tokens of several letters.
    """
    known: list[list[int]] = [[] for _ in ALPHABET]
    others = set(range(count))
    for token, place in vocabulary.items():
        if place >= count:  # tokenizers add sentence marks that the model has no output for
            continue
        if place == blank:
            symbol = BLANK
        elif token in (delimiter, " ") or token in PUNCTUATION:
            symbol = SPACE
        elif len(token) == 1 and token.lower() in ALPHABET[2:]:
            symbol = ALPHABET.index(token.lower())
        elif len(token) > 1 and token.isalpha():
            raise ModelError(f"the vocabulary has {token!r}: expected one letter a symbol, not pieces of words")
        else:
            continue
        known[symbol].append(place)
        others.discard(place)
    missing = [repr(letter) for letter in (" ", *needed) if not known[ALPHABET.index(letter)]]
    if not known[BLANK] or missing:
        absent = ["the blank"] * (not known[BLANK]) + missing
        raise ModelError(f"the model's vocabulary lacks {', '.join(absent)}, so it cannot write the task's words")
    return Symbols(tuple(tuple(sorted(own)) for own in known), tuple(sorted(others)))


class CTCVictim:
    """A CTC model from the task's samples to logits [batch, frames, alphabet and others].

    padded: whether rows of several lengths may share a pass, under a mask. Otherwise only rows of one length do: a
    norm over time, as in models with feat_extract_norm "group", would let padding into a row.
    """

    differentiable = True

    def __init__(
        self,
        module: nn.Module,
        symbols: Symbols,
        rate_hz: int,
        *,
        standardise: bool,
        padded: bool = False,
        from_hz: int = SAMPLE_RATE,
    ) -> None:
        self.module = freeze(module)
        self.padded = padded
        self._symbols, self._rate_hz, self._from_hz, self._standardise = symbols, rate_hz, from_hz, standardise
        self._shortest = shortest(module.config)

    def __call__(self, inputs: Inputs) -> Scores:
        with torch.autocast(inputs.values.device.type, enabled=False):
            samples, real = resampled(inputs, self._rate_hz, self._from_hz)
            if self._standardise:
                samples = standardised(samples, real)
        lengths = real.sum(1).clamp(min=self._shortest)
        samples = functional.pad(samples, (0, max(0, self._shortest - samples.shape[1])))
        logits, frames = (self._masked if self.padded else self._by_length)(samples, lengths)
        mask = torch.arange(logits.shape[1], device=logits.device) < frames[:, None]
        return Scores(self._symbols.fold(logits), mask)

    def _masked(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        mask = torch.arange(samples.shape[1], device=samples.device) < lengths[:, None]
        logits: Tensor = self.module(samples, attention_mask=mask.to(torch.int64)).logits
        count: Any = self.module._get_feat_extract_output_lengths
        return logits, count(lengths).to(torch.int64)

    def _by_length(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        found, order = [], []
        for length in sorted(set(lengths.tolist())):
            rows = (lengths == length).nonzero().squeeze(1)
            found.append(self.module(samples[rows, :length]).logits)
            order.append(rows)
        longest = max(part.shape[1] for part in found)
        logits = torch.cat([functional.pad(part, (0, 0, 0, longest - part.shape[1])) for part in found])
        frames = torch.cat(
            [rows.new_full((len(rows),), part.shape[1]) for rows, part in zip(order, found, strict=True)]
        )
        back = torch.cat(order).argsort()
        return logits[back], frames[back]


def shortest(config: Any) -> int:
    """The samples that make one frame; shorter utterances are filled up with silence."""
    samples = int(getattr(config, "squeeze_factor", 1))
    kernels, strides = getattr(config, "conv_kernel", ()), getattr(config, "conv_stride", ())
    for kernel, stride in reversed(list(zip(kernels, strides, strict=True))):
        samples = (samples - 1) * stride + kernel
    return samples


def hides_padding(victim: CTCVictim, device: torch.device) -> bool:
    """Whether a mask hides padding: by the architecture, and seen on two utterances of noise."""
    config: Any = victim.module.config
    if getattr(config, "add_adapter", False) or getattr(config, "conv_pos_batch_norm", False):
        return False
    if config.model_type not in MASKED_TYPES or config.feat_extract_norm != "layer":
        return False
    draw = torch.Generator().manual_seed(0)
    samples = (0.1 * torch.randn(2, _PROBE[1], generator=draw)).to(device)
    mask = torch.arange(_PROBE[1], device=device) < torch.tensor(_PROBE, device=device)[:, None]
    victim.padded = True
    with torch.no_grad():
        together, alone = victim(Inputs(samples * mask, mask)), victim(Inputs(samples[:1, : _PROBE[0]]))
    assert together.mask is not None
    seen = together.values[0][together.mask[0]]
    return seen.shape == alone.values[0].shape and bool((seen - alone.values[0]).abs().max() <= TOLERANCE)


def load(
    source: Source,
    task: TaskEntry,  # noqa: ARG001
    device: torch.device,
    data: CustomData | None = None,
) -> LoadedModel:
    """A folder or Hub id with model.safetensors, config.json, preprocessor_config.json and vocab.json.

    Raises ModelError for other files, for features instead of samples, and for an alphabet that does not fit.
    """
    folder = fetched(source)
    module = load_pretrained("AutoModelForCTC", folder)
    if module.main_input_name != "input_values":
        raise ModelError(f"{type(module).__name__} reads {module.main_input_name}, not samples; it cannot be attacked")
    from_hz = SAMPLE_RATE if data is None else rate_of(data)
    rate_hz, standardise = _hearing(folder, from_hz)
    symbols = _symbols(folder, module.config, ALPHABET[2:SYMBOLS] if data is None else letters_of(data))
    victim = CTCVictim(module.to(device), symbols, rate_hz, standardise=standardise, from_hz=from_hz)
    victim.padded = hides_padding(victim, device)
    return loaded_model(
        source,
        victim,
        folder,
        facts={
            "architecture": type(module).__name__,
            "parameters": sum(tensor.numel() for tensor in module.parameters()),
            "sampling_rate": rate_hz,
            "symbols": len(symbols.known) + len(symbols.others),
            "batches": "padded, under a mask" if victim.padded else "of one length",
        },
    )


def _hearing(folder: Path, from_hz: int) -> tuple[int, bool]:
    """sampling_rate and do_normalize of the feature extractor."""
    plain = extractor_of(folder)
    kind = plain.get("feature_extractor_type", "Wav2Vec2FeatureExtractor")
    if kind != "Wav2Vec2FeatureExtractor" or plain.get("feature_size", 1) != 1:
        raise ModelError(f"{folder} has a {kind}; expected a Wav2Vec2FeatureExtractor, which passes samples on")
    normalise = plain.get("do_normalize", True)
    if not isinstance(normalise, bool):
        raise ModelError(f"{folder}: do_normalize must be true or false, got {normalise!r}")
    return check_rate(plain.get("sampling_rate", 16_000), from_hz), normalise


def _symbols(folder: Path, config: Any, needed: str) -> Symbols:
    marks, settings = (
        read_json(folder, f"{name}.json", optional=True) for name in ("special_tokens_map", "tokenizer_config")
    )
    settings = marks | settings
    kind = settings.get("tokenizer_class", "Wav2Vec2CTCTokenizer")
    if kind not in ("Wav2Vec2CTCTokenizer", "Wav2Vec2Tokenizer"):
        raise ModelError(f"{folder} has a {kind}; expected a Wav2Vec2CTCTokenizer, which writes letters")
    vocabulary = read_json(folder, "vocab.json")
    language = settings.get("target_lang")
    if isinstance(language, str) and isinstance(vocabulary.get(language), dict):
        vocabulary = vocabulary[language]
    if not all(type(place) is int and place >= 0 for place in vocabulary.values()):
        raise ModelError(f"{folder}/vocab.json must map symbols to their places")
    blank = vocabulary.get(_content(settings.get("pad_token", "<pad>")), config.pad_token_id)
    if blank != config.pad_token_id:
        raise ModelError(
            f"{folder}: the tokenizer's blank is {blank}, config.json's pad_token_id {config.pad_token_id}"
        )
    delimiter = _content(settings.get("word_delimiter_token", "|"))
    return symbols_of(vocabulary, blank, delimiter, int(config.vocab_size), needed)


def _content(token: Any) -> str:
    """A token's text, which older files keep in a dict."""
    return str(token["content"] if isinstance(token, dict) and "content" in token else token)
