"""What the parts of a running server share."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import HTTPException
from starlette.requests import Request

from leaderboard.database.accounts import account_of_token
from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import Database
from leaderboard.database.suites import SuiteFacts
from leaderboard.server.boards import BoardCache
from leaderboard.server.limits import Buckets, network_of, retry_after
from leaderboard.server.settings import ServerSettings
from leaderboard.server.uploads import Uploads


@dataclass(slots=True)
class ServerState:
    """Made when a server starts, from its settings; ended by close()."""

    settings: ServerSettings
    database: Database
    depot: Depot
    suites: dict[str, SuiteFacts]
    boards: BoardCache
    uploads: Uploads
    by_address: Buckets
    by_token: Buckets
    failures: Buckets

    def close(self) -> None:
        self.boards.stop()
        self.database.close()


def state_of(request: Request) -> ServerState:
    """The state of the server that answers a request."""
    found: ServerState = request.app.state.board
    return found


def limited(request: Request, cost: float = 1.0) -> ServerState:
    """The same, once the address was found to be within its limit. Raises HTTPException 429.

    cost: for how many requests this one counts.
    """
    state = state_of(request)
    wait = state.by_address.take(_address(request), cost)
    if wait:
        raise HTTPException(429, "too many requests from this address", retry_after(wait))
    return state


def authorised(request: Request) -> str:
    """The account of the request's token. Raises HTTPException: 401, or 429 after too many wrong ones."""
    state, address = state_of(request), _address(request)
    wait = state.failures.take(address, 0)
    if wait:
        raise HTTPException(429, "too many wrong tokens from this address", retry_after(wait))
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise HTTPException(401, "expected a token: Authorization: Bearer ra_...", {"www-authenticate": "Bearer"})
    with state.database.read() as session:
        account = account_of_token(session, token.strip())
    if account is None:
        state.failures.take(address)
        raise HTTPException(401, "the token is wrong or revoked", {"www-authenticate": "Bearer"})
    return account


def _address(request: Request) -> str:
    return network_of(request.client.host if request.client else "")
