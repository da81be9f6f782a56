"""The worst case per example, and what may never raise a score."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import (
    ACCURACY,
    CONTROL,
    IMAGE,
    OBSERVATIONS,
    PIXELS,
    SPEECH,
    WAVEFORM,
    by_id,
    cell,
    examples,
    first,
    journal_entry,
    ok,
    plan,
    small_board,
    without_number,
)

from leaderboard.records.canonical import ResultError
from leaderboard.records.metric import Metric
from leaderboard.records.record import Cell, Diagnostic, Result
from leaderboard.scoring.diagnostics import STRONGER_THAN_WHITE_BOX, WEAKER_THAN_NOISE
from leaderboard.scoring.scores import TaskScore, ThreatScore, score


def scored(results: list[Result], missing: tuple[Cell, ...] = (), **options: bool) -> dict[tuple[str, str], TaskScore]:
    found = score(plan(results, missing, **options), by_id(results), {})
    return {(one.task, one.entry): one for one in found}


def under(results: list[Result], threat: str, missing: tuple[Cell, ...] = ()) -> ThreatScore:
    (found,) = scored(results, missing).values()
    threat_score = found.threat(threat)
    assert threat_score is not None
    return threat_score


def worst(results: list[Result], threat: str) -> list[float]:
    robust = under(results, threat).robust
    assert robust is not None
    return robust.values.tolist()


def test_accuracy_is_worst_where_any_attack_flips() -> None:
    results = [
        ok(cell(attack="none"), [1, 1, 1, 0]),
        ok(cell(attack="pgd"), [0, 1, 1, 1]),
        ok(cell(attack="square", threat=f"{PIXELS}@scores<=500"), [1, 0, 1, 1]),
    ]
    assert worst(results, PIXELS) == [0, 0, 1, 0]


def test_the_worst_word_error_rate_has_more_errors() -> None:
    """A minimum over attacks, right for accuracy, would here pick the least harmful one."""
    results = [
        ok(cell(SPEECH, attack="none"), [0, 1, 2]),
        ok(cell(SPEECH, attack="noise"), [1, 0, 3]),
        ok(cell(SPEECH, attack="pgd"), [3, 0, 2]),
    ]
    found = under(results, WAVEFORM)
    assert worst(results, WAVEFORM) == [3, 1, 3]
    assert found.robust is not None
    assert found.robust.figure == pytest.approx(7 / 12)
    assert found.robust.quality == pytest.approx(5 / 12)


def test_the_worst_return_is_lower() -> None:
    results = [
        ok(cell(CONTROL, attack="none"), [500, 500, 120]),
        ok(cell(CONTROL, attack="noise"), [480, 500, 200]),
        ok(cell(CONTROL, attack="pgd"), [90, 510, 300]),
    ]
    assert worst(results, OBSERVATIONS) == [90, 500, 120]


def test_further_columns_follow_the_worst_attack() -> None:
    def edits(substitutions: list[int], deletions: list[int]) -> dict[str, list[int]]:
        return {"substitutions": substitutions, "deletions": deletions}

    results = [
        ok(cell(SPEECH, attack="none"), [0, 2], columns=edits([0, 2], [0, 0])),
        ok(cell(SPEECH, attack="pgd"), [3, 1], columns=edits([1, 0], [2, 1])),
    ]
    robust = under(results, WAVEFORM).robust
    assert robust is not None
    assert {name: column.tolist() for name, column in robust.columns.items()} == {
        "substitutions": [1, 2],
        "deletions": [2, 0],
    }


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_another_attack_never_raises_the_quality(data: st.DataObject) -> None:
    task, threat = data.draw(st.sampled_from([(IMAGE, PIXELS), (SPEECH, WAVEFORM), (CONTROL, OBSERVATIONS)]))
    top = 1 if task == IMAGE else 500
    values = st.lists(st.integers(0, top), min_size=4, max_size=4)
    results = [ok(cell(task, attack="none"), data.draw(values))]
    before = 1.0
    for attack in ("noise", "pgd", "square"):
        results.append(ok(cell(task, attack=attack), data.draw(values)))
        robust = under(results, threat).robust
        assert robust is not None
        assert robust.quality <= before
        before = robust.quality


def test_an_attack_that_does_not_apply_is_no_zero_and_no_proof() -> None:
    clean, attacked = ok(cell(attack="none"), first(38)), ok(cell(attack="pgd"), first(20))
    absent = without_number(cell(attack="universal"), "n/a")
    found = under([clean, attacked, absent], PIXELS)
    assert found.complete
    assert found.robust is not None
    assert found.robust.figure == pytest.approx(0.5)
    alone = under([clean, absent], PIXELS)
    assert alone.robust is None
    assert not alone.complete
    assert alone.problems == ("no search on the model itself applies; universal: did not fit",)


def fitted(attack: str, threat: str | None = None, **options: str | bool) -> Cell:
    return msgspec.structs.replace(cell(attack=attack, threat=threat), options=options)


@pytest.mark.parametrize(
    "weak",
    [
        cell(attack="noise"),
        cell(attack="transfer", threat=f"{PIXELS}@surrogate"),
        fitted("universal", fit_split="validation"),
        fitted("stronger-noise", of_others=True),
    ],
)
def test_what_never_searches_the_model_completes_nothing(weak: Cell) -> None:
    """A model that answers no search must not rank by what noise and other models' examples leave it."""
    clean, refused = ok(cell(attack="none"), first(38)), without_number(cell(), "n/a", "not differentiable")
    bound = under([clean, ok(weak, first(30)), refused], PIXELS)
    assert not bound.complete
    assert bound.robust is not None
    assert bound.robust.figure == pytest.approx(0.75)
    assert bound.problems == ("no search on the model itself applies; pgd: not differentiable",)
    for access in ("gradient", "scores", "labels", "scores<=100"):
        search = ok(cell(attack="search", threat=f"{PIXELS}@{access}"), first(29))
        assert under([clean, ok(weak, first(30)), refused, search], PIXELS).complete


def test_a_query_limit_silences_no_diagnostic() -> None:
    """The access of a threat with a limit was read as one that nobody knows."""
    limited = f"{PIXELS}@gradient<=100"
    results = [
        ok(cell(attack="none"), first(40)),
        ok(cell(attack="noise"), first(10)),
        ok(cell(attack="transfer", threat=f"{PIXELS}@surrogate"), first(5)),
        ok(cell(attack="pgd", threat=limited), first(36)),
    ]
    (found,) = scored(results).values()
    assert [(one.name, one.attack) for one in found.findings] == [
        (WEAKER_THAN_NOISE, "pgd"),
        (STRONGER_THAN_WHITE_BOX, "transfer"),
    ]


@pytest.mark.parametrize("status", ["failed", "timeout", "missing"])
def test_what_is_missing_never_raises_a_score_and_never_ranks(status: str) -> None:
    clean, noise = ok(cell(attack="none"), first(38)), ok(cell(attack="noise"), first(36))
    lost = cell(attack="pgd")
    if status == "missing":
        found = under([clean, noise], PIXELS, (lost,))
    else:
        found = under([clean, noise, without_number(lost, status)], PIXELS)
    assert not found.complete
    assert found.problems == (f"pgd: {status}",)
    assert found.robust is not None
    assert found.robust.figure == pytest.approx(36 / 40)


def test_a_missing_cell_that_nobody_can_name_holds_up_every_rank() -> None:
    results, _ = small_board()
    found = scored(results, (cell(attack="square"),), labels=False)
    assert all(not threat.complete for one in found.values() for threat in one.threats)


def test_the_journal_names_a_cell_that_the_plan_does_not() -> None:
    results, _ = small_board()
    lost = ok(cell(attack="square"), [1.0])
    journal = {lost.id: journal_entry(lost)}
    found = score(plan(results, (lost.cell,), labels=False), by_id(results), journal)
    incomplete = {(one.task, one.entry) for one in found if any("square: missing" in t.problems for t in one.threats)}
    assert incomplete == {(IMAGE, "undefended")}


def test_an_attack_that_only_others_met_leaves_an_entry_incomplete() -> None:
    results = [
        ok(cell(attack="none"), first(38)),
        ok(cell(attack="pgd"), first(4)),
        ok(cell(model="spared", attack="none"), first(38)),
        ok(cell(model="spared", attack="noise"), first(37)),
        ok(cell(attack="noise"), first(37)),
    ]
    spared = scored(results)[IMAGE, "spared"]
    assert spared.unranked(PIXELS) == "pgd: other entries met it, this one did not"
    assert scored(results)[IMAGE, "undefended"].unranked(PIXELS) == ""


def test_an_attack_on_fewer_examples_is_not_counted() -> None:
    found = under([ok(cell(attack="none"), first(38)), ok(cell(attack="pgd"), first(2, 10))], PIXELS)
    assert found.robust is None
    assert found.problems == ("pgd: covers 10 of the 40 clean examples",)


def test_without_a_clean_pass_there_is_no_score() -> None:
    found = under([without_number(cell(attack="none"), "failed"), ok(cell(attack="pgd"), first(2))], PIXELS)
    assert found.robust is None
    assert found.problems == ("the clean pass has no complete result",)


def test_several_clean_passes_count_by_their_mean() -> None:
    results = [
        ok(cell(attack="none"), [1, 0, 1]),
        ok(cell(attack="none", seed=1), [1, 1, 1]),
        ok(cell(attack="pgd"), [1, 1, 0]),
    ]
    assert worst(results, PIXELS) == [1, 0.5, 0]


def test_budgets_are_threats_of_their_own() -> None:
    results = [
        ok(cell(attack="none"), [1, 1]),
        ok(cell(attack="pgd"), [1, 0]),
        ok(cell(attack="pgd", threat="pixels-linf:0.3@gradient"), [0, 0]),
    ]
    assert worst(results, PIXELS) == [1, 0]
    assert worst(results, "pixels-linf:0.3@scores") == [0, 0]


def test_a_finding_takes_the_row_off_the_ranking() -> None:
    bad = Diagnostic("audit", "invalid", "0.11 of 0.10")
    odd = Diagnostic("loss", "suspect", "does not rise")
    for diagnostics, verdict, unranked in (
        ((bad, odd), "invalid", "invalid: audit"),
        ((odd,), "suspect", "suspect: loss"),
    ):
        results = [ok(cell(attack="none"), first(38)), ok(cell(), first(9), diagnostics=diagnostics)]
        (found,) = scored(results).values()
        assert found.verdict(PIXELS) == verdict
        assert found.unranked(PIXELS) == unranked


def test_a_finding_bears_on_its_own_threat_and_one_of_the_clean_pass_on_all() -> None:
    odd, other = Diagnostic("loss", "suspect", "does not rise"), "pixels-l0:8@gradient"
    results = [
        ok(cell(attack="none"), first(38)),
        ok(cell(), first(9)),
        ok(cell(attack="jsma", threat=other), first(9), diagnostics=(odd,)),
    ]
    (found,) = scored(results).values()
    assert (found.unranked(PIXELS), found.unranked(other)) == ("", "suspect: loss")
    assert [one.attack for one in found.findings] == ["jsma"]
    results[0] = ok(cell(attack="none"), first(38), diagnostics=(odd,))
    (found,) = scored(results).values()
    assert (found.unranked(PIXELS), found.unranked(other)) == ("suspect: loss", "suspect: loss")


@pytest.mark.parametrize(
    ("task", "noise", "gradient", "suspect"),
    [
        (IMAGE, first(20), first(36), True),
        (IMAGE, first(36), first(20), False),
        (IMAGE, first(20), first(22), False),
        (SPEECH, first(5, good=0, bad=2), first(35, good=0, bad=2), True),
        (SPEECH, first(35, good=0, bad=2), first(5, good=0, bad=2), False),
        (CONTROL, [100.0 + index for index in range(40)], [400.0 + index for index in range(40)], True),
        (CONTROL, [400.0 + index for index in range(40)], [100.0 + index for index in range(40)], False),
    ],
)
def test_a_gradient_weaker_than_noise_is_suspect(
    task: str, noise: list[float], gradient: list[float], suspect: bool
) -> None:
    clean = [500.0] * 40 if task == CONTROL else first(40, good=1.0 if task == IMAGE else 0.0)
    results = [
        ok(cell(task, attack="none"), clean),
        ok(cell(task, attack="noise"), noise),
        ok(cell(task, attack="pgd"), gradient),
    ]
    (found,) = scored(results).values()
    assert [finding.name for finding in found.findings] == [WEAKER_THAN_NOISE] * suspect


def test_noise_of_another_budget_accuses_nobody() -> None:
    results = [
        ok(cell(attack="none"), first(40)),
        ok(cell(attack="noise", threat="pixels-linf:0.9@none"), first(2)),
        ok(cell(attack="pgd"), first(36)),
    ]
    (found,) = scored(results).values()
    assert found.findings == ()


def test_one_name_for_two_models_is_refused() -> None:
    results = [ok(cell(attack="none"), [1.0]), ok(cell(attack="pgd", model_hash="other"), [1.0])]
    with pytest.raises(ResultError, match="stands for two models"):
        scored(results)


def test_one_task_with_two_metrics_is_refused() -> None:
    other = cell(model="other", attack="none")
    results = [
        ok(cell(attack="none"), [1.0]),
        Result(other.id, other, "ok", metric=Metric("accuracy", 0.1, 1.0), examples=examples(IMAGE, [1.0])),
    ]
    assert ACCURACY.floor == 0.0
    with pytest.raises(ResultError, match="expected one metric"):
        scored(results)


def test_the_order_of_insertion_never_matters() -> None:
    results, missing = small_board()
    before = score(plan(results, missing), by_id(results), {})
    random.Random(0).shuffle(results)
    after = score(plan(results, missing), by_id(results), {})
    assert [(one.task, one.entry) for one in before] == [(one.task, one.entry) for one in after]
    for one, other in zip(before, after, strict=True):
        assert one.findings == other.findings
        assert [threat.problems for threat in one.threats] == [threat.problems for threat in other.threats]
        assert [threat.counted for threat in one.threats] == [threat.counted for threat in other.threats]


def test_cells_outside_the_plan_are_left_out() -> None:
    results = [ok(cell(attack="none"), [1, 1]), ok(cell(attack="pgd"), [1, 0])]
    stray = ok(cell(attack="square"), [0, 0])
    (found,) = score(plan(results), by_id([*results, stray]), {})
    robust = found.threats[0].robust
    assert robust is not None
    assert robust.values.tolist() == [1, 0]
