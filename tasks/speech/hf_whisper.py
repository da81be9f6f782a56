"""Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356) as a victim of the speech tasks.

A model that writes its transcript token by token has no logits to answer with. Its scores are what the encoder heard,
and carry the decoder, which says how likely a given text is and which text it writes itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from adversarial.entries import TaskEntry
from adversarial.errors import DataError, ModelError
from adversarial.inputs import Inputs, Scores
from adversarial.victims import freeze
from tasks.data import CustomData
from tasks.models import LoadedModel, Source
from tasks.models.folders import staged
from tasks.speech.custom_data import rate_of
from tasks.speech.dataset import SAMPLE_RATE, WORDS
from tasks.speech.hf_folders import extractor_of, fetched, files_of, load_pretrained, loaded_model
from tasks.speech.preprocessing import check_rate, resampled
from tasks.speech.whisper_decoder import Writer


LANGUAGE: Final = "<|en|>"
NOTES: Final = {
    "numbers": "words are compared as they are spelt, and figures one by one: $25 for twenty five dollars, 1999 for a "
    "year in words, Mr. for mister and color for colour count as errors"
}
MOST_FFT: Final = 4_096  # samples


class LogMelSpectrogram(nn.Module):
    """The features of WhisperFeatureExtractor with gradients: float [batch, samples] to [batch, bands, frames].

    filters: float [bins, bands]. fft, hop: in samples. An utterance is followed by silence up to `frames` frames.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, filters: Tensor, fft: int, hop: int, frames: int) -> None:
        super().__init__()
        self.fft, self.hop, self.frames = fft, hop, frames
        self.register_buffer("window", torch.hann_window(fft), persistent=False)
        self.register_buffer("filters", filters.to(torch.float32), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Raises DataError for utterances that are longer than the model's window."""
        longest = self.frames * self.hop
        if samples.shape[1] > longest:
            raise DataError(f"the model hears {longest} samples, an utterance has {samples.shape[1]}; cut it up")
        samples = functional.pad(samples, (0, longest - samples.shape[1]))
        spectrum = torch.stft(samples, self.fft, self.hop, window=self.window, return_complex=True)[..., :-1]
        # Squares, never abs(): its gradient is not finite at zero.
        power = spectrum.real.square() + spectrum.imag.square()
        mel = (self.filters.T @ power).clamp(min=1e-10).log10()
        mel = torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8.0)
        return (mel + 4.0) / 4.0


class WhisperVictim:
    """Samples at the task's rate to what the encoder heard, [batch, frames, width], read by the decoder.

    One forward of a ledger is one utterance through the encoder, with the decoder's passes that judge it: the
    likelihood of one text in its spellings, and the greedy transcript token by token.
    """

    differentiable = True

    def __init__(
        self, module: nn.Module, front: LogMelSpectrogram, rate_hz: int, writer: Writer, from_hz: int = SAMPLE_RATE
    ) -> None:
        self.module, self.front = freeze(module), freeze(front)
        self.writer = writer
        self._rate_hz, self._from_hz = rate_hz, from_hz

    def __call__(self, inputs: Inputs) -> Scores:
        with torch.autocast(inputs.values.device.type, enabled=False):
            features = self.front(resampled(inputs, self._rate_hz, self._from_hz)[0])
        model: Any = self.module
        return Scores(model.model.encoder(features).last_hidden_state, None, self.writer)


def load(
    source: Source,
    task: TaskEntry,  # noqa: ARG001
    device: torch.device,
    data: CustomData | None = None,
) -> LoadedModel:
    """A folder or Hub id with model.safetensors, config.json, preprocessor_config.json and the tokenizer's files.

    Raises ModelError for other files, for a front end that does not fit the model, and for a tokenizer that cannot
    write the task's words.
    """
    folder = fetched(source)
    module = load_pretrained("WhisperForConditionalGeneration", folder, attention="sdpa").to(device)
    config: Any = module.config
    from_hz = SAMPLE_RATE if data is None else rate_of(data)
    front, rate_hz = front_of(folder, config, from_hz)
    writer = writer_of(folder, module)
    victim = WhisperVictim(module, front.to(device), rate_hz, writer, from_hz)
    facts: dict[str, str | int | float] = {
        "architecture": type(module).__name__,
        "parameters": sum(tensor.numel() for tensor in module.parameters()),
        "sampling_rate": rate_hz,
        "window_seconds": front.frames * front.hop / rate_hz,
        "longest_transcript": writer.longest,
    }
    return loaded_model(source, victim, folder, facts, NOTES)


def front_of(folder: Path, config: Any, from_hz: int = SAMPLE_RATE) -> tuple[LogMelSpectrogram, int]:
    """The front end that the folder's feature extractor describes, and its sampling rate in Hz.

    The window is the model's, 2 * max_source_positions frames, whatever the extractor's chunk_length says. Raises
    ModelError.
    """
    from transformers import WhisperFeatureExtractor

    plain = extractor_of(folder)
    kind = plain.get("feature_extractor_type", "WhisperFeatureExtractor")
    if kind != "WhisperFeatureExtractor":
        raise ModelError(f"{folder} has a {kind}; expected a WhisperFeatureExtractor")
    rate_hz = check_rate(plain.get("sampling_rate", 16_000), from_hz)
    sizes = {
        name: plain.get(name, usual) for name, usual in (("n_fft", 400), ("hop_length", 160), ("feature_size", 80))
    }
    for name, value in sizes.items():
        if type(value) is not int or not 0 < value <= MOST_FFT:
            raise ModelError(f"{folder}: {name} must be a whole number from 1 to {MOST_FFT}, got {value!r}")
    fft, hop, bands = sizes.values()
    if bands != config.num_mel_bins:
        raise ModelError(f"{folder}: the feature extractor makes {bands} bands, the model reads {config.num_mel_bins}")
    extractor: Any = WhisperFeatureExtractor
    filters = torch.from_numpy(
        extractor(feature_size=bands, sampling_rate=rate_hz, hop_length=hop, n_fft=fft).mel_filters
    )
    return LogMelSpectrogram(filters, fft, hop, 2 * config.max_source_positions), rate_hz


def writer_of(folder: Path, module: nn.Module) -> Writer:
    """The decoder with the folder's tokenizer, made to write English without timestamps; raises ModelError."""
    from transformers import WhisperTokenizerFast

    try:
        with staged(files_of(folder)) as alone:
            tokenizer = WhisperTokenizerFast.from_pretrained(alone, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ModelError(f"{folder} has no tokenizer of Whisper's kind: {str(error)[:200]}") from None
    model: Any = module
    settings: Any = model.generation_config
    ends = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
    prompt = prompt_of(settings, folder)
    barred = [list(getattr(settings, name, None) or ()) for name in ("suppress_tokens", "begin_suppress_tokens")]
    for token in (*prompt, *ends, *barred[0], *barred[1]):
        if type(token) is not int or not 0 <= token < model.config.vocab_size:
            raise ModelError(
                f"{folder}/generation_config.json names the token {token!r}, which the model does not have"
            )
    writer = Writer(module, tokenizer, prompt, ends[0], *barred)
    try:
        writer.tokens(" ".join(WORDS))
    except DataError as error:
        raise ModelError(f"{folder}: {error}") from None
    return writer


def prompt_of(settings: Any, folder: Path) -> list[int]:
    """What generate() puts before a transcript for language="en" and task="transcribe", without timestamps."""
    prompt = [settings.decoder_start_token_id]
    languages: Mapping[str, int] | None = getattr(settings, "lang_to_id", None)
    if languages:
        if LANGUAGE not in languages:
            raise ModelError(f"{folder}/generation_config.json has no language {LANGUAGE}, which the task speaks")
        prompt.append(languages[LANGUAGE])
        tasks: Mapping[str, int] = getattr(settings, "task_to_id", None) or {}
        prompt += [tasks["transcribe"]] if "transcribe" in tasks else []
    else:
        prompt += [token for _, token in getattr(settings, "forced_decoder_ids", None) or () if token is not None]
    silent = getattr(settings, "no_timestamps_token_id", None)
    return prompt if silent is None or silent in prompt else [*prompt, silent]
