"""Options and the command for a user's own data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli.options import F, plugin_option


if TYPE_CHECKING:
    from adversarial.entries import TaskEntry
    from tasks.data import CustomData
    from tasks.data.reading import Selection


_ROLES = "What a column is called, by its role in the task, such as label=stars."
FOLDER = "data"  # of prepared data, within the folder of the records


@dataclass(frozen=True, slots=True)
class Chosen:
    """The data that a command line names."""

    selection: Selection

    def prepared(self, task: TaskEntry, folder: Path) -> CustomData:
        """Opens what is prepared already, prepares anything else into `folder`, and says what was left out."""
        from adversarial.errors import InvalidOption
        from tasks.data import is_prepared, open_data
        from tasks.data.preparing import prepare as prepared
        from tasks.data.reading import Selection

        source = Path(self.selection.source)
        if not is_prepared(source):
            made = prepared(self.selection, task, folder)
            for note in made.notes:
                click.echo(f"note: {note}", err=True)
            return made
        if replace(self.selection, source="") != Selection(""):
            raise InvalidOption(
                f"{source} is prepared already: --column, --split, --fit-split, --classes, --size and "
                "--rate are for what it was made of"
            )
        found = open_data(source)
        if found.task != task.name:
            raise InvalidOption(f"the data in {source} were prepared for {found.task}, not for {task.name}")
        return found

    @contextmanager
    def for_a_while(self, task: TaskEntry) -> Iterator[CustomData]:
        """As prepared, for commands that keep no records."""
        with tempfile.TemporaryDirectory() as scratch:
            yield self.prepared(task, Path(scratch))


def data_options(command: F) -> F:
    """`--data` and what it needs to be read; the command gets one argument, `custom`, None without `--data`."""

    @wraps(command)
    def collected(**values: Any) -> Any:
        source = values.pop("data")
        given = {name: values.pop(name) for name in ("columns", "split", "fit_split", "classes", "size", "rate")}
        if source is None and any(given.values()):
            raise click.UsageError(
                "--column, --split, --fit-split, --classes, --size and --rate say how to read --data"
            )
        return command(custom=None if source is None else _chosen(source, **given), **values)

    wrapped: Any = collected
    for option in reversed(
        (
            click.option("--data", metavar="SOURCE", help="Own data: a folder, a file, or a data set's id on the Hub."),
            *_reading_options(),
        )
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def prepared_option(command: F) -> F:
    """`--data` of whoever runs a board: folders that `prepare` wrote."""
    return click.option(
        "--data",
        "data",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        multiple=True,
        help="Own data on which entries are taken, prepared by `robustarena prepare`; may be given several times.",
    )(command)


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--task", required=True, help="Which task's data they take the place of.")
@plugin_option
def prepare(source: str, folder: Path, task: str, plugins: tuple[Path, ...], **given: Any) -> None:
    """Read the data in SOURCE once and write them into FOLDER, under a name that says what they are.

    SOURCE is a file (csv, tsv, json, jsonl, parquet), a folder (of those, or of pictures or sounds in folders), or the
    id of a data set on the Hub. Whoever verifies an entry on own data needs the folder that this prints.
    """
    from benchmarks.catalog import catalog

    found = _chosen(source, **given).prepared(catalog(plugins).task(task), folder)
    rows = ", ".join(f"{name} {split.rows}" for name, split in sorted(found.manifest.splits.items()))
    click.echo(f"{found.folder}  {found.suffix}  {rows}")


def _reading_options() -> tuple[Any, ...]:
    return (
        click.option("--column", "columns", multiple=True, metavar="ROLE=NAME", help=_ROLES),
        click.option("--split", default="", help="Which split is attacked; test by default."),
        click.option("--fit-split", default="", help="Which split attacks learn on; train by default."),
        click.option("--classes", default="", metavar="A,B", help="Names of the classes, in the order of the labels."),
        click.option("--size", type=click.IntRange(1, 1024), help="Pixels a side that pictures are brought to."),
        click.option("--rate", type=click.IntRange(4000, 96000), help="Hz that sounds are brought to."),
    )


for _option in reversed(_reading_options()):
    _option(prepare)


def _chosen(
    source: str,
    *,
    columns: tuple[str, ...],
    split: str,
    fit_split: str,
    classes: str,
    size: int | None,
    rate: int | None,
) -> Chosen:
    from tasks.data.reading import Selection

    named = {}
    for text in columns:
        role, equals, name = text.partition("=")
        if not (equals and role and name):
            raise click.UsageError(f"expected --column ROLE=NAME, got {text!r}")
        named[role] = name
    names = tuple(name.strip() for name in classes.split(",")) if classes else ()
    options = {name: value for name, value in (("size", size), ("rate", rate)) if value is not None}
    return Chosen(Selection(source, named, split, fit_split, names, options))
