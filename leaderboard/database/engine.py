"""The database itself: SQLite in a folder, or the PostgreSQL that a URL names, with the same code and tables."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Double, Engine, create_engine, event, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from adversarial.errors import RobustArenaError
from leaderboard.records.files import create_folder, only_one, store_error


URL_VARIABLE: Final = "ROBUSTARENA_DATABASE_URL"
FILE: Final = "board.sqlite3"
NEWEST: Final = "0001"  # the last revision in migrations/versions
BUSY_SECONDS: Final = 30.0
_TRIES: Final = 5
_MIGRATION_LOCK: Final = 7_263_001  # any number that no other program of this database uses

T = TypeVar("T")


class DatabaseError(RobustArenaError, RuntimeError):
    """The database cannot be opened or used. Says which, why and what to do; never its password."""


class now(FunctionElement[float]):
    """Seconds since 1970 by the database's clock, so that workers on several machines agree about leases."""

    inherit_cache = True
    name = "now_seconds"
    type = Double()


@compiles(now, "sqlite")
def _sqlite_now(_element: now, _compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _postgresql_now(_element: now, _compiler: Any, **_: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


class Database:
    """An open store with its newest tables. Threads and processes share it; close() ends its connections."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # A reader sees one moment of the store: SQLite's snapshots are that, PostgreSQL has to be asked.
        moment = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
        self._reader = engine.execution_options(read_only=True, **moment)

    def transact(self, work: Callable[[Session], T]) -> T:
        """Runs work in one transaction, whole or not at all, and returns what it returned.

        Where another transaction came between (the same key inserted, a deadlock), it is run again from its start.
        """
        for attempt in range(_TRIES):
            try:
                with Session(self.engine, expire_on_commit=False) as session, session.begin():
                    return work(session)
            except (IntegrityError, OperationalError):
                if attempt == _TRIES - 1:
                    raise
                time.sleep(0.02 * 2**attempt)
        raise AssertionError("unreachable")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads; it holds up no writer."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        self.engine.dispose()


def open_database(folder: Path, url: str | None = None) -> Database:
    """Opens the store, and brings its tables to the newest revision; several processes may do so at once.

    url: of PostgreSQL; by default what the environment variable ROBUSTARENA_DATABASE_URL holds, and SQLite in the
    folder where it holds nothing. Raises DatabaseError, and StoreError where the folder cannot be written.
    """
    address = url or os.environ.get(URL_VARIABLE)
    found = _address(folder, address)
    try:
        create_folder(folder)
        with only_one(folder / ".opening"):
            engine = _sqlite(found) if found.get_backend_name() == "sqlite" else _postgresql(found)
            database = Database(engine)
            try:
                _upgrade(engine)
            except BaseException:
                database.close()
                raise
    except OSError as error:
        raise store_error(folder, error) from error
    except DBAPIError as error:
        shown = found.render_as_string(hide_password=True)
        raise DatabaseError(
            f"{shown}: {str(error.orig).strip()}. Check that it runs and that it is the right one"
        ) from (None)
    return database


def clock(session: Session) -> float:
    """The time by the database, in seconds since 1970."""
    return float(session.scalars(select(now())).one())


def _address(folder: Path, text: str | None) -> URL:
    if not text:
        return URL.create("sqlite", database=str(folder / FILE))
    try:
        url = make_url(text)
    except ArgumentError:
        raise DatabaseError(f"${URL_VARIABLE} is no database URL; expected postgresql://user@host/database") from None
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        return url
    raise DatabaseError(f"{url.get_backend_name()} is not supported; expected postgresql:// or sqlite:///FILE")


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False, "isolation_level": None}
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=FULL")  # what was acknowledged survives a loss of power

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # A transaction that first reads and then writes could not wait for another writer: it would have to fail.
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    with engine.connect().execution_options(read_only=True) as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("BEGIN")
    return engine


def _postgresql(url: URL) -> Engine:
    return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)


def _is_newest(engine: Engine) -> bool:
    """Whether there is nothing to migrate; told without Alembic, which takes longer to import than all else here."""
    with engine.connect().execution_options(read_only=True) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [NEWEST]


def _upgrade(engine: Engine) -> None:
    if _is_newest(engine):
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
