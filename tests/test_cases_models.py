"""Models as people have them: outputs beyond the classes, labels that only count, answers as tuples, no pieces."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import hf_models
import pytest
import speech_models
import torch
import transformers
from model_sources import load_model, registry, source_of
from own_sources import IMAGE, SPEECH, TEXT, prepared, reviews, write_pictures, write_rows

from adversarial.attacks.deepfool import deepfool
from adversarial.attacks.pgd import pgd
from adversarial.attacks.transfer import transfer
from adversarial.errors import ModelError, NotApplicable
from adversarial.inputs import Inputs
from adversarial.ledger import Ledger
from adversarial.threats import Threat
from benchmarks.catalog import catalog
from benchmarks.checking.report import Report, check_model
from benchmarks.running.cells import ModelRef
from benchmarks.running.measuring import measure
from benchmarks.running.planning import Settings, plan_cells
from benchmarks.running.workplace import Workplace
from benchmarks.suites.suite import suite_named
from tasks.data import CustomData
from tasks.image import task as image
from tasks.measuring.protocol import Trial
from tasks.models import LoadedModel
from tasks.sentiment import task as sentiment
from tasks.speech import task as speech
from tasks.speech.whisper_decoder import normalised


pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("datasets_cache"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
CPU = torch.device("cpu")
CONVERTERS = {IMAGE: image.make, SPEECH: speech.make, TEXT: sentiment.make}


def loaded(folder: Path, task: str, data: CustomData | None = None) -> LoadedModel:
    return load_model(f"hf:{folder}", task, data)


def first(task: str, count: int = 6) -> Inputs:
    """The first examples of the test split."""
    (batch,) = CONVERTERS[task]().batches("test", count, count, CPU)
    found: Inputs = batch.inputs
    return found


def notes(report: Report) -> dict[str, str]:
    return {check.name: check.detail for check in report.checks if check.level == "note"}


def on_spam(tmp_path: Path) -> CustomData:
    rows = [{**one, "label": ("ham", "spam")[one["label"]]} for one in reviews()]
    return prepared(write_rows(tmp_path / "spam.csv", rows), TEXT, tmp_path / "data")


# Outputs that are no class


def loud(folder: Path, bias: float, labels: tuple[str, ...]) -> Any:
    """A classifier of images that likes its last outputs, those beyond the ten digits."""
    module = hf_models.save_image(folder, labels=labels)
    with torch.no_grad():
        module.classifier.bias[10:] += bias
    module.save_pretrained(folder)
    return module


def test_a_decision_for_no_class_is_wrong_and_not_lost(tmp_path: Path) -> None:
    """An ImageNet-like model: ten of its outputs are the classes, and another one may be its answer."""
    labels = (*hf_models.DIGITS, "letter", "cat", "dog")
    loud(tmp_path / "loud", 100.0, labels)
    found, inputs = loaded(tmp_path / "loud", IMAGE), first(IMAGE)
    scores = found.victim(inputs).values
    assert found.others == 1
    assert scores.shape == (6, 11)
    assert set(scores.argmax(1).tolist()) == {10}
    measured = image.make().measure(found.victim, Trial(None, None, limit=40), Ledger())
    assert measured.metric() == 0.0
    report = check_model(source_of(f"hf:{tmp_path / 'loud'}"), registry().task(IMAGE), registry(), CPU)
    assert report.ok, report.checks
    assert notes(report)["others"].startswith("3 of 13 outputs are no class of the data; a decision for one of them")


def test_scores_of_other_outputs_are_their_largest(tmp_path: Path) -> None:
    module = loud(tmp_path, 0.5, ("cat", *hf_models.DIGITS[::-1], "dog"))
    found, inputs = loaded(tmp_path, IMAGE), first(IMAGE, 40)
    seen: Any = found.victim
    with torch.no_grad():
        plain = module(pixel_values=seen._front(inputs.values)).logits
    wanted = torch.cat([plain[:, 1:11].flip(1), plain[:, [0, 11]].amax(1, keepdim=True)], 1)
    assert torch.allclose(found.victim(inputs).values, wanted, atol=1e-5)
    order = torch.tensor([10, *range(9, -1, -1), 10])
    assert found.victim(inputs).values.argmax(1).tolist() == order[plain.argmax(1)].tolist()


@pytest.mark.parametrize("attack", [partial(pgd, steps=3), partial(deepfool, steps=5)])
def test_attacks_may_lead_to_no_class(attack: Any, tmp_path: Path) -> None:
    loud(tmp_path, 1.0, (*hf_models.DIGITS, "letter", "cat"))
    victim = loaded(tmp_path, IMAGE).victim
    task, threat = image.make(), Threat.parse("pixels-linf:0.3@gradient")
    clean = task.measure(victim, Trial(None, None, limit=20), Ledger())
    attacked = task.measure(victim, Trial(threat, attack, limit=20), Ledger())
    assert all(after <= before for after, before in zip(attacked.examples.values, clean.examples.values, strict=True))
    assert not [finding for finding in attacked.findings if finding.severity == "invalid"]


def test_a_model_of_the_classes_alone_answers_as_it_is(tmp_path: Path) -> None:
    hf_models.save_image(tmp_path)
    found, inputs = loaded(tmp_path, IMAGE), first(IMAGE)
    seen: Any = found.victim
    assert (found.others, found.notes) == (0, {})
    with torch.no_grad():
        assert torch.equal(found.victim(inputs).values, seen.module(pixel_values=seen._front(inputs.values)).logits)


# Labels that only count, and labels of other words


@pytest.mark.parametrize("labels", [("0", "1"), ("LABEL_0", "LABEL_1"), ("label 0", "label-1")])
def test_labels_that_count_the_classes_are_taken_in_order_with_a_note(labels: tuple[str, ...], tmp_path: Path) -> None:
    module = hf_models.save_text(tmp_path, labels=labels)
    report = check_model(source_of(f"hf:{tmp_path}"), registry().task(TEXT), registry(), CPU)
    assert report.ok, report.checks
    assert notes(report)["labels"].startswith(
        "id2label only counts the outputs, so the order of the classes is assumed: 0="
    )
    turned = {str(place): label for place, label in enumerate(reversed(labels))}
    before = loaded(tmp_path, TEXT).victim(first(TEXT)).values
    hf_models.edit(tmp_path, "config.json", id2label=turned)
    assert torch.equal(loaded(tmp_path, TEXT).victim(first(TEXT)).values, before.flip(1))
    assert module.config.num_labels == 2


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (("ham", "spam"), "0=ham, 1=spam"),
        (("SPAM", "Ham"), "1=Ham, 0=SPAM"),
        (("0", "1"), "0=0, 1=1"),
        (("LABEL_0", "LABEL_1"), "0=LABEL_0, 1=LABEL_1"),
    ],
)
def test_a_model_of_spam_reads_spam(labels: tuple[str, ...], found: str, tmp_path: Path) -> None:
    hf_models.save_text(tmp_path / "model", labels=labels)
    data = on_spam(tmp_path)
    assert loaded(tmp_path / "model", TEXT, data).facts["labels"] == found
    report = check_model(source_of(f"hf:{tmp_path / 'model'}"), registry().task(TEXT), registry(), CPU, data)
    assert report.ok, report.checks
    assert ("labels" in notes(report)) == any(label[-1].isdecimal() for label in labels)


def test_labels_of_other_data_are_refused_on_spam(tmp_path: Path) -> None:
    hf_models.save_text(tmp_path / "model", labels=("toxic", "harmless"))
    with pytest.raises(ModelError, match=r"no output is called 'ham' .*; found 0: 'toxic', 1: 'harmless'"):
        loaded(tmp_path / "model", TEXT, on_spam(tmp_path))
    hf_models.save_text(tmp_path / "three", labels=("ham", "spam", "phish"))
    with pytest.raises(ModelError, match=r"outputs 2: 'phish' are no class of the data \(ham, spam\)"):
        loaded(tmp_path / "three", TEXT, on_spam(tmp_path))


@pytest.mark.parametrize(
    ("values", "labels", "said"),
    [((-1, 1), ("0", "1"), ""), ((-1, 1), ("-1", "1"), ""), ((1, 5), ("NEG", "POS"), ""), ((1, 2), ("0", "1"), "'2'")],
)
def test_labels_that_count_never_contradict_a_name(
    values: tuple[int, int], labels: tuple[str, str], said: str, tmp_path: Path
) -> None:
    """Of the classes 1 and 2, an output called 1 is the first, and not the second of two that are counted from 0."""
    rows = [{**one, "label": values[one["label"]]} for one in reviews()]
    data = prepared(write_rows(tmp_path / "rows.jsonl", rows), TEXT, tmp_path / "data")
    hf_models.save_text(tmp_path / "model", labels=labels)
    if not said:
        assert loaded(tmp_path / "model", TEXT, data).facts["labels"] == f"0={labels[0]}, 1={labels[1]}"
        return
    with pytest.raises(ModelError, match=f"no output is called {said}"):
        loaded(tmp_path / "model", TEXT, data)


def test_pictures_of_named_classes_take_counted_outputs(tmp_path: Path) -> None:
    data = prepared(write_pictures(tmp_path / "pictures"), IMAGE, tmp_path / "data")
    hf_models.save_image(tmp_path / "model", labels=("0", "1", "2", "3"))
    report = check_model(source_of(f"hf:{tmp_path / 'model'}"), registry().task(IMAGE), registry(), CPU, data)
    assert report.ok, report.checks
    assert "order of the classes is assumed" in notes(report)["labels"]
    hf_models.save_image(tmp_path / "digits")
    assert not loaded(tmp_path / "digits", IMAGE).notes


# Answers as tuples


@pytest.mark.parametrize("setting", [{"return_dict": False}, {"torchscript": True}])
@pytest.mark.parametrize("kind", ["image", "text", "decoder", "ctc", "ctc-layer", "whisper"])
def test_a_config_that_asks_for_tuples_changes_nothing(setting: dict[str, bool], kind: str, tmp_path: Path) -> None:
    task = {"image": IMAGE, "text": TEXT, "decoder": TEXT}.get(kind, SPEECH)
    save = {
        "image": hf_models.save_image,
        "text": hf_models.save_text,
        "decoder": partial(hf_models.save_text, kind="GPT2"),
        "ctc": speech_models.save_ctc,
        "ctc-layer": partial(speech_models.save_ctc, norm="layer"),
        "whisper": speech_models.save_whisper,
    }
    save[kind](tmp_path)
    plain = loaded(tmp_path, task).victim(first(task, 3))
    hf_models.edit(tmp_path, "config.json", **setting)
    found = loaded(tmp_path, task).victim(first(task, 3))
    assert torch.equal(found.values, plain.values)
    measured: Any = CONVERTERS[task]()
    found = measured.measure(loaded(tmp_path, task).victim, Trial(None, None, limit=2), Ledger())
    assert len(found.examples.values) == 2


# Models without pieces


def test_a_model_of_characters_is_one_clear_error(tmp_path: Path) -> None:
    config = transformers.CanineConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, num_hash_buckets=64,
        max_position_embeddings=512, id2label=dict(enumerate(hf_models.SENTIMENTS)),
    )  # fmt: skip
    transformers.CanineForSequenceClassification(config).save_pretrained(tmp_path)
    transformers.CanineTokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"CanineForSequenceClassification has no table of piece vectors .*CANINE"):
        loaded(tmp_path, TEXT)


# Transfer between models whose vectors have other shapes


def test_a_surrogate_whose_vectors_have_another_shape_makes_no_cell(tmp_path: Path) -> None:
    hf_models.save_text(tmp_path / "reader", "Bert")
    source = f"hf:{tmp_path / 'reader'}"
    model = ModelRef("mine", load_model(source, TEXT).hash, "none", source=source)
    planned = plan_cells(suite_named(catalog(), "mini@2"), catalog(), Settings(limit=4), models={TEXT: (model,)})
    cells = [cell for cell in planned if cell.cell.attack == "transfer"]
    assert {cell.cell.threat.split("-")[0] for cell in cells} == {"embeddings", "words"}
    for cell in cells:
        result = measure(cell, Workplace(sources={(TEXT, "mine"): source})).result
        if cell.cell.threat.startswith("words"):
            assert result.status == "ok", result
            continue
        assert result.status == "n/a", result
        assert "a surrogate reads inputs of shape [4, " in result.reason
        assert "Traceback" not in result.reason


def test_transfer_refuses_what_does_not_fit_with_the_error_of_such_cells(tmp_path: Path) -> None:
    hf_models.save_text(tmp_path)
    surrogate = load_model(f"{TEXT}/undefended", TEXT).victim
    trial = Trial(Threat.parse("embeddings-l2:1@surrogate"), transfer, limit=4, surrogates=(surrogate,))
    with pytest.raises(NotApplicable, match="what changes one is no change of the other"):
        sentiment.make().measure(loaded(tmp_path, TEXT).victim, trial, Ledger())


# Whisper


def test_marks_in_answers_are_no_words() -> None:
    assert normalised(" One [noise] two, <unk> three.") == "one two three"


def test_whisper_says_that_numbers_count_as_errors(tmp_path: Path) -> None:
    speech_models.save_whisper(tmp_path)
    report = check_model(source_of(f"hf:{tmp_path}"), registry().task(SPEECH), registry(), CPU)
    assert "$25 for twenty five dollars" in notes(report)["numbers"]
