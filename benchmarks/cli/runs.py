"""Commands that list, plan, measure and train."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adversarial.errors import UnknownName
from benchmarks.cli.data import FOLDER, Chosen, data_options
from benchmarks.cli.options import cell_options, finite, json_option, out_option, plugin_option


if TYPE_CHECKING:
    from adversarial.registry import Registry
    from benchmarks.running.executors import Executor
    from benchmarks.running.planning import Filters, PlannedCell, Settings
    from benchmarks.running.runner import Summary
    from benchmarks.suites import Suite
    from leaderboard.records.run_folder import RunFolder


KINDS = ("tasks", "models", "attacks", "defenses", "suites")
Row = dict[str, Any]


@click.command(name="list")
@click.argument("kind", required=False, metavar="[tasks|models|attacks|defenses|suites]")
@json_option
@plugin_option
def list_entries(kind: str | None, as_json: bool, plugins: tuple[Path, ...]) -> None:
    """List what can be run."""
    from benchmarks.catalog import catalog

    if kind is not None and kind not in KINDS:
        raise UnknownName.among("kind of thing to list", kind, KINDS)
    registry = catalog(plugins)
    chosen = {name: _LISTINGS[name](registry) for name in KINDS if kind in (None, name)}
    if as_json:
        click.echo(json.dumps(chosen, indent=1))
        return
    for name, rows in chosen.items():
        click.echo(click.style(name, bold=True))
        width = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            click.echo(f"  {row['name']:<{width}}  {row['summary']}")


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
    own: Chosen | None,
    as_json: bool,
    plugins: tuple[Path, ...],
    out: Path,
) -> None:
    """Show which cells a run of SUITE would measure, and which are there already."""
    from benchmarks.running.runner import missing
    from leaderboard.records.run_folder import RunFolder

    _, cells, _ = _chosen(suite, filters, _on_data(settings, own, filters, out), plugins)
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
@click.option("--executor", default="process", show_default=True, metavar="[serial|process]", help="Who measures.")
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
    executor: str,
    workers: int | None,
    timeout: float | None,
    own: Chosen | None,
    as_json: bool,
    plugins: tuple[Path, ...],
    out: Path,
) -> None:
    """Measure SUITE and print its board. Cells that are measured already are not measured again."""
    from benchmarks.running.executors import executor_named
    from benchmarks.running.planning import as_plan
    from benchmarks.running.runner import with_timeout
    from leaderboard.printing.terminal import console
    from leaderboard.records.run_folder import RunFolder

    who, settings = executor_named(executor, workers), _on_data(settings, own, filters, out)
    found, cells, everything = _chosen(suite, filters, settings, plugins)
    cells = with_timeout(cells, timeout)
    folder, written = RunFolder(out), as_plan(found, everything, settings)
    folder.extend_plan(written)
    summary, target = measured(cells, folder, written.suite, f"{len(cells)} cells", who), console(sys.stderr)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(summary.statuses.items()))
    target.print(f"{summary.skipped} cells were measured before" + (f"; now {counts}" if counts else ""), markup=False)
    from benchmarks.cli.boards import show_board

    show_board(folder, written.suite, as_json)
    if settings.limit is not None:
        target.print(f"only the first {settings.limit} examples: for trying out, not for reporting", markup=False)
    if not summary.clean:
        raise click.exceptions.Exit(1)


def measured(cells: Sequence[PlannedCell], folder: RunFolder, suite: str, what: str, who: Executor) -> Summary:
    """Measures what is missing, and says on standard error how it goes."""
    from benchmarks.running.executors import Process
    from benchmarks.running.progress import RunProgress
    from benchmarks.running.runner import missing, run_cells
    from leaderboard.printing.terminal import console

    todo, target = missing(cells, folder), console(sys.stderr)
    target.print(f"{suite}: {what}, {len(todo)} to do, records in {folder.path}", markup=False)
    with RunProgress(target, todo, who.workers if isinstance(who, Process) else 1) as progress:
        return run_cells(cells, folder, who, progress)


@click.command()
@click.argument("model", metavar="TASK/MODEL")
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for weights and card; by default trained/TASK/MODEL.",
)
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Threads of torch.")
@click.option("--compare", is_flag=True, help="Then compare with the shipped model; exit 1 where they differ.")
@plugin_option
def train(model: str, to: Path | None, threads: int, compare: bool, plugins: tuple[Path, ...]) -> None:
    """Train a reference model from its recipe: `robustarena train image-digits/undefended`."""
    from benchmarks.catalog import catalog
    from benchmarks.training import compare_with_shipped, train_model

    registry = catalog(plugins)
    task, _, name = model.partition("/")
    if not name:
        raise click.UsageError(f"expected TASK/MODEL, got {model!r}; `robustarena list models` shows them")
    entry = registry.task(task)
    folder = to or Path("trained") / task / name
    card = train_model(entry, name, folder, threads, click.echo)
    click.echo(f"{folder}: {', '.join(f'{key} {value:.4f}' for key, value in card.clean.items())}")
    if compare:
        report = compare_with_shipped(entry, name, folder)
        click.echo(report.text)
        if not report.agrees:
            raise click.exceptions.Exit(1)


def _chosen(
    suite: str, filters: Filters, settings: Settings, plugins: Sequence[Path]
) -> tuple[Suite, list[PlannedCell], tuple[PlannedCell, ...]]:
    """The suite, its cells that pass the filters, and all of its cells."""
    from benchmarks.catalog import catalog
    from benchmarks.running.planning import plan_cells
    from benchmarks.suites import suite_named

    found = suite_named(suite)
    everything = plan_cells(found, catalog(plugins), settings, plugins)
    filters.check(cell.cell for cell in everything)
    return found, [cell for cell in everything if filters.admit(cell.cell)], everything


def _on_data(settings: Settings, own: Chosen | None, filters: Filters, out: Path) -> Settings:
    if own is None:
        return settings
    if len(filters.tasks) != 1:
        raise click.UsageError("--data is for one task: name it with --task")
    return replace(settings, data=own.prepared(filters.tasks[0], out / FOLDER))


def _tasks(registry: Registry) -> list[Row]:
    return [{"name": t.name, "summary": t.summary, "surfaces": list(t.surfaces)} for t in registry.tasks()]


def _models(registry: Registry) -> list[Row]:
    return [
        {"name": f"{task.name}/{model}", "summary": _model_summary(Path(task.folder) / model)}
        for task in registry.tasks()
        for model in task.models
    ]


def _attacks(registry: Registry) -> list[Row]:
    return [
        {
            "name": attack.name,
            "summary": attack.summary,
            "access": attack.access,
            "surfaces": sorted(attack.surfaces),
            "paper": attack.paper,
        }
        for attack in registry.attacks()
    ]


def _defenses(registry: Registry) -> list[Row]:
    return [
        {
            "name": defense.name,
            "summary": defense.summary,
            "stage": defense.stage,
            "surfaces": sorted(defense.surfaces),
            "paper": defense.paper,
        }
        for defense in registry.defenses()
    ]


def _suites(registry: Registry) -> list[Row]:  # noqa: ARG001  (suites are the project's own)
    from benchmarks.suites import SUITES

    return [{"name": s.name, "summary": s.summary, "trials": len(s.trials)} for s in SUITES.values()]


_LISTINGS: dict[str, Callable[[Registry], list[Row]]] = {
    "tasks": _tasks,
    "models": _models,
    "attacks": _attacks,
    "defenses": _defenses,
    "suites": _suites,
}


def _model_summary(folder: Path) -> str:
    from tasks.models.cards import read_card

    card = read_card(folder)
    clean = ", ".join(f"clean {name} {value:.3f}" for name, value in card.clean.items())
    return f"{card.architecture}, {clean}, clean loss {card.clean_loss:.3f}"
