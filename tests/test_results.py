"""The record: canonical JSON, strict reading, and what a record may hold."""

from __future__ import annotations

import json

import msgspec
import pytest
from synthetic import ACCURACY, SPEECH, cell, first, ok, plan, without_number

from leaderboard.records.canonical import ResultError, canonical_json
from leaderboard.records.metric import Metric
from leaderboard.records.plan import Label, Plan, parse_label
from leaderboard.records.record import Examples, Result, decode_result
from leaderboard.records.threats import access_of, without_access


def test_a_record_survives_the_round_trip_byte_for_byte() -> None:
    result = ok(cell(params={"steps": 40, "step": 0.01}), first(3, 5), columns={"length": [1, 2, 3, 4, 5]})
    data = canonical_json(result)
    assert decode_result(data, result.id) == result
    assert canonical_json(decode_result(data)) == data
    assert data.isascii()
    assert data.endswith(b"\n")


def test_the_id_is_the_hash_of_everything_that_changes_a_number() -> None:
    base = cell()
    assert base.id == cell().id
    others = [cell(seed=1), cell(params={"steps": 1}), cell(attack="fgsm"), cell(SPEECH), cell(defense="jpeg")]
    assert len({base.id, *(other.id for other in others)}) == len(others) + 1


def test_numbers_that_are_not_finite_never_enter_a_record() -> None:
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ResultError, match="finite"):
            ok(cell(), [bad])
        with pytest.raises(ResultError, match="finite"):
            canonical_json({"seconds": bad})
        with pytest.raises(ResultError, match="finite"):
            ACCURACY.quality(bad)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda plain: plain.update(surprise=1), "surprise"),
        (lambda plain: plain.pop("status"), "status"),
        (lambda plain: plain.update(status="fine"), "fine"),
        (lambda plain: plain["examples"].update(values=[1.0]), "one length"),
        (lambda plain: plain["examples"].update(weights=[0.0] * 5), "weights"),
        (lambda plain: plain["examples"].update(ids=["same"] * 5), "distinct"),
        (lambda plain: plain["cell"].update(seed=7), "hashes to"),
        (lambda plain: plain.update(schema=2), "schema 2"),
        (lambda plain: plain.update(metric=None), "no metric"),
        (lambda plain: plain["metric"].update(floor=1.0), "two different"),
    ],
)
def test_a_changed_record_is_refused_with_the_reason(change, reason) -> None:
    plain = msgspec.to_builtins(ok(cell(), first(3, 5)))
    change(plain)
    with pytest.raises(ResultError, match=reason):
        decode_result(json.dumps(plain).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"id": 1, "id": 2}', b"[" * 100_000],
    ids=["empty", "open", "list", "null", "bytes", "repeated", "deep"],
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(ResultError):
        decode_result(data)


def test_infinity_cannot_hide_in_a_large_exponent() -> None:
    data = canonical_json(ok(cell(), [0.5, 1.0])).replace(b"[0.5,1.0]", b"[1e999,1.0]")
    with pytest.raises(ResultError, match="finite"):
        decode_result(data)


def test_a_record_found_under_another_name_is_refused() -> None:
    with pytest.raises(ResultError, match="was expected"):
        decode_result(canonical_json(ok(cell(), [1.0])), cell(seed=1).id)


def test_a_cell_without_a_number_must_say_why() -> None:
    with pytest.raises(ResultError, match="no reason"):
        without_number(cell(), "failed", "")
    assert without_number(cell(), "n/a", "no words here").examples is None


def test_quality_follows_the_direction_of_the_metric() -> None:
    errors = Metric("word error rate", 1.0, 0.0)
    assert (errors.higher_is_better, ACCURACY.higher_is_better) == (False, True)
    assert [errors.quality(value) for value in (0.0, 0.25, 1.0, 1.7)] == [1.0, 0.75, 0.0, 0.0]
    assert Metric("return", 20.0, 500.0).quality(260.0) == pytest.approx(0.5)


def test_a_label_reads_back_even_where_a_model_has_slashes() -> None:
    one = cell(model="hf:owner/name")
    assert parse_label(one.label) == Label("image-digits", "hf:owner/name", "pgd", one.threat)
    for text in ("", "a/b/c", "a//c/d"):
        with pytest.raises(ResultError, match="label"):
            parse_label(text)


def test_a_threat_reads_apart() -> None:
    assert without_access("waveform-snr:30@none") == "waveform-snr:30"
    assert without_access("pixels-linf:0.1@scores<=100") == without_access("pixels-linf:0.10") == "pixels-linf:0.1"
    assert without_access("observations-linf:0.3*0.25@gradient") == "observations-linf:0.3*0.25"
    texts = ("pixels-linf:0.1@gradient<=100", "pixels-linf:0.1@scores", "pixels-linf:0.1", "none")
    assert [access_of(text) for text in texts] == ["gradient", "scores", "gradient", ""]
    for text in ("pixels-linf:0.1@gradient#0", "pixels:0.1", ""):
        with pytest.raises(ResultError):
            access_of(text)
        with pytest.raises(ResultError):
            without_access(text)


def test_a_plan_names_a_cell_once() -> None:
    result = ok(cell(), [1.0])
    assert plan([result]).labels == {result.id: result.cell.label}
    with pytest.raises(ResultError, match="twice"):
        Plan("tiny@1", {}, (), (result.id, result.id))


def test_no_examples_are_no_result() -> None:
    with pytest.raises(ResultError, match="weights"):
        Examples((), (), (), ())
    assert Result.__struct_config__.frozen
