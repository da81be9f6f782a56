"""Where a machine has what planned cells name. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from benchmarks.running.devices import CPU
from tasks.data import CustomData


@dataclass(frozen=True, slots=True)
class Workplace:
    """Paths and devices of one machine, for cells that any machine can measure.

    plugins: files. sources: where custom models come from, by task and name. data: folders of prepared data, by their
    id. devices: what cells are measured on, a worker each where they are accelerators.
    """

    plugins: tuple[Path, ...] = ()
    sources: Mapping[tuple[str, str], str] = field(default_factory=dict)
    data: Mapping[str, Path] = field(default_factory=dict)
    devices: tuple[str, ...] = (CPU,)

    @classmethod
    def of(
        cls,
        plugins: Sequence[Path] = (),
        data: CustomData | None = None,
        device: str = CPU,
        sources: Mapping[tuple[str, str], str] | None = None,
    ) -> Workplace:
        """data: the only ones that the cells are on. device: as a user names it; see devices_of."""
        from benchmarks.running.devices import devices_of

        folders = {} if data is None else {data.id: data.folder}
        return cls(tuple(path.absolute() for path in plugins), dict(sources or {}), folders, devices_of(device))

    def on(self, device: str) -> Workplace:
        """The same with one device alone: what a worker is given."""
        return replace(self, devices=(device,))


NOWHERE: Final = Workplace()  # where nothing is needed but what ships
