"""How often an address or a token may ask, and the headers that every answer carries."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


MOST_KEYS: Final = 100_000
SMALL_BODY: Final = 64_000  # bytes; only submissions are larger
NOTHING_ALLOWED: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
BADGE: Final = "image/svg+xml"
HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class Buckets:
    """A bucket for each key, which holds `count` and fills up once in `seconds`. A count of 0 allows anything.

    Keys that were not seen for longest are forgotten beyond MOST_KEYS, so that memory stays flat whoever asks.
    """

    def __init__(self, count: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._count, self._rate, self._clock = count, count / seconds, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str, amount: float = 1.0) -> float:
        """Takes from a bucket, and returns 0; or the seconds after which there is enough in it, and takes nothing.

        An amount of 0 asks whether the bucket is empty; one of more than a bucket holds takes a full one.
        """
        if not self._count:
            return 0.0
        amount = min(amount, float(self._count))
        with self._lock:
            now = self._clock()
            level, at = self._levels.pop(key, (float(self._count), now))
            level = min(float(self._count), level + (now - at) * self._rate)
            wait = max(0.0, (max(amount, 1.0) - level) / self._rate)
            self._levels[key] = (level - (0.0 if wait else amount), now)
            if len(self._levels) > MOST_KEYS:
                self._levels.popitem(last=False)
            return wait


class Guard:
    """Around every request: the host that it asks for, the size of its body, and the headers of the answer."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], large: Iterable[str] = ()) -> None:
        self.app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._large = frozenset(large)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if headers.get("content-type", "").startswith(BADGE):
                    headers["cross-origin-resource-policy"] = "cross-origin"  # badges are made for other sites
                headers.setdefault("content-security-policy", NOTHING_ALLOWED)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if _host(asked.get(b"host", "")) not in self._hosts:
            refusal = JSONResponse({"detail": "this server does not go by that name"}, 400)
            await refusal(scope, receive, guarded)
            return
        if scope["path"] not in self._large and _too_large(asked.get(b"content-length", "0")):
            closing = {"connection": "close"}
            await JSONResponse({"detail": "expected no body"}, 413, closing)(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)


def retry_after(seconds: float) -> dict[str, str]:
    """The header that says when to ask again."""
    return {"retry-after": str(max(1, math.ceil(seconds)))}


def network_of(address: str) -> str:
    """What stands for an address: itself, or the /64 of an IPv6 address, all of which one customer has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _host(text: str) -> str:
    """A Host header without its port, in lower case."""
    host = text.lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if ":" in host else host


def _too_large(length: str) -> bool:
    return not length.isascii() or not length.isdecimal() or int(length) > SMALL_BODY
