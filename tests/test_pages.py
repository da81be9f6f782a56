"""The pages: bounded, described for who does not see them, and with examples that say what the evidence holds."""

from __future__ import annotations

import base64
import io
import json
import re
import wave
import zlib
from urllib.parse import quote

import msgspec
import numpy as np
import pytest
from illustrated import CHANGED, COUNT, RATE_HZ, SENTENCES, TEXT, evidence, illustrated, sounds
from PIL import Image
from safetensors.numpy import save
from synthetic import CONTROL, IMAGE, SPEECH, by_id, cell, first, ok, plan
from test_site import Page

from leaderboard.pages.board import render_across, render_task
from leaderboard.pages.charts import Line, line_chart
from leaderboard.pages.entry import Place, charts_of
from leaderboard.pages.evidence import examples_of, read_tensors
from leaderboard.pages.examples import HANDFUL, gallery, successes
from leaderboard.pages.links import STATIC, Links, file_key
from leaderboard.pages.listing import SHOWN, across_listing, table_json
from leaderboard.pages.pictures import difference_pixels, image_pixels, png, png_uri
from leaderboard.pages.sentences import Piece, word_changes
from leaderboard.pages.site import pages_of
from leaderboard.pages.sound import spectrogram, wav_uri
from leaderboard.records.canonical import ResultError
from leaderboard.records.record import Cost
from leaderboard.scoring.board import build_board
from leaderboard.scoring.rows import EntryRow, Figure, Origin, Spent, TaskBoard, TaskLine
from leaderboard.scoring.statistics import Interval, RankInterval


TASKS = (CONTROL, IMAGE, SPEECH, TEXT)
SERVED = Links(
    board="/boards/big@1",
    task="/boards/big@1/tasks/{key}",
    entry="/entries/{key}",
    compare="/boards/big@1/compare?one={one}&other={other}",
    defenses="/boards/big@1/defenses",
    scores="/boards/big@1/scores",
    home="/",
)


@pytest.fixture(scope="module")
def site() -> dict[str, str]:
    found = dict(pages_of(illustrated()))
    return {name: text for name, text in found.items() if isinstance(text, str)}


def bytes_of(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2], validate=True)


def standings(*numbers: int) -> tuple[list[EntryRow], dict[str, list[TaskLine]]]:
    """Entries across domains, and the same on every task."""
    entries, lines = [], []
    for number in numbers:
        quality, interval = 1 - number / 20_000, Interval(0.1, 0.9)
        figure = Figure(quality, interval, quality, interval, 40)
        shared = {
            "entry": f"entry <{number}>",
            "bound": number % 7 == 0,
            "retention": 0.5,
            "rank": RankInterval(1 + number, 3 + number) if number % 5 else None,
            "unranked": "" if number % 5 else "level claimed: only what was measured again here is ranked",
            "verdict": ("reliable", "suspect")[number % 2],
            "spent": Spent(Cost(), None, None),
            "origin": Origin(("re-run", "claimed", "re-scored")[number % 3], f"account {number % 90}"),
        }
        lines.append(TaskLine(defense="none", clean=figure, robust=figure, **shared))
        entries.append(
            EntryRow(clean=quality, clean_interval=interval, robust=quality, robust_interval=interval, **shared)
        )
    return entries, dict.fromkeys(TASKS, lines)


def test_a_board_of_ten_thousand_renders_a_hundred_rows_and_one_compact_table() -> None:
    entries, lines = standings(*range(10_000))
    page = render_across("big@1", entries, lines, SERVED)
    assert page.count("<tr>") == 1 + SHOWN
    assert page.count("<svg") == 6 * SHOWN
    assert page.count("<li>") <= 60
    assert len(page) < 10_000 * 450
    embedded = re.search(r'<script type="application/json" id="table">(.*?)</script>', page, re.DOTALL)
    assert embedded is not None
    table = json.loads(embedded[1])
    assert len(table["rows"]) == 10_000
    assert not set("<>&") & set(embedded[1])
    # The second hundred, for who has no script; and the table left to another request.
    second = render_across(
        "big@1", entries, lines, SERVED, page=2, earlier="?page=1", later="?page=3", source="/table.json"
    )
    assert second.count("<tr>") == 1 + SHOWN
    assert "entry &lt;100&gt;" in second
    assert "entry &lt;99&gt;" not in second
    assert len(second) < 250_000
    assert 'data-source="/table.json"' in second
    policy = Page(second).of("meta")[1]["content"] or ""
    assert "connect-src 'self'" in policy
    last = render_across("big@1", entries[:SHOWN], lines, SERVED, page=2)
    assert last.count("<tr>") == 1


def test_rows_say_ties_levels_and_bounds() -> None:
    entries, lines = standings(7, 8)
    listing = across_listing([msgspec.structs.replace(row, rank=RankInterval(1, 2)) for row in entries], lines)
    row = dict(zip([column.key for column in listing.columns], listing.rows[0], strict=True))
    assert "evaluations" in row
    assert "time" not in row  # only the journal of a run folder knows it
    assert row["rank"][1:] == ("1\N{EN DASH}2", "2 tied")
    assert row["robust"] == (0.99965, "≤1.00", 0.1, 0.9)
    assert row["level"] == ("claimed",)
    assert row["entry"] == ("entry <7>", "account 7", file_key("entry <7>"))


def test_links_go_where_the_host_says() -> None:
    page = render_across("big@1", *standings(1, 2), SERVED)
    hrefs = {found["href"] for found in Page(page).of("a")}
    assert {
        "/",
        "/boards/big@1/scores",
        f"/boards/big@1/tasks/{IMAGE}",
        f"/entries/{quote(file_key('entry <1>'), safe='')}",
    } <= hrefs
    assert SERVED.to_pair("b", "a&c") == "/boards/big@1/compare?one=a%26c&other=b"
    assert SERVED.to_pair("a", "a") == ""
    bare = render_across("big@1", *standings(1), Links("", "", "", "", "", ""))
    assert {found["href"] for found in Page(bare).of("a")} == {"#main"}
    assert json.loads(table_json(across_listing(*standings(1)), STATIC))["entry"] == "entries/{key}.html"


def test_a_task_page_shows_a_hundred_rows_in_detail() -> None:
    results = [
        ok(cell(model=f"m{i:03}", attack=attack), first(9, 10)) for i in range(120) for attack in ("none", "pgd")
    ]
    task = build_board(plan(results), by_id(results), {}).tasks[0]
    origin = Origin(submitter="x", stronger=("a", "b"))
    lines = [msgspec.structs.replace(one, origin=origin) for one in task.rows]
    page = render_task("big@1", task, lines, SERVED, [IMAGE])
    assert page.count("<tr>") == 1 + SHOWN + 2 + SHOWN + 1 + SHOWN
    assert "x, lowered by 2 stronger attacks" in page
    assert "The first 100 entries." in page
    empty = TaskBoard(IMAGE, None, "pixels-linf:0.1", ())
    assert "Nothing measured yet" in render_task("big@1", empty, (), SERVED, [IMAGE])


def test_every_chart_and_picture_says_what_it_shows(site: dict[str, str]) -> None:
    page = site["entries/undefended.html"]
    parsed = Page(page)
    described = [found for found in parsed.of("svg") if found.get("role") == "img"]
    assert len(described) == len(parsed.of("desc")) > 0
    assert all(found.get("alt") for found in parsed.of("img"))
    assert all(found.get("aria-label") and "controls" in found for found in parsed.of("audio"))
    assert "undefended: 0.95 at 0" in page


def test_the_examples_of_an_entry_can_be_seen_read_and_heard(site: dict[str, str]) -> None:
    page = site["entries/undefended.html"]
    images = [found for found in Page(page).of("img") if found.get("class") == "pixels"]
    sizes = {Image.open(io.BytesIO(bytes_of(found["src"] or ""))).size for found in images}
    assert sizes == {(8, 8)}
    assert len(images) == 3 * HANDFUL["picture"] * 2 + 3 * 3  # pgd on pixels and embeddings, and three that noise broke
    with wave.open(io.BytesIO(bytes_of(Page(page).of("audio")[1]["src"] or ""))) as heard:
        assert (heard.getframerate(), heard.getnchannels(), heard.getsampwidth()) == (RATE_HZ, 1, 2)
        assert np.frombuffer(heard.readframes(10**6), "<i2").tolist() == sounds(True)[8].tolist()
    assert "<del>&lt;b&gt;good&lt;/b&gt;</del> <ins>&lt;b&gt;goood&lt;/b&gt;</ins>" in page
    assert "shown to the agent" in page
    assert "<q>&lt;4&gt;</q>" in page
    assert "runs of the same action" in page


def test_without_the_originals_only_what_is_stored_is_shown() -> None:
    source = illustrated()
    shown = []
    for task in TASKS:
        mine = [one for one in source.results.values() if (one.cell.task, one.cell.model) == (task, "undefended")]
        clean = next(one for one in mine if one.cell.attack == "none")
        shown += gallery(clean, [one for one in mine if one.cell.attack == "pgd"], source.read)
    assert all(one.specimens for one in shown)
    specimens = [one for part in shown for one in part.specimens]
    assert not any(one.before for one in specimens)
    assert {one.medium for one in specimens} == {"picture", "sound", "text", "episode"}


def test_the_first_successes_are_chosen_in_the_order_of_the_data() -> None:
    clean, attacked = ok(cell(attack="none"), first(9, 10)), ok(cell(), [1, 0, 1, 0, 0, 1, 1, 1, 0, 0])
    assert successes(attacked, clean) == [1, 3, 4, 8]
    worse = ok(cell(SPEECH), [2, 0, 3])
    assert successes(worse, ok(cell(SPEECH, attack="none"), [0, 0, 3])) == [0]
    assert successes(worse, None) == []


def test_evidence_that_cannot_be_shown_says_so() -> None:
    source = illustrated()
    clean = next(one for one in source.results.values() if one.cell.task == IMAGE and one.cell.attack == "none")
    attacked = next(one for one in source.results.values() if one.cell.task == IMAGE and one.cell.attack == "pgd")
    vectors = save({"vectors": np.zeros((3, 2), dtype=np.float16), "lengths": np.array([3])})
    for data, text in (
        (None, "not here"),
        (b"", "cannot be shown"),
        (evidence(IMAGE)[:-4], "cannot be shown"),
        (save({"images": np.zeros((2, 1, 8, 8), dtype=np.float32)}), "the record names more"),
        (save({"images": np.zeros((COUNT, 64), dtype=np.float32)}), "not as the tasks write it"),
        (vectors, "word vectors"),
        (save({"something": np.zeros(3, dtype=np.float32)}), "word vectors"),
    ):
        (shown,) = gallery(clean, [attacked], lambda _, data=data: data)
        assert text in shown.note, text
        assert shown.specimens == ()


def test_the_page_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    source = illustrated()
    clean = next(one for one in source.results.values() if one.cell.task == SPEECH and one.cell.attack == "none")
    attacked = next(one for one in source.results.values() if one.cell.task == SPEECH and one.cell.attack == "pgd")
    monkeypatch.setattr("leaderboard.pages.examples.MOST_BYTES", 1)
    shown = gallery(clean, [attacked, attacked], source.read, source.originals)
    assert len(shown[0].specimens) == HANDFUL["sound"]
    assert "page is full" in shown[1].note


@pytest.mark.parametrize("task", [IMAGE, SPEECH, TEXT, CONTROL])
def test_tensors_are_read_as_they_were_written(task: str) -> None:
    from safetensors.numpy import load

    data = evidence(task)
    expected, found = load(data), read_tensors(data)
    assert found.keys() == expected.keys()
    for name in expected:
        assert np.array_equal(found[name], expected[name])
    assert len(examples_of(found, [0, COUNT - 1])) == 2
    with pytest.raises((ResultError, IndexError)):
        examples_of(found, [COUNT])


def test_lengths_that_do_not_add_up_are_refused() -> None:
    for lengths in ([3, 3], [-1, 6], [5, 1]):
        tensors = {"text": np.zeros(5, dtype=np.uint8), "lengths": np.array(lengths)}
        with pytest.raises(ResultError, match="do not add up"):
            examples_of(tensors, [0])


def test_pictures_are_what_they_were_made_from() -> None:
    generator = np.random.default_rng(0)
    for shape in ((1, 5, 7), (3, 5, 7)):
        image = generator.random(shape)
        read = np.asarray(Image.open(io.BytesIO(bytes_of(png_uri(image_pixels(image))))))
        expected = np.rint(image * 255).astype(np.uint8)
        assert np.array_equal(read, expected[0] if shape[0] == 1 else expected.transpose(1, 2, 0))
    assert max(image_pixels(np.zeros((3, 1000, 400))).shape) <= 256
    change, most = difference_pixels(np.array([[[1.0, 0.5, 0.0]]]), np.array([[[0.5, 0.5, 0.5]]]))
    assert most == 0.5
    assert change[0, 1].tolist() == [255, 255, 255]
    assert change[0, 0, 0] > change[0, 0, 2]
    assert change[0, 2, 2] > change[0, 2, 0]
    with pytest.raises(ValueError, match="expected uint8"):
        png(np.zeros((2, 2), dtype=np.float64))  # type: ignore[arg-type]
    assert zlib.decompress(png(np.zeros((1, 2), dtype=np.uint8))[41:-16]) == b"\x00\x00\x00"


def test_a_spectrogram_shows_the_tone() -> None:
    time = np.arange(RATE_HZ) / RATE_HZ
    pixels, loudest = spectrogram((9000 * np.sin(2 * np.pi * 1000 * time)).astype(np.int16), RATE_HZ)
    rows = pixels.astype(int).sum(axis=(1, 2))
    place = 1 - int(rows.argmax()) / (len(rows) - 1)  # 0 at the bottom, which is 0 Hz
    assert abs(place - 1000 / (RATE_HZ / 2)) < 0.03
    quiet, same = spectrogram(np.zeros(50, dtype=np.int16), RATE_HZ, loudest)
    assert same == loudest
    assert len(set(map(tuple, quiet.reshape(-1, 3).tolist()))) == 1
    long = np.zeros(60 * RATE_HZ, dtype=np.int16)
    assert spectrogram(long, RATE_HZ)[0].shape[1] <= 330
    assert len(bytes_of(wav_uri(long, RATE_HZ))) == 44 + 2 * 8 * RATE_HZ


def test_words_that_changed_are_told() -> None:
    assert word_changes("a good film", "a bad film") == (
        Piece("", "a"), Piece("removed", "good"), Piece("added", "bad"), Piece("", "film"),
    )  # fmt: skip
    assert word_changes("a b", "a b c") == (Piece("", "a b"), Piece("added", "c"))
    assert word_changes("", "") == ()
    assert word_changes(SENTENCES[0], CHANGED[0])[1].text == "<b>good</b>"


def test_a_chart_keeps_its_numbers_in_words() -> None:
    chart = str(line_chart("<t>", "x & y", "quality", [Line("<a>", ((0.0, 1.0, 0.9, 1.0), (2.0, 0.25, 0.1, 0.4)))]))
    assert "<desc" in chart
    assert "By x &amp; y. &lt;a&gt;: 1.00 at 0 (0.90 to 1.00), 0.25 at 2 (0.10 to 0.40)." in chart
    assert "<a>" not in chart
    Page(chart)
    assert "nan" not in str(line_chart("one", "x", "y", [Line("a", ((3.0, 1.0, 0.9, 1.0),))], log=True))


def test_attacks_under_several_limits_of_queries_make_a_query_curve() -> None:
    results = [ok(cell(attack="none"), first(38))]
    for limit, right in ((10, 35), (100, 20), (1000, 4)):
        results.append(ok(cell(attack="square", threat=f"pixels-linf:0.1@scores<={limit}"), first(right)))
    results.append(ok(cell(attack="nes", threat="pixels-linf:0.1@scores<=100"), first(30)))
    board = build_board(plan(results), by_id(results), {})
    place = Place(IMAGE, IMAGE, None, "pixels-linf:0.1", board.tasks[0].rows[0])
    (chart,) = charts_of(place)
    assert "square: 0.88 at 10" in str(chart)
    assert "0.10 at 1000" in str(chart)
    assert "nes" not in str(chart)


def test_lines_of_a_task_say_who_and_how_sure() -> None:
    one = TaskLine(
        entry="e",
        defense="none",
        clean=None,
        robust=None,
        bound=False,
        retention=None,
        rank=None,
        unranked="why",
        verdict="reliable",
        spent=Spent(Cost(), None, None),
        origin=Origin("claimed"),
    )
    page = render_task("s@1", TaskBoard(IMAGE, None, "t", ()), [one], SERVED, [IMAGE])
    assert "<b>e</b>: why" in page
    assert 'class="claimed">claimed' in page
