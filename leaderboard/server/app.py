"""The application: what is opened when it starts, how it answers what goes wrong, and where its routes are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import JSONResponse

from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import open_database
from leaderboard.database.rebuild import export_events
from leaderboard.database.suites import read_suites
from leaderboard.server import api, pages
from leaderboard.server.boards import BoardCache
from leaderboard.server.limits import Buckets, Guard, retry_after
from leaderboard.server.settings import ServerSettings
from leaderboard.server.state import ServerState
from leaderboard.server.uploads import Uploads


log = logging.getLogger(__name__)

FIRST_BOARDS_SECONDS = 10.0  # how long a start waits for them; after that they come when they are ready


def create_app(settings: ServerSettings) -> Guard:
    """The server for one store, as an ASGI application. Nothing is opened before it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = await asyncio.to_thread(_open, settings)
        app.state.board = state
        try:
            yield
        finally:
            await asyncio.to_thread(state.close)

    app = FastAPI(
        title="RobustArena",
        version=version("robustarena"),
        summary="A leaderboard of adversarial robustness that checks what it shows.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(api.router)
    app.include_router(pages.router)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DBAPIError, _no_database)
    app.add_exception_handler(Exception, _broken)
    return Guard(app, settings.hosts, large=(api.SUBMISSIONS,))  # outermost: what breaks is answered with headers, too


def _open(settings: ServerSettings) -> ServerState:
    depot = Depot(settings.folder)
    database = open_database(settings.folder, settings.database_url)
    try:
        depot.sweep()
        export_events(database, depot)
        suites = read_suites(depot)
        boards = BoardCache(database, depot, suites, settings.refresh_seconds)
        boards.start(FIRST_BOARDS_SECONDS)
    except BaseException:
        database.close()
        raise
    return ServerState(
        settings=settings,
        database=database,
        depot=depot,
        suites=suites,
        boards=boards,
        uploads=Uploads(settings, depot),
        by_address=Buckets(settings.requests_per_minute, 60.0),
        by_token=Buckets(settings.submissions_per_hour, 3600.0),
        failures=Buckets(settings.failures_per_minute, 60.0),
    )


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException | StarletteHTTPException)
    detail, headers = str(error.detail), dict(error.headers or {})
    if request.url.path.startswith("/v1/"):
        return JSONResponse({"detail": detail}, error.status_code, headers)
    return pages.refusal(error.status_code, detail, headers)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return _refused(request, HTTPException(422, found))


def _no_database(request: Request, error: Exception) -> Response:
    log.error("%s %s: %s", request.method, request.url.path, error)
    return _refused(request, HTTPException(503, "the store does not answer; try again later", retry_after(10)))


def _broken(request: Request, _error: Exception) -> Response:
    return _refused(request, HTTPException(500, "something broke here, and is in the server's log"))
