"""The command that checks a bundle, as a board does."""

from __future__ import annotations

import string
from pathlib import Path

import click

from benchmarks.cli.data import prepared_option
from benchmarks.cli.options import device_option, json_option, plugin_option


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--rerun", type=click.IntRange(0), default=0, show_default=True, help="Cells to measure again.")
@click.option("--nonce", default="", metavar="HEX", help="Draws the cells that are measured again.")
@device_option
@prepared_option
@plugin_option
@json_option
def verify(
    bundle: Path, rerun: int, nonce: str, device: str, data: tuple[Path, ...], plugins: tuple[Path, ...], as_json: bool
) -> None:
    """Check BUNDLE: its bytes, its adversarial examples with one forward each, and some cells from scratch."""
    from benchmarks.catalog import catalog
    from benchmarks.verifying.bundles import verify as verified
    from leaderboard.records.canonical import canonical_json
    from tasks.data import open_data

    if not all(one in string.hexdigits for one in nonce):
        raise click.UsageError(f"expected --nonce in hexadecimal digits, got {nonce!r}")
    verdict = verified(
        bundle,
        catalog(plugins),
        rerun=rerun,
        nonce=nonce,
        report=lambda line: click.echo(line, err=True),
        data=[open_data(folder) for folder in data],
        device=device,
        plugins=plugins,
    )
    if as_json:
        click.echo(canonical_json(verdict), nl=False)
    else:
        click.echo(f"{verdict.level}  {verdict.bundle}".rstrip())
        for reason in verdict.reasons:
            click.echo(f"  {reason}")
        for cell in verdict.cells:
            click.echo(f"  {cell.check:<10}  {cell.label}" + (f"  ({cell.detail})" if cell.detail else ""))
    if not verdict.accepted:
        raise click.exceptions.Exit(1)
