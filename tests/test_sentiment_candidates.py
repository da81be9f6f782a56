from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from adversarial.spaces.words import NO_WORD
from tasks.sentiment.candidates import PER_KIND, candidates, is_negator, known_words, misspellings, opposite
from tasks.sentiment.dataset import load_split, load_synonyms
from tasks.sentiment.tokens import tokenise
from tasks.sentiment.words import Lexicon, bundled


PAIRS = """
good/bad good/poor great/terrible great/awful best/worst better/worse love/hate loved/hated like/dislike
happy/sad happy/unhappy clean/dirty fresh/stale hot/cold warm/cold fast/slow quick/slow easy/hard
easy/difficult cheap/expensive quiet/noisy quiet/loud friendly/rude friendly/unfriendly polite/rude
kind/unkind kind/cruel strong/weak beautiful/ugly pretty/ugly interesting/boring exciting/boring
funny/unfunny delicious/disgusting tasty/bland tasty/tasteless pleasant/unpleasant reliable/unreliable
comfortable/uncomfortable perfect/imperfect helpful/unhelpful helpful/useless useful/useless right/wrong
true/false safe/dangerous bright/dull sharp/dull smart/stupid clever/stupid wonderful/horrible
excellent/dreadful sturdy/flimsy soft/hard tender/tough satisfied/disappointed impressed/disappointed
recommend/avoid enjoyed/hated careful/careless always/never more/less many/few
"""
ANTONYMS = [tuple(pair.split("/")) for pair in PAIRS.split()]
STAYING = "not n't never no nobody nothing hardly without didn't isn't cannot can't 10 . , ! ' neither"


def edits_apart(one: str, other: str) -> int:
    """Optimal string alignment: substitutions, insertions, deletions and swaps of neighbours."""
    table = [[i + j if not i * j else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            same = one[i - 1] == other[j - 1]
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (not same))
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


@pytest.mark.parametrize(("one", "other"), ANTONYMS)
def test_no_candidate_is_an_antonym(one: str, other: str) -> None:
    assert other not in candidates(one)
    assert one not in candidates(other)


@pytest.mark.parametrize("word", STAYING.split())
def test_negators_numbers_and_punctuation_stay(word: str) -> None:
    assert candidates(word) == ()


def test_candidates_are_single_clean_tokens() -> None:
    for word in sorted(known_words()):
        found = candidates(word)
        assert len(set(found)) == len(found)
        for other in found:
            assert other != word
            assert tokenise(other) == (other,)
            assert not is_negator(other)
            assert not opposite(word, other)


def test_misspellings_are_few_single_edits_inside_of_the_word() -> None:
    for word in sorted(known_words())[::7]:
        found = misspellings(word)
        assert len(found) <= 4 * PER_KIND
        for other in found:
            assert edits_apart(word, other) == 1
            assert (other[0], other[-1]) == (word[0], word[-1])
            assert other not in known_words()
    assert misspellings("bad") == ()
    assert len(misspellings("wonderful")) == 4 * PER_KIND


def test_reviews_offer_candidates() -> None:
    synonyms = load_synonyms()
    for split in ("validation", "test"):
        sentences = [tokenise(text) for text in load_split(split).texts]
        assert all(any(candidates(word) for word in sentence) for sentence in sentences)
        with_synonym = [any(word in synonyms for word in sentence) for sentence in sentences]
        assert sum(with_synonym) / len(with_synonym) > 0.9


def test_ids_and_candidates_are_the_same_in_every_process() -> None:
    code = (
        "from tasks.sentiment.words import bundled; import json; b = bundled(); n = len(b); "
        "ids, _ = b.encode([('good', 'wonderful')]); print(json.dumps([n, b.words(), b.table(ids).tolist()]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "1"}
    )
    count, words, table = json.loads(answer.stdout)
    ids, _ = bundled().encode([("good", "wonderful")])
    assert list(bundled().words()[:count]) == words
    assert bundled().table(ids).tolist() == table


def test_table_begins_with_the_word_and_pads_on_the_right() -> None:
    lexicon = bundled()
    ids, mask = lexicon.encode([("not", "good", "!"), ("wonderful",)])
    table = lexicon.table(ids)
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    assert torch.equal(table[:, :, 0], ids)
    real = table != NO_WORD
    assert bool((real[:, :, 1:] <= real[:, :, :-1]).all())
    assert int(real[0, 0].sum()) == int(real[0, 2].sum()) == int(real[1, 1].sum()) == 1
    assert [lexicon.word(i) for i in table[0, 1].tolist() if i != NO_WORD] == ["good", *candidates("good")]


def test_new_words_get_ids_of_their_own() -> None:
    lexicon = Lexicon(("b", "a"))
    assert lexicon.words() == ("", "a", "b")
    assert lexicon.intern("zebra") == lexicon.intern("zebra") == 3
    assert lexicon.decode(torch.tensor([3, 1])) == "zebra a"


def test_tokens_come_back_from_their_sentence() -> None:
    for text in load_split("validation").texts:
        assert tokenise(" ".join(tokenise(text))) == tokenise(text)
    assert tokenise("Didn't like it\u2019s 3.5-star plot!") == (
        "didn't", "like", "it's", "3.5", "-", "star", "plot", "!",
    )  # fmt: skip
