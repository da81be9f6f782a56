"""Sending a bundle to a server: one streamed request, and what the server answers."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from adversarial.errors import InvalidOption, RobustArenaError


SECONDS: Final = 300.0  # without an answer
_PLAIN: Final = re.compile(r"[!-~]+")


class SendingFailed(RobustArenaError):
    """The server could not be reached, or refused the bundle. Says what it answered."""


def send(bundle: Path, bundle_id: str, server: str, token: str) -> str:
    """POSTs the file and returns one line: the submission's state and address. Raises SendingFailed, InvalidOption."""
    url = checked_server(server)
    if not bundle.is_file():
        raise InvalidOption(f"{bundle}: only a .rab file can be sent; write the bundle to one")
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(url.hostname), url.port, timeout=SECONDS)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/octet-stream",
        "Content-Length": str(bundle.stat().st_size),
    }
    try:
        with bundle.open("rb") as file:
            connection.request("POST", f"{url.path.rstrip('/')}/v1/submissions", body=file, headers=headers)
            answer = connection.getresponse()
            text = answer.read(1_000_000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise SendingFailed(
            f"{server}: {error or type(error).__name__}; the bundle is kept in {bundle}, send it again"
        ) from None
    finally:
        connection.close()
    if answer.status not in (200, 201, 202):
        raise SendingFailed(f"{server} refused the bundle ({answer.status}): {_detail(text)}")
    return f"{_field(text, 'state')}  {server.rstrip('/')}/submissions/{bundle_id}"


def checked_server(server: str) -> SplitResult:
    """The parts of a server's address; raises InvalidOption for what is none."""
    try:
        url = urlsplit(server)
        fits = url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        fits = False
    if not fits or not _PLAIN.fullmatch(server):
        raise InvalidOption(f"expected a server like https://board.example.org, got {server!r}")
    return url


def checked_token(token: str) -> str:
    """A token that a header can hold; raises InvalidOption."""
    if not _PLAIN.fullmatch(token):
        raise InvalidOption("the token of the server holds spaces or letters that no token has; copy it again")
    return token


def _detail(text: str) -> str:
    return _field(text, "detail") or text[:500]


def _field(text: str, name: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    return str(found.get(name, "")) if isinstance(found, dict) else ""
