"""Bundles of honest measurements, and what a cheat makes of them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from model_sources import load_model
from stores import KEY, STRANGER

from benchmarks.catalog import catalog
from benchmarks.running.cells import PlannedCell
from benchmarks.running.measuring import measure
from benchmarks.running.planning import Settings
from benchmarks.running.workplace import Workplace
from benchmarks.submitting.entry import Submission, cells_of, pack
from benchmarks.suites.suite import suite_named
from benchmarks.verifying.bundles import verify
from leaderboard.bundle.manifest import EntryFacts
from leaderboard.bundle.reading import Bundle, open_bundle
from leaderboard.bundle.writing import Parts, write_bundle
from leaderboard.database.scoring import score_entry
from leaderboard.database.suites import SuiteFacts
from leaderboard.database.verified import corrected
from leaderboard.records.canonical import canonical_json
from leaderboard.records.record import Examples, Result
from leaderboard.records.run_folder import RunFolder
from leaderboard.records.verdict import Verdict, decode_verdict
from leaderboard.scoring.rows import TaskRow


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
    place: Workplace

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


def measured(folder: Path, task: str, suite: str = "mini@1", attacks: Sequence[str] = (), limit: int = 0) -> Honest:
    """attacks, limit: those of the table above where they are not given."""
    attacks, limit = attacks or (ATTACKS[task],), limit or LIMITS[task]
    folder.mkdir(exist_ok=True)
    shutil.copytree(Path(catalog().task(task).folder) / "undefended", folder / "model")
    source = f"torch:{folder / 'model'}"
    facts = EntryFacts(name="mine", task=task, defense="none", url="", licence="")
    submitted = Submission(facts, source, load_model(source, task))
    cells = cells_of(submitted, suite_named(catalog(), suite), catalog(), Settings(limit=limit))
    unranked = suite_named(catalog(), suite).unrealisable
    wanted = [
        cell
        for cell in cells
        if cell.cell.attack in ("none", *attacks) and not cell.cell.threat.startswith(tuple(unranked))
    ]
    place = Workplace(sources={(task, "mine"): source})
    found = {cell.id: measure(cell, place) for cell in wanted}
    results = {cell_id: (one.result, one.evidence) for cell_id, one in found.items()}
    return Honest(submitted, cells, results, f"{suite}-limit{limit}", place)


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
    suite, manifest = suite_named(catalog(), "mini@1"), entry.manifest
    facts = SuiteFacts(manifest.suite, dict(suite.ranking_threats), tuple(suite.unrealisable))
    return msgspec.json.decode(score_entry(entry, stronger, facts).row, type=TaskRow)


def robust(row: TaskRow) -> float:
    """The worst case over all attacks that there are."""
    (threat,) = (one for one in row.threats if one.ranking)
    assert threat.robust is not None
    return threat.robust.quality
