"""Sending a bundle to a server: one streamed request, and what the server answers."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

from adversarial.errors import InvalidOption, RobustArenaError


SECONDS = 300.0  # without an answer


class SendingFailed(RobustArenaError):
    """The server could not be reached, or refused the bundle. Says what it answered."""


def send(bundle: Path, bundle_id: str, server: str, token: str) -> str:
    """POSTs the file and returns one line: the submission's state and address. Raises SendingFailed, InvalidOption."""
    url = urlsplit(server)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise InvalidOption(f"expected a server like https://board.example.org, got {server!r}")
    if not bundle.is_file():
        raise InvalidOption(f"{bundle}: only a .rab file can be sent; write the bundle to one")
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname, url.port, timeout=SECONDS)
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
    except OSError as error:
        raise SendingFailed(f"{server}: {error}; the bundle is kept in {bundle}, send it again") from None
    finally:
        connection.close()
    if answer.status not in (200, 201, 202):
        raise SendingFailed(f"{server} refused the bundle ({answer.status}): {_detail(text)}")
    return f"{_field(text, 'state')}  {server.rstrip('/')}/submissions/{bundle_id}"


def _detail(text: str) -> str:
    return _field(text, "detail") or text[:500]


def _field(text: str, name: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    return str(found.get(name, "")) if isinstance(found, dict) else ""
