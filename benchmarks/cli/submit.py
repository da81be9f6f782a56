"""Commands that make bundles: of a model of one's own, and against an entry of somebody else's."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from benchmarks.cli.data import FOLDER, Chosen, data_options, prepared_option
from benchmarks.cli.options import out_option, param_option, plugin_option
from benchmarks.cli.runs import measured
from leaderboard.bundle.errors import BundleError
from leaderboard.records.record import Scalar


if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from adversarial.registry import Registry
    from benchmarks.running.planning import Settings
    from benchmarks.submitting.entry import Submission
    from leaderboard.bundle.manifest import EntryFacts
    from leaderboard.records.plan import Plan
    from leaderboard.records.run_folder import RunFolder
    from tasks.data import CustomData
    from tasks.models import Source


KEY_VARIABLE: Final = "ROBUSTARENA_KEY"
TOKEN_VARIABLE: Final = "ROBUSTARENA_TOKEN"


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--task", required=True, help="Which task the model is for.")
@click.option("--name", required=True, help="What the entry is called on boards.")
@click.option("--suite", default="mini", show_default=True, help="Which trials it meets; boards keep suites apart.")
@click.option("--defense", help="What hardens the model, in a few words; what its card says by default.")
@click.option("--link", default="", metavar="URL", help="Where the model is described.")
@click.option("--licence", default="", help="Of the weights, such as apache-2.0.")
@click.option("--limit", type=click.IntRange(1), help="Only the first examples: for trying out; a board of its own.")
@click.option("--workers", type=click.IntRange(1), help="Processes; all cores by default.")
@click.option("--key", type=click.Path(path_type=Path), help=f"Private key; or ${KEY_VARIABLE}.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Where the bundle goes; by default NAME.rab.")
@click.option("--to", metavar="URL", help=f"A server to send it to, with the token in ${TOKEN_VARIABLE}.")
@click.option("--despite-problems", is_flag=True, help="Measure a model in which `robustarena check` sees a problem.")
@data_options
@plugin_option
@out_option
def submit(
    model: str,
    task: str,
    name: str,
    suite: str,
    defense: str | None,
    link: str,
    licence: str,
    limit: int | None,
    workers: int | None,
    key: Path | None,
    bundle: Path | None,
    to: str | None,
    despite_problems: bool,
    custom: Chosen | None,
    plugins: tuple[Path, ...],
    out: Path,
) -> None:
    """Measure MODEL on a suite, pack the evidence into a signed bundle, and tell where the model stands.

    MODEL is hf:FOLDER-OR-ID, torch:FOLDER, sb3:ZIP or python:FILE:FUNCTION. It is checked as by `robustarena check`
    first. Cells that are measured already are not measured again.
    """
    from benchmarks.catalog import catalog
    from benchmarks.running.executors import Process
    from benchmarks.running.planning import Settings, as_plan
    from benchmarks.running.workplace import Workplace
    from benchmarks.submitting.entry import cells_of, check_entry, pack
    from benchmarks.suites.suite import suite_named
    from leaderboard.records.run_folder import RunFolder
    from tasks.models import parse

    token, registry = _token(to), catalog(plugins)
    source = parse(model, registry)
    found = suite_named(registry, suite)
    facts = _facts(name, task, defense or "none", link, licence)
    check_entry(facts, found, registry)
    private = signing_key(key)
    data = None if custom is None else custom.prepared(registry.task(task), out / FOLDER)
    submission = _checked(source, facts, registry, data, despite_problems)
    if defense is None:
        said = str(submission.model.facts.get("defense", "none"))
        submission = dataclasses.replace(submission, entry=_facts(name, task, said, link, licence))
    settings = Settings(limit=limit, data=data)
    cells, folder = cells_of(submission, found, registry, settings), RunFolder(out)
    plan = folder.extend_plan(as_plan(found, cells, settings))
    place = Workplace.of(plugins, data, sources={(task, name): submission.source})
    summary = measured(cells, place, folder, plan.suite, f"{len(cells)} cells of {name}", Process(workers))
    where = bundle or Path(f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}.rab")
    bundle_id = pack(where, submission, plan.suite, cells, folder, private)
    _signed(where, bundle_id, private)
    _tell(plan, folder, submission, registry, settings, plugins)
    if not submission.model.carried:
        click.echo(
            "the bundle carries no model, so nobody can ask it again: on boards the entry stays claimed", err=True
        )
    if data is not None:
        click.echo(f"measured on {data.folder}: whoever verifies it needs these data", err=True)
    if to is not None:
        from benchmarks.submitting.sending import send

        click.echo(send(where, bundle_id, to, token))
    if not summary.clean:
        raise click.exceptions.Exit(1)


def _token(to: str | None) -> str:
    """The token for a server that a bundle is to be sent to; both are checked before anything is measured."""
    if to is None:
        return ""
    from benchmarks.submitting.sending import checked_server, checked_token

    if TOKEN_VARIABLE not in os.environ:
        raise click.UsageError(f"--to needs a token of the server in ${TOKEN_VARIABLE}")
    checked_server(to)
    return checked_token(os.environ[TOKEN_VARIABLE])


def _facts(name: str, task: str, defense: str, link: str, licence: str) -> EntryFacts:
    from adversarial.errors import InvalidOption
    from leaderboard.bundle.manifest import EntryFacts

    try:
        return EntryFacts(name=name, task=task, defense=defense, url=link, licence=licence)
    except BundleError as error:
        raise InvalidOption(str(error)) from None


def _checked(
    source: Source, facts: EntryFacts, registry: Registry, data: CustomData | None, despite_problems: bool
) -> Submission:
    """The model, once it is checked. Raises ModelError where something is wrong with it, or it is never the same."""
    import torch

    from adversarial.errors import ModelError
    from benchmarks.checking.report import check_model
    from benchmarks.cli.models import report_text
    from benchmarks.submitting.entry import Submission
    from tasks.models import load_source

    task = registry.task(facts.task)
    report = check_model(source, task, registry, torch.device("cpu"), data)
    if not report.hash:
        raise ModelError(report.checks[-1].detail)
    if any(found.level != "ok" for found in report.checks):
        click.echo(report_text(report), err=True)
    if not report.ok and not despite_problems:
        raise ModelError(f"{source} has problems; mend them, or measure it as it is with --despite-problems")
    model = load_source(source, task, registry, torch.device("cpu"), data)
    if model.hash != report.hash:
        raise ModelError(f"{source} is another model each time that it is loaded; save its weights or fix its seed")
    return Submission(facts, str(source), model)


def _tell(
    plan: Plan,
    folder: RunFolder,
    submission: Submission,
    registry: Registry,
    settings: Settings,
    plugins: Sequence[Path],
) -> None:
    from benchmarks.submitting.standing import command_for, standing
    from leaderboard.scoring.board import build_board

    entry = submission.entry
    readable = settings.data is None or settings.data.manifest.reference_models
    references = registry.task(entry.task).models if readable else ()
    board = build_board(plan, folder.results(plan), folder.journal())
    how = command_for(plan.suite.removesuffix(settings.suffix), entry.task, settings, folder.path, plugins)
    for line in standing(board, entry.task, entry.name, references, how):
        click.echo(line)


@click.command()
@click.argument("entry", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--attack", required=True, help="Which attack.")
@param_option("of the attack")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--key", type=click.Path(path_type=Path), help=f"Private key; or ${KEY_VARIABLE}.")
@click.option("--bundle", type=click.Path(path_type=Path), default=Path("stronger.rab"), show_default=True)
@click.option("--to", metavar="URL", help=f"A server to send it to, with the token in ${TOKEN_VARIABLE}.")
@prepared_option
@plugin_option
def strengthen(
    entry: Path,
    attack: str,
    params: dict[str, Scalar],
    seed: int,
    key: Path | None,
    bundle: Path,
    to: str | None,
    data: tuple[Path, ...],
    plugins: tuple[Path, ...],
) -> None:
    """Attack the model in BUNDLE harder than its suite does, and pack what was found against it.

    On a board the entry's robust quality falls to what these examples leave, with credit.
    """
    from benchmarks.catalog import catalog
    from benchmarks.submitting.strengthening import strengthen as strengthened
    from tasks.data import open_data

    token = _token(to)
    private = signing_key(key)
    opened = [open_data(folder) for folder in data]
    bundle_id, result = strengthened(entry, bundle, catalog(plugins), attack, params, private, seed, opened, plugins)
    assert result.metric is not None
    assert result.examples is not None
    value = sum(result.examples.values) / sum(result.examples.weights)
    _signed(bundle, bundle_id, private)
    click.echo(f"{result.cell.label}: {result.metric.name} {value:.4g}")
    if to is not None:
        from benchmarks.submitting.sending import send

        click.echo(send(bundle, bundle_id, to, token))


def _signed(place: Path, bundle_id: str, key: Ed25519PrivateKey) -> None:
    from leaderboard.bundle.signing import account_of

    click.echo(f"{place}  {bundle_id}")
    click.echo(f"signed by account {account_of(key)}", err=True)


def signing_key(path: Path | None) -> Ed25519PrivateKey:
    """The submitter's key; the one in the home folder is made at its first use."""
    from leaderboard.bundle.signing import generate_key, load_key, save_key

    given = path or (Path(os.environ[KEY_VARIABLE]) if KEY_VARIABLE in os.environ else None)
    place = given or Path.home() / ".config" / "robustarena" / "key.pem"
    if given is None and not place.exists():
        save_key(place, generate_key())
        click.echo(f"made a signing key: {place}; keep it, it is what your entries belong to", err=True)
    return load_key(place)
