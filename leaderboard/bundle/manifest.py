"""The manifest: what a bundle is, whose it is, and the size and hash of every file in it.

Its canonical JSON is the one thing that is signed; the SHA-256 of those bytes is the bundle's id.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from leaderboard.bundle.documents import read_canonical
from leaderboard.bundle.errors import BundleError, shown
from leaderboard.bundle.names import EVIDENCE, MODEL, RECORDS, SOURCE, cell_of, checked_paths, is_hash, kind_of
from leaderboard.bundle.names import MANIFEST as MANIFEST_FILE
from leaderboard.bundle.names import SIGNATURE as SIGNATURE_FILE
from leaderboard.records.canonical import ResultError, canonical_json
from leaderboard.records.plan import parse_label


FORMAT: Final = 1
NAME_CHARACTERS: Final = 80
URL_CHARACTERS: Final = 300

BundleKind = Literal["entry", "stronger-attack"]

_MARKUP = frozenset("<>&\"'")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,99}")
_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&()*+,;=%]+")


class EntryFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the submitter says of the entry. url and licence may be empty."""

    name: str
    task: str
    defense: str
    url: str
    licence: str

    def __post_init__(self) -> None:
        checked_text("name", self.name)
        checked_word("task", self.task)
        checked_text("defense", self.defense)
        checked_url(self.url)
        if self.licence:
            checked_text("licence", self.licence)


class Benchmark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What measured the entry. package: its version. numbers: raised whenever a change of code changes numbers."""

    package: str
    numbers: str

    def __post_init__(self) -> None:
        checked_word("package", self.package)
        checked_word("numbers", self.numbers)


class FileFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file's size in bytes and its SHA-256."""

    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not 0 <= self.size < 2**63:
            raise BundleError(f"size {shown(self.size)} is not a number of bytes")
        checked_hash("sha256", self.sha256)


class BundleManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a bundle but the contents of its files.

    account: the submitter's public key, hexadecimal. target: the bundle id of the entry that a stronger attack is
    against, None for an entry. plan: the label of each cell by its id. versions: of the libraries that change
    numbers. files: every file but the manifest and the signature, by its path.
    """

    format: Literal[1]
    kind: BundleKind
    entry: EntryFacts
    account: str
    suite: str
    benchmark: Benchmark
    model_hash: str
    data_hash: str
    plan: dict[str, str]
    versions: dict[str, str]
    files: dict[str, FileFacts]
    target: str | None = None

    def __post_init__(self) -> None:
        checked_hash("account", self.account)
        checked_word("suite", self.suite)
        checked_hash("model_hash", self.model_hash)
        checked_hash("data_hash", self.data_hash)
        for library, version in self.versions.items():
            checked_word("versions", library)
            checked_word(f"version of {library}", version)
        if (self.target is not None) != (self.kind == "stronger-attack"):
            raise BundleError(f"target {shown(self.target)}: a stronger-attack names the entry's id, an entry has null")
        if self.target is not None:
            checked_hash("target", self.target)
        self._check_plan()
        self._check_files()

    @property
    def total_size(self) -> int:
        """Bytes of all files but the manifest and the signature."""
        return sum(facts.size for facts in self.files.values())

    @property
    def record_cells(self) -> tuple[str, ...]:
        """Cells with a record, sorted."""
        return tuple(sorted(cell_of(path) for path in self.files if path.startswith(f"{RECORDS}/")))

    @property
    def evidence_cells(self) -> tuple[str, ...]:
        """Cells with adversarial examples, sorted."""
        return tuple(sorted(cell_of(path) for path in self.files if path.startswith(f"{EVIDENCE}/")))

    @property
    def model_files(self) -> dict[str, FileFacts]:
        """The model's files by their name below model/; empty where the model is not carried."""
        return {
            path.removeprefix(f"{MODEL}/"): facts
            for path, facts in sorted(self.files.items())
            if path.startswith(f"{MODEL}/")
        }

    def _check_plan(self) -> None:
        if not self.plan:
            raise BundleError("the plan names no cell")
        for cell_id, label in self.plan.items():
            checked_hash("cell id of the plan", cell_id)
            try:
                read = parse_label(label)
            except ResultError as error:
                raise BundleError(f"plan: {error}") from None
            if (read.task, read.model) != (self.entry.task, self.entry.name):
                raise BundleError(
                    f"plan: label {shown(label)} is not of task {self.entry.task} and entry {shown(self.entry.name)}"
                )

    def _check_files(self) -> None:
        checked_paths(self.files)
        for path in self.files:
            kind = kind_of(path)
            if kind in ("manifest", "signature"):
                raise BundleError(f"files: {MANIFEST_FILE} and {SIGNATURE_FILE} cannot list themselves, found {path}")
            if kind in ("record", "evidence") and cell_of(path) not in self.plan:
                raise BundleError(f"files: {path} is of no cell of the plan")
        records = frozenset(self.record_cells)
        if not records:
            raise BundleError("files: expected at least one record, found none")
        alone = next((cell for cell in self.evidence_cells if cell not in records), None)
        if alone is not None:
            raise BundleError(f"files: evidence of cell {alone[:12]} has no record")
        if self.model_files and SOURCE not in self.files:
            raise BundleError(f"files: a model is carried without {SOURCE}, which says how to bring it")


def decode_manifest(data: bytes) -> BundleManifest:
    """Reads a manifest strictly: its canonical JSON and nothing else. Raises BundleError."""
    return read_canonical(data, BundleManifest, MANIFEST_FILE)


def manifest_bytes(manifest: BundleManifest) -> bytes:
    """The one spelling of a manifest, which is hashed and signed."""
    return canonical_json(manifest)


def bundle_id(data: bytes) -> str:
    """SHA-256 of a manifest's bytes."""
    return hashlib.sha256(data).hexdigest()


def checked_text(what: str, text: str, longest: int = NAME_CHARACTERS) -> str:
    """A text for people, shown on pages: printable, without markup. Raises BundleError."""
    if not 1 <= len(text) <= longest:
        raise BundleError(f"{what}: expected 1 to {longest} characters, found {len(text)}")
    found = sorted(one for one in set(text) if one in _MARKUP or not one.isprintable())
    if found:
        raise BundleError(f"{what} {shown(text)}: expected no markup or control characters, found {shown(found)}")
    if text != text.strip():
        raise BundleError(f"{what} {shown(text)}: expected no space at either end")
    if unicodedata.normalize("NFC", text) != text:
        raise BundleError(f"{what} {shown(text)}: expected composed characters (Unicode NFC)")
    if not any(one.isalnum() for one in text):
        raise BundleError(f"{what} {shown(text)}: expected at least one letter or digit")
    return text


def checked_word(what: str, text: str) -> str:
    """A name that machines gave: a task, a suite, a version. Raises BundleError."""
    if not _WORD.fullmatch(text):
        raise BundleError(f"{what} {shown(text)}: expected 1 to 100 letters, digits and _ . @ + -")
    return text


def checked_hash(what: str, text: str) -> str:
    """64 lower-case hexadecimal digits. Raises BundleError."""
    if not is_hash(text):
        raise BundleError(f"{what} {shown(text)}: expected 64 hexadecimal digits in lower case")
    return text


def checked_url(text: str) -> str:
    """Empty, or an address that a page may link to. Raises BundleError."""
    if not text:
        return text
    if len(text) > URL_CHARACTERS or not _URL.fullmatch(text):
        raise BundleError(f"url {shown(text)}: expected at most {URL_CHARACTERS} characters, those of a URL")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BundleError(f"url {shown(text)}: {error}") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise BundleError(f"url {shown(text)}: expected http:// or https:// and a host, without a user")
    return text
