"""What one account may not do to the others: grind the draw, shed attacks, freeze the boards, take all places."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import permutations
from pathlib import Path
from typing import Any, cast

import hf_models
import pytest
from fastapi import HTTPException
from model_sources import load_model
from serving import place, serving, until
from stores import FACTS, STRANGER, SUITE, admitted, database, database_url, depot, with_accounts

from adversarial.errors import ModelError
from benchmarks.verifying.bundles import drawn
from leaderboard.bundle.documents import MOST_PARTS, read_json
from leaderboard.bundle.errors import BundleError
from leaderboard.database import accepted, jobs
from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import Database, open_database
from leaderboard.database.entries import submission, withdraw
from leaderboard.database.events import Circumstances
from leaderboard.database.scoring import Scored
from leaderboard.records.verdict import Verdict
from leaderboard.server.schemas import as_state
from leaderboard.server.settings import ServerSettings, WorkerSettings
from leaderboard.server.uploads import Uploads
from leaderboard.server.worker import MOST_RERUN, _rerun


__all__ = ["database", "database_url", "depot"]  # fixtures


def ended(store: Database, bundle: str, level: str = "re-run") -> jobs.Taken:
    """Takes the bundle's job and ends it."""
    taken = store.transact(lambda session: jobs.take(session, "one"))
    assert taken is not None
    assert taken.bundle == bundle
    verdict = Verdict(bundle, level, ("why",))  # type: ignore[arg-type]
    store.transact(lambda session: jobs.finish(session, taken, verdict, Circumstances()))
    return taken


def taken_back(store: Database, bundle: str, account: str) -> None:
    store.transact(lambda session: withdraw(session, bundle, account))


def account_of(store: Database, bundle: str) -> str:
    with store.read() as session:
        found = submission(session, bundle)
    assert found is not None
    return found.account


def test_each_failed_try_draws_more_cells(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    first = admitted(database, depot, tmp_path, "one")
    assert ended(database, first, "refused").strikes == 0
    taken_back(database, first, account_of(database, first))  # which makes it no better
    early = admitted(database, depot, tmp_path, "two")
    taken_back(database, early, account_of(database, early))
    third = admitted(database, depot, tmp_path, "three")
    assert ended(database, third).strikes == 2
    taken_back(database, third, account_of(database, third))  # what was accepted was no try
    assert ended(database, admitted(database, depot, tmp_path, "four")).strikes == 2
    assert ended(database, admitted(database, depot, tmp_path, "five", key=STRANGER)).strikes == 0
    settings = WorkerSettings(tmp_path, ("true",), rerun=3)
    tried = jobs.Taken(1, "a", "b", "c", 1, strikes=2)
    assert _rerun(settings, tried) == 9
    assert _rerun(settings, tried._replace(strikes=10**6)) == MOST_RERUN


def test_the_nonce_is_shown_once_it_is_of_no_use(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    bundle = admitted(database, depot, tmp_path)

    def shown() -> str:
        with database.read() as session:
            found = submission(session, bundle)
        assert found is not None
        assert len(found.nonce) == 64
        return as_state(found).nonce

    assert shown() == ""
    ended(database, bundle)
    assert len(shown()) == 64
    other = bundle
    bundle = admitted(database, depot, tmp_path, "two")
    taken_back(database, bundle, account_of(database, other))
    assert shown() == ""


def test_half_of_what_is_drawn_decides_the_rank() -> None:
    cells = [f"{number:064x}" for number in range(40)]
    for nonce in range(20):
        found = drawn("a" * 64, f"{nonce:02x}", cells, 3, cells[:4])
        assert len(set(found)) == 3
        assert len(set(found) & set(cells[:4])) >= 2
    assert len(drawn("a" * 64, "00", cells, 50, cells[:4])) == 40


def test_a_model_that_comes_back_meets_its_attacks_again(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    entry = admitted(database, depot, tmp_path, "net", right=30)
    ended(database, entry)
    attack = admitted(
        database, depot, tmp_path, "net", right=5, key=STRANGER, kind="stronger-attack", target=entry, attacks=("own",)
    )
    ended(database, attack, "re-scored")
    taken_back(database, entry, account_of(database, entry))
    again = admitted(database, depot, tmp_path, "net", right=30, passes=1)
    ended(database, again)
    with database.read() as session:
        (found,) = accepted.accepted_entries(session)
    assert (found.bundle, found.origin.stronger) == (again, (attack,))
    with database.read() as session:
        other = accepted.accepted_entries(session, "other@1")
    assert other == []


def test_an_entry_that_cannot_be_scored_keeps_no_other_from_its_board(
    database: Database, depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_accounts(database)
    odd, good = (admitted(database, depot, tmp_path, name) for name in ("odd", "good"))
    ended(database, odd)
    ended(database, good)
    score = accepted.score_entry

    def breaking(opened: Any, *rest: Any) -> Scored:
        if opened.id == odd:
            raise ValueError("could not convert string to float: 'foo'")
        return score(opened, *rest)

    monkeypatch.setattr(accepted, "score_entry", breaking)
    assert accepted.refresh(database, depot, {SUITE: FACTS}) == 1


def test_a_document_of_millions_of_values_is_refused_before_it_is_read() -> None:
    data = b"[" + b",".join([b"[]"] * (MOST_PARTS // 5)) + b"]"
    with pytest.raises(BundleError, match="at most 6,000,000 values"):
        read_json(data, "model/tokenizer.json")
    assert len(read_json(json.dumps(list(range(100_000))).encode(), "model/vocab.json")) == 100_000


class Body:
    """A request that sends a byte now and then."""

    def __init__(self, count: int, seconds: float) -> None:
        self.headers: dict[str, str] = {}
        self._count, self._seconds = count, seconds

    async def stream(self) -> AsyncIterator[bytes]:
        for _ in range(self._count):
            await asyncio.sleep(self._seconds)
            yield b"x"


def test_slow_uploads_are_cut_off_and_take_nobody_elses_place(tmp_path: Path) -> None:
    settings = ServerSettings(folder=tmp_path, uploads_at_once=2, idle_seconds=0.3)

    async def play() -> tuple[list[int], int]:
        uploads = Uploads(settings, Depot(tmp_path))

        async def send(account: str, body: Body) -> int:
            try:
                async with uploads.received(cast("Any", body), account) as upload:
                    return upload.size
            except HTTPException as error:
                return -error.status_code

        slow = [asyncio.create_task(send("slow", Body(10_000, 0.05))) for _ in range(6)]
        await asyncio.sleep(0.1)
        honest = await asyncio.wait_for(send("honest", Body(3, 0.0)), 5)
        assert not any(one.done() for one in slow)
        return [await asyncio.wait_for(one, 30) for one in slow], honest

    slow, honest = asyncio.run(play())
    assert honest == 3
    assert slow == [-408] * 6
    assert not list((tmp_path / "uploads").glob("*"))


@pytest.mark.parametrize(
    ("name", "setting", "key"),
    [
        ("config.json", {"configuration_files": ["config.4.0.0.json"]}, "configuration_files"),
        ("config.json", {"text_config": {"transformers_weights": "other.safetensors"}}, "transformers_weights"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["code.Made", None]}}, "auto_map"),
    ],
)
def test_no_setting_leads_to_files_that_the_hash_does_not_name(
    name: str, setting: dict[str, object], key: str, tmp_path: Path
) -> None:
    hf_models.save_image(tmp_path)
    assert load_model(f"hf:{tmp_path}", "image-digits").hash
    path = tmp_path / name
    before = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**before, **setting}))
    with pytest.raises(ModelError, match=key):
        load_model(f"hf:{tmp_path}", "image-digits")


def test_making_a_page_counts_for_ten_requests(tmp_path: Path) -> None:
    """There are as many pages to make as pairs of entries, and one thread makes them."""
    where = place(tmp_path, f"sqlite:///{tmp_path}/board.sqlite3")
    opened = open_database(where.folder, where.url)
    for name in ("one", "two", "three"):
        ended(opened, admitted(opened, where.depot, tmp_path, name))
    opened.close()
    with serving(where, "--requests", "25") as (client, _):
        pages = [f"/boards/{SUITE}/compare/{one}/{two}" for one, two in permutations(("one", "two", "three"), 2)]
        until(lambda: "three" in client.get(f"/v1/boards/{SUITE}").text, "the board is there")
        codes = [client.get(page).status_code for page in pages[:3]]
        assert codes == [200, 200, 429]
        assert client.get(pages[0]).status_code == 200  # it lies ready
