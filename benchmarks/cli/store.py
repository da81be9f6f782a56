"""Commands on a store where nobody serves it: tokens, and putting right what a crash or a machine left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from adversarial.errors import MissingDependency
from benchmarks.cli.options import F, json_option


if TYPE_CHECKING:
    from leaderboard.database.engine import Database


DEFAULT_STORE = "board"
LIBRARIES = ("alembic", "fastapi", "psycopg", "sqlalchemy", "uvicorn")  # of the extra `server`

T = TypeVar("T")


def store_option(command: F) -> F:
    return click.option(
        "--store",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_STORE,
        show_default=True,
        help="Folder of the bundles, and of the database unless $ROBUSTARENA_DATABASE_URL names one.",
    )(command)


@contextmanager
def server_libraries() -> Iterator[None]:
    """Says of a server's library that is missing which extra installs it. Raises MissingDependency."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in LIBRARIES:
            raise
        raise MissingDependency.of(library, "a board", "server") from None


@click.command()
@store_option
def rebuild(store: Path) -> None:
    """Make the database again from the bundles and their histories. Stop server and workers first; tokens stay."""

    def build(database: Database) -> Any:
        from leaderboard.database.blob_store import Depot
        from leaderboard.database.rebuild import rebuild as rebuilt

        return rebuilt(database, Depot(store))

    found = _with_store(store, build)
    click.echo(f"{found.entries} entries, {found.unused} bundles that were never acknowledged")
    for line in found.damaged:
        click.echo(f"left out: {line}", err=True)
    if found.damaged:
        raise click.exceptions.Exit(1)


@click.command()
@store_option
@click.argument("bundle", metavar="ID")
def requeue(store: Path, bundle: str) -> None:
    """Verify the bundle ID once more: where it was the machine that failed, and not the bundle."""

    def again(database: Database) -> None:
        from leaderboard.bundle.reading import open_bundle
        from leaderboard.database.blob_store import Depot
        from leaderboard.database.entries import NoSuchEntry
        from leaderboard.database.rebuild import export_events
        from leaderboard.database.requeue import requeue as requeued

        depot = Depot(store)
        found = [one for one in depot.ids() if one.startswith(bundle)]
        if len(found) != 1:
            raise NoSuchEntry(f"{len(found)} bundles here start with {bundle!r}; give more of the id")
        manifest = open_bundle(depot.bundle_path(found[0])).manifest
        database.transact(lambda session: requeued(session, manifest, found[0]))
        export_events(database, depot, found[0])
        click.echo(f"{found[0]} is queued")

    _with_store(store, again)


@click.group()
def token() -> None:
    """Issue, revoke and list the tokens with which accounts submit."""


@token.command()
@store_option
@click.option("--account", required=True, metavar="KEY", help="The submitter's public key, 64 hexadecimal digits.")
@click.option("--name", required=True, help="What the account is called on boards.")
@click.option("--note", default="", help="What the token is for.")
def issue(store: Path, account: str, name: str, note: str) -> None:
    """Make a token and print it. It is kept as a hash, and cannot be shown again."""
    with server_libraries():
        from leaderboard.database.accounts import issue_token

    click.echo(_with_store(store, lambda db: db.transact(lambda session: issue_token(session, account, name, note))))


@token.command()
@store_option
@click.argument("prefix")
def revoke(store: Path, prefix: str) -> None:
    """End the token that starts with PREFIX, ra_ and eight digits."""
    with server_libraries():
        from leaderboard.database.accounts import revoke_token

    _with_store(store, lambda db: db.transact(lambda session: revoke_token(session, prefix)))
    click.echo(f"{prefix} is revoked")


@token.command(name="list")
@store_option
@json_option
def list_all(store: Path, as_json: bool) -> None:
    """Show all tokens without their secrets."""
    with server_libraries():
        from leaderboard.database.accounts import list_tokens
        from leaderboard.records.canonical import canonical_json

    found = _with_store(store, lambda db: db.transact(list_tokens))
    if as_json:
        click.echo(canonical_json(found), nl=False)
        return
    for one in found:
        state = "active" if one.revoked is None else "revoked"
        click.echo(
            f"{one.prefix}  {state:<7}  {one.account[:12]}  {one.name}" + (f"  ({one.note})" if one.note else "")
        )


def _with_store(store: Path, use: Callable[[Database], T]) -> T:
    with server_libraries():
        from leaderboard.database.engine import open_database

        database = open_database(store)
        try:
            return use(database)
        finally:
            database.close()
