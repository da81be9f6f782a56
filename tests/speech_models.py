"""Tiny speech models of transformers, saved to folders as users save theirs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn import functional

from adversarial.inputs import Inputs
from tasks.speech.dataset import WORDS


LETTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
END, START, ENGLISH, TRANSCRIBE, SILENT = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|transcribe|>",
    "<|notimestamps|>",
)


def save_ctc(folder: Path, kind: str = "Wav2Vec2", norm: str = "group", letters: Sequence[str] = LETTERS) -> Any:
    """A CTC model with random weights, of two layers; returns it. kind: as in transformers' class names."""
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 4),
        conv_stride=(5, 8, 8),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = getattr(transformers, f"{kind}ForCTC")(config)
    module.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({letter: place for place, letter in enumerate(letters)}))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), word_delimiter_token="|").save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer").save_pretrained(folder)
    return module.eval()


def save_whisper(
    folder: Path, lessons: tuple[Inputs, Sequence[str]] | None = None, *, seconds: int = 3, spread: float = 0.15
) -> Any:
    """A Whisper of one layer a side, with a tokenizer of bytes and digit words; returns the model.

    lessons: utterances at 16 kHz and what the model is trained to write for them. spread: of its first weights; with
    0.3 it babbles something else for every utterance.
    """
    tokens = _save_tokenizer(folder)
    config = transformers.WhisperConfig(
        vocab_size=len(tokens),
        num_mel_bins=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        d_model=32,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=50 * seconds,
        max_target_positions=64,
        bos_token_id=tokens[END],
        eos_token_id=tokens[END],
        pad_token_id=tokens[END],
        decoder_start_token_id=tokens[START],
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    extractor = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=seconds)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = transformers.WhisperForConditionalGeneration(config)
        for weight in module.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=spread)
        if lessons is not None:
            _teach(module, extractor, folder, *lessons)
    module.generation_config = transformers.GenerationConfig(
        bos_token_id=tokens[END],
        eos_token_id=tokens[END],
        pad_token_id=tokens[END],
        decoder_start_token_id=tokens[START],
        begin_suppress_tokens=[tokens["Ġ"], tokens[END]],
        suppress_tokens=[tokens["!"], tokens["#"]],
        lang_to_id={ENGLISH: tokens[ENGLISH]},
        task_to_id={"transcribe": tokens[TRANSCRIBE]},
        no_timestamps_token_id=tokens[SILENT],
        is_multilingual=True,
        return_timestamps=False,
    )
    module.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return module.eval()


def _save_tokenizer(folder: Path) -> dict[str, int]:
    from transformers.models.whisper.tokenization_whisper import bytes_to_unicode

    vocabulary, merges = list(bytes_to_unicode().values()), []
    for word in WORDS:
        piece = "Ġ"
        for letter in word:
            merges.append((piece, letter))
            piece += letter
            vocabulary.append(piece)
    vocabulary = list(dict.fromkeys([*vocabulary, END, START, ENGLISH, TRANSCRIBE, SILENT]))
    tokens = {token: place for place, token in enumerate(vocabulary)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(tokens), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in dict.fromkeys(merges)), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    transformers.WhisperTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        additional_special_tokens=[START, ENGLISH, TRANSCRIBE, SILENT],
    ).save_pretrained(folder)
    return tokens


def _teach(module: Any, extractor: Any, folder: Path, inputs: Inputs, texts: Sequence[str]) -> None:
    tokenizer = transformers.WhisperTokenizerFast.from_pretrained(folder)
    assert inputs.mask is not None
    rows = [row[mask].numpy() for row, mask in zip(inputs.values, inputs.mask, strict=True)]
    features = extractor(rows, sampling_rate=16_000, return_tensors="pt").input_features
    prompt = tokenizer.convert_tokens_to_ids([START, ENGLISH, TRANSCRIBE, SILENT])
    written = [tokenizer.encode(f" {text}", add_special_tokens=False) for text in texts]
    width = max(map(len, written)) + 1
    end = tokenizer.convert_tokens_to_ids(END)
    targets = torch.tensor([[*row, *[end] * (width - len(row))] for row in written])
    fed = torch.cat([torch.tensor([prompt] * len(texts)), targets[:, :-1]], 1)
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(150):
        logits = module(input_features=features, decoder_input_ids=fed).logits[:, len(prompt) - 1 :]
        loss = functional.cross_entropy(logits.transpose(1, 2), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss.item() < 0.05:
            break
