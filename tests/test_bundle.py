"""A bundle that was written opens as what was put in, from a folder and from a zip; and keys sign as they should."""

from __future__ import annotations

import errno
import hashlib
import itertools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as some
from safetensors import SafetensorError
from safetensors.numpy import load, save
from synthetic import ACCURACY, IMAGE, cell, first, ok, without_number

from adversarial.errors import StoreError
from leaderboard.bundle import signing, writing
from leaderboard.bundle.contents import hashed
from leaderboard.bundle.errors import BundleError, SigningKeyError
from leaderboard.bundle.manifest import (
    Benchmark,
    BundleManifest,
    EntryFacts,
    bundle_id,
    decode_manifest,
    manifest_bytes,
)
from leaderboard.bundle.names import MANIFEST, SIGNATURE, evidence_path, record_path
from leaderboard.bundle.reading import Bundle, open_bundle
from leaderboard.bundle.signing import account_of, generate_key, load_key, save_key, sign, verify_signature
from leaderboard.bundle.tensors import check_tensors
from leaderboard.bundle.writing import Content, Parts, extract, write_bundle
from leaderboard.records import files
from leaderboard.records.canonical import canonical_json
from leaderboard.records.record import Cell, Result


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
BENCHMARK = Benchmark(package="0.1.0", numbers="1")
MODEL_HASH = "a" * 64
NAME = "Tiny net / é"
WEIGHTS = save({"weight": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "bias": np.zeros(3, np.float16)})


def own_cell(attack: str, **changes: str) -> Cell:
    return cell(model=NAME, attack=attack, model_hash=MODEL_HASH, **changes)


def evidence_of(seed: int) -> bytes:
    draw = np.random.default_rng(seed)
    return save({"pixels": draw.random((5, 7), dtype=np.float32), "labels": np.arange(5)}, {"format": "pt"})


@dataclass(frozen=True)
class Small:
    """What write_bundle takes, for an entry of three records, one n/a cell and one that has not run."""

    parts: Parts
    records: list[Result]
    evidence: dict[str, Content]
    model_files: dict[str, Content] = field(default_factory=dict)

    def write(self, target: Path, key: Ed25519PrivateKey = KEY) -> str:
        return write_bundle(
            target,
            self.parts,
            records=self.records,
            evidence=self.evidence,
            model_files=self.model_files,
            key=key,
        )


def with_evidence(result: Result, data: bytes) -> Result:
    return msgspec.structs.replace(result, artifacts={f"{result.id}.safetensors": hashlib.sha256(data).hexdigest()})


def small() -> Small:
    clean = ok(own_cell("none"), first(4, 5))
    attacked = with_evidence(ok(own_cell("pgd"), first(2, 5), columns={"budget_x0.5": first(3, 5)}), evidence_of(1))
    impossible = without_number(own_cell("universal"), "n/a", "no fit split in this task")
    cells = [clean.cell, attacked.cell, impossible.cell, own_cell("fgsm")]
    return Small(
        Parts(
            entry=EntryFacts(NAME, IMAGE, "none", "https://example.org/net?a=1&b=2", "Apache-2.0"),
            suite="tiny@1",
            benchmark=BENCHMARK,
            model_hash=MODEL_HASH,
            data_hash="d" * 64,
            plan={one.id: one.label for one in cells},
            versions={"torch": "2.12.0+cpu"},
        ),
        [clean, attacked, impossible],
        {attacked.id: evidence_of(1)},
        {
            "source.json": b'{"kind": "torch"}\n',
            "model.safetensors": WEIGHTS,
            "words/vocab.txt": "the\nof\né\n".encode(),
        },
    )


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(params=["entry.rab", "entry"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def test_what_was_written_opens_as_it_was(target: Path) -> None:
    made = small()
    written = made.write(target)
    bundle = open_bundle(target, benchmark=BENCHMARK, metrics={IMAGE: ACCURACY})
    assert bundle.id == written == bundle_id(bundle.manifest_bytes)
    assert decode_manifest(bundle.manifest_bytes) == bundle.manifest
    assert bundle.manifest.entry == made.parts.entry
    assert bundle.manifest.account == account_of(KEY)
    assert bundle.records == {result.id: result for result in made.records}
    assert bundle.absent == (own_cell("fgsm").id,)
    assert {one: bundle.evidence(one) for one in bundle.evidence_cells} == made.evidence
    assert {name: bundle.model_file(name) for name in bundle.model_files} == made.model_files
    assert target.parent.exists()
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    with pytest.raises(BundleError, match="no file"):
        bundle.evidence(own_cell("none").id)
    with pytest.raises(BundleError, match="no file"):
        bundle.read("../../etc/passwd")


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    made = small()
    again = replace(
        made,
        records=made.records[::-1],
        model_files=dict(reversed(made.model_files.items())),
        parts=replace(made.parts, plan=dict(reversed(made.parts.plan.items()))),
    )
    assert made.write(tmp_path / "one.rab") == again.write(tmp_path / "two.rab") == made.write(tmp_path / "folder")
    assert (tmp_path / "one.rab").read_bytes() == (tmp_path / "two.rab").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.rab") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == everything_in(tmp_path / "folder")


def test_model_files_are_copied_from_where_they_lie(tmp_path: Path, target: Path) -> None:
    (tmp_path / "weights").write_bytes(WEIGHTS)
    made = replace(small(), model_files={"source.json": b"{}", "model.safetensors": tmp_path / "weights"})
    made.write(target)
    assert open_bundle(target).model_file("model.safetensors") == WEIGHTS
    with pytest.raises(BundleError, match="expected a file"):
        replace(made, model_files={"source.json": tmp_path / "missing"}).write(tmp_path / "other.rab")


def test_extracting_gives_the_folder(tmp_path: Path, target: Path) -> None:
    made = small()
    made.write(target)
    made.write(tmp_path / "reference")
    extract(open_bundle(target), tmp_path / "out")
    assert everything_in(tmp_path / "out") == everything_in(tmp_path / "reference")
    assert open_bundle(tmp_path / "out").id == open_bundle(target).id
    with pytest.raises(BundleError, match="not empty"):
        extract(open_bundle(target), tmp_path / "out")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="symbolic link"):
        extract(open_bundle(target), tmp_path / "link")


def test_what_changes_after_opening_is_noticed(tmp_path: Path, target: Path) -> None:
    made = small()
    made.write(target)
    bundle = open_bundle(target)
    path = target if target.is_file() else target / "model/words/vocab.txt"
    path.write_bytes(path.read_bytes().replace(b"the\nof", b"The\nof"))
    with pytest.raises(BundleError, match=r"vocab\.txt: expected"):
        bundle.model_file("words/vocab.txt")
    with pytest.raises(BundleError, match=r"vocab\.txt: expected"):
        extract(bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [one.name for one in tmp_path.iterdir()] == [target.name]


def test_what_could_not_be_read_back_is_never_written(tmp_path: Path, target: Path) -> None:
    made = small()
    alien = ok(cell(model="another", model_hash=MODEL_HASH), first(3, 5))
    for broken in (
        replace(made, records=[*made.records, alien]),
        replace(made, records=made.records[:1]),
        replace(made, evidence={}),
        replace(made, model_files={"model.safetensors": WEIGHTS}),
        replace(made, model_files={**made.model_files, "weights.pt": WEIGHTS}),
        replace(made, model_files={**made.model_files, "../out.json": b"{}"}),
        replace(made, parts=replace(made.parts, model_hash="b" * 64)),
        replace(made, parts=replace(made.parts, kind="stronger-attack")),
    ):
        with pytest.raises(BundleError):
            broken.write(target)
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for call in ("fsync", "replace"):
        monkeypatch.setattr(files.os, call, full)
        with pytest.raises(StoreError, match=r"No space left on device.*Free some space"):
            small().write(target)
        monkeypatch.undo()
        assert list(tmp_path.iterdir()) == []


def test_a_zip_is_replaced_whole_and_a_folder_never(tmp_path: Path) -> None:
    made = small()
    made.write(tmp_path / "entry.rab")
    other = replace(made, parts=replace(made.parts, suite="other@1"))
    assert open_bundle(tmp_path / "entry.rab").id != other.write(tmp_path / "entry.rab")
    assert open_bundle(tmp_path / "entry.rab").manifest.suite == "other@1"
    made.write(tmp_path / "entry")
    with pytest.raises(BundleError, match="not empty"):
        other.write(tmp_path / "entry")
    assert open_bundle(tmp_path / "entry").manifest.suite == "tiny@1"


def test_a_stronger_attack_names_its_target(tmp_path: Path) -> None:
    made = small()
    parts = replace(made.parts, kind="stronger-attack", target="e" * 64)
    replace(made, parts=parts, model_files={}).write(tmp_path / "stronger.rab", STRANGER)
    manifest = open_bundle(tmp_path / "stronger.rab").manifest
    assert (manifest.kind, manifest.target, manifest.account) == ("stronger-attack", "e" * 64, account_of(STRANGER))
    assert manifest.model_files == {}


@settings(max_examples=25, deadline=None)
@given(
    values=some.lists(some.sampled_from([0.0, 1.0]), min_size=1, max_size=6),
    seconds=some.lists(some.floats(0, 1e6), min_size=1, max_size=1),
    name=some.text("abcXYZ 09_-éß中/.:", min_size=1, max_size=30).filter(
        lambda text: text == text.strip() and any(one.isalnum() for one in text)
    ),
    blobs=some.dictionaries(some.from_regex(r"[a-z][a-z0-9]{0,8}\.txt", fullmatch=True), some.text(), max_size=3),
    zipped=some.booleans(),
)
def test_whatever_is_written_opens_equal(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[float],
    seconds: list[float],
    name: str,
    blobs: Mapping[str, str],
    zipped: bool,
) -> None:
    made = small()
    one = ok(cell(model=name, model_hash=MODEL_HASH), values, columns={"seconds": seconds * len(values)})
    texts: dict[str, Content] = {
        file: text.replace("\0", "").encode("utf-8", errors="replace") for file, text in blobs.items()
    }
    parts = replace(made.parts, entry=EntryFacts(name, IMAGE, "none", "", ""), plan={one.id: one.cell.label})
    target = tmp_path_factory.mktemp("bundle") / ("entry.rab" if zipped else "entry")
    written = Small(parts, [one], {}, {"source.json": b"{}", **texts}).write(target)
    bundle = open_bundle(target)
    assert (bundle.id, bundle.records, bundle.absent) == (written, {one.id: one}, ())
    assert {file: bundle.model_file(file) for file in bundle.model_files} == {"source.json": b"{}", **texts}


def test_keys_are_kept_from_others(tmp_path: Path) -> None:
    key = generate_key()
    path = tmp_path / "keys" / "key.pem"
    save_key(path, key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert account_of(load_key(path)) == account_of(key)
    with pytest.raises(SigningKeyError, match="never overwritten"):
        save_key(path, generate_key())
    for mode in (0o640, 0o604, 0o660, 0o620):
        path.chmod(mode)
        with pytest.raises(SigningKeyError, match="chmod 600"):
            load_key(path)
    path.chmod(0o600)
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nnothing\n-----END PRIVATE KEY-----\n")
    with pytest.raises(SigningKeyError, match="no private key"):
        load_key(path)
    with pytest.raises(SigningKeyError, match="missing"):
        load_key(tmp_path / "none.pem")


def test_a_signature_holds_for_one_manifest_and_one_account(tmp_path: Path) -> None:
    small().write(tmp_path / "entry")
    manifest = (tmp_path / "entry" / MANIFEST).read_bytes()
    signature = (tmp_path / "entry" / SIGNATURE).read_bytes()
    account = account_of(KEY)
    verify_signature(manifest, signature, account)
    other = manifest_bytes(msgspec.structs.replace(decode_manifest(manifest), suite="other@1"))
    with pytest.raises(BundleError, match="not a signature of bundle"):
        verify_signature(other, signature, account)
    with pytest.raises(BundleError, match="signed by key"):
        verify_signature(manifest, signature, account_of(STRANGER))
    with pytest.raises(BundleError, match="of account"):
        sign(manifest, STRANGER)
    plain = msgspec.json.decode(signature)
    bare = KEY.sign(bundle_id(manifest).encode()).hex()  # the same key on the id without the domain
    with pytest.raises(BundleError, match="not a signature of bundle"):
        verify_signature(manifest, canonical_json({**plain, "signature": bare}), account)


def test_keys_under_which_anyone_can_sign_are_refused(tmp_path: Path) -> None:
    prime = 2**255 - 19
    factor = -121665 * pow(121666, -1, prime) % prime
    below = {0, 1, prime - 1, signing._ORDER_8, prime - signing._ORDER_8}
    for y in below - {1, prime - 1}:  # of order 4 or 8: doubling gives y = 0 or y = -1
        x_squared = (y * y - 1) * pow(factor * y * y + 1, -1, prime) % prime
        assert (y * y + x_squared) % prime == 0 or y == 0
    small().write(tmp_path / "entry")
    manifest = (tmp_path / "entry" / MANIFEST).read_bytes()
    points = below | {y + prime for y in below if y + prime < 2**255}
    for y, sign_bit in itertools.product(points, (0, 2**255)):
        account = (y | sign_bit).to_bytes(32, "little").hex()
        zero = canonical_json({"algorithm": "ed25519", "key": account, "signature": account + "0" * 64})
        with pytest.raises(BundleError, match="small order"):
            verify_signature(manifest, zero, account)


@settings(max_examples=60, deadline=None)
@given(
    shapes=some.lists(some.lists(some.integers(0, 3), max_size=3), max_size=4),
    dtype=some.sampled_from(["float64", "float32", "float16", "int64", "uint8", "bool"]),
    cut=some.integers(1, 40),
)
def test_tensor_files_are_read_as_the_library_reads_them(shapes: list[list[int]], dtype: str, cut: int) -> None:
    data = save({f"t{number}": np.ones(shape, dtype) for number, shape in enumerate(shapes)})
    load(data)
    parts = [data[at : at + cut] for at in range(0, len(data), cut)]
    check_tensors(parts, len(data), "x", 1 << 20, finite=True)


@pytest.mark.parametrize("cut", [1, 3, 5, 8, 1000])
@pytest.mark.parametrize(("dtype", "bad"), [("float32", np.nan), ("float64", np.inf), ("float16", -np.inf)])
def test_a_number_that_is_not_finite_is_found_across_chunks(dtype: str, bad: float, cut: int) -> None:
    for place in (0, 3, 10):
        values = np.linspace(-9, 9, 11).astype(dtype)
        values[place] = bad
        data = save({"a": np.ones(3, np.uint8), "b": values, "c": np.ones(2, np.float64)})
        parts = [data[at : at + cut] for at in range(0, len(data), cut)]
        check_tensors(parts, len(data), "x", 1 << 20, finite=False)
        with pytest.raises(BundleError, match="'b' holds a number that is not finite"):
            check_tensors(parts, len(data), "x", 1 << 20, finite=True)


def test_no_damaged_tensor_file_is_taken_that_the_library_refuses() -> None:
    data = evidence_of(3)
    for at in range(8 + int.from_bytes(data[:8], "little")):
        for bit in range(0, 8, 3):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            try:
                check_tensors([bytes(damaged)], len(data), "x", 1 << 20, finite=True)
            except BundleError:
                continue
            try:
                load(bytes(damaged))
            except SafetensorError as error:  # pragma: no cover - the failure that is looked for
                pytest.fail(f"byte {at}: {error}")


def test_a_file_is_hashed_as_it_streams() -> None:
    facts = writing._facts(b"abcdef")
    assert b"".join(hashed([b"abc", b"def"], "x", facts)) == b"abcdef"
    for parts in ([b"abc"], [b"abc", b"deF"], [b"abc", b"defg"]):
        with pytest.raises(BundleError, match="x: expected"):
            list(hashed(parts, "x", facts))


def test_names_and_places_are_as_the_design_says(tmp_path: Path) -> None:
    small().write(tmp_path / "entry")
    bundle: Bundle = open_bundle(tmp_path / "entry")
    attacked = own_cell("pgd").id
    assert sorted(everything_in(tmp_path / "entry")) == sorted(
        [
            *(record_path(result.id) for result in bundle.records.values()),
            evidence_path(attacked),
            MANIFEST,
            SIGNATURE,
            "model/model.safetensors",
            "model/source.json",
            "model/words/vocab.txt",
        ]
    )
    assert BundleManifest.__struct_config__.forbid_unknown_fields
    assert BundleManifest.__struct_config__.frozen
