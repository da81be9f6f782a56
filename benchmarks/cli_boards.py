"""Commands that show what was measured. None of them imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adversarial.errors import DataError
from benchmarks.cli import F, cli, json_option, out_option


if TYPE_CHECKING:
    from leaderboard.rows import Board
    from leaderboard.store import RunFolder


def suite_option(command: F) -> F:
    return click.option("--suite", help="Which board, where the folder holds several.")(command)


@cli.command()
@suite_option
@json_option
@out_option
def table(suite: str | None, as_json: bool, out: Path) -> None:
    """Print the board across all tasks, then each task's."""
    from leaderboard.store import RunFolder

    folder = RunFolder(out)
    show_board(folder, _suite(folder, suite), as_json)


@cli.command()
@suite_option
@json_option
@out_option
def compare(suite: str | None, as_json: bool, out: Path) -> None:
    """Show what each defense gains and costs in each domain, and whether it helps everywhere."""
    from leaderboard.compare import compare as compare_defenses
    from leaderboard.compare import render_comparison
    from leaderboard.results import canonical_json
    from leaderboard.store import RunFolder
    from leaderboard.table import console

    folder = RunFolder(out)
    plan = folder.read_plan(_suite(folder, suite))
    comparison = compare_defenses(plan, folder.results(plan), folder.journal())
    if as_json:
        click.echo(canonical_json(comparison), nl=False)
    else:
        console().print(render_comparison(comparison))


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@suite_option
@out_option
def site(directory: Path, suite: str | None, out: Path) -> None:
    """Write the board as a static page into DIRECTORY."""
    from leaderboard.compare import compare as compare_defenses
    from leaderboard.site import write_site
    from leaderboard.store import RunFolder

    folder = RunFolder(out)
    plan = folder.read_plan(_suite(folder, suite))
    results, journal = folder.results(plan), folder.journal()
    page = write_site(_board(folder, plan.suite), compare_defenses(plan, results, journal), directory)
    click.echo(f"{page} is ready; open it in a browser")


def show_board(folder: RunFolder, suite: str, as_json: bool) -> None:
    """Prints the board of a suite to standard output."""
    from leaderboard.results import canonical_json
    from leaderboard.table import console, print_board

    board = _board(folder, suite)
    if as_json:
        click.echo(canonical_json(board), nl=False)
    else:
        print_board(board, console())


def _board(folder: RunFolder, suite: str) -> Board:
    from leaderboard.board import build_board

    plan = folder.read_plan(suite)
    return build_board(plan, folder.results(plan), folder.journal())


def _suite(folder: RunFolder, suite: str | None) -> str:
    """The suite that was asked for, or the only one, or the one without special settings."""
    if suite is not None:
        return suite
    plans = folder.plans()
    if not plans:
        raise DataError("no board here yet; measure one with `robustarena run mini`, or name its folder with --out")
    plain = [name for name in plans if "-" not in name.partition("@")[2]]
    if len(plans) == 1 or len(plain) == 1:
        return plain[0] if plain else plans[0]
    raise click.UsageError(f"the folder holds several boards; choose one with --suite: {', '.join(plans)}")
