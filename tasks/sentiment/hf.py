"""Text classifiers of transformers as victims of the reviews, which read the task's words or vectors of them.

BERT, Devlin et al. 2018, https://arxiv.org/abs/1810.04805, and its kin. A word's vector is its pieces' input
embeddings side by side, and the number of its pieces.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

import torch
from torch import Tensor, nn

from adversarial.entries import TaskEntry
from adversarial.errors import ModelError
from adversarial.inputs import Inputs, Scores
from adversarial.victims import freeze
from tasks.data import CustomData
from tasks.models import LoadedModel, Source, hash_of
from tasks.models.folders import CONFIG, fetched, files_of, load_pretrained
from tasks.models.labels import LabelMap, label_map, listed, names_of, plain
from tasks.sentiment.custom_words import custom_words
from tasks.sentiment.dataset import LABELS, load_split
from tasks.sentiment.subwords import TOKENIZER, VOCABULARIES, Pieces, data_words, tokenizer_of
from tasks.sentiment.tokens import tokenise
from tasks.sentiment.words import bundled


SETTINGS: Final = (CONFIG, *TOKENIZER, *VOCABULARIES)
_SENTIMENTS: Final = (("negative", "neg"), ("positive", "pos"))
# How a count is written into a vector: so far apart that no budget of the boards turns one into another, and exact in
# half precision. It is read by rounding, so no gradient ever reaches it.
COUNT_STEP: Final = 64.0
TOLERANCE: Final = 1e-4  # of scores, between ways to the same answer
_FAILURES: Final = (ValueError, TypeError, RuntimeError, NotImplementedError, IndexError, AttributeError)


class TextVictim:
    """From word ids, int64 [batch, words], or vectors, float [batch, words, width], to logits [batch, 2].

    padded: whether rows of several lengths may share a pass, under a mask. Otherwise only rows of one length do, as
    decoders need that look for the last piece. most_pieces: that the model has positions for; what is beyond is cut.
    """

    differentiable = True

    def __init__(self, module: nn.Module, pieces: Pieces, labels: LabelMap, most_pieces: int) -> None:
        self.module = freeze(module)
        self.padded = True
        self.pieces, self.labels, self.most_pieces = pieces, labels, most_pieces
        model: Any = module
        self._embedding: nn.Module = model.get_input_embeddings()

    def embed(self, ids: Tensor) -> Tensor:
        """The vectors of word ids, float32 [..., width] for ids [...]: zeros where a word has no further piece."""
        pieces, counts = self.pieces.of(ids)
        vectors = self._embedding(pieces) * _present(counts, self.pieces.most)[..., None]
        return torch.cat([vectors.flatten(-2), (counts * COUNT_STEP)[..., None].to(vectors.dtype)], -1)

    def __call__(self, inputs: Inputs) -> Scores:
        values, most = inputs.values, self.pieces.most
        if values.is_floating_point():
            counts = (values[..., -1].detach() / COUNT_STEP).round().clamp(0, most).to(torch.int64)
        else:
            pieces, counts = self.pieces.of(values)
        if inputs.mask is not None:
            counts = counts * inputs.mask
        taken, lengths = self._packing(counts)
        around = torch.tensor([*self.pieces.prefix, *self.pieces.suffix, 0], device=values.device)
        if values.is_floating_point():
            slots = values[..., :-1].reshape(len(values), values.shape[1] * most, -1)
            bank = torch.cat([self._embedding(around).expand(len(values), -1, -1), slots], 1)
            read = bank.gather(1, taken[:, :, None].expand(-1, -1, bank.shape[2]))
        else:
            read = self._embedding(torch.cat([around.expand(len(values), -1), pieces.flatten(1)], 1).gather(1, taken))
        return Scores(self.labels.scores(self._read(read, lengths)))

    def _packing(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Which place of the bank each position reads, int64 [batch, positions], and each row's length, int64 [batch].

        The bank: special tokens before, those after, a filler, and then all places for pieces, of which only those
        that exist are read.
        """
        before, after = len(self.pieces.prefix), len(self.pieces.suffix)
        present = _present(counts, self.pieces.most).flatten(1)
        kept = present.sum(1).clamp(max=self.most_pieces - before - after)
        order = (~present).to(torch.int8).argsort(dim=1, stable=True) + before + after + 1
        lengths = kept + before + after
        place = torch.arange(int(lengths.max()), device=counts.device).expand(len(counts), -1)
        inner = place - before
        piece = order.gather(1, inner.clamp(0, order.shape[1] - 1))
        ending = (inner - kept[:, None] + before).clamp(max=before + after)
        taken = torch.where(inner < 0, place, torch.where(inner < kept[:, None], piece, ending))
        return taken, lengths

    def _read(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        if self.padded:
            mask = torch.arange(vectors.shape[1], device=vectors.device) < lengths[:, None]
            logits: Tensor = self.module(inputs_embeds=vectors, attention_mask=mask.to(torch.int64)).logits
            return logits
        found, order = [], []
        for length in sorted(set(lengths.tolist())):
            rows = (lengths == length).nonzero().squeeze(1)
            mask = torch.ones(len(rows), length, dtype=torch.int64, device=vectors.device)
            found.append(self.module(inputs_embeds=vectors[rows, :length], attention_mask=mask).logits)
            order.append(rows)
        return torch.cat(found)[torch.cat(order).argsort()]


def load(
    source: Source,
    task: TaskEntry,  # noqa: ARG001
    device: torch.device,
    data: CustomData | None = None,
) -> LoadedModel:
    """A folder or Hub id with model.safetensors, config.json and tokenizer.json (or a vocabulary).

    Raises ModelError for other files, for labels that are not two sentiments, and where vectors of pieces do not say
    all that the model reads.
    """
    folder = fetched(source, SETTINGS)
    module = load_pretrained("AutoModelForSequenceClassification", folder, SETTINGS)
    model: Any = module
    labels = _labels(model.config, LABELS if data is None else data.manifest.classes)
    embedding = _table(module)
    own = data_words() if data is None else custom_words(data)
    pieces = Pieces(tokenizer_of(folder), bundled(), embedding.num_embeddings, embedding.padding_idx or 0, own)
    victim = TextVictim(module.to(device), pieces, labels, _positions(module))
    _check(victim, device)
    files = files_of(folder, SETTINGS)
    return LoadedModel(
        source=source,
        victim=victim,
        hash=hash_of(files),
        files=files,
        facts={
            "architecture": type(module).__name__,
            "parameters": sum(tensor.numel() for tensor in module.parameters()),
            "labels": str(labels),
            "pieces_a_word": f"up to {pieces.most}, of width {embedding.embedding_dim}",
            "text_begins_with": "a space" if pieces.lead else "the first word",
            "batches": "padded, under a mask" if victim.padded else "of one length",
        },
        notes=labels.notes(),
    )


def _labels(config: Any, classes: tuple[str, ...]) -> LabelMap:
    """The model's outputs for two classes, by the names of these, or as negative and positive where these are other
    words for it. Raises ModelError for further outputs: a decision for one of them would be lost."""
    own: dict[str, tuple[str, ...]] = {name: (plain(name),) for name in classes}
    if classes == LABELS or not {plain(name) for name in classes} & {name for pair in _SENTIMENTS for name in pair}:
        own = {
            name: tuple(dict.fromkeys((plain(name), *pair))) for name, pair in zip(classes, _SENTIMENTS, strict=True)
        }
    names = names_of(config)
    if len(names) > len(classes):
        known = {name for accepted in own.values() for name in accepted}
        beyond = {place: name for place, name in names.items() if plain(name) not in known} or names
        raise ModelError(
            f"config.json: the outputs {listed(beyond)} are no class of the data ({', '.join(classes)}), and what the "
            "model decides for them would be lost; text tasks have two classes today, so bring a model of two"
        )
    return label_map(config, own)


def _table(module: nn.Module) -> nn.Embedding:
    """The vectors of the model's pieces; raises ModelError where it has no such table."""
    model: Any = module
    try:
        found = model.get_input_embeddings()
    except NotImplementedError:
        found = None
    if not isinstance(found, nn.Embedding):
        raise ModelError(
            f"{type(module).__name__} has no table of piece vectors (models of characters, such as CANINE, have none), "
            "so its words cannot be exchanged; bring a model with WordPiece, BPE or Unigram pieces"
        )
    return found


def _present(counts: Tensor, most: int) -> Tensor:
    """bool [..., most]: which of a word's places hold a piece."""
    return torch.arange(most, device=counts.device) < counts[..., None]


def _positions(module: nn.Module) -> int:
    """How many pieces the model can read, special tokens included."""
    model: Any = module
    most = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    if most <= 0:  # relative positions: no limit but patience
        return 512
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding) and part.padding_idx is not None:
            return most - part.padding_idx - 1  # RoBERTa counts from behind its padding
    return most


def _check(victim: TextVictim, device: torch.device) -> None:
    """Two reviews, by ids as transformers reads them and through the victim; decides whether rows share a pass."""
    texts = sorted(load_split("validation").texts[:8], key=len)
    sentences = [tokenise(text) for text in (texts[0], texts[-1])]
    ids, mask = bundled().encode(sentences)
    inputs = Inputs(ids.to(device), mask.to(device))
    singles = [Inputs(inputs.values[row : row + 1, : len(words)]) for row, words in enumerate(sentences)]
    name = type(victim.module).__name__
    try:
        with torch.no_grad():
            alone = torch.cat([victim(single).values for single in singles])
            plain = torch.cat([_plain(victim, single.values) for single in singles])
    except _FAILURES as error:
        raise ModelError(f"{name} does not read vectors of pieces: {str(error)[:200]}") from None
    if not _close(alone, plain):
        raise ModelError(
            f"{name} answers otherwise to vectors of pieces than to the pieces: it reads more of a text than they say, "
            "so its words cannot be attacked by gradients"
        )
    model: Any = victim.module
    if model.config.pad_token_id is None:
        model.config.pad_token_id = 0  # decoders want one for a batch; where they read vectors, it is not looked for
    for padded in (True, False):
        victim.padded = padded
        with torch.no_grad(), contextlib.suppress(*_FAILURES):
            if _close(victim(inputs).values, alone):
                return
    raise ModelError(f"{name} answers otherwise to a review alone than to the same one in a batch")


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=TOLERANCE, rtol=TOLERANCE)


def _plain(victim: TextVictim, ids: Tensor) -> Tensor:
    pieces, counts = victim.pieces.of(ids)
    room = victim.most_pieces - len(victim.pieces.prefix) - len(victim.pieces.suffix)
    inner = pieces[_present(counts, victim.pieces.most)].tolist()[:room]
    whole = torch.tensor([[*victim.pieces.prefix, *inner, *victim.pieces.suffix]], device=ids.device)
    logits: Tensor = victim.module(input_ids=whole, attention_mask=torch.ones_like(whole)).logits
    return victim.labels.scores(logits)
