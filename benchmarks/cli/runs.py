"""Commands that plan and measure."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.cli.data import FOLDER, Chosen, data_options
from benchmarks.cli.options import cell_options, finite, json_option, out_option, plugin_option


if TYPE_CHECKING:
    from adversarial.registry import Registry
    from benchmarks.running.cells import PlannedCell
    from benchmarks.running.executors import Executor
    from benchmarks.running.filters import Filters
    from benchmarks.running.planning import Settings
    from benchmarks.running.runner import Summary
    from benchmarks.running.workplace import Workplace
    from leaderboard.records.run_folder import RunFolder


@click.command()
@click.argument("suite")
@cell_options
@data_options
@json_option
@plugin_option
@out_option
def plan(
    suite: str,
    filters: Filters,
    settings: Settings,
    threat: str,
    custom: Chosen | None,
    as_json: bool,
    plugins: tuple[Path, ...],
    out: Path,
) -> None:
    """Show which cells a run of SUITE would measure, and which are there already."""
    from benchmarks.catalog import catalog
    from benchmarks.running.choosing import choose
    from benchmarks.running.runner import missing
    from leaderboard.records.run_folder import RunFolder

    registry = catalog(plugins)
    settings = _on_data(settings, custom, filters, registry, out)
    cells = choose(registry, suite, filters, settings, threat=threat, plugins=plugins).cells
    left = {cell.id for cell in missing(cells, RunFolder(out))}
    if as_json:
        rows = [{"id": c.id, "label": c.cell.label, "done": c.id not in left, "n/a": c.reason} for c in cells]
        click.echo(json.dumps(rows, indent=1))
        return
    for cell in cells:
        state = "n/a " if cell.reason else "to do" if cell.id in left else "done"
        click.echo(f"{cell.id[:12]}  {state:<5}  {cell.cell.label}" + (f"  ({cell.reason})" if cell.reason else ""))
    click.echo(f"{len(cells)} cells, {len(left)} to do")


@click.command()
@click.argument("suite")
@cell_options
@click.option(
    "--executor",
    default="process",
    show_default=True,
    metavar="NAME",
    help="Who measures, as `list executors` has them.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes of the process executor; all cores by default.")
@click.option(
    "--timeout", type=click.FloatRange(1), callback=finite, help="Seconds a cell may take; the suite's own by default."
)
@data_options
@json_option
@plugin_option
@out_option
def run(
    suite: str,
    filters: Filters,
    settings: Settings,
    threat: str,
    executor: str,
    workers: int | None,
    timeout: float | None,
    custom: Chosen | None,
    as_json: bool,
    plugins: tuple[Path, ...],
    out: Path,
) -> None:
    """Measure SUITE and print its board. Cells that are measured already are not measured again."""
    from adversarial.entries import ExecutorEntry
    from adversarial.registry import resolve
    from benchmarks.catalog import catalog
    from benchmarks.running.choosing import choose
    from benchmarks.running.planning import as_plan
    from benchmarks.running.runner import with_timeout
    from leaderboard.printing.terminal import console
    from leaderboard.records.run_folder import RunFolder

    registry = catalog(plugins)
    who: Executor = resolve(registry.find(ExecutorEntry, executor).code)(workers)
    settings = _on_data(settings, custom, filters, registry, out)
    chosen = choose(registry, suite, filters, settings, threat=threat, plugins=plugins)
    cells = with_timeout(chosen.cells, timeout)
    folder, written = RunFolder(out), as_plan(chosen.suite, chosen.planned, settings)
    folder.extend_plan(written)
    summary = measured(cells, chosen.place, folder, written.suite, f"{len(cells)} cells", who)
    target = console(sys.stderr)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(summary.statuses.items()))
    target.print(f"{summary.skipped} cells were measured before" + (f"; now {counts}" if counts else ""), markup=False)
    from benchmarks.cli.boards import show_board

    show_board(folder, written.suite, as_json)
    if settings.limit is not None:
        target.print(f"only the first {settings.limit} examples: for trying out, not for reporting", markup=False)
    if not summary.clean:
        raise click.exceptions.Exit(1)


def measured(
    cells: Sequence[PlannedCell], place: Workplace, folder: RunFolder, suite: str, what: str, who: Executor
) -> Summary:
    """Measures what is missing, and says on standard error how it goes."""
    from benchmarks.running.progress import RunProgress
    from benchmarks.running.runner import missing, run_cells
    from leaderboard.printing.terminal import console

    todo, target = missing(cells, folder), console(sys.stderr)
    target.print(f"{suite}: {what}, {len(todo)} to do, records in {folder.path}", markup=False)
    with RunProgress(target, todo, who.workers(place)) as progress:
        return run_cells(cells, place, folder, who, progress)


def _on_data(settings: Settings, custom: Chosen | None, filters: Filters, registry: Registry, out: Path) -> Settings:
    if custom is None:
        return settings
    if len(filters.tasks) != 1:
        raise click.UsageError("--data is for one task: name it with --task")
    return replace(settings, data=custom.prepared(registry.task(filters.tasks[0]), out / FOLDER))
