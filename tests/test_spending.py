"""Query curves, and what an entry's page offers to copy."""

from __future__ import annotations

import base64
import re

import msgspec
import pytest
from illustrated import illustrated
from synthetic import IMAGE, PIXELS, by_id, cell, first, ok, plan, small_board
from test_site import Page

from leaderboard.pages.charts import Line, line_chart
from leaderboard.pages.entry import Place, charts_of
from leaderboard.pages.query_budget import spending_chart, spending_curves
from leaderboard.pages.sharing import sharing
from leaderboard.pages.site import pages_of
from leaderboard.printing.badge import badge_of, model_card
from leaderboard.records.record import Cost, Result
from leaderboard.scoring.board import build_board
from leaderboard.scoring.rows import TaskRow


def spent(result: Result, forwards: int, backwards: int = 0) -> Result:
    return msgspec.structs.replace(result, cost=Cost(forwards, backwards, queries=forwards))


def ladder() -> list[Result]:
    """Ten examples: noise breaks one for nothing, two attacks of one cost break others, the dearest nothing new."""
    right = [0.0] + [1.0] * 9
    return [
        ok(cell(attack="none"), [1.0] * 10),
        spent(ok(cell(attack="noise"), right), 0),
        spent(ok(cell(attack="square"), [1.0, 0.0, 0.0] + [1.0] * 7), 40),
        spent(ok(cell(attack="fgsm"), [1.0] * 8 + [0.0, 0.0]), 20, 20),
        spent(ok(cell(attack="pgd"), [0.0, 0.0] + [1.0] * 8), 600, 400),
    ]


def row_of(results: list[Result]) -> TaskRow:
    return build_board(plan(results), by_id(results), {}).tasks[0].rows[0]


def test_the_worst_case_so_far_falls_as_attacks_get_dearer() -> None:
    results = ladder()
    row = row_of(results)
    (curve,) = spending_curves(row, by_id(results))
    assert curve.threat == PIXELS
    found = {one.label: (one.passes, one.queries, one.quality, one.worst) for one in curve.points}
    assert found["noise"] == pytest.approx((0.0, 0.0, 0.9, 0.9))
    assert found["fgsm"] == pytest.approx((4.0, 2.0, 0.8, 0.5))  # what costs the same counts together
    assert found["square"] == pytest.approx((4.0, 4.0, 0.8, 0.5))
    assert found["pgd"] == pytest.approx((100.0, 60.0, 0.8, 0.5))
    assert [one.passes for one in curve.points] == [0.0, 4.0, 4.0, 100.0]
    assert row.ranking is not None
    assert row.ranking.robust is not None
    assert curve.points[-1].worst == row.ranking.robust.quality
    assert curve.points[-1].worst_interval == row.ranking.robust.quality_interval


def test_every_curve_of_a_board_ends_at_the_robust_quality() -> None:
    source = illustrated()
    board = build_board(source.plan, source.results, source.journal)
    curves = 0
    for row in (row for task in board.tasks for row in task.rows):
        robust = {threat.threat: threat.robust for threat in row.threats}
        for curve in spending_curves(row, source.results):
            figure = robust[curve.threat]
            assert figure is not None
            assert curve.points[-1].worst == figure.quality
            assert [one.worst for one in curve.points] == sorted((one.worst for one in curve.points), reverse=True)
            curves += 1
    assert curves >= 9


def test_without_all_records_there_is_no_curve() -> None:
    results = ladder()
    row, known = row_of(results), by_id(results)
    assert spending_curves(row, {}) == ()
    assert spending_curves(row, {key: one for key, one in known.items() if one.cell.attack != "pgd"}) == ()
    assert spending_curves(row, {key: one for key, one in known.items() if one.cell.attack != "none"}) == ()


def test_the_chart_has_a_place_for_what_costs_nothing_and_for_every_power_of_ten() -> None:
    (curve,) = spending_curves(row_of(ladder()), by_id(ladder()))
    text = str(spending_chart(curve))
    assert text.count("<circle") == 4 + 1  # the dots, and one in the legend
    assert re.findall(r'text-anchor="middle">([\w.]+)</text>', text)[:3] == ["0", "10", "100"]
    assert "worst case so far: 0.90 at 0" in text
    assert "one attack alone" in text
    places = [float(x) for x in re.findall(r'class="dot s1" cx="([\d.]+)" cy="[\d.]+" r="3.4"', text)]
    assert len(places) == 4
    assert places == sorted(places)
    assert places[0] < places[1] == places[2] < places[3]
    narrow = str(line_chart("t", "x", "y", [Line("a", ((30.0, 0.5, 0.4, 0.6),))], log=True))
    assert ">30<" in narrow
    assert ">300<" in narrow
    ends = str(
        line_chart(
            "t", "x", "y", [Line("a", ((0.0, 0.9, 0.8, 1.0), (2.0, 0.5, 0.4, 0.6), (93.0, 0.1, 0.0, 0.2)))], log=True
        )
    )
    assert re.findall(r'text-anchor="middle">([\w.]+)</text>', ends)[:4] == ["0", "2", "10", "93"]


def test_limits_of_queries_are_read_as_threats_write_them() -> None:
    results = [ok(cell(attack="none"), first(10))]
    for limit, right in ((100, 8), (1000, 3)):
        of = cell(attack="square", threat=f"{PIXELS}@scores<={limit}")
        results.append(ok(of, first(right, 10)))
    row = row_of(results)
    charts = [str(one) for one in charts_of(Place(IMAGE, IMAGE, None, PIXELS, row))]
    assert any("square: 0.80 at 100" in text and "0.30 at 1000" in text for text in charts)


def test_the_page_tells_the_curves_in_a_table() -> None:
    source = illustrated()
    board = build_board(source.plan, source.results, source.journal)
    task = next(one for one in board.tasks if one.task == IMAGE)
    row = task.row("undefended")
    assert row is not None
    page = dict(pages_of(source))["entries/undefended.html"]
    assert isinstance(page, str)
    for curve in spending_curves(row, source.results):
        table = page.partition(f"Query curve under <code>{curve.threat}</code>")[2].partition("</table>")[0]
        assert table.count("<tr>") == 1 + len(curve.points)
        for one in curve.points:
            assert f'data-value="{one.label}"' in table
            assert f'data-value="{one.worst}"' in table


def test_a_page_offers_its_badge_and_its_card() -> None:
    results, missing = small_board()
    board = build_board(plan(results, missing), by_id(results), {})
    alone = sharing(board, "undefended")
    assert alone.badge == badge_of(board, "undefended")
    assert base64.b64decode(alone.picture.partition(",")[2]).decode() == alone.badge
    assert alone.markdown == f"![{alone.text}](badge.svg)"
    assert alone.card == model_card(board, "undefended")
    known = sharing(board, "undefended", page="https://a.example/e", badge="https://a.example/b.svg")
    assert known.markdown == f"[![{known.text}](https://a.example/b.svg)](https://a.example/e)"
    assert "https://a.example/e" in known.card


def test_what_is_to_be_copied_is_escaped_for_the_page_and_for_markdown() -> None:
    results = [ok(cell(model="a</pre><b>]", attack="none"), first(9)), ok(cell(model="a</pre><b>]"), first(3))]
    board = build_board(msgspec.structs.replace(plan(results), suite="x](y)@1"), by_id(results), {})
    assert sharing(board, "a</pre><b>]").markdown.startswith("![RobustArena x\\](y)@1: robust")
    pages = dict(pages_of(illustrated()))
    for name, text in pages.items():
        if name.startswith("entries/"):
            assert isinstance(text, str)
            blocks = [found for found in Page(text).of("pre") if "data-copy" in found]
            assert len(blocks) == 2
            assert all(found["tabindex"] == "0" for found in blocks)
            assert f"badges/{name.removeprefix('entries/').removesuffix('.html')}.svg" in pages
