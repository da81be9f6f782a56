"""The board, its table and the comparison of defenses, from synthetic records.

To renew golden_board.txt after a change of the layout: `python tests/test_board.py > tests/golden_board.txt`.
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from synthetic import (
    CONTROL,
    IMAGE,
    PIXELS,
    SPEECH,
    by_id,
    cell,
    first,
    journal_entry,
    ok,
    plan,
    small_board,
    without_number,
)

from leaderboard.printing.comparison import render_comparison
from leaderboard.printing.table import print_board
from leaderboard.printing.terminal import PLAIN_WIDTH, console
from leaderboard.records.canonical import ResultError, canonical_json
from leaderboard.records.plan import Plan
from leaderboard.records.record import Cell, Diagnostic, Result
from leaderboard.scoring.board import build_board, scored_board
from leaderboard.scoring.compare import Change, Comparison, compare, summarise
from leaderboard.scoring.rows import Board, EntryRow
from leaderboard.scoring.statistics import RankInterval


GOLDEN = Path(__file__).parent / "golden_board.txt"


def board_of(results: list[Result], missing: list[Cell] | None = None) -> Board:
    journal = {result.id: journal_entry(result) for result in results}
    return build_board(plan(results, missing or []), by_id(results), journal)


def comparison_of(results: list[Result], missing: list[Cell] | None = None) -> Comparison:
    board, samples = scored_board(plan(results, missing or []), by_id(results), {})
    return compare(board.suite, board.lines, samples)


def entry_of(board: Board, entry: str) -> EntryRow:
    return next(row for row in board.entries if row.entry == entry)


def printed() -> str:
    results, missing = small_board()
    target = console(io.StringIO())
    print_board(board_of(results, missing), target)
    target.print(render_comparison(comparison_of(results, missing)))
    text = target.file.getvalue()
    return "\n".join(line.rstrip() for line in text.split("\n"))


def test_the_table_reads_as_agreed() -> None:
    assert printed() == GOLDEN.read_text(encoding="utf-8")


def test_the_table_is_plain_and_narrow_where_there_is_no_terminal() -> None:
    text = printed()
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= PLAIN_WIDTH


def test_a_name_is_neither_markup_nor_steering() -> None:
    name = "[bold red]loud[/]\x1b[31m\n"
    target = console(io.StringIO())
    print_board(board_of([ok(cell(model=name, attack="none"), first(9)), ok(cell(model=name), first(3))]), target)
    text = target.file.getvalue()
    assert "\x1b" not in text
    assert "[bold red]" in text


def test_the_board_survives_json() -> None:
    board = board_of(*small_board())
    assert msgspec.json.decode(canonical_json(board), type=Board) == board
    comparison = comparison_of(*small_board())
    assert msgspec.json.decode(canonical_json(comparison), type=Comparison) == comparison


def test_the_order_of_insertion_never_matters() -> None:
    results, missing = small_board()
    before = canonical_json(board_of(results, missing))
    for seed in range(3):
        random.Random(seed).shuffle(results)
        random.Random(seed).shuffle(missing)
        assert canonical_json(board_of(results, missing)) == before


def test_the_mean_across_domains_needs_every_task() -> None:
    board = board_of(*small_board())
    whole, partial = entry_of(board, "adversarial-training"), entry_of(board, "masked-gradient")
    qualities = [row.ranking.robust.quality for task in board.tasks if (row := task.row(whole.entry))]
    assert whole.robust == pytest.approx(sum(qualities) / 3)
    assert whole.robust_interval.low < whole.robust < whole.robust_interval.high
    assert (partial.robust, partial.rank) == (None, None)
    assert f"{SPEECH}: pgd: missing" in partial.unranked


def test_an_entry_missing_a_task_is_shown_and_ranked_only_where_it_has_results() -> None:
    results, _ = small_board()
    results += [ok(cell(CONTROL, "specialist", attack), [499.0] * 40) for attack in ("none", "noise", "pgd")]
    board = board_of(results)
    row = entry_of(board, "specialist")
    assert (row.robust, row.rank) == (None, None)
    assert f"{IMAGE}: not measured" in row.unranked
    control = next(task for task in board.tasks if task.task == CONTROL)
    assert control.row("specialist").rank == RankInterval(1, 1)


def test_an_incomplete_worst_case_makes_the_mean_a_bound() -> None:
    results = [ok(cell(attack="none"), first(38)), ok(cell(attack="noise"), first(30))]
    row = entry_of(board_of([*results, without_number(cell(), "timeout")]), "undefended")
    assert row.bound
    assert row.robust == pytest.approx(0.75)
    assert row.rank is None


def test_entries_that_cannot_be_told_apart_share_a_rank() -> None:
    results = []
    for model, right in (("one", 30), ("two", 29), ("three", 4)):
        results += [ok(cell(model=model, attack="none"), first(38)), ok(cell(model=model), first(right))]
    ranks = {row.entry: row.rank for row in board_of(results).tasks[0].rows}
    assert ranks == {"one": RankInterval(1, 2), "two": RankInterval(1, 2), "three": RankInterval(3, 3)}


def test_an_invalid_row_is_shown_below_and_ranks_nowhere() -> None:
    bad = (Diagnostic("audit", "invalid", "over budget"),)
    results = [ok(cell(attack="none"), first(38)), ok(cell(), first(4))]
    results += [ok(cell(model="cheat", attack="none"), first(38))]
    results += [ok(cell(model="cheat"), first(38), diagnostics=bad)]
    task = board_of(results).tasks[0]
    assert [row.entry for row in task.rows] == ["undefended", "cheat"]
    assert task.rows[1].rank is None
    assert task.rows[0].rank == RankInterval(1, 1)
    assert entry_of(board_of(results), "cheat").verdict == "invalid"


def test_every_cell_is_listed_with_its_status_cost_and_label() -> None:
    results = [
        ok(cell(attack="none"), first(38)),
        ok(cell(params={"steps": 10, "step": 0.01}), first(9)),
        ok(cell(params={"steps": 40, "step": 0.01}), first(6)),
        without_number(cell(attack="universal"), "n/a", "no fit split"),
    ]
    row = board_of(results, [cell(attack="square")]).tasks[0].rows[0]
    shown = {one.label: (one.status, one.counted) for one in row.threats[0].attacks}
    assert shown == {
        "pgd (steps=10)": ("ok", True),
        "pgd (steps=40)": ("ok", True),
        "square": ("missing", False),
        "universal": ("n/a", False),
    }
    assert (row.spent.counts.forwards, row.spent.seconds, row.spent.peak_memory_bytes) == (
        120,
        6.0,
        300_000_000,
    )
    assert row.clean_cells[0].counted


def test_the_edits_of_the_worst_case_add_up_to_its_word_error_rate() -> None:
    board = board_of(*small_board())
    robust = next(task for task in board.tasks if task.task == SPEECH).row("undefended").ranking.robust
    assert sum(robust.columns.values()) == pytest.approx(robust.metric)


def test_unrealisable_threats_are_marked_and_never_rank() -> None:
    image = next(task for task in board_of(*small_board()).tasks if task.task == IMAGE)
    marks = {row.threat: (row.ranking, row.realisable) for row in image.rows[0].threats}
    assert marks == {PIXELS: (True, True), "embeddings-l2:0.5": (False, False)}


def test_a_task_without_a_ranking_threat_is_refused() -> None:
    results = [ok(cell(attack="none"), [1.0])]
    with pytest.raises(ResultError, match="names no ranking threat"):
        build_board(Plan("tiny@1", {}, (), (results[0].id,)), by_id(results), {})


def test_an_empty_plan_makes_an_empty_board() -> None:
    board = board_of([])
    target = console(io.StringIO())
    print_board(board, target)
    assert board.entries == ()
    assert comparison_of([]).has_baseline is False


def test_a_defense_is_compared_task_by_task() -> None:
    comparison = comparison_of(*small_board())
    found = {entry.entry: entry for entry in comparison.entries}
    assert set(found) == {"adversarial-training", "masked-gradient"}
    assert found["adversarial-training"].summary == "helps everywhere"
    image = next(change for change in found["adversarial-training"].changes if change.task == IMAGE)
    assert image.robust.estimate == pytest.approx((27 - 4) / 40)
    assert image.robust.interval.low > 0
    assert image.clean.estimate == pytest.approx((36 - 39) / 40)
    control = next(change for change in found["masked-gradient"].changes if change.task == CONTROL)
    assert (control.effect, control.robust, control.reason) == ("no result", None, "pgd: failed")


def test_a_defense_that_hurts_is_said_to_hurt() -> None:
    results = [ok(cell(attack="none"), first(38)), ok(cell(), first(30))]
    results += [ok(cell(model="worse", attack="none"), first(30)), ok(cell(model="worse"), first(2))]
    results += [ok(cell(model="same", attack="none"), first(38)), ok(cell(model="same"), first(29))]
    found = {entry.entry: entry.summary for entry in comparison_of(results).entries}
    assert found == {"worse": "hurts everywhere", "same": "not separable anywhere"}


@pytest.mark.parametrize(
    ("effects", "summary"),
    [
        (("helps", "helps"), "helps everywhere"),
        (("helps", "hurts"), "helps only in t0; hurts in t1"),
        (("helps", "not separable"), "helps only in t0"),
        (("helps", "no result"), "helps in every task compared (1 of 2)"),
        (("not separable", "no result"), "not separable anywhere; no result in t1"),
        (("no result", "no result"), "nothing to compare"),
    ],
)
def test_the_summary_says_where_it_helps(effects: tuple, summary: str) -> None:
    assert summarise([Change(f"t{at}", effect, None, None) for at, effect in enumerate(effects)]) == summary


def test_the_package_needs_neither_torch_nor_the_rest_of_the_project_but_its_threats() -> None:
    code = (
        "import sys; from leaderboard.scoring import board, compare, diagnostics, cells, samples, scores; "
        "from leaderboard.records import files, record, run_folder; from leaderboard.pages import site; "
        "from leaderboard.printing import table; "
        "print({'torch', 'scipy', 'jinja2', 'adversarial.problem', 'tasks', 'benchmarks'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=GOLDEN.parent.parent, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"


if __name__ == "__main__":
    sys.stdout.write(printed())
