"""What examples were before they were disturbed, for pages: as each task's entry says. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adversarial.entries import TaskEntry
from adversarial.errors import UnknownName
from adversarial.registry import Registry, resolve
from leaderboard.records.examples import Disturbed, Original, Originals
from leaderboard.records.record import Cell
from tasks.data import CustomData


def clean_examples(registry: Registry, data: Sequence[CustomData] = ()) -> Originals:
    """Looks up the examples of cells on the tasks' own data, and on these of users; nothing for other data, nor for
    tasks that are not known or show nothing. The lookup raises DataError where bundled data are damaged.
    """
    custom = {(one.data_hash(split), split): one for one in data for split in one.manifest.splits}
    tasks = {task.name: task for task in registry.tasks() if task.clean_examples}

    def found(cell: Cell, disturbed: Mapping[str, Disturbed]) -> Mapping[str, Original]:
        task, given = tasks.get(cell.task), custom.get((cell.data_hash, cell.split))
        if task is None or (given is None and _data_hash(task, cell.split) != cell.data_hash):
            return {}
        known: Mapping[str, Original] = resolve(task.clean_examples)(cell, disturbed, given)
        return known

    return found


def _data_hash(task: TaskEntry, split: str) -> str:
    """Of the task's own data; empty where it has no such split."""
    try:
        return str(resolve(task.data_hash)(split))
    except UnknownName:
        return ""
