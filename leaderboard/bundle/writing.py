"""Writing a bundle: the same bytes for the same content, whole or not at all, and only what can be read back."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from leaderboard.bundle import zip_layout
from leaderboard.bundle.container import CHUNK, Limits
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.manifest import (
    FORMAT,
    Benchmark,
    BundleKind,
    BundleManifest,
    EntryFacts,
    FileFacts,
    bundle_id,
    manifest_bytes,
)
from leaderboard.bundle.names import MANIFEST, MODEL, SIGNATURE, checked_path, evidence_path, record_path
from leaderboard.bundle.placing import placed, sync_tree, write_new
from leaderboard.bundle.reading import Bundle, open_bundle
from leaderboard.bundle.signing import account_of, sign
from leaderboard.records.canonical import canonical_json
from leaderboard.records.files import store_error
from leaderboard.records.record import Result


SUFFIX: Final = ".rab"

Content = bytes | Path


@dataclass(frozen=True, slots=True)
class Parts:
    """What a manifest says that does not follow from the files and the key; each field as in BundleManifest."""

    entry: EntryFacts
    suite: str
    benchmark: Benchmark
    model_hash: str
    data_hash: str
    plan: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=dict)
    kind: BundleKind = "entry"
    target: str | None = None


def write_bundle(
    target: Path,
    parts: Parts,
    *,
    records: Iterable[Result],
    evidence: Mapping[str, Content],
    model_files: Mapping[str, Content],
    key: Ed25519PrivateKey,
    limits: Limits | None = None,
) -> str:
    """Writes a signed bundle and returns its id: one zip where the target ends in .rab, a folder otherwise.

    evidence: by cell id. model_files: by name below model/. A .rab file in the target's place is replaced, a folder
    must be empty. What open_bundle would refuse raises its BundleError, and nothing is left behind.
    """
    files: dict[str, Content] = {record_path(result.id): canonical_json(result) for result in records}
    files |= {evidence_path(cell_id): content for cell_id, content in evidence.items()}
    files |= {f"{MODEL}/{name}": content for name, content in model_files.items()}
    manifest = BundleManifest(
        format=FORMAT,
        kind=parts.kind,
        entry=parts.entry,
        account=account_of(key),
        suite=parts.suite,
        benchmark=parts.benchmark,
        model_hash=parts.model_hash,
        data_hash=parts.data_hash,
        plan=dict(parts.plan),
        versions=dict(parts.versions),
        files={checked_path(path): _facts(content) for path, content in files.items()},
        target=parts.target,
    )
    data = manifest_bytes(manifest)
    files |= {MANIFEST: data, SIGNATURE: sign(data, key)}
    ordered = dict(sorted(files.items()))
    zipped = target.suffix == SUFFIX
    with placed(target, replace=zipped) as temporary:
        if zipped:
            with temporary.open("xb") as file:
                _write_zip(file, ordered)
                file.flush()
                os.fsync(file.fileno())
        else:
            temporary.mkdir()
            for path, content in ordered.items():
                write_new(temporary, path, _chunks(content))
            sync_tree(temporary)
        open_bundle(temporary, limits)
    return bundle_id(data)


def extract(bundle: Bundle, folder: Path) -> None:
    """Writes a bundle's files below a folder that is new or empty, whole or not at all.

    Every byte is hashed again on its way. Raises BundleError where the bundle changed since it was opened or the
    folder is in use, and StoreError where the disk fails.
    """
    with placed(folder, replace=False) as temporary:
        temporary.mkdir()
        write_new(temporary, MANIFEST, [bundle.manifest_bytes])
        write_new(temporary, SIGNATURE, [bundle.signature_bytes])
        for path in sorted(bundle.manifest.files):
            write_new(temporary, checked_path(path), bundle.chunks(path))
        sync_tree(temporary)


def _facts(content: Content) -> FileFacts:
    digest = hashlib.sha256()
    size = 0
    for chunk in _chunks(content):
        digest.update(chunk)
        size += len(chunk)
    return FileFacts(size, digest.hexdigest())


def _chunks(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    if not content.is_file():
        raise BundleError(f"{content}: expected a file to put into the bundle")
    try:
        with content.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise store_error(content, error) from error


def _write_zip(file: BinaryIO, files: Mapping[str, Content]) -> None:
    directory: list[bytes] = []
    for name, content in files.items():
        offset = file.tell()
        file.write(zip_layout.local_header(name, 0, 0))
        checksum = size = 0
        for chunk in _chunks(content):
            checksum = zlib.crc32(chunk, checksum)
            size += len(chunk)
            file.write(chunk)
        end = file.tell()
        if end > zip_layout.LARGEST or len(directory) >= zip_layout.MOST:
            raise BundleError(f"{name}: the bundle is too large for one zip; write it as a folder")
        file.seek(offset)
        file.write(zip_layout.local_header(name, size, checksum))
        file.seek(end)
        directory.append(zip_layout.central_header(name, size, checksum, offset))
    start = file.tell()
    for line in directory:
        file.write(line)
    file.write(zip_layout.end_record(len(directory), file.tell() - start, start))
