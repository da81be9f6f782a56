"""Bundles that were tampered with, and the claim that they are refused."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_bundle import KEY, own_cell

from leaderboard.bundle import zip_layout
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.manifest import bundle_id
from leaderboard.bundle.names import MANIFEST, SIGNATURE
from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import DOMAIN, account_of
from leaderboard.records.canonical import canonical_json


CLEAN, ATTACKED, IMPOSSIBLE = own_cell("none").id, own_cell("pgd").id, own_cell("universal").id
Files = dict[str, bytes]


def packed(files: Mapping[str, bytes]) -> bytes:
    """The zip of these files, as bundles are laid out; names are not checked."""
    body, directory = b"", b""
    for name, data in sorted(files.items()):
        checksum = zlib.crc32(data)
        directory += zip_layout.central_header(name, len(data), checksum, len(body))
        body += zip_layout.local_header(name, len(data), checksum) + data
    return body + directory + zip_layout.end_record(len(files), len(directory), len(body))


def signed(files: Files, plain: Any, key: Ed25519PrivateKey = KEY) -> Files:
    """The files under this manifest, signed however little it deserves it. plain: bytes, or what becomes them."""
    data = plain if isinstance(plain, bytes) else canonical_json(plain)
    signature = key.sign(DOMAIN + bundle_id(data).encode()).hex()
    named = {"algorithm": "ed25519", "key": account_of(key), "signature": signature}
    return {**files, MANIFEST: data, SIGNATURE: canonical_json(named)}


def bound(files: Files, change: Callable[[dict[str, Any]], object] = lambda _: None, **more: Any) -> Files:
    """The files with a manifest that lists them as they are now, changed, and signed."""
    plain = json.loads(files[MANIFEST])
    plain["files"] = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
        if name not in (MANIFEST, SIGNATURE)
    }
    change(plain)
    return signed(files, plain, **more)


def put(files: Mapping[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def refused(data: bytes | Mapping[str, bytes], tmp_path: Path, reason: str, **options: Any) -> None:
    """Refused with this reason; files as a zip and as a folder."""
    place = Path(tempfile.mkdtemp(dir=tmp_path))
    if not isinstance(data, bytes):
        with pytest.raises(BundleError, match=reason):
            open_bundle(put(data, place / "folder"), **options)
        data = packed(data)
    (place / "entry.rab").write_bytes(data)
    with pytest.raises(BundleError, match=reason):
        open_bundle(place / "entry.rab", **options)
