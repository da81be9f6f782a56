"""Greedy decoding against a slow reference, word errors against numbers worked out by hand."""

from __future__ import annotations

from itertools import groupby

import pytest
import torch
from torch import Tensor

from adversarial.errors import DataError, UnknownName
from adversarial.inputs import Scores
from tasks.speech.dataset import WORDS
from tasks.speech.goal import WorstTranscript
from tasks.speech.transcripts import (
    ALPHABET,
    BLANK,
    WordErrors,
    collapse,
    decode,
    encode,
    word_error_rate,
    word_errors,
)


def spelled(*texts: str) -> Scores:
    """Scores whose best path is the text, `_` meaning blank."""
    frames = max(map(len, texts))
    values = torch.zeros(len(texts), frames, len(ALPHABET))
    mask = torch.zeros(len(texts), frames, dtype=torch.bool)
    for row, text in enumerate(texts):
        mask[row, : len(text)] = True
        for frame, letter in enumerate(text.ljust(frames, "e")):  # padding spells letters, too
            values[row, frame, BLANK if letter == "_" else ALPHABET.index(letter)] = 5.0
    return Scores(values, mask)


def slow_decode(path: Tensor) -> str:
    letters = [ALPHABET[symbol] for symbol, _ in groupby(path.tolist())]
    return " ".join("".join(letter for letter in letters if letter not in "\0'").split())


def test_decoding_agrees_with_the_slow_reference() -> None:
    values = torch.randn(50, 40, len(ALPHABET), generator=torch.Generator().manual_seed(0))
    values[:, :, BLANK] += 1.0
    values[10] = 0
    values[10, :, BLANK] = 1.0  # says nothing at all
    lengths = torch.arange(50) % 41
    mask = torch.arange(40) < lengths[:, None]
    expected = [slow_decode(row[:length].argmax(1)) for row, length in zip(values, lengths, strict=True)]
    assert decode(Scores(values, mask)) == expected
    assert decode(Scores(values)) == [slow_decode(row.argmax(1)) for row in values]


@pytest.mark.parametrize(
    ("path", "transcript"),
    [
        ("thre_e", "three"),
        ("three", "thre"),
        ("__zz_eero__ _ __o_n_ne_", "zero onne"),
        (" one  ", "one"),
        ("____", ""),
    ],
)
def test_decoding_by_hand(path: str, transcript: str) -> None:
    assert decode(spelled(path, "_" * 30)) == [transcript, ""]


def test_symbols_come_back() -> None:
    transcripts = [" ".join(WORDS), "two"]
    tokens, counts = encode(transcripts)
    assert counts.tolist() == [len(transcript) for transcript in transcripts]
    assert bool((tokens[1, 3:] == BLANK).all())
    assert collapse(spelled("tw_o"))[0, :3].tolist() == tokens[1, :3].tolist()
    with pytest.raises(DataError, match="letters"):
        encode(["Zero"])


@pytest.mark.parametrize(
    ("reference", "hypothesis", "edits"),
    [
        ("one two three", "one two three", (0, 0, 0)),
        ("one two three", "one six three", (1, 0, 0)),
        ("one two three", "one two three four", (0, 1, 0)),
        ("one two three", "one three", (0, 0, 1)),
        ("one two three", "", (0, 0, 3)),
        ("one", "two three four", (1, 2, 0)),
        ("one two", "two one", (0, 1, 1)),
        ("one two", "onetwo", (1, 0, 1)),
    ],
)
def test_word_errors_by_hand(reference: str, hypothesis: str, edits: tuple[int, int, int]) -> None:
    found = word_errors(reference, hypothesis)
    assert found.total == sum(edits)
    if (reference, hypothesis) != ("one two", "two one"):  # two substitutions are as good
        assert found == WordErrors(*edits)


def test_word_error_rate_is_of_the_corpus() -> None:
    # 1 + 3 errors in 3 + 1 words; the mean of the rows' rates would be 5/3.
    assert word_error_rate(["one two three", "one"], ["one two four", "two two two"]) == 1.0
    assert word_error_rate(["one"], ["one one one"]) == 2.0


def test_goal_judges_by_words() -> None:
    references = ("one two", "one two", "one two", "six")
    scores = spelled("one two", "one __two__", "one six", "one two")
    scores.values[1, 0] = torch.nan  # a row whose scores are broken succeeds at nothing
    worst = WorstTranscript.of(references).judge(scores)
    assert worst.success.tolist() == [False, False, True, True]
    assert worst.damage.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert worst.done.tolist() == [False, False, False, True]
    flip = WorstTranscript.of(references, first_error=True)
    assert flip.judge(scores).done.tolist() == [False, False, True, True]
    rows = torch.tensor([3, 2, 3])
    chosen = Scores(scores.values[rows], None if scores.mask is None else scores.mask[rows])
    assert flip.take(rows).judge(chosen).damage.tolist() == [1.0, 0.5, 1.0]


def test_loss_is_ctc_of_each_row_over_its_length() -> None:
    references = ("one", "three two")
    goal = WorstTranscript.of(references)
    scores = spelled("_oo_n_e__", "th_re_e_ t_w_o")
    together = goal.loss(scores, "ce")
    assert scores.mask is not None
    for row, reference in enumerate(references):
        frames = int(scores.mask[row].sum())
        alone = WorstTranscript.of([reference]).loss(Scores(scores.values[row : row + 1, :frames]), "ce")
        torch.testing.assert_close(together[row : row + 1], alone)
    # Ascending the loss leads away from the reference.
    wrong = goal.loss(spelled("_ss_i_x__", "th_re_e_ s_i_x"), "ce")
    assert bool((wrong > together).all())
    with pytest.raises(UnknownName, match="frame-margin"):
        goal.loss(scores, "margin")


def test_loss_without_alignment_is_zero() -> None:
    assert WorstTranscript.of(["seven"]).loss(spelled("sev"), "ce").tolist() == [0.0]
