"""What a submitter is told at the end: the scores of the model, what speaks against them, and where it stands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.running.planning import Settings
from leaderboard.printing import wording
from leaderboard.scoring.rows import Board, TaskBoard, TaskRow


def standing(board: Board, task: str, entry: str, references: Sequence[str], measuring: str) -> Iterator[str]:
    """Lines for people. references: the models of the task that ship and read the data. measuring: the command that
    measures them."""
    found = next(one for one in board.tasks if one.task == task)
    row = found.row(entry)
    assert row is not None, "the plan holds the entry"
    yield wording.printable(f"{entry} on {task}, {board.suite}")
    yield from _scores(found, row)
    for finding in row.findings:
        place = f"{finding.attack} ({finding.threat})"
        yield wording.printable(f"  {finding.severity:<7}  {place}: {finding.name}: {finding.detail}")
    measured = [one for one in found.rows if one.entry in references and one.rank is not None]
    if measured:
        yield from _places(found, entry)
    missing = [name for name in references if name not in {one.entry for one in measured}]
    if missing:
        which = "the reference models" if len(missing) == len(references) else ", ".join(missing)
        yield f"  to measure {which} beside it: {measuring}"


def command_for(suite: str, task: str, settings: Settings, out: Path, plugins: Sequence[Path] = ()) -> str:
    """The command that measures the reference models as the submitted model was."""
    words = ["robustarena", "run", suite, "--task", task]
    words += [] if settings.limit is None else ["--limit", str(settings.limit)]
    words += [] if settings.data is None else ["--data", str(settings.data.folder)]
    words += [part for plugin in plugins for part in ("--plugin", str(plugin))]
    return shlex.join([*words, "--out", str(out)])


def _scores(found: TaskBoard, row: TaskRow) -> Iterator[str]:
    metric = found.metric.name if found.metric is not None else "quality"
    clean, ranking = row.clean, row.ranking
    if clean is None:
        yield "  clean    not measured"
    else:
        yield f"  clean    {metric} {wording.metric(clean.metric)}  {wording.metric_interval(clean.metric_interval)}"
    if ranking is None or ranking.robust is None:
        yield f"  robust   not measured under {found.ranking_threat}"
    else:
        value, span = wording.worst_case(ranking, found.metric), wording.metric_interval(ranking.robust.metric_interval)
        counted = sum(one.counted for one in ranking.attacks)
        yield f"  robust   {metric} {value}  {span}  under {ranking.threat}, the worst of {counted} attacks"
        yield "           an upper bound: a stronger attack may leave less"
    if row.unranked:
        yield wording.printable(f"  no rank  {row.unranked}")


def _places(found: TaskBoard, entry: str) -> Iterator[str]:
    """Every entry with its rank and robust quality, this one marked."""
    width = max(len(row.entry) for row in found.rows)
    for row in found.rows:
        robust = row.ranking.robust if row.ranking is not None else None
        quality = wording.quality(robust.quality if robust is not None else None)
        span = wording.interval(robust.quality_interval) if robust is not None else ""
        mark = "*" if row.entry == entry else " "
        yield wording.printable(f"{mark} {wording.rank(row.rank):<5}  {row.entry:<{width}}  {quality}  {span}".rstrip())
