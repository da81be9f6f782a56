"""Commands of whoever runs a board: the server and its workers."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from socket import AF_INET, AF_INET6, IPPROTO_TCP, TCP_NODELAY, create_server, socket

import click

from adversarial.errors import StoreError
from benchmarks.cli.data import prepared_option
from benchmarks.cli.options import finite, plugin_option
from benchmarks.cli.store import server_libraries, store_option


VERIFY = ("-P", "-m", "robustarena", "verify", "BUNDLE", "--rerun", "RERUN", "--nonce", "NONCE", "--json")


@click.command()
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
@plugin_option
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
    plugins: tuple[Path, ...],
) -> None:
    """Serve the boards, and take submissions. Verification needs `robustarena worker` beside it."""
    with server_libraries():
        import uvicorn

        from benchmarks.catalog import catalog
        from benchmarks.clean_examples import clean_examples
        from benchmarks.suites.suite import Suite
        from benchmarks.verifying.opening import benchmark_version
        from leaderboard.bundle.reading import Limits
        from leaderboard.database.blob_store import Depot
        from leaderboard.database.engine import open_database
        from leaderboard.database.suites import SuiteFacts, write_suite
        from leaderboard.server.app import create_app
        from leaderboard.server.settings import ServerSettings
        from tasks.data import open_data

        registry, depot, total = catalog(plugins), Depot(store), most_megabytes * 1_000_000
        opened = [open_data(folder) for folder in data]
        for suite in registry.all(Suite):
            write_suite(depot, SuiteFacts(suite.name, dict(suite.ranking_threats), tuple(suite.unrealisable)))
            for custom in (one for one in opened if one.task in suite.ranking_threats):
                threats = {custom.task: suite.ranking_threats[custom.task]}
                write_suite(depot, SuiteFacts(f"{suite.name}-{custom.suffix}", threats, tuple(suite.unrealisable)))
        settings = ServerSettings(
            folder=store,
            hosts=_hosts(host, names),
            bundle=Limits(total=total, file=total, records=min(total, 128_000_000)),
            submissions_per_hour=submissions,
            requests_per_minute=requests,
            benchmark=None if any_version else benchmark_version(),
            originals=clean_examples(registry, opened),
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
        listening = _bound(host, port)
        bound = listening.getsockname()
        click.echo(f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}")
        sys.stdout.flush()
        server = uvicorn.Server(config)
        server.run(sockets=[listening])
        if not server.started:
            raise click.exceptions.Exit(1)


@click.command()
@store_option
@click.option("--once", is_flag=True, help="Stop when nothing waits any more.")
@click.option("--rerun", type=click.IntRange(0), default=3, show_default=True, help="Cells to measure again.")
@click.option(
    "--minutes", type=click.FloatRange(0.01), default=60.0, callback=finite, show_default=True, help="For one bundle."
)
@click.option(
    "--memory", type=click.FloatRange(0.1), default=8.0, callback=finite, show_default=True, help="GiB of one process."
)
@click.option(
    "--lease",
    type=click.FloatRange(0.5),
    default=60.0,
    callback=finite,
    show_default=True,
    help="Seconds until a dead worker's job is another's.",
)
@prepared_option
@plugin_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def worker(
    store: Path,
    once: bool,
    rerun: int,
    minutes: float,
    memory: float,
    lease: float,
    data: tuple[Path, ...],
    plugins: tuple[Path, ...],
    command: tuple[str, ...],
) -> None:
    """Verify what was submitted, one bundle at a time; run as many workers as there are machines.

    Each bundle is verified by a process of its own without network. COMMAND, after `--`, replaces `robustarena verify`;
    BUNDLE, RERUN and NONCE in it are filled in.
    """
    with server_libraries():
        import logging

        from leaderboard.server.settings import WorkerSettings
        from leaderboard.server.worker import work

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        given = [part for one in data for part in ("--data", str(one.resolve()))]
        given += [part for one in plugins for part in ("--plugin", str(one.resolve()))]
        settings = WorkerSettings(
            folder=store,
            command=command or (sys.executable, *VERIFY, *given),
            rerun=rerun,
            seconds=60 * minutes,
            memory_bytes=int(memory * (1 << 30)),
            lease_seconds=lease,
        )
        click.echo(f"{work(settings, once=once)} verified", err=True)


def _bound(host: str, port: int) -> socket:
    """A listening socket that a server takes over. Raises StoreError where the address cannot be had."""
    try:
        found = create_server((host, port), family=AF_INET6 if ":" in host else AF_INET, backlog=2048)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise StoreError(f"cannot listen on {host}, port {port}: {reason}; choose another --host or --port") from None
    found.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # or answers in two parts wait for the client's acknowledgement
    return found


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
