"""The command that lists what is registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from adversarial.entries import AttackEntry, DefenseEntry, ExecutorEntry, SourceEntry, SurfaceEntry, TaskEntry
from adversarial.errors import UnknownName
from benchmarks.cli.options import json_option, plugin_option
from benchmarks.suites.suite import Suite


if TYPE_CHECKING:
    from adversarial.registry import Registry


Row = dict[str, Any]

KINDS: Final[dict[str, type[Any]]] = {
    "tasks": TaskEntry,
    "models": TaskEntry,
    "attacks": AttackEntry,
    "defenses": DefenseEntry,
    "suites": Suite,
    "surfaces": SurfaceEntry,
    "sources": SourceEntry,
    "executors": ExecutorEntry,
}


@click.command(name="list")
@click.argument("kind", required=False, metavar=f"[{'|'.join(KINDS)}]")
@json_option
@plugin_option
def list_entries(kind: str | None, as_json: bool, plugins: tuple[Path, ...]) -> None:
    """List what is registered: all of it, or one KIND."""
    from benchmarks.catalog import catalog

    if kind is not None and kind not in KINDS:
        raise UnknownName.among("kind of thing to list", kind, KINDS)
    registry = catalog(plugins)
    chosen = {name: _rows(registry, name) for name in KINDS if kind in (None, name)}
    if as_json:
        click.echo(json.dumps(chosen, indent=1))
        return
    for name, rows in chosen.items():
        click.echo(click.style(name, bold=True))
        width = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            click.echo(f"  {row['name']:<{width}}  {row['summary']}")


def _rows(registry: Registry, kind: str) -> list[Row]:
    if kind == "models":
        return [
            {"name": f"{task.name}/{model}", "summary": _model_summary(Path(task.folder) / model)}
            for task in registry.tasks()
            for model in task.models
        ]
    return [
        {"name": entry.name, "summary": entry.summary, **_facts(registry, entry)} for entry in registry.all(KINDS[kind])
    ]


def _facts(registry: Registry, entry: Any) -> Row:
    """What is worth saying of an entry beside its summary, for programs."""
    match entry:
        case TaskEntry():
            return {"surfaces": list(entry.surfaces), "answers": sorted(entry.answers)}
        case AttackEntry():
            fitting = [one.name for one in registry.all(SurfaceEntry) if one.offers and not entry.lacks(one.offers)]
            return {"access": entry.access, "needs": sorted(entry.needs), "surfaces": fitting, "paper": entry.paper}
        case DefenseEntry():
            return {"stage": entry.stage, "paper": entry.paper}
        case SurfaceEntry():
            return {"norms": list(entry.norms), "unit": entry.unit, "offers": sorted(entry.offers)}
        case Suite():
            return {"trials": len(entry.trials)}
    return {}


def _model_summary(folder: Path) -> str:
    from tasks.models.cards import read_card

    if not folder.is_dir():
        return "not trained yet"  # a plugin's
    card = read_card(folder)
    clean = ", ".join(f"clean {name} {value:.3f}" for name, value in card.clean.items())
    return f"{card.architecture}, {clean}, clean loss {card.clean_loss:.3f}"
