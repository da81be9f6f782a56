"""Commands of whoever runs a board: the server, its workers, and the tokens of those who submit."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import TYPE_CHECKING, Any, TypeVar

import click

from benchmarks.cli import F, cli, json_option
from benchmarks.cli_data import prepared_option


if TYPE_CHECKING:
    from leaderboard.database.engine import Database


DEFAULT_STORE = "board"
EXTRA = "the server's libraries are not installed; run: pip install 'robustarena[server]'"
VERIFY = ("-P", "-m", "robustarena", "verify", "BUNDLE", "--rerun", "RERUN", "--nonce", "NONCE", "--json")

T = TypeVar("T")


def store_option(command: F) -> F:
    return click.option(
        "--store",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_STORE,
        show_default=True,
        help="Folder of the bundles, and of the database unless $ROBUSTARENA_DATABASE_URL names one.",
    )(command)


@cli.command()
@store_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free one.")
@click.option("--name", "names", multiple=True, metavar="HOST", help="A name under which the server is reached.")
@click.option("--proxy", metavar="ADDRESS", help="Where a reverse proxy connects from, whose X-Forwarded-For counts.")
@click.option("--most-megabytes", type=click.IntRange(1), default=1000, show_default=True, help="Of a bundle.")
@click.option("--submissions", type=click.IntRange(0), default=60, show_default=True, help="An hour and account.")
@click.option("--requests", type=click.IntRange(0), default=600, show_default=True, help="A minute and address.")
@click.option("--limited-suites", is_flag=True, help="Also keep boards of suites' first examples: for trying out.")
@click.option("--any-version", is_flag=True, help="Also take bundles of other versions, which cannot be verified here.")
@prepared_option
def serve(
    store: Path,
    host: str,
    port: int,
    names: tuple[str, ...],
    proxy: str | None,
    most_megabytes: int,
    submissions: int,
    requests: int,
    limited_suites: bool,
    any_version: bool,
    data: tuple[Path, ...],
) -> None:
    """Serve the boards, and take submissions. Verification needs `robustarena worker` beside it."""
    with explained():
        import uvicorn

        from benchmarks.originals import originals_of
        from benchmarks.submitting import benchmark_version
        from benchmarks.suites import SUITES
        from leaderboard.bundle.reading import Limits
        from leaderboard.database.depot import Depot
        from leaderboard.database.engine import open_database
        from leaderboard.database.suites import SuiteFacts, write_suite
        from leaderboard.server.app import create_app
        from leaderboard.server.settings import ServerSettings
        from tasks.own import open_data

        depot, total = Depot(store), most_megabytes * 1_000_000
        opened = [open_data(folder) for folder in data]
        for suite in SUITES.values():
            write_suite(depot, SuiteFacts(suite.name, dict(suite.ranking_threats), tuple(suite.unrealisable)))
            for own in opened:
                threats = {own.task: suite.ranking_threats[own.task]}
                write_suite(depot, SuiteFacts(f"{suite.name}-{own.suffix}", threats, tuple(suite.unrealisable)))
        settings = ServerSettings(
            folder=store,
            hosts=_hosts(host, names),
            bundle=Limits(total=total, file=total, records=min(total, 128_000_000)),
            submissions_per_hour=submissions,
            requests_per_minute=requests,
            benchmark=None if any_version else benchmark_version(),
            originals=originals_of(opened),
            limited_suites=limited_suites,
        )
        open_database(store).close()  # or else says here what is wrong with it
        config = uvicorn.Config(
            create_app(settings),
            host=host,
            port=port,
            proxy_headers=proxy is not None,
            forwarded_allow_ips=proxy,
            server_header=False,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=10,
        )
        socket = config.bind_socket()
        socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # or answers in two parts wait for the client's acknowledgement
        bound = socket.getsockname()
        click.echo(f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}")
        sys.stdout.flush()
        server = uvicorn.Server(config)
        server.run(sockets=[socket])
        if not server.started:
            raise click.exceptions.Exit(1)


@cli.command()
@store_option
@click.option("--once", is_flag=True, help="Stop when nothing waits any more.")
@click.option("--rerun", type=click.IntRange(0), default=3, show_default=True, help="Cells to measure again.")
@click.option("--minutes", type=click.FloatRange(0.01), default=60.0, show_default=True, help="For one bundle.")
@click.option("--memory", type=click.FloatRange(0.1), default=8.0, show_default=True, help="GiB of one process.")
@click.option("--lease", type=click.FloatRange(0.5), default=60.0, show_default=True, help="Seconds until a dead "
              "worker's job is another's.")  # fmt: skip
@prepared_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def worker(
    store: Path,
    once: bool,
    rerun: int,
    minutes: float,
    memory: float,
    lease: float,
    data: tuple[Path, ...],
    command: tuple[str, ...],
) -> None:
    """Verify what was submitted, one bundle at a time; run as many workers as there are machines.

    Each bundle is verified by a process of its own without network. COMMAND, after `--`, replaces `robustarena verify`;
    BUNDLE, RERUN and NONCE in it are filled in.
    """
    with explained():
        import logging

        from leaderboard.server.settings import WorkerSettings
        from leaderboard.server.worker import work

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        given = [part for one in data for part in ("--data", str(one.resolve()))]
        settings = WorkerSettings(
            folder=store,
            command=command or (sys.executable, *VERIFY, *given),
            rerun=rerun,
            seconds=60 * minutes,
            memory_bytes=int(memory * (1 << 30)),
            lease_seconds=lease,
        )
        click.echo(f"{work(settings, once=once)} verified", err=True)


@cli.command()
@store_option
def rebuild(store: Path) -> None:
    """Make the database again from the bundles and their histories. Stop server and workers first; tokens stay."""

    def build(database: Database) -> Any:
        from leaderboard.database.depot import Depot
        from leaderboard.database.rebuild import rebuild as rebuilt

        return rebuilt(database, Depot(store))

    found = _with_store(store, build)
    click.echo(f"{found.entries} entries, {found.unused} bundles that were never acknowledged")
    for line in found.damaged:
        click.echo(f"left out: {line}", err=True)
    if found.damaged:
        raise click.exceptions.Exit(1)


@cli.command()
@store_option
@click.argument("bundle", metavar="ID")
def requeue(store: Path, bundle: str) -> None:
    """Verify the bundle ID once more: where it was the machine that failed, and not the bundle."""

    def again(database: Database) -> None:
        from leaderboard.bundle.reading import open_bundle
        from leaderboard.database.depot import Depot
        from leaderboard.database.entries import NoSuchEntry
        from leaderboard.database.rebuild import export_events
        from leaderboard.database.requeue import requeue as requeued

        depot = Depot(store)
        found = [one for one in depot.ids() if one.startswith(bundle)]
        if len(found) != 1:
            raise NoSuchEntry(f"{len(found)} bundles here start with {bundle}; give more of the id")
        manifest = open_bundle(depot.bundle_path(found[0])).manifest
        database.transact(lambda session: requeued(session, manifest, found[0]))
        export_events(database, depot, found[0])
        click.echo(f"{found[0]} is queued")

    _with_store(store, again)


@cli.group()
def token() -> None:
    """Issue, revoke and list the tokens with which accounts submit."""


@token.command()
@store_option
@click.option("--account", required=True, metavar="KEY", help="The submitter's public key, 64 hexadecimal digits.")
@click.option("--name", required=True, help="What the account is called on boards.")
@click.option("--note", default="", help="What the token is for.")
def issue(store: Path, account: str, name: str, note: str) -> None:
    """Make a token and print it. It is kept as a hash, and cannot be shown again."""
    with explained():
        from leaderboard.database.accounts import issue_token

    click.echo(_with_store(store, lambda db: db.transact(lambda session: issue_token(session, account, name, note))))


@token.command()
@store_option
@click.argument("prefix")
def revoke(store: Path, prefix: str) -> None:
    """End the token that starts with PREFIX, ra_ and eight digits."""
    with explained():
        from leaderboard.database.accounts import revoke_token

    _with_store(store, lambda db: db.transact(lambda session: revoke_token(session, prefix)))
    click.echo(f"{prefix} is revoked")


@token.command(name="list")
@store_option
@json_option
def list_all(store: Path, as_json: bool) -> None:
    """Show all tokens without their secrets."""
    with explained():
        from leaderboard.database.accounts import list_tokens
        from leaderboard.results import canonical_json

    found = _with_store(store, lambda db: db.transact(list_tokens))
    if as_json:
        click.echo(canonical_json(found), nl=False)
        return
    for one in found:
        state = "active" if one.revoked is None else "revoked"
        click.echo(
            f"{one.prefix}  {state:<7}  {one.account[:12]}  {one.name}" + (f"  ({one.note})" if one.note else "")
        )


@contextmanager
def explained() -> Iterator[None]:
    """Turns a missing extra, and what a store says, into one line on the terminal."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("alembic", "fastapi", "psycopg", "sqlalchemy", "uvicorn"):
            raise
        raise click.ClickException(f"{EXTRA} ({error.name} is missing)") from None
    except (RuntimeError, ValueError) as error:
        if type(error).__module__.partition(".")[0] != "leaderboard":
            raise
        raise click.ClickException(str(error)) from None


def _with_store(store: Path, use: Callable[[Database], T]) -> T:
    with explained():
        from leaderboard.database.engine import open_database

        database = open_database(store)
        try:
            return use(database)
        finally:
            database.close()


def _hosts(host: str, names: tuple[str, ...]) -> tuple[str, ...]:
    from leaderboard.server.settings import ServerSettings

    default: tuple[str, ...] = ServerSettings(Path()).hosts
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return (*default, host, *names)
    if address.is_unspecified and not names:
        raise click.UsageError(f"--host {host} is every address; say with --name which names requests may ask for")
    return (*default, f"[{host}]" if address.version == 6 else host, *names)
