"""Bundles that their owner signs rightly, sent to a running server: what is wrong in them is refused there."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_bundle_contents as refusals
from broken_bundles import ATTACKED, CLEAN, Files, bound, packed, signed
from test_bundle import KEY, evidence_of, own_cell
from test_bundle_contents import PICKLES
from test_bundle_fuzz import BYTES, edit
from test_server_fuzz import Server, detail_of, is_well, kept, running, sent

from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.names import MANIFEST, SIGNATURE, evidence_path, record_path
from leaderboard.bundle.reading import open_bundle
from leaderboard.records.canonical import canonical_json


SIGNED_NONSENSE = 1_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("signed")) as found:
        yield found


def cases(test: Any) -> list[Any]:
    """What a parametrised test is run with."""
    found: list[Any] = test.pytestmark[0].args[1]
    return found


def wrongs(genuine: Files) -> Iterator[tuple[str, str, Files]]:
    """What is wrong: a name for it, the reason to be told, and the files, hashed and signed by the owner."""
    for number, (change, reason) in enumerate(cases(refusals.test_a_manifest_that_is_wrong_is_refused)):
        yield f"manifest {number}", reason, bound(genuine, change)
    record = record_path(ATTACKED)
    for number, (change, reason) in enumerate(cases(refusals.test_a_record_that_is_wrong_is_refused)):
        plain = json.loads(genuine[record])
        change(plain)
        yield f"record {number}", reason, bound({**genuine, record: canonical_json(plain)})
    for field, text, reason in cases(refusals.test_texts_that_a_page_would_show_are_plain):
        plain = json.loads(genuine[MANIFEST])
        plain["entry"][field] = text
        data = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        yield f"{field} {text!a:.40}", reason, signed(genuine, data)
    for score in cases(refusals.test_what_is_no_number_is_no_score):
        data = genuine[record].replace(b'"values":[1.0', b'"values":[' + score.encode())
        yield f"score {score:.20}", "not valid JSON|not a valid record|finite", bound({**genuine, record: data})
    for number, (data, reason) in enumerate(cases(refusals.test_a_tensor_file_that_is_not_exact_is_refused)):
        yield f"tensors {number}", reason, bound({**genuine, evidence_path(ATTACKED): data})
    for name, data, reason in cases(refusals.test_documents_of_the_model_are_read_strictly):
        yield f"{name} {data[:20]!r}", reason, bound({**genuine, name: data})
    for name, data in PICKLES.items():
        yield f"pickle {name}", "starts like|is a pickle", bound({**genuine, "model/more.json": data})
    yield "evidence lost", "artifacts", bound({n: d for n, d in genuine.items() if n != evidence_path(ATTACKED)})
    yield "evidence of none", "artifacts", bound({**genuine, evidence_path(CLEAN): evidence_of(2)})
    yield "evidence of another", "artifacts", bound({**genuine, evidence_path(ATTACKED): evidence_of(2)})
    swapped = {**genuine, record_path(CLEAN): genuine[record]}
    yield "record of another cell", "was expected", bound(swapped)
    more = own_cell("deepfool")
    unknown = {**genuine, record_path(more.id): genuine[record]}
    yield "record of no plan", "of no cell of the plan", bound(unknown)
    yield "suite of no board", "has no board here", bound(genuine, lambda plain: plain.update(suite="other@1"))


def test_what_is_wrong_below_a_right_signature_is_told(server: Server, genuine: Files, tmp_path: Path) -> None:
    before = kept(server.where)
    made = [(how, reason, packed(files)) for how, reason, files in wrongs(genuine)]
    assert len(made) > 120
    answers = sent(server, [(how, body) for how, _, body in made])
    for (how, reason, _), one in zip(made, answers, strict=True):
        assert re.search(reason, detail_of(one)), f"{how}: expected {reason!r}, found {detail_of(one)!r}"
        assert one.answer.status_code == 422, how
    assert kept(server.where) == before
    is_well(server, tmp_path, "after-wrongs")


def nonsense(genuine: Files, count: int) -> Iterator[tuple[str, bytes]]:
    """Documents edited and files damaged at random, hashed and signed by the owner."""
    for seed in range(count):
        draw = random.Random(seed)
        if draw.random() < 0.7:
            files = edit(genuine, draw, KEY)
        else:
            name = draw.choice([one for one in sorted(genuine) if one not in (MANIFEST, SIGNATURE)])
            files = bound({**genuine, name: draw.choice(BYTES)(genuine[name], draw)})
        yield f"seed {seed}", packed(files)


@pytest.mark.slow
def test_a_server_stores_exactly_what_it_accepts(server: Server, genuine: Files, tmp_path: Path) -> None:
    """The owner may sign nonsense: it is taken where the reader opens it, its board exists and its name is free."""
    before = kept(server.where)
    codes: Counter[int] = Counter()
    accepted = set()
    for one in sent(server, nonsense(genuine, SIGNED_NONSENSE)):
        codes[one.answer.status_code] += 1
        (tmp_path / "sent.rab").write_bytes(one.body)
        try:
            bundle = open_bundle(tmp_path / "sent.rab")
        except BundleError:
            assert one.answer.status_code == 422, f"{one.how}: {one.answer.text}"
        if one.answer.status_code in (200, 201):
            assert one.answer.json()["id"] == bundle.id
            accepted.add(bundle.id)
        else:
            assert detail_of(one)
    assert codes[422] > SIGNED_NONSENSE // 2, codes
    assert codes[409] > 20, codes
    assert accepted
    after = kept(server.where)
    for table in ("bundles", "entries", "jobs", "history"):
        assert after[table] - before[table] == accepted, table
    new = after["files"] - before["files"]
    assert {name.split("/")[-2] for name in new} == accepted
    assert not any(name.startswith(("uploads", "scratch")) for name in new)
    is_well(server, tmp_path, "after-nonsense")
