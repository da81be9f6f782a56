"""What a cheat would try: records and evidence that pass by their form and would rank a wrong number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from forging import (
    ATTACKS,
    Change,
    Honest,
    examples,
    judged,
    measured,
    only_attacks,
    replace,
    robust,
    row_of,
    seen,
    values_of,
)
from safetensors.torch import load, save

from benchmarks.verifying.cells import _worse_of
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.reading import open_bundle
from leaderboard.database.scoring import counted
from leaderboard.records.record import Cost, Diagnostic, Result
from leaderboard.scoring.diagnostics import is_search


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Honest]:
    known: dict[str, Honest] = {}

    def made(task: str) -> Honest:
        if task not in known:
            known[task] = measured(tmp_path_factory.mktemp(task), task)
        return known[task]

    return made


@pytest.mark.parametrize("task", ATTACKS)
def test_what_is_honest_is_measured_again_to_the_last_digit(
    task: str, honest: Callable[[str], Honest], tmp_path: Path
) -> None:
    verdict = judged(honest(task).bundle(tmp_path))
    assert verdict.level == "re-run", verdict.reasons
    assert {cell.detail for cell in verdict.cells} == {"the same to the last digit"}
    assert all(not cell.corrected for cell in verdict.cells)


def test_searches_for_the_nearest_and_curves_are_honest_too(tmp_path: Path) -> None:
    attacks = ("pgd", "deepfool", "cw", "jsma", "universal", "transfer")
    verdict = judged(measured(tmp_path / "measured", "image-digits", "mini@2", attacks, 4).bundle(tmp_path))
    assert verdict.level == "re-run", verdict.reasons
    assert [cell.detail for cell in verdict.cells] == ["the same to the last digit"] * 7


@pytest.mark.parametrize("task", ATTACKS)
def test_one_value_beyond_all_is_the_verifiers_own_on_the_board(
    task: str, honest: Callable[[str], Honest], tmp_path: Path
) -> None:
    """A few rows may round otherwise on another machine; a return has no upper end."""
    own = honest(task)

    def lie(result: Result, data: bytes) -> tuple[Result, bytes]:
        values = list(examples(result).values)
        if task in ("image-digits", "sentiment-reviews"):
            values[0] = 1 - values[0]
        else:
            values[0] = 1e12 if task == "control-cartpole" else 9.0
        return replace(result, examples=replace(examples(result), values=tuple(values))), data

    path = own.bundle(tmp_path, lie)
    for rerun, level in ((0, "re-scored"), (99, "re-run")):
        verdict = judged(path, rerun)
        assert verdict.level == level, verdict.reasons
        for attack in ("none", ATTACKS[task]):
            (true,) = (examples(one).values for one, _ in own.results.values() if one.cell.attack == attack)
            assert values_of(seen(path, verdict), attack) == true
    changed = [one for one, _ in own.results.values() if lie(one, b"")[0] != one]
    assert sum(bool(cell.corrected) for cell in verdict.cells) == len(changed) > 0


@pytest.mark.parametrize("task", ["speech-digits", "image-digits", "control-cartpole"])
def test_weights_are_compared(task: str, honest: Callable[[str], Honest], tmp_path: Path) -> None:
    from leaderboard.bundle.errors import BundleError

    def heavy(result: Result, data: bytes) -> tuple[Result, bytes]:
        weights = tuple(1e9 for _ in examples(result).weights)
        return replace(result, examples=replace(examples(result), weights=weights)), data

    try:
        reasons = judged(honest(task).bundle(tmp_path, heavy), 0).reasons
    except BundleError as error:  # accuracy's are known without a model
        reasons = (str(error),)
    assert "weigh" in reasons[0]


@pytest.mark.parametrize("task", ATTACKS)
def test_no_other_tensors_stand_for_the_examples(task: str, honest: Callable[[str], Honest], tmp_path: Path) -> None:
    own = honest(task)
    broken = 0.0 if task != "speech-digits" else 9.0

    def vague(result: Result, _: bytes) -> tuple[Result, bytes]:
        values = tuple(broken for _ in examples(result).values)
        return replace(result, examples=replace(examples(result), values=values)), save({"vectors": torch.zeros(1)})

    def more(result: Result, data: bytes) -> tuple[Result, bytes]:
        return result, save({**load(data), "vectors": torch.zeros(1)})

    entry = own.bundle(tmp_path)
    for change in (vague, more):
        verdict = judged(own.stronger(tmp_path, entry, change))
        assert verdict.level == "refused"
        assert "tensors" in verdict.reasons[0]
        assert judged(own.bundle(tmp_path / change.__name__, only_attacks(change)), 0).level == "refused"


def test_small_lies_about_a_rival_do_not_add_up(honest: Callable[[str], Honest], tmp_path: Path) -> None:
    """One row of a hundred and twenty in each of many cells."""
    own = honest("image-digits")
    entry = own.bundle(tmp_path)

    def lie(result: Result, data: bytes) -> tuple[Result, bytes]:
        values = list(examples(result).values)
        values[result.cell.seed] = 0.0
        return replace(result, examples=replace(examples(result), values=tuple(values))), data

    path = own.stronger(tmp_path, entry, lie, seeds=range(12))
    verdict = judged(path)
    assert verdict.level == "re-scored", verdict.reasons
    rival, eve = seen(entry, judged(entry, 0)), seen(path, verdict)
    before = robust(row_of(rival))
    assert robust(row_of(rival, [open_bundle(path)])) < before  # as claimed they would
    assert robust(row_of(rival, [eve])) == before


def test_a_stranger_adds_no_columns_and_no_odd_settings(honest: Callable[[str], Honest], tmp_path: Path) -> None:
    own = honest("image-digits")
    entry = own.bundle(tmp_path)

    def drawn(result: Result, data: bytes) -> tuple[Result, bytes]:
        columns = {"budget_x0.25": tuple(0.0 for _ in examples(result).values)}
        return replace(result, examples=replace(examples(result), columns=columns)), data

    assert "does not ask for" in judged(own.stronger(tmp_path, entry, drawn)).reasons[0]
    assert "does not ask for" in judged(own.bundle(tmp_path / "drawn", drawn)).reasons[0]
    for number, odd in enumerate(({"batch_size": 0}, {"goal": "x"}, {"batch_size": 1 << 40})):

        def set_(result: Result, data: bytes, odd: dict[str, object] = odd) -> tuple[Result, bytes]:
            cell = replace(result.cell, **odd)  # type: ignore[arg-type]
            return replace(result, cell=cell, id=cell.id), data

        (tmp_path / f"odd{number}").mkdir()
        path = _against(own, tmp_path / f"odd{number}", entry, set_)
        assert judged(path).level == "refused"


def _against(own: Honest, folder: Path, entry: Path, change: Change) -> Path:
    (source,) = (one for one in own.results.values() if one[0].cell.attack != "none")
    cell = change(*source)[0].cell
    results = {cell.id: (replace(source[0], cell=cell, id=cell.id), source[1])}
    moved = Honest(own.made, own.cells, results, own.suite, own.place)
    return moved.stronger(folder, entry, lambda one, data: (one, data), seeds=(cell.seed,))


def test_a_re_run_may_differ_and_not_lean() -> None:
    """Other kernels end a search elsewhere; a cheat's examples are better than they are, all of them."""
    claimed = [1.0, 0.0] * 200
    mixed = [1 - value if row < 64 else value for row, value in enumerate(claimed)]
    assert _worse_of("it", claimed, mixed, min) == [0.0] * 64 + claimed[64:]
    leaning = [0.0 if row < 64 else value for row, value in enumerate(claimed)]
    with pytest.raises(BundleError, match="it come out worse than claimed: 32 of 400"):
        _worse_of("it", claimed, leaning, min)
    assert _worse_of("it", leaning, claimed, min) == leaning  # a record that is too modest harms nobody
    assert _worse_of("it", [0.0] * 8, [0.0] * 7 + [3.0], max) == [0.0] * 7 + [3.0]
    with pytest.raises(BundleError, match="20 of 20"):
        _worse_of("it", [0.0] * 20, [3.0] * 20, max)


def test_costs_columns_and_diagnostics_are_the_verifiers(honest: Callable[[str], Honest], tmp_path: Path) -> None:
    own = honest("image-digits")

    def cheap(result: Result, data: bytes) -> tuple[Result, bytes]:
        return replace(result, cost=Cost(forwards=10**11)) if data else result, data

    assert "forwards" in judged(own.bundle(tmp_path / "cheap", cheap)).reasons[0]
    found = Diagnostic("batched-not-single", "invalid", "rows meet")
    path = own.bundle(tmp_path / "plain")
    verdict = judged(path)
    cells = tuple(replace(cell, diagnostics=(found,)) for cell in verdict.cells)
    shown = seen(path, replace(verdict, cells=cells))
    assert all(one.diagnostics == (found,) for one in shown.records.values())
    assert row_of(shown).unranked


def test_what_a_record_says_of_itself_hides_nothing(honest: Callable[[str], Honest], tmp_path: Path) -> None:
    """A milder diagnostic of the same name, or a stronger attack in the place of one's own invalid cell."""
    own = honest("image-digits")
    grave = Diagnostic("batched-not-single", "invalid", "rows meet")

    def mild(result: Result, data: bytes) -> tuple[Result, bytes]:
        return replace(result, diagnostics=(replace(grave, severity="suspect"),)), data

    def worse(result: Result, data: bytes) -> tuple[Result, bytes]:
        values = tuple(0.0 for _ in examples(result).values)
        return replace(result, examples=replace(examples(result), values=values)), data

    path = own.bundle(tmp_path, mild)
    verdict = judged(path)
    cells = tuple(replace(cell, diagnostics=(grave,)) for cell in verdict.cells)
    entry = seen(path, replace(verdict, cells=cells))
    assert row_of(entry).verdict == "invalid"
    again = open_bundle(own.stronger(tmp_path, path, worse, seeds=(0,)))
    assert set(again.records) < set(entry.records)
    row = row_of(entry, [again])
    assert row.verdict == "invalid"
    assert robust(row) == 0


def test_a_stranger_makes_no_entry_suspect(honest: Callable[[str], Honest], tmp_path: Path) -> None:
    """By an attack that is called noise, or a transfer, and does better than the entry's own."""
    own = honest("image-digits")
    path = own.bundle(tmp_path)
    entry = seen(path, judged(path, 0))
    before = row_of(entry)
    (source,) = (one[0] for one in own.results.values() if one[0].cell.attack != "none")
    for attack, access in (("noise-x", "none"), ("x", "surrogate")):
        cell = replace(source.cell, attack=attack, threat=f"{source.cell.threat.partition('@')[0]}@{access}")
        result = replace(source, id=cell.id, cell=cell)
        values = tuple(0.0 for _ in examples(result).values)
        lowered = replace(result, examples=replace(examples(result), values=values))
        eve = dataclasses.replace(entry, id="e" * 64, records={cell.id: lowered})
        row = row_of(entry, [eve])
        assert robust(row) == 0
        assert (row.verdict, row.findings) == (before.verdict, before.findings)
        assert f"stronger-{attack}" in {one.attack for threat in row.threats for one in threat.attacks}


def test_what_others_measured_completes_no_entry(honest: Callable[[str], Honest], tmp_path: Path) -> None:
    """An owner whose model answers no search submits noise against it from another account."""
    own = honest("image-digits")
    path = own.bundle(tmp_path)
    entry = seen(path, judged(path, 0))
    (source,) = (one[0] for one in own.results.values() if one[0].cell.attack != "none")
    place = source.cell.threat.partition("@")[0]
    for access in ("none", "surrogate", "gradient"):
        cell = replace(source.cell, attack="x", threat=f"{place}@{access}")
        eve = dataclasses.replace(entry, id="e" * 64, records={cell.id: replace(source, id=cell.id, cell=cell)})
        (found,) = counted(eve, entry.records).values()
        assert found.cell.threat == f"{place}@gradient"
        assert not is_search(found.cell)
        assert is_search(cell) == (access == "gradient")


def test_a_model_comes_back_with_the_attacks_against_it(honest: Callable[[str], Honest], tmp_path: Path) -> None:
    """Under another name and with other words: it is the model that was attacked."""
    own = honest("image-digits")
    entry = own.bundle(tmp_path)

    def worse(result: Result, data: bytes) -> tuple[Result, bytes]:
        values = tuple(0.0 for _ in examples(result).values)
        return replace(result, examples=replace(examples(result), values=values)), data

    eve = open_bundle(own.stronger(tmp_path, entry, worse))
    renamed = {
        cell_id: replace(one, cell=replace(one.cell, model="other", defense="a better one"))
        for cell_id, one in open_bundle(entry).records.items()
    }
    (found,) = counted(eve, renamed).values()
    assert (found.cell.model, found.cell.defense) == ("other", "a better one")
