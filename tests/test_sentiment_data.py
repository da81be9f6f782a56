from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from adversarial.errors import DataError, UnknownName
from tasks.sentiment import dataset as facts
from tasks.sentiment.dataset import DOMAINS, FOLDER, SPLITS, STYLES, Reviews, data_hash, load_split
from tasks.sentiment.grammar import generate, write
from tasks.sentiment.tokens import tokenise


SMALLEST = {"train": 3000, "validation": 300, "test": 300}


def words_of(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z0-9']+", text.lower()))


def four_grams(reviews: Reviews) -> list[tuple[str, ...]]:
    sentences = [words_of(text) for text in reviews.texts]
    return [sentence[i : i + 4] for sentence in sentences for i in range(len(sentence) - 3)]


@pytest.mark.parametrize("split", SPLITS)
def test_splits_are_large_balanced_and_complete(split: str) -> None:
    reviews = load_split(split)
    assert len(reviews.ids) >= SMALLEST[split]
    assert len(set(reviews.ids)) == len(reviews.ids)
    positive = sum(reviews.labels) / len(reviews.labels)
    assert 0.45 <= positive <= 0.55
    domains = Counter(reviews.domains)
    assert set(domains) == set(DOMAINS)
    assert min(domains.values()) >= 0.2 * len(reviews.ids)
    assert set(reviews.styles) == set(range(len(STYLES)))


@pytest.mark.parametrize("split", SPLITS)
def test_texts_are_plain_ascii_sentences(split: str) -> None:
    for text in load_split(split).texts:
        assert text.isascii()
        assert text.isprintable()
        assert text == text.strip()
        assert len(tokenise(text)) >= 2


def test_no_sentence_is_shared_or_repeated() -> None:
    seen: dict[tuple[str, ...], str] = {}
    for split in SPLITS:
        for text in load_split(split).texts:
            sentence = words_of(text)
            assert sentence not in seen, f"{text!r} of {split} is in {seen[sentence]} as well"
            seen[sentence] = split


@pytest.mark.parametrize("split", ["validation", "test"])
def test_hand_written_sentences_are_not_made_of_training_phrases(split: str) -> None:
    # Measured: 3.1% of the validation split's sequences of four words occur in training, 2.8% of the test split's.
    known = set(four_grams(load_split("train")))
    own = four_grams(load_split(split))
    assert sum(gram in known for gram in own) / len(own) <= 0.04


def test_the_training_split_is_what_the_grammar_makes(tmp_path: Path) -> None:
    write(generate(), tmp_path / "train.tsv")
    assert (tmp_path / "train.tsv").read_bytes() == (FOLDER / "train.tsv").read_bytes()


def test_hashes_cover_every_file_and_differ_by_split() -> None:
    assert len({data_hash(split) for split in SPLITS}) == len(SPLITS)
    with pytest.raises(UnknownName, match="validation"):
        data_hash("validate")


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in facts.HASHES:
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    text = (tmp_path / "test.tsv").read_text(encoding="ascii")
    (tmp_path / "test.tsv").write_text(text.replace("negative", "positive", 1), encoding="ascii")
    monkeypatch.setattr(facts, "FOLDER", tmp_path)
    with pytest.raises(DataError, match=r"test\.tsv has SHA-256"):
        load_split.__wrapped__("test")
    (tmp_path / "test.tsv").unlink()
    with pytest.raises(DataError, match="cannot read"):
        load_split.__wrapped__("test")
