"""The pages: the same as `robustarena site` writes, and one for a submission's state."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, HTTPException, Query, Request, Response
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from leaderboard.compare import BASELINE, Comparison
from leaderboard.database.boards import Across, Line, PublicBoard
from leaderboard.database.models import StoredResult
from leaderboard.rows import Board, EntryRow, TaskBoard, TaskRow
from leaderboard.server.api import answer, submission_of
from leaderboard.server.boards import PER_PAGE, Answer, Published, page_count
from leaderboard.server.limits import retry_after
from leaderboard.server.schemas import as_state
from leaderboard.server.state import State, limited, state_of
from leaderboard.site import content_policy, render_page


REFRESH_SECONDS: Final = 3
HTML: Final = "text/html; charset=utf-8"

router = APIRouter(include_in_schema=False)
_POLICY: Final = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">')


@router.get("/")
async def front(request: Request) -> Response:
    """The only board there is, or the list of them."""
    published = state_of(request).boards.published
    filled = [name for name, found in published.boards.items() if found.across]
    if len(filled) == 1:
        return await board(request, filled[0])
    boards = [published.boards[name] for name in filled] or list(published.boards.values())
    return page(request, Answer.of(notice("Boards", boards=boards).encode()))


@router.get("/boards/{suite}")
async def board(request: Request, suite: str, page_number: Annotated[int, Query(alias="page", ge=1)] = 1) -> Response:
    """A suite's board, a hundred entries a page."""
    state = state_of(request)
    published = state.boards.published
    found = published.boards.get(suite)
    if found is None:
        if published.version < 0:
            raise HTTPException(503, "The boards are being built", retry_after(5))
        raise HTTPException(404, "There is no such board here")
    pages = page_count(found.across)
    if page_number > pages:
        raise HTTPException(404, f"This board has {pages} pages")
    ready = published.pages.get((suite, page_number))
    if ready is None:
        ready = await run_in_threadpool(
            state.boards.page, suite, page_number, lambda shown: _render(state, shown, suite, page_number)
        )
    neighbours = [
        f'</boards/{suite}?page={number}>; rel="{name}"'
        for name, number in (("prev", page_number - 1), ("next", page_number + 1))
        if 1 <= number <= pages
    ]
    return page(request, ready, link=", ".join(neighbours))


@router.get("/submissions/{bundle}")
def submission(request: Request, bundle: str) -> Response:
    """A submission's state and history; looks again by itself until it is decided."""
    found = as_state(submission_of(limited(request), bundle))
    waits = found.state in ("queued", "verifying")
    text = notice(f"{found.name}: {found.state}", submission=found, refresh=REFRESH_SECONDS if waits else 0)
    return page(request, Answer.of(text.encode()))


def page(request: Request, found: Answer, *, link: str = "") -> Response:
    """A page with the policy that it states itself as a header, where it also keeps others from framing it."""
    headers = {"content-security-policy": _policy(found.body)} | ({"link": link} if link else {})
    return answer(request, found, HTML, **headers)


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
) -> str:
    """A small page as text: a submission, the list of boards, or one sentence. What it is given is escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    style = _part("board.css")
    environment = Environment(loader=FunctionLoader(_part), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("notice.html").render(
        title=title,
        detail=detail,
        boards=boards,
        submission=submission,
        refresh=refresh,
        style=Markup(style),
        policy=content_policy(style, ""),
    )


def _policy(body: bytes) -> str:
    stated = _POLICY.search(body[:4000].decode("utf-8", "replace"))
    policy = html.unescape(stated[1]) if stated is not None else "default-src 'none'"
    return f"{policy}; frame-ancestors 'none'"


def _render(state: State, published: Published, suite: str, number: int) -> str:
    found = published.boards[suite]
    shown = found.across[(number - 1) * PER_PAGE : number * PER_PAGE]
    names = {one.entry for one in shown}
    lines = {task: [one for one in found.tasks[task] if one.entry in names] for task in found.tasks}
    wanted = [one.id for some in lines.values() for one in some]
    with state.database.read() as session:
        stored = select(StoredResult.bundle, StoredResult.row).where(StoredResult.bundle.in_(wanted))
        rows = {bundle: msgspec.json.decode(row, type=TaskRow) for bundle, row in session.execute(stored)}
    tasks = tuple(
        TaskBoard(
            task,
            found.metrics.get(task),
            found.threats[task],
            tuple(_task_row(one, rows[one.id]) for one in some if one.id in rows),
        )
        for task, some in lines.items()
    )
    entries = tuple(_entry_row(one, tasks) for one in shown)
    nothing = Comparison(suite, BASELINE, False, tuple(found.tasks), ())
    return render_page(Board(suite, entries, tasks), nothing)


def _task_row(line: Line, row: TaskRow) -> TaskRow:
    return msgspec.structs.replace(row, rank=line.rank, unranked=line.unranked)


def _entry_row(line: Across, tasks: Sequence[TaskBoard]) -> EntryRow:
    verdicts = {row.verdict for task in tasks if (row := task.row(line.entry)) is not None}
    verdict: Any = next((one for one in ("invalid", "suspect", "reliable") if one in verdicts), "reliable")
    return EntryRow(
        entry=line.entry,
        clean=line.clean,
        clean_interval=line.clean_interval,
        robust=line.robust,
        robust_interval=line.robust_interval,
        bound=line.bound,
        retention=line.retention,
        rank=line.rank,
        unranked=line.unranked,
        verdict=verdict,
    )


def _part(name: str) -> str:
    return resources.files("leaderboard").joinpath("templates", name).read_text(encoding="utf-8")
