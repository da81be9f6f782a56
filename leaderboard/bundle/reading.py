"""Opening a bundle from a stranger: nothing is believed that was not checked, and nothing is written to look at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from leaderboard.bundle.archive import Archive
from leaderboard.bundle.container import Container, Folder, Limits, checked_size
from leaderboard.bundle.contents import check_file, hashed
from leaderboard.bundle.errors import BundleError, shown
from leaderboard.bundle.manifest import Benchmark, BundleManifest, FileFacts, bundle_id, decode_manifest
from leaderboard.bundle.names import MANIFEST, MODEL, SIGNATURE, evidence_path, kind_of
from leaderboard.bundle.record_checks import checked_records
from leaderboard.bundle.signing import verify_signature
from leaderboard.records.metric import Metric
from leaderboard.records.record import Result


__all__ = ["Bundle", "BundleError", "Limits", "open_bundle"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every byte was checked once. What is read later is hashed again.

    id: SHA-256 of the manifest. records: by cell id. absent: cells of the plan without a record, sorted; they are
    missing, and never a score. manifest_bytes, signature_bytes: as they lie in the bundle.
    """

    id: str
    manifest: BundleManifest
    records: Mapping[str, Result]
    absent: tuple[str, ...]
    manifest_bytes: bytes
    signature_bytes: bytes
    container: Container

    @property
    def path(self) -> Path:
        return self.container.path

    @property
    def evidence_cells(self) -> tuple[str, ...]:
        """Cells with adversarial examples, sorted."""
        return self.manifest.evidence_cells

    @property
    def model_files(self) -> Mapping[str, FileFacts]:
        """The model's files by their name below model/; empty where the model is not carried."""
        return self.manifest.model_files

    def evidence(self, cell_id: str) -> bytes:
        """The safetensors file with a cell's adversarial examples. Raises BundleError where there is none."""
        return self.read(evidence_path(cell_id))

    def model_file(self, name: str) -> bytes:
        """One of the model's files, by its name below model/. Raises BundleError where there is none."""
        return self.read(f"{MODEL}/{name}")

    def read(self, path: str) -> bytes:
        """The bytes of a file. Raises BundleError where it is not in the bundle, or changed since it was opened."""
        return b"".join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of a file, a part at a time; raises BundleError after the last where it changed meanwhile."""
        facts = self.manifest.files.get(path)
        if facts is None:
            raise BundleError(f"no file {shown(path)} in bundle {self.id[:12]}")
        return hashed(self.container.chunks(path), path, facts)


def open_bundle(
    path: Path,
    limits: Limits | None = None,
    *,
    benchmark: Benchmark | None = None,
    metrics: Mapping[str, Metric] | None = None,
) -> Bundle:
    """Reads a folder or a zip strictly.

    benchmark: the version that is accepted, any where None. metrics: what tasks measure, by task; records of a task
    that is not named are held to what accuracies and error rates are. Raises BundleError that says what was
    expected, what came and where, and StoreError where the disk fails.
    """
    limits = limits or Limits()
    container = _container(path, limits)
    manifest_data = _small(container, MANIFEST, limits.manifest)
    signature_data = _small(container, SIGNATURE, limits.signature)
    manifest = decode_manifest(manifest_data)
    verify_signature(manifest_data, signature_data, manifest.account)
    if benchmark is not None and manifest.benchmark != benchmark:
        raise BundleError(f"{MANIFEST}: made with {_version(manifest.benchmark)}; expected {_version(benchmark)}")
    _check_limits(manifest, limits)
    _check_names(container, manifest)
    found = {}
    for name, facts in manifest.files.items():
        data = check_file(container, name, facts, limits)
        if data is not None:
            found[name] = data
    records = checked_records(found, manifest, metrics or {})
    return Bundle(
        id=bundle_id(manifest_data),
        manifest=manifest,
        records=records,
        absent=tuple(cell_id for cell_id in sorted(manifest.plan) if cell_id not in records),
        manifest_bytes=manifest_data,
        signature_bytes=signature_data,
        container=container,
    )


def _container(path: Path, limits: Limits) -> Container:
    if path.is_dir():
        return Folder(path, limits)
    if not path.is_file():
        raise BundleError(f"{path}: no bundle there; expected a folder or a .rab file")
    return Archive(path, limits)


def _small(container: Container, name: str, limit: int) -> bytes:
    size = container.sizes.get(name)
    if size is None:
        raise BundleError(f"{name} is missing; expected it at the top of the bundle")
    if size > limit:
        raise BundleError(f"{name}: expected at most {limit} bytes, found {size}")
    return b"".join(container.chunks(name))


def _check_limits(manifest: BundleManifest, limits: Limits) -> None:
    if len(manifest.files) > limits.files:
        raise BundleError(f"{MANIFEST}: expected at most {limits.files} files, found {len(manifest.files)}")
    records = 0
    for path, facts in manifest.files.items():
        kind = kind_of(path)
        checked_size(path, facts.size, kind, limits)
        records += facts.size if kind == "record" else 0
    if records > limits.records:
        raise BundleError(f"{MANIFEST}: expected records of at most {limits.records} bytes together, found {records}")
    if manifest.total_size > limits.total:
        raise BundleError(f"{MANIFEST}: expected at most {limits.total} bytes, found {shown(manifest.total_size)}")


def _check_names(container: Container, manifest: BundleManifest) -> None:
    there = container.sizes.keys() - {MANIFEST, SIGNATURE}
    for path in sorted(there - manifest.files.keys()):
        raise BundleError(f"{path}: is in the bundle and not in the manifest")
    for path, facts in sorted(manifest.files.items()):
        if path not in there:
            raise BundleError(f"{path}: is in the manifest and not in the bundle")
        if container.sizes[path] != facts.size:
            raise BundleError(f"{path}: the manifest says {facts.size} bytes, found {container.sizes[path]}")


def _version(benchmark: Benchmark) -> str:
    return f"robustarena {benchmark.package} with numbers version {benchmark.numbers}"
