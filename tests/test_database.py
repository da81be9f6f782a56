"""The store: tables and migrations, tokens, entries and their names, boards, and all of it again from the files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text
from stores import FACTS, KEY, STRANGER, SUITE, admitted, database, database_url, depot, make_bundle, with_accounts
from synthetic import ACCURACY, IMAGE, RETURN, SPEECH

from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import account_of
from leaderboard.database import jobs, migrations
from leaderboard.database.accepted import refresh
from leaderboard.database.accounts import AccountError, account_of_token, issue_token, list_tokens, revoke_token
from leaderboard.database.blob_store import Depot
from leaderboard.database.boards import Boards, PublicBoard
from leaderboard.database.engine import NEWEST, Database, DatabaseError, open_database
from leaderboard.database.entries import (
    NameTaken,
    NoSuchEntry,
    NoTarget,
    NotTheOwner,
    TooMany,
    admit,
    submission,
    withdraw,
)
from leaderboard.database.events import Circumstances
from leaderboard.database.models import Base, StoredEntry, StoredResult, Token
from leaderboard.database.rebuild import export_events, rebuild
from leaderboard.database.suites import facts_of
from leaderboard.records.canonical import ResultError, canonical_json
from leaderboard.records.metric import Metric
from leaderboard.records.verdict import Verdict, VerdictLevel, decode_verdict
from leaderboard.scoring.ranker import Ranker
from leaderboard.scoring.statistics import Sample, rank_intervals


__all__ = ["database", "database_url", "depot"]  # fixtures


def accept(database: Database, bundle: str, level: VerdictLevel = "re-run") -> None:
    """Verifies the jobs of the queue until this bundle's was done."""
    taken = database.transact(lambda session: jobs.take(session, "test"))
    assert taken is not None
    assert taken.bundle == bundle
    verdict = Verdict(bundle, level, ("not good",) if level == "refused" else ())
    database.transact(lambda session: jobs.finish(session, taken, verdict, Circumstances("test")))


def board(database: Database, depot: Depot) -> PublicBoard:
    refresh(database, depot, {SUITE: FACTS})
    with database.read() as session:
        return Boards().build(session, FACTS)


def test_migrations_make_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_current_head() == NEWEST


def test_processes_that_open_a_new_store_at_once_make_it_once(database_url: str, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from leaderboard.database.engine import open_database as o; "
    code += "o(Path(sys.argv[1]), sys.argv[2]).close()"
    command = [sys.executable, "-c", code, str(tmp_path / "store"), database_url]
    started = [subprocess.Popen(command, cwd=Path(__file__).parent.parent) for _ in range(4)]
    assert [one.wait(120) for one in started] == [0, 0, 0, 0]


def test_sqlite_waits_for_other_writers_and_survives_a_loss_of_power(tmp_path: Path) -> None:
    opened = open_database(tmp_path)
    with opened.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
        assert connection.execute(text("PRAGMA busy_timeout")).scalar_one() == 30_000
    opened.close()


@pytest.mark.parametrize("url", ["mysql://root@host/db", "no url at all", "postgresql://board@/none?host=/nowhere"])
def test_a_database_that_cannot_be_used_is_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"supported|no database URL|Check that it runs"):
        open_database(tmp_path, url)


def test_tokens_are_kept_as_hashes_and_end_when_revoked(database: Database) -> None:
    account = account_of(KEY)
    token = database.transact(lambda session: issue_token(session, account, "Ada", "laptop"))
    with database.read() as session:
        stored = session.scalars(select(Token)).one()
        assert token.startswith(stored.prefix)
        assert token not in repr(vars(stored))
        assert account_of_token(session, token) == account
        assert account_of_token(session, token[:-1] + "~") is None
        assert account_of_token(session, "") is None
        assert [(one.prefix, one.name, one.note, one.revoked) for one in list_tokens(session)] == [
            (stored.prefix, "Ada", "laptop", None)
        ]
    database.transact(lambda session: revoke_token(session, stored.prefix))
    database.transact(lambda session: revoke_token(session, token))  # again is fine, and so is the whole of it
    with database.read() as session:
        assert account_of_token(session, token) is None
    with pytest.raises(AccountError, match="no token"):
        database.transact(lambda session: revoke_token(session, "ra_00000000"))
    with pytest.raises(AccountError, match="public key"):
        database.transact(lambda session: issue_token(session, "ada", "Ada"))


def test_the_same_bundle_twice_is_one_entry(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    bundle = admitted(database, depot, tmp_path)
    manifest = open_bundle(depot.bundle_path(bundle)).manifest
    with database.read() as session:
        before = submission(session, bundle)
    assert not database.transact(lambda session: admit(session, manifest, bundle, 1))
    with database.read() as session:
        after = submission(session, bundle)
        assert before == after
        assert after is not None
        assert (after.state, after.level, after.submitter, len(after.nonce)) == ("queued", "", "Ada", 64)
        assert [one.kind for one in after.history] == ["submitted"]
        assert session.scalars(select(func.count()).select_from(StoredEntry)).one() == 1


def test_names_are_one_entrys_on_a_board(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    first = admitted(database, depot, tmp_path, "net")
    with pytest.raises(NameTaken, match="withdraw it first"):
        admitted(database, depot, tmp_path, "net", right=3)
    with pytest.raises(NameTaken, match="another account's"):
        admitted(database, depot, tmp_path, "net", task=SPEECH, key=STRANGER)
    admitted(database, depot, tmp_path, "net", task=SPEECH)
    admitted(database, depot, tmp_path, "net", suite="tiny@2", key=STRANGER)
    database.transact(lambda session: withdraw(session, first, account_of(KEY)))
    admitted(database, depot, tmp_path, "net", right=4)
    more = make_bundle(tmp_path / "more.rab", "more")
    manifest = open_bundle(tmp_path / "more.rab").manifest
    with pytest.raises(TooMany):
        database.transact(lambda session: admit(session, manifest, more, 1, most_unfinished=2))
    assert database.transact(lambda session: admit(session, manifest, more, 1, most_unfinished=3))


def test_only_owners_withdraw_and_the_history_stays(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    bundle = admitted(database, depot, tmp_path)
    accept(database, bundle)
    assert [one.origin.bundle for one in board(database, depot).tasks[IMAGE]] == [bundle]
    with pytest.raises(NotTheOwner):
        database.transact(lambda session: withdraw(session, bundle, account_of(STRANGER)))
    with pytest.raises(NoSuchEntry):
        database.transact(lambda session: withdraw(session, "0" * 64, account_of(KEY)))
    assert database.transact(lambda session: withdraw(session, bundle, account_of(KEY)))
    assert not database.transact(lambda session: withdraw(session, bundle, account_of(KEY)))
    assert board(database, depot).tasks == {}
    with database.read() as session:
        seen = submission(session, bundle)
    assert seen is not None
    assert seen.state == "withdrawn"
    assert [one.kind for one in seen.history] == ["submitted", "accepted", "withdrawn"]
    assert depot.bundle_path(bundle).exists()


def test_only_what_was_run_again_is_ranked(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    levels: tuple[VerdictLevel, ...] = ("re-run", "re-scored", "claimed", "refused", "re-run")
    for place, level in enumerate(levels):
        accept(database, admitted(database, depot, tmp_path, f"net{place}", right=10 + 6 * place), level)
    found = board(database, depot)
    lines = {line.entry: line for line in found.tasks[IMAGE]}
    assert set(lines) == {"net0", "net1", "net2", "net4"}
    assert [line.entry for line in found.tasks[IMAGE]][:2] == ["net4", "net0"]
    assert {name: line.rank is not None for name, line in lines.items()} == {
        "net0": True,
        "net1": False,
        "net2": False,
        "net4": True,
    }
    rank = lines["net0"].rank
    assert rank is not None
    assert rank.worst == 2  # the unranked ones are ahead of nobody
    assert "re-scored" in lines["net1"].unranked
    assert [one.rank for one in found.entries if one.entry == "net2"] == [None]


def test_a_strangers_stronger_attack_lowers_and_nothing_else(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    bundle = admitted(database, depot, tmp_path, right=30)
    attack = {"kind": "stronger-attack", "target": bundle, "key": STRANGER, "right": 10}
    with pytest.raises(NoTarget, match="no accepted entry"):
        admitted(database, depot, tmp_path, attacks=("strong",), **attack)
    accept(database, bundle)
    before = board(database, depot).tasks[IMAGE][0]
    with pytest.raises(NoTarget, match="another suite, task, name or model"):
        admitted(database, depot, tmp_path, "other", attacks=("strong",), **attack)
    other = admitted(database, depot, tmp_path, attacks=("strong",), **attack)
    assert board(database, depot).tasks[IMAGE][0] == before  # queued is nothing yet
    accept(database, other)
    after = board(database, depot).tasks[IMAGE][0]
    assert before.robust is not None
    assert after.robust is not None
    assert after.robust.quality < before.robust.quality
    assert (after.origin.stronger, after.clean, after.unranked) == ((other,), before.clean, "")
    database.transact(lambda session: withdraw(session, other, account_of(STRANGER)))
    assert board(database, depot).tasks[IMAGE][0] == before


def test_boards_do_not_depend_on_the_order_and_are_rebuilt_to_the_byte(
    database_url: str, depot: Depot, tmp_path: Path
) -> None:
    database = open_database(depot.path, database_url)
    token = with_accounts(database)
    names = [(f"net{place}", 5 * place) for place in range(5)]
    for name, right in names:
        accept(database, admitted(database, depot, tmp_path, name, right=right))
    accept(database, admitted(database, depot, tmp_path, "bad"), "refused")
    gone = admitted(database, depot, tmp_path, "gone")
    accept(database, gone)
    database.transact(lambda session: withdraw(session, gone, account_of(KEY)))
    waits = admitted(database, depot, tmp_path, "waits")
    before = canonical_json(board(database, depot))
    with database.read() as session:
        seen = {bundle: submission(session, bundle) for bundle in depot.ids()}
    result = rebuild(database, depot)
    assert (result.entries, result.unused, result.damaged) == (8, 0, ())
    assert canonical_json(board(database, depot)) == before
    with database.read() as session:
        assert account_of_token(session, token) == account_of(KEY)
        for bundle, one in seen.items():
            again = submission(session, bundle)
            assert again is not None
            assert one is not None
            assert msgspec.structs.replace(again, attempts=one.attempts) == one
    accept(database, waits)  # it waits in the queue again
    database.close()

    # Without the old database, and with the entries in another order.
    fresh = Depot(tmp_path / "fresh")
    other = open_database(fresh.path)
    with_accounts(other)
    for name, right in reversed(names):
        accept(other, admitted(other, fresh, tmp_path, name, right=right))
    assert canonical_json(board(other, fresh)) == before
    export_events(other, fresh)
    other.close()
    (fresh.path / "board.sqlite3").unlink()
    again = open_database(fresh.path)
    assert rebuild(again, fresh).entries == 5
    assert canonical_json(board(again, fresh)) == before
    again.close()


def test_rebuilding_leaves_out_what_is_damaged_and_names_it(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    good, bad, torn = (admitted(database, depot, tmp_path, name) for name in ("good", "bad", "torn"))
    export_events(database, depot)
    data = bytearray(depot.bundle_path(bad).read_bytes())
    data[len(data) // 2] ^= 1
    depot.bundle_path(bad).chmod(0o644)
    depot.bundle_path(bad).write_bytes(data)
    next(depot.folder(torn).glob("0001-*")).write_text('{"bundle":')
    orphan = make_bundle(tmp_path / "orphan.rab", "orphan")
    depot.place(tmp_path / "orphan.rab", orphan)
    found = rebuild(database, depot)
    assert (found.entries, found.unused) == (1, 1)
    assert sorted(one[:64] for one in found.damaged) == sorted((bad, torn))
    with database.read() as session:
        assert submission(session, good) is not None
        assert submission(session, bad) is None


def test_rows_are_worked_out_once(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    accept(database, admitted(database, depot, tmp_path))
    suites = {SUITE: FACTS}
    assert refresh(database, depot, suites) == 1
    assert refresh(database, depot, suites) == 0
    harder = msgspec.structs.replace(FACTS, unrealisable_threats=("words-l0:1",))
    assert refresh(database, depot, {SUITE: harder}) == 1
    with database.read() as session:
        assert session.scalars(select(func.count()).select_from(StoredResult)).one() == 1


def test_suites_and_their_first_examples() -> None:
    known = {SUITE: FACTS}
    limited = facts_of(known, f"{SUITE}-limit20")
    assert limited is not None
    assert limited.ranking_threats == FACTS.ranking_threats
    assert facts_of(known, f"{SUITE}-limit20", limited=False) is None
    assert facts_of(known, f"{SUITE}-limit0") is None
    assert facts_of(known, "other@1") is None


def samples(count: int, seed: int, metric: Metric, shape: str) -> dict[str, list[Sample]]:
    draw = np.random.default_rng(seed)
    ids = tuple(f"e{place:03}" for place in range(60))
    found: dict[str, list[Sample]] = {}
    for place in range(count):
        level, noise = draw.random(), draw.random(60)
        values: Any = (noise < level).astype(float) if metric is ACCURACY else 40 + 400 * level + 90 * noise
        if place % 6 == 5:
            values = found[f"n{place - 1}"][0].values[: len(ids)].copy()
            values[:5] = values[:5][::-1]
        rows = 59 if shape == "ragged" and place % 4 == 0 else 60
        one = Sample("t", metric, ids[:rows], np.resize(values, 60)[:rows], np.ones(rows))
        found[f"n{place}"] = [one, one] if shape == "two" else [one]
    return found


@pytest.mark.parametrize("metric", [ACCURACY, RETURN], ids=lambda metric: str(metric.name))
@pytest.mark.parametrize("shape", ["one", "two", "ragged"])
def test_the_fast_ranks_are_the_slow_ones(metric: Metric, shape: str) -> None:
    ranker = Ranker()
    everyone = samples(24, 7, metric, shape)
    names = list(everyone)
    assert ranker.ranks({}) == {}
    for chosen in (names[:9], names, names[4:15], names[::-1], names[2:3]):
        entries = {name: everyone[name] for name in chosen}
        assert ranker.ranks(entries) == rank_intervals(entries)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"bundle":"","level":"certified"}',
        b'{"bundle":"","level":"refused"}',
        b'{"bundle":"","level":"re-run","more":1}',
        canonical_json({"bundle": "", "level": "refused", "reasons": ["x" * 3000]}),
        b'{"bundle":"","level":"re-run"} {"bundle":"","level":"re-run"}',
    ],
)
def test_what_is_no_verdict_is_refused(data: bytes) -> None:
    with pytest.raises(ResultError, match="not a verdict"):
        decode_verdict(data)
