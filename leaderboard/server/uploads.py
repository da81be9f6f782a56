"""A bundle on its way in: streamed to the disk, hashed on the way, and checked before anything else hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.reading import Bundle, open_bundle
from leaderboard.database.blob_store import Depot
from leaderboard.database.suites import SuiteFacts, facts_of
from leaderboard.server.limits import retry_after
from leaderboard.server.settings import ServerSettings


PART: Final = 1 << 20
SLOWEST: Final = 32_000  # bytes a second; who sends less takes a place from others
WAIT_SECONDS: Final = 120.0  # for a place among the uploads
DRAIN_SECONDS: Final = 2.0
DRAIN_BYTES: Final = 64 << 20


class Upload(NamedTuple):
    """A file that came whole. size: bytes. sha256: of the file, in hexadecimal digits."""

    path: Path
    size: int
    sha256: str


class Uploads:
    """How many bodies are read and how many bundles are checked at the same time; the others wait their turn."""

    def __init__(self, settings: ServerSettings, depot: Depot) -> None:
        self._settings, self._depot = settings, depot
        self._own: dict[str, asyncio.Semaphore] = {}  # accounts are few: somebody gave each its token
        self._reading = asyncio.Semaphore(settings.uploads_at_once)
        self._checking = asyncio.Semaphore(settings.checks_at_once)

    @asynccontextmanager
    async def received(self, request: Request, account: str) -> AsyncIterator[Upload]:
        """The body as a file, which is removed afterwards unless it was moved away. An account has half of the places.

        Raises HTTPException: 400 cut off, 408 too slow, 413 too large, 503 busy, 507 no space.
        """
        limit = self._settings.bundle.with_overhead
        declared = request.headers.get("content-length")
        if declared is not None and int(declared) > limit:  # the HTTP parser has refused what is no number
            raise _too_large(limit)
        path = await run_in_threadpool(self._depot.new_upload)
        try:
            async with self._place(account):
                upload = await self._read(request, path, limit, int(declared or 0))
            yield upload
        finally:
            path.unlink(missing_ok=True)

    @asynccontextmanager
    async def _place(self, account: str) -> AsyncIterator[None]:
        """A place among the uploads: among the account's own first, so that it never keeps the others waiting."""
        most = max(1, self._settings.uploads_at_once // 2)
        own, taken = self._own.setdefault(account, asyncio.Semaphore(most)), []
        try:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    for places in (own, self._reading):
                        await places.acquire()
                        taken.append(places)
            except TimeoutError:
                raise HTTPException(503, "too many uploads at once; send it again later", retry_after(30)) from None
            yield
        finally:
            for places in taken:
                places.release()

    async def checked(self, upload: Upload, account: str, suites: dict[str, SuiteFacts]) -> Bundle:
        """The bundle in a file, once all that can be seen without a model was. Raises HTTPException: 403, 422."""
        async with self._checking:
            try:
                bundle = await run_in_threadpool(
                    open_bundle, upload.path, self._settings.bundle, benchmark=self._settings.benchmark
                )
            except BundleError as error:
                # A message names the file by its place in the bundle, never by its place here.
                raise HTTPException(422, str(error).replace(str(upload.path), "the bundle")) from None
        manifest = bundle.manifest
        if manifest.account != account:
            raise HTTPException(
                403, f"the bundle is of account {manifest.account[:12]}, the token of account {account[:12]}"
            )
        facts = facts_of(suites, manifest.suite, limited=self._settings.limited_suites)
        if facts is None:
            known = ", ".join(sorted(suites)) or "none"
            raise HTTPException(422, f"manifest.json: suite {manifest.suite} has no board here; known: {known}")
        if manifest.entry.task not in facts.ranking_threats:
            known = ", ".join(sorted(facts.ranking_threats))
            raise HTTPException(
                422, f"manifest.json: {manifest.suite} has no task {manifest.entry.task}; it has {known}"
            )
        await run_in_threadpool(self._depot.seal, upload.path)
        return bundle

    async def _read(self, request: Request, path: Path, limit: int, declared: int) -> Upload:
        await run_in_threadpool(_check_space, path.parent, declared + self._settings.free_bytes)
        digest, size, part, start = hashlib.sha256(), 0, bytearray(), time.monotonic()
        file = await run_in_threadpool(_create, path)
        with contextlib.closing(file):
            try:
                chunks = request.stream().__aiter__()
                while True:
                    async with asyncio.timeout(self._settings.idle_seconds):
                        chunk = await anext(chunks, None)
                    if chunk is None or len(part) >= PART:
                        await run_in_threadpool(_write, file, bytes(part), digest)
                        part.clear()
                    if chunk is None:
                        break
                    size += len(chunk)
                    if time.monotonic() - start > self._settings.idle_seconds + size / SLOWEST:
                        raise HTTPException(408, f"slower than {SLOWEST} bytes a second; send it again", _CLOSE)
                    if size > limit:
                        raise _too_large(limit)
                    part += chunk
            except TimeoutError:
                seconds = f"{self._settings.idle_seconds:g}"
                raise HTTPException(408, f"no byte for {seconds} seconds; send it again", _CLOSE) from None
            except ClientDisconnect:
                raise HTTPException(400, "the upload was cut off", _CLOSE) from None
            except OSError as error:
                raise HTTPException(507, "the disk is full; send it again later", retry_after(600)) from error
        return Upload(path, size, digest.hexdigest())


_CLOSE: Final = {"connection": "close"}


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"expected a bundle of at most {limit} bytes", _CLOSE)


def _check_space(folder: Path, wanted: int) -> None:
    if shutil.disk_usage(folder).free < wanted:
        raise HTTPException(507, "the disk is full; send it again later", retry_after(600) | _CLOSE)


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _write(file: BinaryIO, part: bytes, digest: hashlib._Hash) -> None:
    file.write(part)
    file.flush()
    digest.update(part)


async def drain(request: Request) -> None:
    """Reads some of a body that is refused, so that a client that sends it still gets to see the answer."""
    size = 0
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > DRAIN_BYTES:
                    break
