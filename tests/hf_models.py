"""Tiny image and text classifiers of transformers, saved to folders as users save theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from model_sources import load_model, task_named

from tasks.sentiment.candidates import known_words


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SENTIMENTS = ("NEGATIVE", "POSITIVE")
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 16,
    "patch_size": 4,
}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
# A model with few numbers, by transformers' name of its kind.
TEXT = {
    "Bert": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24},
    "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "Roberta": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24},
    "Albert": {
        "embedding_size": 8,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    },
    "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def save_image(
    folder: Path, kind: str = "ViT", processor: Any = None, labels: tuple[str, ...] = DIGITS, **options: Any
) -> Any:
    """An image classifier with random weights; returns it. processor: saved beside it where there is one."""
    sizes = {"ViT": VIT, "ResNet": RESNET}[kind]
    module = _made(kind, "ForImageClassification", labels, {**sizes, **options})
    module.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return module


def save_text(
    folder: Path, kind: str = "DistilBert", labels: tuple[str, ...] = SENTIMENTS, tokenizer: Any = None, **options: Any
) -> Any:
    """A text classifier with random weights and its tokenizer, WordPiece if none is given; returns the model."""
    tokenizer = tokenizer or wordpiece(folder)
    room = {"n_positions": 256} if kind == "GPT2" else {"max_position_embeddings": 256}
    sizes = {**TEXT[kind], **room, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **options}
    module = _made(kind, "ForSequenceClassification", labels, sizes)
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return module


def wordpiece(folder: Path) -> Any:
    """A WordPiece tokenizer that knows some words of the reviews whole and takes the others apart."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-:;()/$%&"
    common = [word for word in sorted(known_words())[::3] if len(word) > 1 and word.isalpha()]
    pairs = sorted({"##" + word[i : i + 2] for word in common for i in range(1, len(word) - 1)})
    vocabulary = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *pairs, *common]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)) + "\n", encoding="utf-8")
    return transformers.BertTokenizerFast(str(folder / "vocab.txt"))


def bytewise() -> Any:
    """A byte-level tokenizer as RoBERTa's, with hardly any merges."""
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    merges = [("Ġ", letter) for letter in "abcdefghijklmnopqrstuvwxyz"] + [("Ġt", "h"), ("Ġth", "e"), ("g", "o")]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(alphabet), *(a + b for a, b in merges)]
    places = {token: place for place, token in enumerate(tokens)}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=places, merges=merges, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    inner.post_processor = tokenizers.processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def teach(folder: Path, task: str, count: int, rate: float = 3e-3) -> None:
    """Trains a saved model on the first examples of the test split, through the front end that it is loaded with."""
    victim: Any = load_model(f"hf:{folder}", task).victim
    lessons: Any = task_named(task)
    (batch,) = lessons.batches("test", count, count, torch.device("cpu"))
    goal = lessons.goal(batch, "worst" if task == "speech-digits" else "flip")
    optimiser = torch.optim.Adam(victim.module.requires_grad_(True).parameters(), lr=rate)
    for _ in range(300):
        loss = goal.loss(victim(batch.inputs), "ce").mean()
        if loss.item() < 0.1:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    victim.module.save_pretrained(folder)


def edit(folder: Path, name: str, **changes: Any) -> None:
    """Changes settings of a saved JSON file; None takes one away."""
    path = folder / name
    plain = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({k: v for k, v in plain.items() if v is not None}), encoding="utf-8")


def _made(kind: str, head: str, labels: tuple[str, ...], sizes: dict[str, Any]) -> Any:
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    config = getattr(transformers, f"{kind}Config")(**sizes, **named)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = getattr(transformers, kind + head)(config)
        for weight in module.parameters():
            if weight.ndim > 1:  # the first weights of transformers are so small that all answers are alike
                torch.nn.init.normal_(weight, std=0.3)
    return module.eval()
