"""A task by its registry entry, on its own data or a user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adversarial.entries import TaskEntry
from adversarial.errors import InvalidOption
from adversarial.registry import resolve
from tasks.data import CustomData


if TYPE_CHECKING:
    from tasks.measuring.protocol import Task


def task_of(entry: TaskEntry, data: CustomData | None = None) -> Task:
    """Raises InvalidOption where the data are another task's."""
    task: Task
    if data is None:
        task = resolve(entry.code)()
        return task
    if data.task != entry.name or not entry.custom_data:
        raise InvalidOption(f"the data in {data.folder} were prepared for {data.task}, not for {entry.name}")
    task = resolve(entry.custom_data)(data)
    return task
