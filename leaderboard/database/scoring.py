"""From an accepted bundle to its row on a board. Worked out once and kept; what it was worked out from is hashed."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from leaderboard.bundle.reading import Bundle
from leaderboard.database.suites import SuiteFacts
from leaderboard.records.canonical import canonical_json
from leaderboard.records.metric import Metric
from leaderboard.records.plan import Plan
from leaderboard.records.record import OF_OTHERS, Cell, Result
from leaderboard.records.threats import without_access
from leaderboard.scoring.board import scored_board
from leaderboard.scoring.scores import CLEAN
from leaderboard.scoring.statistics import Sample


# Raised where code here or below changes what a row says: every row is then worked out again.
SCORING_VERSION: Final = 4
STRONGER: Final = "stronger"  # before the name of an attack that others made


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    task: str
    metric: Metric
    ids: tuple[str, ...]
    values: bytes
    weights: bytes


class Scored(msgspec.Struct, frozen=True):
    """row: a TaskRow as JSON, with no rank. sample: what ranks it, clean: its clean pass; packed, empty where there is
    none."""

    row: bytes
    sample: bytes
    clean: bytes


def basis_of(bundle: str, stronger: Sequence[str], facts: SuiteFacts) -> str:
    """What a row depends on, as SHA-256 in hexadecimal digits; stronger: bundles with attacks against the entry."""
    text = canonical_json([SCORING_VERSION, bundle, sorted(stronger), facts])
    return hashlib.sha256(text).hexdigest()


def score_entry(opened: Bundle, stronger: Iterable[Bundle], facts: SuiteFacts) -> Scored:
    """Scores an entry by its own records and the stronger attacks against it, whoever else is on the board.

    The bundles are as verification found them. Raises ResultError where the records contradict each other.
    """
    results, labels = dict(opened.records), dict(opened.manifest.plan)
    for other in sorted(stronger, key=lambda one: one.id):
        for cell_id, result in counted(other, opened.records).items():
            if cell_id not in results or _quality(result) < _quality(results[cell_id]):
                results[cell_id] = _lowered(results.get(cell_id), result)
                labels.setdefault(cell_id, result.cell.label)
    plan = Plan(
        suite=facts.name,
        ranking_threats=facts.ranking_threats,
        unrealisable_threats=facts.unrealisable_threats,
        cells=tuple(sorted(labels)),
        labels=labels,
    )
    board, samples = scored_board(plan, results, {})
    (task,) = board.tasks
    (row,) = task.rows
    sample, clean = (by_task[task.task].get(row.entry) for by_task in (samples.robust, samples.clean))
    return Scored(canonical_json(msgspec.structs.replace(row, rank=None)), pack(sample), pack(clean))


def pack(sample: Sample | None) -> bytes:
    """A sample as bytes, without further columns; none where there is none."""
    if sample is None:
        return b""
    values, weights = (np.asarray(one, "<f8").tobytes() for one in (sample.values, sample.weights))
    return zlib.compress(msgspec.msgpack.encode(_Packed(sample.task, sample.metric, sample.ids, values, weights)), 3)


def unpack(data: bytes, known: dict[tuple[str, ...], tuple[str, ...]]) -> Sample:
    """The sample of packed bytes. known: ids met before, so that ten thousand entries share one copy of them."""
    packed = msgspec.msgpack.decode(zlib.decompress(data), type=_Packed)
    ids = known.setdefault(packed.ids, packed.ids)
    values, weights = np.frombuffer(packed.values, "<f8"), np.frombuffer(packed.weights, "<f8")
    return Sample(packed.task, packed.metric, ids, values, weights)


def counted(bundle: Bundle, theirs: Mapping[str, Result]) -> dict[str, Result]:
    """The attacks of a bundle that count against an entry: measured, on the entry's own examples, under its name.

    Their diagnostics and columns are left out, and so is what they lack: a stranger's bundle may lower a number, and
    nothing else. The entry may have had another name then: it is the model that counts.
    """
    clean = next((one for one in theirs.values() if one.cell.attack == CLEAN and one.examples is not None), None)
    if clean is None or clean.examples is None:
        return {}
    weights = dict(zip(clean.examples.ids, clean.examples.weights, strict=True))
    return {
        cell_id: msgspec.structs.replace(
            result,
            cell=_as_search(result.cell, clean.cell),
            examples=msgspec.structs.replace(result.examples, columns={}),
            diagnostics=(),
        )
        for cell_id, result in bundle.records.items()
        if result.cell.attack != CLEAN
        and result.status == "ok"
        and result.examples is not None
        and result.metric == clean.metric
        and result.cell.model_hash == clean.cell.model_hash
        and dict(zip(result.examples.ids, result.examples.weights, strict=True)) == weights
    }


def _as_search(cell: Cell, entry: Cell) -> Cell:
    """The cell under the entry's name, as a search with gradients whatever its owner calls it: by noise or a transfer
    that does better than the entry's own attacks, a stranger could make the entry look suspect. It completes nothing:
    otherwise an owner could have noise of his own count as the search that his model refuses."""
    return msgspec.structs.replace(
        cell,
        model=entry.model,
        defense=entry.defense,
        attack=f"{STRONGER}-{cell.attack}",
        threat=f"{without_access(cell.threat)}@gradient",
        options={**cell.options, OF_OTHERS: True},
    )


def _lowered(own: Result | None, theirs: Result) -> Result:
    """A cell of the entry's with their values: what the entry's record says besides, against it too, stays."""
    if own is None or own.examples is None or theirs.examples is None:
        return theirs
    values = dict(zip(theirs.examples.ids, theirs.examples.values, strict=True))
    worse = tuple(values[name] for name in own.examples.ids)
    return msgspec.structs.replace(own, examples=msgspec.structs.replace(own.examples, values=worse))


def _quality(result: Result) -> float:
    if result.metric is None or result.examples is None:
        return 2.0  # above any quality: a measured cell takes the place of one that is not
    return result.metric.quality(sum(result.examples.values) / sum(result.examples.weights))
