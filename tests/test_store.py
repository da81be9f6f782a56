"""The run folder: nothing half-written is ever taken for a result, and every failure says what to do."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from synthetic import cell, first, journal_entry, ok, plan

from adversarial.errors import StoreError, UnknownName
from leaderboard.records import files
from leaderboard.records.canonical import ResultError, canonical_json
from leaderboard.records.plan import Plan, parse_label
from leaderboard.records.run_folder import LEFTOVER_SECONDS, RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "deep")


RESULT = ok(cell(), first(3, 5))
OTHER = ok(cell(seed=1), first(2, 5))


def everything_in(path: Path) -> list[str]:
    return sorted(found.name for found in path.rglob("*") if found.is_file())


def test_opening_and_reading_create_nothing(folder: RunFolder) -> None:
    assert folder.read_result(RESULT.id) is None
    assert folder.journal() == {}
    assert folder.plans() == ()
    assert not folder.path.exists()


def test_records_plans_and_artifacts_come_back(folder: RunFolder) -> None:
    digest = folder.write_artifact(RESULT.id, b"tensors")
    folder.write_result(RESULT)
    written = plan([RESULT, OTHER])
    folder.write_plan(written)
    assert digest == hashlib.sha256(b"tensors").hexdigest()
    assert folder.read_artifact(RESULT.id, digest) == b"tensors"
    assert folder.read_result(RESULT.id) == RESULT
    assert folder.read_plan("tiny@1") == written
    assert folder.plans() == ("tiny@1",)
    assert folder.results(written) == {RESULT.id: RESULT}
    assert folder.record_path(RESULT.id).read_bytes() == canonical_json(RESULT)
    assert everything_in(folder.path) == sorted([f"{RESULT.id}.json", f"{RESULT.id}.safetensors", "tiny@1.json"])


def test_a_truncated_record_names_its_file_and_what_to_do(folder: RunFolder) -> None:
    path = folder.write_result(RESULT)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ResultError, match="Delete that file or move it away") as caught:
        folder.read_result(RESULT.id)
    assert str(path) in str(caught.value)
    with pytest.raises(ResultError):
        folder.results(plan([RESULT]))


def test_a_record_under_a_wrong_name_is_refused(folder: RunFolder) -> None:
    folder.write_result(RESULT)
    folder.record_path(RESULT.id).rename(folder.record_path(OTHER.id))
    with pytest.raises(ResultError, match="was expected"):
        folder.read_result(OTHER.id)


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "a" * 63, ""])
def test_an_id_is_never_a_path(folder: RunFolder, name: str) -> None:
    with pytest.raises(ResultError, match="hexadecimal"):
        folder.read_result(name)


def test_an_artifact_that_changed_or_vanished_is_refused(folder: RunFolder) -> None:
    digest = folder.write_artifact(RESULT.id, b"tensors")
    folder.artifact_path(RESULT.id).write_bytes(b"others")
    with pytest.raises(ResultError, match="hashes to"):
        folder.read_artifact(RESULT.id, digest)
    folder.artifact_path(RESULT.id).unlink()
    with pytest.raises(ResultError, match="missing"):
        folder.read_artifact(RESULT.id, digest)


def test_an_unknown_suite_is_answered_with_the_nearest(folder: RunFolder) -> None:
    with pytest.raises(UnknownName, match="Run the suite first"):
        folder.read_plan("tiny@1")
    folder.write_plan(plan([RESULT]))
    with pytest.raises(UnknownName, match="Did you mean tiny@1"):
        folder.read_plan("tny@1")
    with pytest.raises(UnknownName, match=r"It has tiny@1"):
        folder.read_plan("../zzz")


def test_a_torn_plan_is_refused(folder: RunFolder) -> None:
    path = folder.write_plan(plan([RESULT]))
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(ResultError, match="not a valid plan"):
        folder.read_plan("tiny@1")


def test_the_last_journal_line_of_a_cell_wins(folder: RunFolder) -> None:
    folder.append_journal(journal_entry(RESULT, 1.0))
    folder.append_journal(journal_entry(OTHER, 2.0))
    folder.append_journal(journal_entry(RESULT, 3.0))
    assert {cell_id: entry.seconds for cell_id, entry in folder.journal().items()} == {
        RESULT.id: 3.0,
        OTHER.id: 2.0,
    }


def test_torn_journal_lines_cost_only_themselves(folder: RunFolder) -> None:
    folder.append_journal(journal_entry(RESULT, 1.0))
    torn = canonical_json(journal_entry(OTHER, 2.0))[:-30]
    with folder.journal_path.open("ab") as handle:
        handle.write(torn)
    assert set(folder.journal()) == {RESULT.id}
    folder.append_journal(journal_entry(OTHER, 4.0))
    assert folder.journal()[OTHER.id].seconds == 4.0
    with folder.journal_path.open("ab") as handle:
        handle.write(b"\xff\xfe\n\n" + torn)
    assert set(folder.journal()) == {RESULT.id, OTHER.id}


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    folder = RunFolder(tmp_path / "runs")
    for write in (
        lambda: folder.write_result(RESULT),
        lambda: folder.append_journal(journal_entry(RESULT)),
        lambda: folder.write_plan(plan([RESULT])),
    ):
        with pytest.raises(StoreError, match="is a file where a folder is needed") as caught:
            write()
        assert str(tmp_path / "runs") in str(caught.value)


def test_an_unwritable_folder_is_named(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match=r"Permission denied.*writable") as caught:
        folder.write_result(RESULT)
    assert caught.value.errno == errno.EACCES
    with pytest.raises(StoreError, match="writable"):
        folder.append_journal(journal_entry(RESULT))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_no_partial_record(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    folder.write_result(OTHER)

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(StoreError, match=r"No space left on device.*Free some space"):
        folder.write_result(RESULT)
    monkeypatch.undo()
    assert everything_in(folder.path) == [f"{OTHER.id}.json"]
    assert folder.read_result(RESULT.id) is None


def test_an_interrupt_leaves_no_partial_record(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    folder.cells.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        folder.write_result(RESULT)
    assert everything_in(folder.path) == []


def test_a_record_is_replaced_whole(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder.write_result(RESULT)
    before = path.read_bytes()

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(StoreError):
        folder.write_result(RESULT)
    assert path.read_bytes() == before


def test_a_short_write_to_the_journal_is_an_error(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.append_journal(journal_entry(RESULT, 1.0))
    write = os.write
    monkeypatch.setattr("leaderboard.records.run_folder.os.write", lambda handle, data: write(handle, data[:10]))
    with pytest.raises(StoreError, match="disk is full"):
        folder.append_journal(journal_entry(OTHER, 2.0))
    monkeypatch.undo()
    folder.append_journal(journal_entry(OTHER, 3.0))
    assert folder.journal()[OTHER.id].seconds == 3.0


def test_leftovers_of_killed_runs_are_ignored_and_old_ones_removed(folder: RunFolder) -> None:
    folder.write_result(RESULT)
    old, young = (folder.cells / f".{name}.json.1-ab.tmp" for name in ("old", "young"))
    for leftover in (old, young):
        leftover.write_bytes(b"{")
    past = time.time() - 2 * LEFTOVER_SECONDS
    os.utime(old, (past, past))
    again = RunFolder(folder.path)
    assert again.results(plan([RESULT])) == {RESULT.id: RESULT}
    again.write_result(OTHER)
    assert not old.exists()
    assert young.exists()


# Plans of several commands in one folder.


def entry_plan(*entries: str, task: str = "image-digits", suite: str = "tiny@1", model_hash: str | None = None) -> Plan:
    cells = [cell(model=name, attack=attack, model_hash=model_hash) for name in entries for attack in ("none", "pgd")]
    cells = [msgspec.structs.replace(one, task=task) for one in cells]
    return Plan(
        suite=suite,
        ranking_threats={"image-digits": "pixels-linf:0.1@gradient"},
        unrealisable_threats=(),
        cells=tuple(one.id for one in cells),
        labels={one.id: one.label for one in cells},
    )


def entries(found: Plan) -> list[tuple[str, str]]:
    assert set(found.cells) == set(found.labels)
    return sorted({parse_label(label)[:2] for label in found.labels.values()})


def test_a_plan_keeps_the_entries_that_another_command_put_there(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.extend_plan(entry_plan("mine"))
    folder.extend_plan(entry_plan("undefended", "hardened"))
    written = folder.extend_plan(entry_plan("yours"))
    assert entries(written) == [("image-digits", name) for name in ("hardened", "mine", "undefended", "yours")]
    assert folder.read_plan("tiny@1") == written
    folder.extend_plan(entry_plan("undefended", "hardened"))
    assert set(folder.read_plan("tiny@1").cells) == set(written.cells)
    folder.extend_plan(entry_plan("undefended", suite="other@1"))
    assert set(folder.read_plan("tiny@1").cells) == set(written.cells)


def test_an_entry_that_is_planned_anew_is_replaced_with_all_of_its_cells(tmp_path: Path) -> None:
    """Another model under the same name would otherwise stand twice on the board."""
    folder = RunFolder(tmp_path)
    folder.extend_plan(entry_plan("mine", "undefended"))
    folder.extend_plan(entry_plan("mine", task="sentiment-reviews"))
    newer = entry_plan("mine", model_hash="2")
    found = folder.extend_plan(newer)
    assert [cell_id for cell_id in found.cells if found.labels[cell_id].startswith("image-digits/mine/")] == list(
        newer.cells
    )
    assert entries(found) == [("image-digits", "mine"), ("image-digits", "undefended"), ("sentiment-reviews", "mine")]


def test_plans_that_are_extended_at_the_same_time_lose_no_entry(tmp_path: Path) -> None:
    names = [f"model{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: RunFolder(tmp_path).extend_plan(entry_plan(name)), names))
    assert entries(RunFolder(tmp_path).read_plan("tiny@1")) == [("image-digits", name) for name in sorted(names)]
    assert RunFolder(tmp_path).plans() == ("tiny@1",)
