"""Commands around bundles: make one, check one."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from benchmarks.cli import cli, json_option, out_option
from benchmarks.cli_data import FOLDER, Chosen, data_options, prepared_option


if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


KEY_VARIABLE: Final = "ROBUSTARENA_KEY"
TOKEN_VARIABLE: Final = "ROBUSTARENA_TOKEN"


@cli.command()
@click.argument("model", metavar="MODEL")
@click.option("--task", required=True, help="Which task the model is for.")
@click.option("--name", required=True, help="What the entry is called on boards.")
@click.option("--suite", default="mini", show_default=True, help="Which trials it meets; boards keep suites apart.")
@click.option("--defense", default="none", show_default=True, help="What hardens the model, in a few words.")
@click.option("--link", default="", metavar="URL", help="Where the model is described.")
@click.option("--licence", default="", help="Of the weights, such as apache-2.0.")
@click.option("--limit", type=click.IntRange(1), help="Only the first examples: for trying out; a board of its own.")
@click.option("--workers", type=click.IntRange(1), help="Processes; all cores by default.")
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help=f"Private key; or ${KEY_VARIABLE}.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Where the bundle goes; by default NAME.rab.")
@click.option("--to", metavar="URL", help=f"A server to send it to, with the token in ${TOKEN_VARIABLE}.")
@data_options
@out_option
def submit(
    model: str,
    task: str,
    name: str,
    suite: str,
    defense: str,
    link: str,
    licence: str,
    limit: int | None,
    workers: int | None,
    key: Path | None,
    bundle: Path | None,
    to: str | None,
    own: Chosen | None,
    out: Path,
) -> None:
    """Measure MODEL on a suite and pack the evidence into a signed bundle.

    MODEL is hf:FOLDER-OR-ID, torch:FOLDER, sb3:ZIP or python:FILE:FUNCTION. Cells that are measured already are not
    measured again.
    """
    import torch

    from benchmarks.catalog import catalog
    from benchmarks.executors import Process, executor_named
    from benchmarks.planning import Settings, as_plan
    from benchmarks.progress import RunProgress
    from benchmarks.runner import missing, run_cells
    from benchmarks.submitting import Submission, cells_of, pack
    from benchmarks.suites import suite_named
    from leaderboard.bundle.manifest import EntryFacts
    from leaderboard.store import RunFolder
    from leaderboard.terminal import console
    from tasks.bring import bring, parse

    if to is not None and TOKEN_VARIABLE not in os.environ:
        raise click.UsageError(f"--to needs a token of the server in ${TOKEN_VARIABLE}")
    registry, found = catalog(), suite_named(suite)
    registry.task(task)
    data = None if own is None else own.prepared(task, out / FOLDER)
    settings = Settings(limit=limit, data=data)
    facts = EntryFacts(name=name, task=task, defense=defense, url=link, licence=licence)
    private = signing_key(key)
    submission = Submission(facts, model, bring(parse(model), task, torch.device("cpu"), data))
    cells = cells_of(submission, found, registry, settings)
    plan, folder = as_plan(found, cells, settings), RunFolder(out)
    who, todo, target = executor_named("process", workers), missing(cells, folder), console(sys.stderr)
    target.print(f"{plan.suite}: {len(cells)} cells of {name}, {len(todo)} to do, records in {out}", markup=False)
    with RunProgress(target, todo, who.workers if isinstance(who, Process) else 1) as progress:
        summary = run_cells(cells, folder, who, progress)
    where = bundle or Path(f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}.rab")
    bundle_id = pack(where, submission, plan.suite, cells, folder, private)
    click.echo(f"{where}  {bundle_id}")
    if data is not None:
        click.echo(f"measured on {data.folder}: whoever verifies it needs these data", err=True)
    if to is not None:
        from benchmarks.sending import send

        click.echo(send(where, bundle_id, to, os.environ[TOKEN_VARIABLE]))
    if not summary.clean:
        raise click.exceptions.Exit(1)


@cli.command()
@click.argument("entry", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--attack", required=True, help="Which attack.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="One of its parameters, as JSON.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help=f"Private key; or ${KEY_VARIABLE}.")
@click.option("--bundle", type=click.Path(path_type=Path), default=Path("stronger.rab"), show_default=True)
@click.option("--to", metavar="URL", help=f"A server to send it to, with the token in ${TOKEN_VARIABLE}.")
@prepared_option
def strengthen(
    entry: Path,
    attack: str,
    params: tuple[str, ...],
    seed: int,
    key: Path | None,
    bundle: Path,
    to: str | None,
    data: tuple[Path, ...],
) -> None:
    """Attack the model in BUNDLE harder than its suite does, and pack what was found against it.

    On a board the entry's robust quality falls to what these examples leave, with credit.
    """
    from adversarial.errors import InvalidOption
    from benchmarks.catalog import catalog
    from benchmarks.strengthening import strengthen as strengthened
    from tasks.own import open_data

    given: dict[str, object] = {}
    for text in params:
        name, _, given_text = text.partition("=")
        try:
            given[name] = json.loads(given_text)
        except ValueError:
            raise InvalidOption(f"expected --param NAME=VALUE with a JSON value, got {text!r}") from None
    opened = [open_data(folder) for folder in data]
    bundle_id, result = strengthened(entry, bundle, catalog(), attack, given, signing_key(key), seed, opened)
    assert result.metric is not None
    assert result.examples is not None
    value = sum(result.examples.values) / sum(result.examples.weights)
    click.echo(f"{bundle}  {bundle_id}\n{result.cell.label}: {result.metric.name} {value:.4g}")
    if to is not None:
        from benchmarks.sending import send

        click.echo(send(bundle, bundle_id, to, os.environ.get(TOKEN_VARIABLE, "")))


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--rerun", type=click.IntRange(0), default=0, show_default=True, help="Cells to measure again.")
@click.option("--nonce", default="", metavar="HEX", help="Draws the cells that are measured again.")
@prepared_option
@json_option
def verify(bundle: Path, rerun: int, nonce: str, data: tuple[Path, ...], as_json: bool) -> None:
    """Check BUNDLE: its bytes, its adversarial examples with one forward each, and some cells from scratch."""
    from benchmarks.catalog import catalog
    from benchmarks.verifying import verify as verified
    from leaderboard.results import canonical_json
    from tasks.own import open_data

    verdict = verified(
        bundle,
        catalog(),
        rerun=rerun,
        nonce=nonce,
        report=lambda line: click.echo(line, err=True),
        data=[open_data(folder) for folder in data],
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


def signing_key(path: Path | None) -> Ed25519PrivateKey:
    """The submitter's key; the one in the home folder is made at its first use."""
    from leaderboard.bundle.signing import account_of, generate_key, load_key, save_key

    given = path or (Path(os.environ[KEY_VARIABLE]) if KEY_VARIABLE in os.environ else None)
    place = given or Path.home() / ".config" / "robustarena" / "key.pem"
    if given is None and not place.exists():
        save_key(place, generate_key())
        click.echo(f"made a signing key: {place}; keep it, it is what your entries belong to", err=True)
    key = load_key(place)
    click.echo(f"account {account_of(key)}", err=True)
    return key
