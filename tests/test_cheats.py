"""What a cheat would try: records and evidence that pass by their form and would rank a wrong number."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load, save
from stores import KEY, STRANGER

from benchmarks.catalog import catalog
from benchmarks.measuring import measure
from benchmarks.planning import PlannedCell, Settings
from benchmarks.submitting import Submission, cells_of, pack
from benchmarks.suites import suite_named
from benchmarks.verifying import Verdict, verify
from leaderboard.bundle.manifest import EntryFacts
from leaderboard.bundle.reading import Bundle, open_bundle
from leaderboard.bundle.writing import Parts, write_bundle
from leaderboard.database.scoring import score_entry
from leaderboard.database.suites import SuiteFacts
from leaderboard.database.verdicts import decode_verdict
from leaderboard.database.verified import corrected
from leaderboard.results import Cost, Diagnostic, Examples, Result, canonical_json
from leaderboard.rows import TaskRow
from leaderboard.store import RunFolder
from tasks.bring import bring, parse


replace = msgspec.structs.replace
ATTACKS = {
    "image-digits": "noise",
    "speech-digits": "noise",
    "sentiment-reviews": "hotflip",
    "control-cartpole": "noise",
}
LIMITS = {"image-digits": 120, "speech-digits": 6, "sentiment-reviews": 12, "control-cartpole": 12}
Change = Callable[[Result, bytes], tuple[Result, bytes]]


@dataclass(frozen=True)
class Honest:
    """A clean pass and one attack of a reference model under another name, and how a bundle is made of them."""

    made: Submission
    cells: Sequence[PlannedCell]
    results: Mapping[str, tuple[Result, bytes]]
    suite: str

    def bundle(self, folder: Path, change: Change = lambda result, data: (result, data)) -> Path:
        """Packs the records as `change` makes them."""
        runs = RunFolder(folder / "runs")
        for cell_id, (result, data) in self.results.items():
            new, evidence = change(result, data)
            stored = {f"{cell_id}.safetensors": runs.write_artifact(cell_id, evidence)} if evidence else {}
            runs.write_result(replace(new, artifacts=stored))
        pack(folder / "one.rab", self.made, self.suite, self.cells, runs, KEY)
        return folder / "one.rab"

    def stronger(self, folder: Path, entry: Path, change: Change, seeds: Sequence[int] = (7,)) -> Path:
        """Packs the attack as a stranger's against the entry, once for each seed."""
        against = open_bundle(entry)
        manifest, records, evidence = against.manifest, [], {}
        (source,) = (one for one in self.results.values() if one[0].cell.attack != "none")
        for seed in seeds:
            cell = replace(source[0].cell, seed=seed)
            new, data = change(replace(source[0], cell=cell, id=cell.id), source[1])
            stored = {f"{cell.id}.safetensors": hashlib.sha256(data).hexdigest()}
            records.append(replace(new, artifacts=stored))
            evidence[cell.id] = data
        parts = Parts(
            entry=manifest.entry,
            suite=manifest.suite,
            benchmark=manifest.benchmark,
            model_hash=manifest.model_hash,
            data_hash=manifest.data_hash,
            plan={one.id: one.cell.label for one in records},
            versions=dict(manifest.versions),
            kind="stronger-attack",
            target=against.id,
        )
        model = {name: against.model_file(name) for name in against.model_files}
        write_bundle(folder / "two.rab", parts, records=records, evidence=evidence, model_files=model, key=STRANGER)
        return folder / "two.rab"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Honest]:
    known: dict[str, Honest] = {}

    def made(task: str) -> Honest:
        if task not in known:
            known[task] = _measured(tmp_path_factory.mktemp(task), task)
        return known[task]

    return made


def _measured(folder: Path, task: str) -> Honest:
    shutil.copytree(Path(catalog().task(task).folder) / "undefended", folder / "model")
    source = f"torch:{folder / 'model'}"
    facts = EntryFacts(name="mine", task=task, defense="none", url="", licence="")
    submitted = Submission(facts, source, bring(parse(source), task, torch.device("cpu")))
    cells = cells_of(submitted, suite_named("mini@1"), catalog(), Settings(limit=LIMITS[task]))
    ranked = suite_named("mini@1").ranking_threats[task]
    wanted = [
        cell
        for cell in cells
        if cell.cell.attack == "none" or (cell.cell.attack == ATTACKS[task] and cell.cell.threat.startswith(ranked))
    ]
    found = {cell.id: measure(cell) for cell in wanted}
    results = {cell_id: (one.result, one.evidence) for cell_id, one in found.items()}
    return Honest(submitted, cells, results, f"mini@1-limit{LIMITS[task]}")


def examples(result: Result) -> Examples:
    assert result.examples is not None
    return result.examples


def judged(path: Path, rerun: int = 99) -> Verdict:
    return verify(path, catalog(), rerun=rerun, nonce="00")


def only_attacks(change: Change) -> Change:
    return lambda result, data: change(result, data) if data else (result, data)


def seen(path: Path, verdict: Verdict) -> Bundle:
    return corrected(open_bundle(path), decode_verdict(canonical_json(verdict)))


def values_of(bundle: Bundle, attack: str) -> tuple[float, ...]:
    (found,) = (examples(one).values for one in bundle.records.values() if one.cell.attack == attack)
    return found


def row_of(entry: Bundle, stronger: Sequence[Bundle] = ()) -> TaskRow:
    suite, manifest = suite_named("mini@1"), entry.manifest
    facts = SuiteFacts(manifest.suite, dict(suite.ranking_threats), tuple(suite.unrealisable))
    return msgspec.json.decode(score_entry(entry, stronger, facts).row, type=TaskRow)


def robust(row: TaskRow) -> float:
    """The worst case over all attacks that there are."""
    (threat,) = (one for one in row.threats if one.ranking)
    assert threat.robust is not None
    return threat.robust.quality


@pytest.mark.parametrize("task", ATTACKS)
def test_what_is_honest_is_measured_again_to_the_last_digit(
    task: str, honest: Callable[[str], Honest], tmp_path: Path
) -> None:
    verdict = judged(honest(task).bundle(tmp_path))
    assert verdict.level == "re-run", verdict.reasons
    assert {cell.detail for cell in verdict.cells} == {"the same to the last digit"}
    assert all(not cell.corrected for cell in verdict.cells)


def test_one_return_beyond_all_is_the_verifiers_own_on_the_board(
    honest: Callable[[str], Honest], tmp_path: Path
) -> None:
    """A share of rows may round otherwise on another machine; a return has no upper end."""

    def rich(result: Result, data: bytes) -> tuple[Result, bytes]:
        values = examples(result).values
        return replace(result, examples=replace(examples(result), values=(1e12, *values[1:]))), data

    path = honest("control-cartpole").bundle(tmp_path, rich)
    assert judged(path, 0).level == "refused"  # of so few episodes none may differ
    own = honest("image-digits")

    def right(result: Result, data: bytes) -> tuple[Result, bytes]:
        values = list(examples(result).values)
        values[values.index(0.0)] = 1.0
        return replace(result, examples=replace(examples(result), values=tuple(values))), data

    path = own.bundle(tmp_path / "image", right)
    verdict = judged(path)
    assert verdict.level == "re-run", verdict.reasons
    assert all(len(cell.corrected) == 1 for cell in verdict.cells)
    true = [examples(one).values for one, _ in own.results.values() if one.cell.attack == "noise"]
    assert values_of(open_bundle(path), "noise") != true[0]
    assert values_of(seen(path, verdict), "noise") == true[0]


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
    moved = Honest(own.made, own.cells, {cell.id: (replace(source[0], cell=cell, id=cell.id), source[1])}, own.suite)
    return moved.stronger(folder, entry, lambda one, data: (one, data), seeds=(cell.seed,))


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
    from leaderboard.database.scoring import counted

    (found,) = counted(eve, renamed).values()
    assert (found.cell.model, found.cell.defense) == ("other", "a better one")
