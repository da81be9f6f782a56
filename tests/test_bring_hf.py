"""Image and text classifiers of transformers as victims: they see, read and decide what transformers says they do."""

from __future__ import annotations

import copy
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import hf_models
import numpy as np
import pytest
import torch
import transformers
from model_sources import load_model
from torch import Tensor

from adversarial.attacks.hotflip import hotflip
from adversarial.attacks.noise import noise
from adversarial.attacks.pgd import pgd
from adversarial.attacks.universal import universal
from adversarial.errors import ModelError
from adversarial.goals import Flip
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces import words
from adversarial.threats import Threat
from tasks.image import task as image
from tasks.image.hf import ImageVictim
from tasks.measuring.batches import Batch
from tasks.measuring.protocol import Trial
from tasks.models import LoadedModel
from tasks.sentiment import task as sentiment
from tasks.sentiment.hf import COUNT_STEP, TextVictim
from tasks.sentiment.words import bundled


CPU = torch.device("cpu")
IMAGE, TEXT = "image-digits", "sentiment-reviews"
SQUARE = {"height": 16, "width": 16}
PROCESSORS = {
    "vit": transformers.ViTImageProcessor(size=SQUARE),
    "bicubic": transformers.ViTImageProcessor(size=SQUARE, resample=3, image_mean=[0.4, 0.5, 0.6]),
    "nearest": transformers.ViTImageProcessor(size=SQUARE, resample=0),
    "lanczos": transformers.ViTImageProcessor(size=SQUARE, resample=1),
    "plain": transformers.ViTImageProcessor(size=SQUARE, do_normalize=False),
    "deit": transformers.DeiTImageProcessor(size={"height": 20, "width": 20}, crop_size=SQUARE),
    "convnext": transformers.ConvNextImageProcessor(size={"shortest_edge": 16}, crop_pct=0.875),
    "levit": transformers.LevitImageProcessor(size={"shortest_edge": 16}, crop_size=SQUARE),
    "efficientnet": transformers.EfficientNetImageProcessor(size=SQUARE, rescale_factor=1 / 127.5, rescale_offset=True),
    "padded": transformers.CLIPImageProcessor(size={"shortest_edge": 11}, crop_size=16),
}


def loaded(folder: Path, task: str) -> LoadedModel:
    return load_model(f"hf:{folder}", task)


def digits(count: int = 6) -> Batch:
    (batch,) = image.make().batches("test", count, count, CPU)
    return batch


def reviews(count: int = 6) -> Batch:
    (batch,) = sentiment.make().batches("test", count, count, CPU)
    return batch


@pytest.fixture(scope="module")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vit")
    hf_models.save_image(folder, processor=PROCESSORS["vit"])
    return folder


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    hf_models.save_text(folder)
    return folder


@pytest.fixture(scope="module")
def reader(text_folder: Path) -> TextVictim:
    victim = loaded(text_folder, TEXT).victim
    assert isinstance(victim, TextVictim)
    return victim


# Images


@pytest.mark.parametrize("name", PROCESSORS)
def test_pictures_are_prepared_as_the_image_processor_does(name: str, tmp_path: Path) -> None:
    module = hf_models.save_image(tmp_path, processor=PROCESSORS[name])
    found = loaded(tmp_path, IMAGE)
    assert found.facts["front_end_checked"] == "against the image processor"
    values = digits().inputs.values
    levels = (values[:, 0] * 255).round().to(torch.uint8).numpy()
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path, use_fast=False)
    pictures = processor([np.stack([level] * 3, -1) for level in levels], return_tensors="pt").pixel_values
    ours = found.victim(Inputs(torch.from_numpy(levels.astype(np.float32) / 255)[:, None])).values
    with torch.no_grad():
        assert torch.allclose(ours, module(pixel_values=pictures).logits, atol=0.05)


@pytest.mark.parametrize(
    ("kind", "processor", "options", "front"),
    [
        ("ViT", None, {}, "3 channels, bilinear to 16 x 16, not normalised"),
        ("ResNet", None, {}, "3 channels, not normalised"),
        ("ResNet", PROCESSORS["vit"], {}, "bilinear to 16 x 16, mean"),
        (
            "ViT",
            transformers.ViTImageProcessor(size=SQUARE, image_mean=[0.5], image_std=[0.2]),
            {"num_channels": 1},
            "1 channels, bilinear to 16 x 16, mean [0.5], std [0.2]",
        ),
    ],
)
def test_what_is_not_said_is_not_done(
    kind: str, processor: Any, options: dict[str, Any], front: str, tmp_path: Path
) -> None:
    hf_models.save_image(tmp_path, kind, processor, **options)
    found = loaded(tmp_path, IMAGE)
    assert front in str(found.facts["front_end"])
    assert found.victim(digits().inputs).values.shape == (6, 10)


def test_gradients_of_pixels_are_exact(vit_folder: Path) -> None:
    victim = loaded(vit_folder, IMAGE).victim
    assert isinstance(victim, ImageVictim)
    victim.module.double()
    values = digits(2).inputs.values.double().mul(0.8).add(0.1)
    way = torch.randn(values.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    variable = values.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(victim(Inputs(variable)).values[:, 3].sum(), variable)
    ahead, behind = (victim(Inputs(values + sign * 1e-4 * way)).values[:, 3].sum() for sign in (1, -1))
    assert float((gradient * way).sum()) == pytest.approx(float(ahead - behind) / 2e-4, rel=1e-3)


def test_labels_are_found_by_name(tmp_path: Path) -> None:
    first = hf_models.save_image(tmp_path / "names", labels=(*hf_models.DIGITS[::-1], "letter"))
    found = loaded(tmp_path / "names", IMAGE)
    victim = found.victim
    assert isinstance(victim, ImageVictim)
    plain = first(pixel_values=victim._front(digits().inputs.values)).logits
    assert torch.allclose(victim(digits().inputs).values[:, :10], plain[:, :10].flip(1), atol=1e-5)
    hf_models.save_image(tmp_path / "unnamed", labels=tuple(f"LABEL_{i}" for i in range(10)))
    assert str(loaded(tmp_path / "unnamed", IMAGE).facts["labels"]).startswith("0=LABEL_0, 1=LABEL_1")
    hf_models.save_image(tmp_path / "mnist", labels=tuple(f"{i} - {name}" for i, name in enumerate(hf_models.DIGITS)))
    assert loaded(tmp_path / "mnist", IMAGE).victim(digits().inputs).values.shape == (6, 10)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("cat", "dog"), "no output is called '0' .* found 0: 'cat', 1: 'dog'"),
        (tuple(f"LABEL_{i}" for i in range(12)), "no output is called '0'"),
        ((*hf_models.DIGITS, "nine"), "2 outputs are called '9'"),
    ],
)
def test_labels_that_are_no_digits_are_refused(labels: tuple[str, ...], said: str, tmp_path: Path) -> None:
    hf_models.save_image(tmp_path, labels=labels)
    with pytest.raises(ModelError, match=said):
        loaded(tmp_path, IMAGE)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": {"height": 10**9, "width": 10**9}}, "1 to 1024 pixels a side"),
        ({"size": "large"}, "1 to 1024 pixels a side"),
        ({"resample": 9}, "resample 9 is none of"),
        ({"image_std": [0.0, 1.0, 1.0]}, "image_std must be positive"),
        ({"image_mean": [0.5]}, "image_mean must be 3 numbers"),
        ({"rescale_factor": "1/255"}, "rescale_factor must be a number"),
        ({"image_processor_type": "MobileNetV1ImageProcessor"}, r"makes \[1, 3, 224, 224\] of a picture"),
    ],
)
def test_front_ends_that_cannot_be_followed_are_refused(
    changes: dict[str, Any], said: str, vit_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(vit_folder, tmp_path / "copy"))
    hf_models.edit(folder, "preprocessor_config.json", **changes)
    with pytest.raises(ModelError, match=said):
        loaded(folder, IMAGE)


# Texts


@pytest.mark.parametrize("kind", ["DistilBert", "Albert", "GPT2"])
def test_a_text_model_answers_as_in_transformers_and_each_row_as_alone(kind: str, tmp_path: Path) -> None:
    module = hf_models.save_text(tmp_path, kind)
    found, batch = loaded(tmp_path, TEXT), reviews()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = found.victim(batch.inputs).values
    assert found.facts["batches"] == ("of one length" if kind == "GPT2" else "padded, under a mask")
    assert float(ours.std(0).max()) > 1e-3
    for row in range(len(batch.ids)):
        single = batch.inputs.alone(row)
        tokens = tokenizer(bundled().decode(single.values[0]), return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            plain = module(**tokens).logits[0]
        assert torch.allclose(ours[row], plain, atol=1e-4)
        assert torch.allclose(ours[row], found.victim(single).values[0], atol=1e-5)


def test_byte_level_pieces_are_those_after_a_space(tmp_path: Path) -> None:
    tokenizer = hf_models.bytewise()
    module = hf_models.save_text(tmp_path, "Roberta", tokenizer=tokenizer)
    found, batch = loaded(tmp_path, TEXT), reviews()
    assert found.facts["text_begins_with"] == "a space"
    ours = found.victim(batch.inputs).values
    for row in range(len(batch.ids)):
        tokens = tokenizer(" " + bundled().decode(batch.inputs.alone(row).values[0]), return_tensors="pt")
        with torch.no_grad():
            plain = module(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).logits[0]
        assert torch.allclose(ours[row], plain, atol=1e-4)


def test_words_and_their_vectors_are_one(reader: TextVictim) -> None:
    inputs = reviews().inputs
    vectors = reader.embed(inputs.values)
    assert vectors.shape == (*inputs.values.shape, reader.pieces.most * 16 + 1)
    assert torch.equal(reader(Inputs(vectors, inputs.mask)).values, reader(inputs).values)
    assert inputs.mask is not None
    other = torch.where(inputs.mask, inputs.values, 17)  # what padding holds is not read
    assert torch.equal(reader(Inputs(other, inputs.mask)).values, reader(inputs).values)
    noisy = torch.where(inputs.mask[:, :, None], vectors, 5.0)
    assert torch.equal(reader(Inputs(noisy, inputs.mask)).values, reader(inputs).values)


def test_the_number_of_pieces_withstands_a_perturbation(reader: TextVictim) -> None:
    inputs = reviews().inputs
    vectors = reader.embed(inputs.values)
    vectors[..., -1] += 0.4 * COUNT_STEP
    assert torch.equal(reader(Inputs(vectors, inputs.mask)).values, reader(inputs).values)
    variable = vectors.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(reader(Inputs(variable, inputs.mask)).values[:, 0].sum(), variable)
    assert bool((gradient[..., -1] == 0).all())
    counts = reader.pieces.of(inputs.values)[1]
    absent = torch.arange(reader.pieces.most) >= counts[..., None]
    inner = gradient[..., :-1].unflatten(-1, (reader.pieces.most, -1))
    assert bool((inner[absent] == 0).all())
    assert bool((inner[~absent & inputs.mask[:, :, None]] != 0).any(-1).all())  # type: ignore[index]


def test_gains_of_replacements_are_finite_differences(reader: TextVictim) -> None:
    batch, threat = reviews(2), Threat.parse("words-l0:3@gradient")
    space = words(batch.inputs, threat, bundled().table(batch.inputs.values))
    goal = Flip(torch.tensor([0, 1]))
    problem = Problem(reader, space, goal, threat, Keys.of(0, batch.ids))
    gains = problem.gains(space.null())
    victim = TextVictim(copy.deepcopy(reader.module).double(), reader.pieces, reader.labels, reader.most_pieces)
    vectors = victim.embed(batch.inputs.values)

    def loss(moved: Tensor, row: int) -> float:
        return float(goal.loss(victim(Inputs(moved, batch.inputs.mask)), "ce")[row])

    sizes = space.sizes()
    places = [(row, place, 1) for row in range(2) for place in range(sizes.shape[1]) if sizes[row, place] > 1][:8]
    assert places
    for row, place, choice in places:
        step = torch.zeros_like(vectors)
        step[row, place] = victim.embed(space.candidates()[row, place, choice]) - vectors[row, place]
        found = (loss(vectors + 1e-4 * step, row) - loss(vectors - 1e-4 * step, row)) / 2e-4
        assert float(gains[row, place, choice]) == pytest.approx(found, abs=1e-5, rel=1e-3)


def test_what_a_model_has_no_position_for_is_cut_as_a_tokenizer_cuts(tmp_path: Path) -> None:
    module = hf_models.save_text(tmp_path, "Bert", max_position_embeddings=20)
    found, batch = loaded(tmp_path, TEXT), reviews()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [bundled().decode(batch.inputs.alone(row).values[0]) for row in range(len(batch.ids))]
    assert max(len(ids) for ids in tokenizer(texts).input_ids) > 20
    for row, text in enumerate(texts):
        tokens = tokenizer(text, truncation=True, max_length=20, return_tensors="pt")
        with torch.no_grad():
            assert torch.allclose(found.victim(batch.inputs).values[row], module(**tokens).logits[0], atol=1e-4)


def test_a_vocabulary_alone_makes_the_same_pieces(text_folder: Path, reader: TextVictim, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "copy"))
    (folder / "tokenizer.json").unlink()
    found, inputs = loaded(folder, TEXT), reviews().inputs
    assert torch.equal(found.victim(inputs).values, reader(inputs).values)
    assert "vocab.txt" in found.files


@pytest.mark.parametrize(
    ("attack", "threat", "options"),
    [
        (noise, "embeddings-l2:1@none", {}),
        (partial(pgd, steps=3), "embeddings-l2:1@gradient", {}),
        (partial(pgd, steps=3), "embeddings-linf:0.1@gradient", {"half": True}),
        (hotflip, "words-l0:2@gradient", {}),
    ],
)
def test_attacks_run_on_words_and_vectors(
    attack: Any, threat: str, options: dict[str, Any], reader: TextVictim
) -> None:
    trial = Trial(Threat.parse(threat), attack, limit=6, batch_size=4, **options)
    measured = sentiment.make().measure(reader, trial, Ledger())
    assert not [finding for finding in measured.findings if finding.severity == "invalid"]
    assert any(distance > 0 for distance in measured.examples.distances)


def test_one_vector_is_fitted_for_all_reviews(reader: TextVictim, monkeypatch: pytest.MonkeyPatch) -> None:
    task = sentiment.make()
    batches = task.batches
    monkeypatch.setattr(task, "batches", lambda split, limit, *rest: batches(split, limit or 8, *rest))
    fit = partial(universal, epochs=1)
    trial = Trial(Threat.parse("embeddings-l2:1@gradient"), None, fit=fit, limit=4, batch_size=4)
    assert len(task.measure(reader, trial, Ledger()).examples.values) == 4


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("bad", "good"), "no output is called 'negative' .negative or neg.; expected"),
        (("LABEL_0", "LABEL_2"), "LABEL_0 to LABEL_1 in that order; found 0: 'LABEL_0'"),
        (("0", "0"), "no output is called 'negative'"),
        (
            ("LABEL_0", "LABEL_1", "LABEL_2"),
            "outputs 0: 'LABEL_0', 1: 'LABEL_1', 2: 'LABEL_2' are no class of the data",
        ),
        (("pos", "neutral", "neg"), r"outputs 1: 'neutral' are no class of the data \(negative, positive\), and what"),
        (
            ("Very Negative", "Negative", "Neutral", "Positive", "Very Positive"),
            "0: .Very Negative., 2: .Neutral., 4: .Very Positive. are no class .*; text tasks have two classes today",
        ),
    ],
)
def test_labels_that_are_no_sentiments_are_refused(labels: tuple[str, ...], said: str, tmp_path: Path) -> None:
    hf_models.save_text(tmp_path, labels=labels)
    with pytest.raises(ModelError, match=said):
        loaded(tmp_path, TEXT)


def test_labels_in_another_order(text_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "copy"))
    hf_models.edit(folder, "config.json", id2label={"0": "pos", "1": "Neg"})
    found, inputs = loaded(folder, TEXT), reviews().inputs
    assert found.facts["labels"] == "1=Neg, 0=pos"
    assert not found.notes
    assert torch.equal(found.victim(inputs).values.flip(1), loaded(text_folder, TEXT).victim(inputs).values)


# Folders


@pytest.mark.parametrize("task", [IMAGE, TEXT])
def test_a_bundle_brings_the_same_model(task: str, vit_folder: Path, text_folder: Path, tmp_path: Path) -> None:
    first = loaded(vit_folder if task == IMAGE else text_folder, task)
    for name, path in first.files.items():
        assert path.suffix in (".safetensors", ".json", ".txt")
        shutil.copy(path, tmp_path / name)
    again, inputs = loaded(tmp_path, task), (digits() if task == IMAGE else reviews()).inputs
    assert again.hash == first.hash
    assert torch.equal(again.victim(inputs).values, first.victim(inputs).values)


def test_pickles_are_refused_and_never_opened(text_folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return Path.touch, (tmp_path / "sprung",)

    folder = Path(shutil.copytree(text_folder, tmp_path / "copy"))
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(
        ModelError, match=r"pytorch_model.bin; such files can run code .* load it yourself; model.save_pretrained"
    ):
        loaded(folder, TEXT)
    assert not (tmp_path / "sprung").exists()


def _other_vocabulary(folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["wonderful", "terrible", "the"])
    tokenizer.save_pretrained(folder)


def _without_head(folder: Path) -> None:
    transformers.DistilBertModel.from_pretrained(folder).save_pretrained(folder)
    hf_models.edit(folder, "config.json", id2label={"0": "NEGATIVE", "1": "POSITIVE"})


def _broken_weights(folder: Path) -> None:
    module = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    module.classifier.bias.data[0] = float("nan")
    module.save_pretrained(folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: hf_models.edit(folder, "config.json", auto_map={"AutoModel": "code.Model"}), "has auto_map"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "must hold an object"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: hf_models.edit(folder, "config.json", model_type="vit"), "cannot be loaded as"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"PK"), "cannot be loaded as"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors in"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "holds an adapter"),
        (lambda folder: [(folder / name).unlink() for name in ("tokenizer.json", "vocab.txt")], "no tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "its tokenizer cannot be read"),
        (_other_vocabulary, "makes piece .* and the model knows"),
        (_without_head, "lacks weights of a DistilBertForSequenceClassification"),
        (_broken_weights, "classifier.bias holds NaN"),
    ],
)
def test_folders_that_cannot_be_used_say_why(spoil: Any, said: str, text_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "copy"))
    spoil(folder)
    with pytest.raises(ModelError, match=said):
        loaded(folder, TEXT)


def test_models_that_read_more_than_vectors_are_refused(tmp_path: Path) -> None:
    tokenizer = hf_models.wordpiece(tmp_path)
    config = transformers.BartConfig(
        vocab_size=len(tokenizer), d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1,
        decoder_attention_heads=1, encoder_ffn_dim=8, decoder_ffn_dim=8, id2label=dict(enumerate(hf_models.SENTIMENTS)),
    )  # fmt: skip
    transformers.BartForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="does not read vectors of pieces"):
        loaded(tmp_path, TEXT)


def test_an_absent_model_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"there is no folder me/model, .* hf download me/model"):
        load_model("hf:me/model", IMAGE)
    with pytest.raises(ModelError, match="is not a folder"):
        load_model("hf:/nowhere/at/all", TEXT)


def test_models_in_parts_are_loaded_and_carried(vit_folder: Path, tmp_path: Path) -> None:
    module = transformers.AutoModelForImageClassification.from_pretrained(vit_folder)
    module.save_pretrained(tmp_path, max_shard_size="10KB")
    found = loaded(tmp_path, IMAGE)
    assert sum(name.endswith(".safetensors") for name in found.files) > 1
    index = tmp_path / "model.safetensors.index.json"
    plain = json.loads(index.read_text())
    plain["weight_map"][next(iter(plain["weight_map"]))] = "../model-00001-of-00002.safetensors"
    index.write_text(json.dumps(plain))
    with pytest.raises(ModelError, match=r"names '\.\./model"):
        loaded(tmp_path, IMAGE)


@pytest.mark.parametrize("task", ["control-cartpole", "speech-digits"])
def test_a_model_of_another_kind_is_refused(task: str, text_folder: Path) -> None:
    with pytest.raises(ModelError):
        loaded(text_folder, task)
