"""The command that trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from benchmarks.cli.options import param_option, plugin_option
from leaderboard.records.record import Scalar


@click.command()
@click.argument("model", metavar="TASK[/MODEL]")
@click.option("--defense", help="Train TASK with this defense in place of a reference model's recipe.")
@param_option("of the defense")
@click.option("--epochs", type=click.IntRange(1), help="In place of the recipe's: for trying out.")
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for weights and card; by default trained/TASK/MODEL.",
)
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Threads of torch.")
@click.option("--compare", is_flag=True, help="Then compare with the shipped model; exit 1 where they differ.")
@plugin_option
def train(
    model: str,
    defense: str | None,
    params: dict[str, Scalar],
    epochs: int | None,
    to: Path | None,
    threads: int,
    compare: bool,
    plugins: tuple[Path, ...],
) -> None:
    """Train a reference model from its recipe, TASK/MODEL, or a model of TASK with a defense.

    The result is a folder that `--model torch:FOLDER` measures and `submit torch:FOLDER` submits.
    """
    from adversarial.errors import UnknownName
    from adversarial.registry import resolve
    from benchmarks.catalog import catalog
    from benchmarks.training import compare_with_shipped, recipe_with, train_model
    from tasks.models.cards import read_card

    name, _, reference = model.partition("/")
    if bool(reference) == bool(defense):
        came = f"{model} with --defense" if defense else model
        raise click.UsageError(f"expected TASK/MODEL, or TASK with --defense NAME, got {came}; see `robustarena list`")
    if params and not defense:
        raise click.UsageError("--param is for --defense; a reference model has its recipe")
    registry = catalog(plugins)
    entry = registry.task(name)
    task = resolve(entry.code)()
    if reference and reference not in task.recipes:
        raise UnknownName.among(f"model of {name}", reference, task.recipes)
    recipe = recipe_with(task, defense, params) if defense else task.recipes[reference]
    recipe = recipe if epochs is None else replace(recipe, epochs=epochs)
    folder = to or Path("trained") / name / recipe.model
    shipped = read_card(Path(entry.folder) / recipe.model) if compare else None  # before it may be written over
    card = train_model(task, recipe, registry, folder, threads, click.echo)
    click.echo(f"{folder}: {', '.join(f'{key} {value:.4f}' for key, value in card.clean.items())}")
    if shipped is not None:
        report = compare_with_shipped(entry, shipped, card)
        click.echo(report.text)
        if not report.agrees:
            raise click.exceptions.Exit(1)
