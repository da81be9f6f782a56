"""The command that trains."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.options import plugin_option


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
