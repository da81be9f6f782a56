"""Commands that show what was measured. None of them imports torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adversarial.errors import DataError
from benchmarks.cli.data import FOLDER
from benchmarks.cli.options import F, json_option, out_option, plugin_option


if TYPE_CHECKING:
    from leaderboard.records.record import Result
    from leaderboard.records.run_folder import RunFolder
    from leaderboard.scoring.rows import Board


def suite_option(command: F) -> F:
    return click.option("--suite", help="Which board, where the folder holds several.")(command)


@click.command()
@suite_option
@json_option
@out_option
def table(suite: str | None, as_json: bool, out: Path) -> None:
    """Print the board across all tasks, then each task's."""
    from leaderboard.records.run_folder import RunFolder

    folder = RunFolder(out)
    show_board(folder, _suite(folder, suite), as_json)


@click.command()
@suite_option
@json_option
@out_option
def compare(suite: str | None, as_json: bool, out: Path) -> None:
    """Show what each defense gains and costs in each domain, and whether it helps everywhere."""
    from leaderboard.printing.comparison import render_comparison
    from leaderboard.printing.terminal import console, show
    from leaderboard.records.canonical import canonical_json
    from leaderboard.records.run_folder import RunFolder
    from leaderboard.scoring.board import scored_board
    from leaderboard.scoring.compare import compare as compare_defenses

    folder = RunFolder(out)
    plan = folder.read_plan(_suite(folder, suite))
    board, samples = scored_board(plan, folder.results(plan), folder.journal())
    comparison = compare_defenses(board.suite, board.lines, samples)
    if as_json:
        click.echo(canonical_json(comparison), nl=False)
    else:
        show(render_comparison(comparison), console())


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@suite_option
@plugin_option
@out_option
def site(directory: Path, suite: str | None, plugins: tuple[Path, ...], out: Path) -> None:
    """Write the board as static pages into DIRECTORY: they open from a disk and need nothing else."""
    from benchmarks.catalog import catalog
    from benchmarks.clean_examples import clean_examples
    from leaderboard.pages.site import SiteSource, write_site
    from leaderboard.records.run_folder import RunFolder
    from tasks.data import is_prepared, open_data

    folder = RunFolder(out)
    plan = folder.read_plan(_suite(folder, suite))
    results = folder.results(plan)

    def read(result: Result) -> bytes | None:
        name, digest = next(iter(result.artifacts.items()))
        return folder.read_artifact(result.id, digest) if (folder.cells / name).is_file() else None

    custom = [open_data(one) for one in sorted((out / FOLDER).glob("[!.]*")) if is_prepared(one)]
    originals = clean_examples(catalog(plugins), custom)
    source = SiteSource(plan, results, folder.journal(), read, originals, _levels(results, plugins))
    click.echo(f"{write_site(source, directory)} is ready; open it in a browser")


@click.command()
@click.option(
    "--format", "kind", type=click.Choice(["csv", "parquet", "json"]), default="csv", show_default=True, help="Which."
)
@click.option("--cells", is_flag=True, help="A row for each cell, too.")
@click.option("--file", "target", type=click.Path(path_type=Path, dir_okay=False), help="Where to; printed otherwise.")
@suite_option
@plugin_option
@out_option
def export(
    kind: str, cells: bool, target: Path | None, suite: str | None, plugins: tuple[Path, ...], out: Path
) -> None:
    """Write the board as a table, one row for each entry, task and threat."""
    from leaderboard.printing.export import csv_text, export_rows, json_bytes, parquet_bytes
    from leaderboard.records.files import write_whole
    from leaderboard.records.run_folder import RunFolder
    from leaderboard.scoring.board import build_board

    if kind == "parquet" and target is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is no text; name a file with --file")
    folder = RunFolder(out)
    plan = folder.read_plan(_suite(folder, suite))
    results = folder.results(plan)
    board = build_board(plan, results, folder.journal(), _levels(results, plugins))
    rows = export_rows(board, cells=cells)
    match kind:
        case "csv":
            data = csv_text(rows).encode()
        case "json":
            data = json_bytes(board.suite, rows)
        case _:
            data = parquet_bytes(rows)
    if target is None:
        click.echo(data, nl=False)
    else:
        click.echo(f"{write_whole(target, data)}: {len(rows)} rows", err=True)


@click.command()
@click.argument("entry")
@click.option("--task", default="", help="On this task; across domains otherwise.")
@click.option("--card", is_flag=True, help="Print the entry's results for a Hugging Face model card instead.")
@click.option("--url", default="", help="Where the board can be seen, for the card.")
@suite_option
@out_option
def badge(entry: str, task: str, card: bool, url: str, suite: str | None, out: Path) -> None:
    """Print a badge of ENTRY as SVG: its robust quality and its rank."""
    from leaderboard.printing.badge import badge_of, model_card
    from leaderboard.records.run_folder import RunFolder

    folder = RunFolder(out)
    board = _board(folder, _suite(folder, suite))
    click.echo(model_card(board, entry, url) if card else badge_of(board, entry, task), nl=False)


def show_board(folder: RunFolder, suite: str, as_json: bool) -> None:
    """Prints the board of a suite to standard output."""
    from leaderboard.printing.table import print_board
    from leaderboard.printing.terminal import console
    from leaderboard.records.canonical import canonical_json

    board = _board(folder, suite)
    if as_json:
        click.echo(canonical_json(board), nl=False)
    else:
        print_board(board, console())


def _board(folder: RunFolder, suite: str) -> Board:
    from leaderboard.scoring.board import build_board

    plan = folder.read_plan(suite)
    return build_board(plan, folder.results(plan), folder.journal())


def _levels(results: Mapping[str, Result], plugins: Sequence[Path]) -> dict[str, str]:
    """The entries that are models which ship with the benchmark, by the hashes of their files."""
    from benchmarks.catalog import catalog
    from tasks.models.cards import model_hash

    shipped = {
        (task.name, name, model_hash(folder))
        for task in catalog(plugins).tasks()
        for name in task.models
        if (folder := Path(task.folder) / name).is_dir()  # a plugin's may not be trained yet
    }
    cells = [result.cell for result in results.values()]
    others = {cell.model for cell in cells if (cell.task, cell.model, cell.model_hash) not in shipped}
    return {cell.model: "reference" for cell in cells if cell.model not in others}


def _suite(folder: RunFolder, suite: str | None) -> str:
    """The suite that was asked for, or the only one, or the one without special settings."""
    if suite is not None:
        return suite
    plans = folder.plans()
    if not plans:
        raise DataError("no board here yet; measure one with `robustarena run mini`, or name its folder with --out")
    plain = [name for name in plans if not {"-", "+"} & set(name.partition("@")[2])]
    if len(plans) == 1 or len(plain) == 1:
        return plain[0] if plain else plans[0]
    raise click.UsageError(f"the folder holds several boards; choose one with --suite: {', '.join(plans)}")
