"""The API under /v1. What may be asked often is bytes that lie ready; the rest is limited."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse

from leaderboard.bundle.names import is_hash
from leaderboard.database.entries import (
    EntryError,
    NameTaken,
    NoSuchEntry,
    NotTheOwner,
    SubmissionFacts,
    TooMany,
    admit,
    submission,
    withdraw,
)
from leaderboard.database.models import StoredResult
from leaderboard.database.rebuild import export_events
from leaderboard.server.boards import Answer
from leaderboard.server.limits import retry_after
from leaderboard.server.schemas import CheckedCell, EntryDetails, ProblemDetail, SubmissionState, as_state
from leaderboard.server.state import ServerState, authorised, limited, state_of
from leaderboard.server.uploads import drain


SUBMISSIONS: Final = "/v1/submissions"
WAIT_SECONDS: Final = 600.0  # before an account with a full queue asks again

router = APIRouter(prefix="/v1")
_STATUS: Final[dict[type[EntryError], int]] = {NameTaken: 409, TooMany: 429, NoSuchEntry: 404, NotTheOwner: 403}


_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ProblemDetail} for status in (400, 401, 403, 408, 409, 413, 422, 429, 503, 507)
}


@router.post(
    "/submissions",
    status_code=201,
    response_model=SubmissionState,
    responses={200: {"model": SubmissionState, "description": "The bundle is an entry already."}, **_PROBLEMS},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def submit(request: Request, response: Response) -> SubmissionState:
    """Send a bundle (`.rab`) as the body, with a token: `Authorization: Bearer ra_...`."""
    try:
        state = limited(request)
        account = await run_in_threadpool(authorised, request)
        wait = state.by_token.take(account)
        if wait:
            raise HTTPException(429, "too many submissions of this account", retry_after(wait))
        async with state.uploads.received(request, account) as upload:
            bundle = await state.uploads.checked(upload, account, state.suites)

            def store() -> bool:
                def work(session: Any) -> bool:
                    most = state.settings.most_unfinished
                    new = admit(session, bundle.manifest, bundle.id, upload.size, most_unfinished=most)
                    state.depot.place(upload.path, bundle.id)
                    return new

                return state.database.transact(work)

            try:
                new = await run_in_threadpool(store)
            except EntryError as error:
                raise _problem(error) from None
        await run_in_threadpool(export_events, state.database, state.depot, bundle.id)
    except HTTPException:
        await drain(request)
        raise
    response.status_code = 201 if new else 200
    response.headers["location"] = f"{SUBMISSIONS}/{bundle.id}"
    found = await run_in_threadpool(submission_of, state, bundle.id)
    return as_state(found, created_now=new)


@router.get("/submissions/{bundle}", response_model=SubmissionState, responses=_PROBLEMS)
def show(bundle: str, state: Annotated[ServerState, Depends(limited)]) -> SubmissionState:
    """The state of a submission: queued, verifying, accepted, refused with reasons, or withdrawn; and its history."""
    return as_state(submission_of(state, bundle))


@router.post("/submissions/{bundle}/withdraw", response_model=SubmissionState, responses=_PROBLEMS)
def take_back(
    bundle: str, state: Annotated[ServerState, Depends(limited)], account: Annotated[str, Depends(authorised)]
) -> SubmissionState:
    """Take an entry off the board, or out of the queue. Its history stays. Only the account that sent it may."""
    try:
        state.database.transact(lambda session: withdraw(session, bundle, account))
    except EntryError as error:
        raise _problem(error) from None
    export_events(state.database, state.depot, bundle)
    return as_state(submission_of(state, bundle))


@router.get("/boards", responses={200: {"content": {"application/json": {}}}}, response_class=Response)
async def boards(request: Request) -> Response:
    """Every board, with how many entries it has."""
    return answer(request, state_of(request).boards.published.index)


@router.get("/boards/{suite}", responses={200: {"content": {"application/json": {}}}}, response_class=Response)
async def board(
    request: Request,
    suite: str,
    task: Annotated[str, Query(description="One task's board; the board over all tasks without.")] = "",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """A board, a hundred entries a page from the best to the last. Has an ETag; only re-run entries have ranks."""
    published = state_of(request).boards.published
    found = published.listings.get((suite, task, page))
    if found is None:
        if published.version < 0:
            raise HTTPException(503, "the boards are being built", retry_after(5))
        raise HTTPException(404, "no such board, task or page")
    return answer(request, found)


@router.get("/entries/{bundle}", response_model=EntryDetails, responses=_PROBLEMS)
def entry(bundle: str, state: Annotated[ServerState, Depends(limited)]) -> EntryDetails:
    """All that is known of an entry: its figures, and what verification checked."""
    found = submission_of(state, bundle)
    verdict = next((line.verdict for line in reversed(found.history) if line.verdict is not None), None)
    row = None
    if found.state == "accepted":
        with state.database.read() as session:
            stored = session.scalars(select(StoredResult.row).where(StoredResult.bundle == bundle)).first()
        row = msgspec.json.decode(stored) if stored is not None else None
    cells = [CheckedCell(**msgspec.to_builtins(cell)) for cell in (verdict.cells if verdict is not None else ())]
    return EntryDetails(submission=as_state(found), cells=cells, row=row)


@router.get("/entries/{bundle}/bundle", response_class=FileResponse, responses=_PROBLEMS)
def download(bundle: str, state: Annotated[ServerState, Depends(limited)]) -> FileResponse:
    """The bundle of an accepted entry, to verify it elsewhere or to attack its model."""
    if submission_of(state, bundle).state != "accepted":
        raise HTTPException(404, "only the bundles of accepted entries can be had")
    path = state.depot.bundle_path(bundle)
    return FileResponse(path, media_type="application/octet-stream", filename=f"{bundle[:12]}.rab")


@router.get("/health")
def health(state: Annotated[ServerState, Depends(state_of)]) -> dict[str, Any]:
    """Whether the store answers; boards: the version of the boards that are shown, -1 before the first."""
    with state.database.read() as session:
        session.execute(select(1))
    return {"status": "ok", "boards": state.boards.published.version}


def answer(request: Request, found: Answer, media_type: str = "application/json", **headers: str) -> Response:
    """Bytes that lie ready, or 304 where the client has them."""
    headers |= {"etag": found.etag, "cache-control": "no-cache"}
    asked = request.headers.get("if-none-match", "")
    if asked and found.etag in (one.strip().removeprefix("W/") for one in asked.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type=media_type, headers=headers)


def submission_of(state: ServerState, bundle: str) -> SubmissionFacts:
    found = None
    if is_hash(bundle):
        with state.database.read() as session:
            found = submission(session, bundle)
    if found is None:
        raise HTTPException(404, "no submission of that id here")
    return found


def _problem(error: EntryError) -> HTTPException:
    headers = retry_after(WAIT_SECONDS) if isinstance(error, TooMany) else None
    return HTTPException(_STATUS.get(type(error), 422), str(error), headers)
