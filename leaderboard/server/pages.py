"""The pages: those of a static site, rendered when they are first asked for, and one for a submission's state."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from leaderboard.database.boards import PublicBoard
from leaderboard.database.suites import facts_of
from leaderboard.pages.layout import STYLE, content_policy, environment, part
from leaderboard.pages.links import file_key
from leaderboard.printing.badge import badge_svg, badge_words
from leaderboard.scoring.rows import EntryRow
from leaderboard.server import exports, views
from leaderboard.server.api import answer, submission_of
from leaderboard.server.boards import Answer, Published, page_count
from leaderboard.server.limits import retry_after
from leaderboard.server.schemas import as_state
from leaderboard.server.state import ServerState, limited, state_of


REFRESH_SECONDS: Final = 3
HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
MAKING: Final = 10.0  # requests that one counts for whose page must be made: there are as many as pairs of entries

router = APIRouter(include_in_schema=False)
_POLICY: Final = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">')

Number = Annotated[int, Query(alias="page", ge=1)]


@router.get("/")
async def front(request: Request) -> Response:
    """The only board there is, or the list of them."""
    boards = state_of(request).boards.published.boards
    filled = [name for name, found in boards.items() if found.entries]
    if len(filled) == 1:
        return await across(request, filled[0])
    shown = [boards[name] for name in filled] or list(boards.values())
    return page(request, Answer.of(notice("Boards", boards=shown).encode()))


@router.get("/boards/{suite}")
async def across(request: Request, suite: str, number: Number = 1) -> Response:
    """A suite's board over all tasks, a hundred entries a page."""
    found = _board(request, suite)
    _check_page(number, found.entries)
    return await _kept(request, f"{suite}?{number}", lambda: views.across_page(found, number))


@router.get("/boards/{suite}/table.json")
async def across_table(request: Request, suite: str) -> Response:
    """All of its rows, for the page's script."""
    found = _board(request, suite)
    return await _kept(request, f"{suite}/table", lambda: views.table(found, ""), JSON)


@router.get("/boards/{suite}/tasks/{key}")
async def task(request: Request, suite: str, key: str, number: Number = 1) -> Response:
    """One task's board."""
    found = _board(request, suite)
    name = _task(found, key)
    _check_page(number, found.tasks.get(name, ()))
    state = state_of(request)
    return await _kept(request, f"{suite}/tasks/{key}?{number}", lambda: views.task_page(state, found, name, number))


@router.get("/boards/{suite}/tasks/{key}/table.json")
async def task_table(request: Request, suite: str, key: str) -> Response:
    """All of its rows, for the page's script."""
    found = _board(request, suite)
    name = _task(found, key)
    return await _kept(request, f"{suite}/tasks/{key}/table", lambda: views.table(found, name), JSON)


@router.get("/boards/{suite}/entries/{key}")
async def entry(request: Request, suite: str, key: str) -> Response:
    """One entry."""
    found = _board(request, suite)
    shown, place = _entry(found, key), f"{suite}/entries/{key}"
    state = _charged(request, place)
    return await _kept(request, place, lambda: views.entry_page(state, found, shown))


@router.get("/boards/{suite}/compare/{one}/{other}")
async def compare(request: Request, suite: str, one: str, other: str) -> Response:
    """Two entries."""
    found = _board(request, suite)
    pair, place = (_entry(found, one), _entry(found, other)), f"{suite}/compare/{one}/{other}"
    state = _charged(request, place)
    return await _kept(request, place, lambda: views.compare_page(state, found, *pair))


@router.get("/boards/{suite}/entries/{key}/badge.svg")
async def badge(request: Request, suite: str, key: str) -> Response:
    """The badge of an entry: less work to make than a place among the kept pages is worth."""
    found = _board(request, suite)
    made = badge_svg(*badge_words(suite, _entry(found, key)))
    return answer(request, Answer.of(made.encode()), "image/svg+xml")


@router.get("/boards/{suite}/defenses")
async def defenses(request: Request, suite: str, against: str = "", number: Number = 1) -> Response:
    """What entries gain and pay against the undefended one, or against another."""
    found = _board(request, suite)
    _check_page(number, found.entries)
    other, place = _entry(found, against) if against else None, f"{suite}/defenses/{against}?{number}"
    state = _charged(request, place)
    return await _kept(request, place, lambda: views.defenses_page(state, found, other, number))


@router.get("/boards/{suite}/export.{kind}")
async def export(request: Request, suite: str, kind: str) -> Response:
    """The board as a table."""
    found = _board(request, suite)
    if kind not in exports.MEDIA_TYPES:
        raise HTTPException(404, f"A board can be had as {', '.join(exports.MEDIA_TYPES)}")
    state, name = limited(request), f"{suite}.{kind}"
    ready = await run_in_threadpool(exports.kept_export, state, request.state.published, found, kind)
    if kind == "parquet":  # which is kept as text, in base64
        ready = Answer(await run_in_threadpool(base64.b64decode, ready.body), ready.etag)
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    return answer(request, ready, exports.MEDIA_TYPES[kind], **{"content-disposition": disposition})


@router.get("/boards/{suite}/scores")
async def scores(request: Request, suite: str) -> Response:
    """How scores are made."""
    found = _board(request, suite)
    facts = facts_of(state_of(request).suites, suite)
    threats = facts.unrealisable_threats if facts is not None else ()
    return await _kept(request, f"{suite}/scores", lambda: views.scores_page(found, threats))


@router.get("/submissions/{bundle}")
def submission(request: Request, bundle: str) -> Response:
    """A submission's state and history; looks again by itself until it is decided."""
    found = as_state(submission_of(limited(request), bundle))
    waits = found.state in ("queued", "verifying")
    links = views.links_of(found.suite)
    text = notice(
        f"{found.name}: {found.state}",
        submission=found,
        refresh=REFRESH_SECONDS if waits else 0,
        task=links.to_task(file_key(found.task)),
        entry=links.to_entry(file_key(found.name)) if found.state == "accepted" else "",
    )
    return page(request, Answer.of(text.encode()))


def page(request: Request, found: Answer) -> Response:
    """A page with the policy that it states itself as a header, where it also keeps others from framing it."""
    return answer(request, found, HTML, **{"content-security-policy": _policy(found.body)})


def refusal(status: int, detail: str, headers: Mapping[str, str]) -> Response:
    """What went wrong, as a page."""
    body = notice(f"{status}", detail=detail).encode()
    return Response(body, status, {**headers, "content-security-policy": _policy(body)}, HTML)


def notice(
    title: str,
    *,
    detail: str = "",
    boards: Sequence[PublicBoard] | None = None,
    submission: Any = None,
    refresh: int = 0,
    task: str = "",
    entry: str = "",
) -> str:
    """A small page as text: a submission, the list of boards, or one sentence. What it is given is escaped.

    task, entry: where a submission's task and its entry are shown; no address is no link.
    """
    from markupsafe import Markup

    template = environment().get_template("notice.html")
    return template.render(
        title=title,
        detail=detail,
        boards=boards,
        submission=submission,
        refresh=refresh,
        task=task,
        entry=entry,
        style=Markup(part(STYLE)),
        policy=content_policy(part(STYLE)),
    )


def _charged(request: Request, key: str) -> ServerState:
    """The server's state, once the address may ask for a page that lies ready, or for its making."""
    published: Published = request.state.published
    return limited(request, 1.0 if key in published.pages else MAKING)


async def _kept(request: Request, key: str, render: Callable[[], str], media_type: str = HTML) -> Response:
    """A page that lies ready, or is made now and kept while the boards stay as they are."""
    published: Published = request.state.published
    ready = published.pages.get(key)
    if ready is None:
        ready = await run_in_threadpool(state_of(request).boards.page, published, key, render)
    return page(request, ready) if media_type == HTML else answer(request, ready, media_type)


def _board(request: Request, suite: str) -> PublicBoard:
    """The board that a request is about; all of the answer is of the same version of it."""
    published = request.state.published = state_of(request).boards.published
    if suite in published.boards:
        return published.boards[suite]
    if published.version < 0:
        raise HTTPException(503, "The boards are being built", retry_after(5))
    raise HTTPException(404, "There is no such board here")


def _task(board: PublicBoard, key: str) -> str:
    found = next((name for name in board.threats if file_key(name) == key), None)
    if found is None:
        raise HTTPException(404, "This board has no such task")
    return found


def _entry(board: PublicBoard, key: str) -> EntryRow:
    found = next((line for line in board.entries if file_key(line.entry) == key), None)
    if found is None:
        raise HTTPException(404, "This board has no such entry")
    return found


def _check_page(number: int, lines: Sequence[object]) -> None:
    if number > page_count(lines):
        raise HTTPException(404, f"This board has {page_count(lines)} pages")


def _policy(body: bytes) -> str:
    stated = _POLICY.search(body[:4000].decode("utf-8", "replace"))
    policy = html.unescape(stated[1]) if stated is not None else "default-src 'none'"
    return f"{policy}; frame-ancestors 'none'"
