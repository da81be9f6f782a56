"""Rows of a data set, from a file, a folder or the Hub, by `datasets`."""

from __future__ import annotations

import contextlib
import csv
import glob
import hashlib
import io
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from adversarial.errors import DataError, UnknownName


MIRROR: Final = "ROBUSTARENA_HUB_MIRROR"  # a folder laid out as <owner>/<name>, where there is no network
_EMPTY: Final = {"keep_default_na": False, "na_values": [""]}  # the words "null" and "None" are words
FILES: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    ".csv": ("csv", _EMPTY),
    ".tsv": ("csv", {"sep": "\t", **_EMPTY}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
    ".parquet": ("parquet", {}),
}
FIT_ROWS: Final = 512  # that attacks learn on
FIT_SHARE: Final = 4  # one row in so many is learned on where a data set is in one piece
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*")
_TEST: Final = ("test", "validation", "valid", "dev")
_FIT: Final = ("train", "validation", "valid", "dev")


@dataclass(frozen=True, slots=True)
class Selection:
    """What of which data. columns: a column's name by its role, such as `label`. split: that is attacked. fit_split:
    that attacks learn on. classes: their names, in the order of the labels. options: numbers that examples are brought
    to, as the task names them."""

    source: str
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str = ""
    fit_split: str = ""
    classes: tuple[str, ...] = ()
    options: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a split in the order in which they are attacked. numbers: their places in the split of the source.

    name: of that split. folder: what a path in a row is relative to.
    """

    name: str
    table: Any
    numbers: tuple[int, ...]
    columns: Mapping[str, str]
    folder: Path

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each row's place in the source, and its values by role."""
        for number in self.numbers:
            row = self.table[number]
            yield number, {role: row[name] for role, name in self.columns.items()}

    def names_of(self, role: str) -> tuple[str, ...]:
        """What the data set itself calls the classes of a column; empty where it does not say."""
        return tuple(getattr(self.table.features[self.columns[role]], "names", None) or ())

    def values_of(self, role: str) -> list[Any]:
        """A column alone."""
        return list(self.table.select(self.numbers)[self.columns[role]])


def read(selection: Selection, roles: Mapping[str, Sequence[str]]) -> tuple[Rows, Rows]:
    """The rows to attack and the rows to learn on, shuffled by their number, so that the first ones are a fair sample.

    roles: what columns are called where the user does not say, by role. Raises DataError and UnknownName.
    """
    splits, folder = _splits(selection.source)
    test = _named(selection.split, splits, _TEST, "split")
    rest = {name: rows for name, rows in splits.items() if name != test}
    fit = ""
    if selection.fit_split or rest:
        fit = _named(selection.fit_split, splits if selection.fit_split else rest, _FIT, "fit split")
    if fit == test:
        raise DataError(f"attacks must not learn on what they are measured on: {test} is both; choose another split")
    columns = _columns(selection.columns, roles, list(splits[test].column_names))
    if fit and (missing := set(columns.values()) - set(splits[fit].column_names)):
        raise DataError(f"the split {fit} has no column {', '.join(sorted(missing))}, and {test} has")
    order = _shuffled(len(splits[test]))
    if fit:
        learned = _shuffled(len(splits[fit]))[:FIT_ROWS]
        return (
            Rows(test, splits[test], tuple(order), columns, folder),
            Rows(fit, splits[fit], tuple(learned), columns, folder),
        )
    few = len(order) // FIT_SHARE
    if not few:
        raise DataError(f"{selection.source} has {len(order)} rows; at least {FIT_SHARE} are needed")
    parts = order[few:], order[:few][:FIT_ROWS]
    rows, learned_on = (Rows(test, splits[test], tuple(part), columns, folder) for part in parts)
    return rows, learned_on


def opened(value: Any, folder: Path) -> Path | io.BytesIO:
    """A file that a row names or holds: its bytes, its path, or both in a dict. Raises TypeError where it has none."""
    path: Any = value
    if isinstance(value, dict):
        path = value.get("bytes") or value.get("path")
    if isinstance(path, bytes):
        return io.BytesIO(path)
    if not isinstance(path, str):
        raise TypeError("the column holds no file")
    return folder / path


def _splits(source: str) -> tuple[dict[str, Any], Path]:
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() not in FILES:
            raise DataError(f"{path}: expected a file that ends in {', '.join(FILES)}, or a folder")
        kind, options = FILES[path.suffix.lower()]
        if kind == "csv":
            # 007 is said with two zeros: a column that is guessed to hold numbers has lost them.
            options = {**options, "converters": dict.fromkeys(_header(path, str(options.get("sep", ","))), str)}
        # A path is a pattern to `datasets`, and a split must have a name of its own; a file alone is its one split.
        return _loaded(source, kind, data_files={"train": glob.escape(str(path))}, **options), path.parent
    if path.is_dir():
        if glob.escape(source) != source:
            raise DataError(f"{source}: a folder's name with *, ? or [ is read as a pattern; rename it")
        return _loaded(source, str(path)), path
    if not _HUB_ID.fullmatch(source):
        raise DataError(f"there is no file or folder {path}, and OWNER/NAME of a data set on the Hub looks otherwise")
    mirrored = Path(os.environ[MIRROR]) / source if MIRROR in os.environ else None
    if mirrored is not None and mirrored.is_dir():
        return _loaded(source, str(mirrored)), mirrored
    return _loaded(source, source), Path()


def _header(path: Path, separator: str) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return next(csv.reader(file, delimiter=separator), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a data set: {error}") from None


def _loaded(source: str, *arguments: str, **options: Any) -> dict[str, Any]:
    import datasets

    with _quiet(datasets):
        try:
            builder = datasets.load_dataset_builder(*arguments, **options)
            if getattr(builder, "BASE_FEATURE", None) is datasets.Audio:
                builder.BASE_FEATURE = _named_sounds(datasets)
            builder.download_and_prepare()
            found = builder.as_dataset()
        except Exception as error:  # what its readers raise is of many kinds
            first: BaseException = error
            while first.__cause__ is not None:
                first = first.__cause__
            line = " ".join(str(first).split())[:300]
            raise DataError(f"{source} cannot be read as a data set: {line or type(error).__name__}") from None
        if not isinstance(found, datasets.DatasetDict) or not found:
            raise DataError(f"{source} holds no splits of rows")
        return {str(name): _undecoded(rows, datasets) for name, rows in found.items()}


def _named_sounds(datasets: Any) -> Any:
    """The kind of a column of sound files that need only be named: `datasets` asks for a library that decodes them."""

    class Named(datasets.Audio):  # type: ignore[misc]
        def encode_example(self, value: Any) -> dict[str, Any]:
            return value if isinstance(value, dict) else {"bytes": None, "path": str(value)}

    return Named


def _undecoded(rows: Any, datasets: Any) -> Any:
    """Sounds and pictures stay as their bytes, and are decoded where their row is known: by soundfile and Pillow."""
    for name, kind in rows.features.items():
        for base in (datasets.Audio, datasets.Image):
            if isinstance(kind, base):
                rows = rows.cast_column(name, base(decode=False))
    return rows


@contextlib.contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    shown, level = datasets.are_progress_bars_disabled() is False, datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)  # what is wrong is raised as well
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if shown:
            datasets.enable_progress_bars()


def _named(given: str, splits: Mapping[str, Any], usual: Sequence[str], what: str) -> str:
    if given:
        if given not in splits:
            raise UnknownName.among(what, given, splits)
        return given
    return next((name for name in usual if name in splits), next(iter(splits)))


def _columns(given: Mapping[str, str], roles: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, str]:
    if unknown := [role for role in given if role not in roles]:
        raise UnknownName.among("column of the task", unknown[0], roles)
    found = {}
    for role, usual in roles.items():
        if role in given:
            if given[role] not in names:
                raise UnknownName.among(f"column (for {role})", given[role], names)
            found[role] = given[role]
            continue
        fitting = [name for name in usual if name in names]
        if len(fitting) != 1:
            what = "no column is" if not fitting else f"{' and '.join(fitting)} are all"
            raise DataError(
                f"{what} called {', '.join(usual)}: say which one is the {role} with --column {role}=NAME; "
                f"there are {', '.join(names)}"
            )
        found[role] = fitting[0]
    return found


def _shuffled(count: int) -> list[int]:
    """Data sets are often sorted by class; by a hash of their number rows are mixed, everywhere alike."""
    return sorted(range(count), key=lambda number: hashlib.sha256(b"row %d" % number).digest())
