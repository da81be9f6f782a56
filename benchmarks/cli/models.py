"""Commands around a model of the user's own."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from benchmarks.cli.data import Chosen, data_options
from benchmarks.cli.options import device_option, json_option, plugin_option


if TYPE_CHECKING:
    from benchmarks.checking.report import Report


COLOURS: Final = {"ok": "green", "note": "yellow", "problem": "red"}


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--task", required=True, help="Which task the model is for.")
@device_option
@data_options
@json_option
@plugin_option
def check(model: str, task: str, device: str, custom: Chosen | None, as_json: bool, plugins: tuple[Path, ...]) -> None:
    """Try MODEL on eight examples and say what is wrong with it; exit 1 where something is.

    MODEL is hf:FOLDER-OR-ID, torch:FOLDER, sb3:ZIP, python:FILE:FUNCTION, or TASK/MODEL for one that ships.
    """
    from benchmarks.catalog import catalog
    from tasks.models import parse

    registry = catalog(plugins)
    source, entry = parse(model, registry), registry.task(task)
    import torch

    from benchmarks.checking.report import check_model

    with contextlib.nullcontext() if custom is None else custom.for_a_while(entry) as data:
        report = check_model(source, entry, registry, torch.device(device), data)
    click.echo(json.dumps(_plain(report), indent=1, allow_nan=False) if as_json else report_text(report))
    if not report.ok:
        raise click.exceptions.Exit(1)


def _plain(report: Report) -> dict[str, object]:
    return {
        "model": report.model,
        "task": report.task,
        "ok": report.ok,
        "hash": report.hash,
        "carried": report.carried,
        "facts": dict(report.facts),
        "checks": [asdict(found) for found in report.checks],
    }


def report_text(report: Report) -> str:
    """A report as lines for a terminal."""
    lines = [click.style(f"{report.model} for {report.task}", bold=True)]
    facts = {name.replace("_", " "): value for name, value in report.facts.items()}
    width = max(map(len, facts), default=0)
    lines += [
        f"  {name:<{width}}  {value:,}" if type(value) is int else f"  {name:<{width}}  {value}"
        for name, value in facts.items()
    ]
    width = max(len(found.name) for found in report.checks)
    for found in report.checks:
        level = click.style(f"{found.level:<7}", fg=COLOURS[found.level])
        lines.append(f"  {level}  {found.name:<{width}}  {found.detail}")
        if found.advice:
            lines.append(f"  {'':<7}  {'':<{width}}  -> {found.advice}")
    problems = sum(found.level == "problem" for found in report.checks)
    verdict = f"{problems} problem{'s' * (problems > 1)}" if problems else "nothing is wrong"
    unmeasured = "" if report.carried or problems else "; a bundle does not carry it, so its entry stays claimed"
    return "\n".join([*lines, f"{verdict}, checked in {report.seconds:.1f} s{unmeasured}"])
