"""The table in three formats, the badge and the model card: stable, typed, and safe to open."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from synthetic import by_id, cell, first, journal_entry, ok, plan, small_board, without_number

from adversarial.errors import UnknownName
from leaderboard.printing.badge import badge_of, badge_svg, model_card
from leaderboard.printing.export import COLUMNS, csv_text, export_rows, json_bytes, parquet_bytes
from leaderboard.records.record import Result
from leaderboard.records.run_folder import RunFolder
from leaderboard.scoring.board import build_board
from leaderboard.scoring.rows import Board


ROOT = Path(__file__).parent.parent
EVIL = '=cmd|"/c calc"!A1'


def board_of(results: list[Result], missing: tuple | list = (), **levels: str) -> Board:
    journal = {result.id: journal_entry(result) for result in results}
    return build_board(plan(results, missing), by_id(results), journal, levels)


@pytest.fixture(scope="module")
def board() -> Board:
    return board_of(*small_board(), undefended="reference")


def test_one_row_an_entry_task_and_threat_and_at_wish_one_a_cell(board: Board) -> None:
    rows = export_rows(board)
    assert len(rows) == sum(len(row.threats) for task in board.tasks for row in task.rows)
    assert len({(row.entry, row.task, row.threat) for row in rows}) == len(rows)
    both = export_rows(board, cells=True)
    cells = [row for row in both if row.row == "cell"]
    assert len(cells) == len(both) - len(rows) == sum(len(row.cells) for task in board.tasks for row in task.rows)
    assert len({row.cell for row in cells}) == len(cells)
    one = next(row for row in rows if (row.entry, row.threat) == ("adversarial-training", "pixels-linf:0.1"))
    assert (one.value, one.quality, one.upper_bound, one.ranking, one.rank_best) == (0.675, 0.675, False, True, 1)
    assert one.retention == pytest.approx(27 / 36)
    assert one.forwards == 80
    assert {row.verification for row in rows} == {"reference", None}
    unranked = next(row for row in rows if row.entry == "masked-gradient" and row.task == "control-cartpole")
    assert (unranked.rank_best, unranked.upper_bound) == (None, True)
    assert unranked.unranked == "pgd: failed"


def test_every_column_is_on_the_page() -> None:
    text = (ROOT / "docs" / "pages.md").read_text(encoding="utf-8")
    table = text.partition("| column |")[2].partition("## Badge")[0]
    named = [
        name for line in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", line)
    ]
    assert sorted(named) == sorted(COLUMNS)


def test_csv_holds_what_the_rows_hold(board: Board) -> None:
    rows = export_rows(board, cells=True)
    read = list(csv.DictReader(io.StringIO(csv_text(rows), newline="")))
    assert tuple(read[0]) == COLUMNS
    assert len(read) == len(rows)
    for line, row in zip(read, rows, strict=True):
        assert line["entry"] == row.entry
        assert line["quality"] == ("" if row.quality is None else repr(row.quality))
        assert line["ranking"] == ("true" if row.ranking else "false")
        assert line["rank_best"] == ("" if row.rank_best is None else str(row.rank_best))


@pytest.mark.parametrize("name", [EVIL, "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a,b", 'a"b', "a\nb"])
def test_no_text_becomes_a_formula(name: str) -> None:
    results = [ok(cell(model=name, attack="none"), first(9)), without_number(cell(model=name), "failed", EVIL)]
    read = list(csv.DictReader(io.StringIO(csv_text(export_rows(board_of(results), cells=True)), newline="")))
    entries = {line["entry"] for line in read}
    assert entries == {f"'{name}" if name[0] in "=+-@\t\r" else name}
    assert {line["reason"] for line in read} == {"", f"'{EVIL}"}
    assert all(not value or value[0] not in "=@\t\r" for line in read for value in line.values())
    # A number may well be negative.
    results = [ok(cell("control-cartpole", attack="none"), [-5.0] * 9), ok(cell("control-cartpole"), [-7.5] * 9)]
    assert ",-7.5," in csv_text(export_rows(board_of(results)))


def test_parquet_has_types_and_the_same_values(board: Board) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="no pyarrow: pip install pyarrow")
    rows = export_rows(board, cells=True)
    data = parquet_bytes(rows)
    table = parquet.read_table(io.BytesIO(data))
    assert tuple(table.column_names) == COLUMNS
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["entry"] == "string"
    assert kinds["rank_best"] == kinds["forwards"] == kinds["peak_memory_bytes"] == "int64"
    assert kinds["quality"] == kinds["seconds"] == "double"
    assert kinds["ranking"] == kinds["upper_bound"] == "bool"
    assert table.to_pylist() == json.loads(json_bytes("tiny@1", rows))["rows"]
    assert parquet_bytes(rows) == data
    assert parquet.read_table(io.BytesIO(parquet_bytes([]))).num_rows == 0


def test_the_order_of_the_records_never_matters() -> None:
    results, missing = small_board()
    expected = json_bytes("tiny@1", export_rows(board_of(results, missing), cells=True))
    for seed in range(3):
        shuffled = random.Random(seed).sample(results, len(results))
        assert json_bytes("tiny@1", export_rows(board_of(shuffled, missing), cells=True)) == expected


def test_a_badge_says_its_text_and_needs_nothing_else(board: Board) -> None:
    for entry, task, text in (
        ("adversarial-training", "", "RobustArena tiny@1: robust 0.67 \N{MIDDLE DOT} rank 1"),
        ("adversarial-training", "image-digits", "RobustArena tiny@1 image-digits: robust 0.68 \N{MIDDLE DOT} rank 1"),
        ("masked-gradient", "control-cartpole", "RobustArena tiny@1 control-cartpole: robust ≤0.80"),
    ):
        svg = badge_of(board, entry, task)
        root = ElementTree.fromstring(svg)
        assert root.find("{*}title").text == root.get("aria-label") == text  # type: ignore[union-attr]
        assert root.get("role") == "img"
        assert "href" not in svg
        assert svg.count("http") == 1  # the namespace
    evil = ElementTree.fromstring(badge_svg('<script>&"\n', "]]>"))
    assert evil.find("{*}script") is None


def test_an_unknown_name_comes_with_the_nearest(board: Board) -> None:
    with pytest.raises(UnknownName, match="did you mean 'undefended'"):
        badge_of(board, "undefnded")
    with pytest.raises(UnknownName, match="did you mean 'image-digits'"):
        badge_of(board, "undefended", "image-digit")
    with pytest.raises(UnknownName, match="did you mean"):
        model_card(board, "adversarial-trainin")


def test_the_hub_understands_the_card(board: Board) -> None:
    yaml = pytest.importorskip("yaml")
    card = model_card(board, "adversarial-training", "https://example.org/board")
    head = yaml.safe_load(card.split("---")[1])
    (model,) = head["model-index"]
    assert model["name"] == "adversarial-training"
    hub = pytest.importorskip("huggingface_hub.repocard_data")
    name, results = hub.model_index_to_eval_results(head["model-index"])
    assert name == "adversarial-training"
    found = {(one.dataset_type, one.metric_name): one for one in results}
    assert len(found) == len(results) == 9
    one = found["image-digits", "accuracy under pixels-linf:0.1"]
    assert (one.task_type, one.metric_type, one.metric_value) == ("other", "accuracy", 0.675)
    assert one.source_url == "https://example.org/board"
    assert found["speech-digits", "clean word error rate"].metric_value == pytest.approx(0.0375)


def test_a_card_quotes_every_name() -> None:
    yaml = pytest.importorskip("yaml")
    name = 'a": !!python/object:os.system\n- {b}'
    results = [ok(cell(model=name, attack="none"), first(9)), ok(cell(model=name), first(3))]
    card = model_card(board_of(results), name)
    assert yaml.safe_load(card.removeprefix("---\n").removesuffix("---\n"))["model-index"][0]["name"] == name


@pytest.mark.slow
def test_the_commands_write_what_the_functions_make(tmp_path: Path) -> None:
    results, missing = small_board()
    folder = RunFolder(tmp_path / "runs")
    for result in results:
        folder.write_result(result)
    folder.write_plan(plan(results, missing))

    def robustarena(*words: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "robustarena", *words, "--out", str(tmp_path / "runs")]
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=120)

    board = build_board(plan(results, missing), by_id(results), {})
    assert robustarena("export").stdout == csv_text(export_rows(board)).encode()
    done = robustarena("export", "--format", "json", "--cells")
    assert done.stdout == json_bytes("tiny@1", export_rows(board, cells=True))
    target = tmp_path / "board.parquet"
    done = robustarena("export", "--format", "parquet", "--file", str(target))
    assert done.returncode == 0, done.stderr
    assert target.read_bytes()[:4] == b"PAR1"
    assert robustarena("badge", "undefended").stdout.decode() == badge_of(board, "undefended")
    assert robustarena("badge", "undefended", "--card").stdout.decode() == model_card(board, "undefended")
    done = robustarena("badge", "undefnded")
    assert done.returncode == 2
    assert b"did you mean 'undefended'" in done.stderr
