"""Every way a bundle may lie, each refused with a reason that names the place, and nothing written for it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save
from synthetic import IMAGE, SPEECH, cell, examples, first, ok
from test_bundle import BENCHMARK, KEY, MODEL_HASH, NAME, STRANGER, everything_in, evidence_of, own_cell, small

from leaderboard.bundle import zip_layout
from leaderboard.bundle.container import Limits
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.manifest import Benchmark, bundle_id
from leaderboard.bundle.names import MANIFEST, SIGNATURE, evidence_path, record_path
from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import DOMAIN, account_of
from leaderboard.records.canonical import canonical_json
from leaderboard.records.metric import Metric


CLEAN, ATTACKED, IMPOSSIBLE = own_cell("none").id, own_cell("pgd").id, own_cell("universal").id
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("genuine") / "entry"
    small().write(folder)
    return everything_in(folder)


@pytest.fixture(scope="module")
def zipped(genuine: Files) -> bytes:
    return packed(genuine)


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


def test_the_tools_of_these_tests_make_bundles_that_open(genuine: Files, zipped: bytes, tmp_path: Path) -> None:
    small().write(tmp_path / "written.rab")
    assert (tmp_path / "written.rab").read_bytes() == zipped
    assert bound(genuine) == genuine
    assert open_bundle(put(genuine, tmp_path / "folder")).manifest.entry.name == NAME


def test_a_flipped_bit_anywhere_is_noticed(genuine: Files, zipped: bytes, tmp_path: Path) -> None:
    path = tmp_path / "entry.rab"
    for at in range(0, len(zipped), 5):
        path.write_bytes(zipped[:at] + bytes([zipped[at] ^ (1 << at % 8)]) + zipped[at + 1 :])
        with pytest.raises(BundleError):
            open_bundle(path)
    folder = put(genuine, tmp_path / "folder")
    for name, data in genuine.items():
        for at in range(0, len(data), 1 + len(data) // 20):
            (folder / name).write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
            with pytest.raises(BundleError):
                open_bundle(folder)
        (folder / name).write_bytes(data)
    open_bundle(folder)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../out.json", "leaves the bundle"),
        ("model/../../out.json", "leaves the bundle"),
        ("/etc/out.json", "absolute"),
        ("C:/out.json", "absolute"),
        ("C:out.json", "absolute"),
        ("model\\out.json", "backslash"),
        ("model//out.json", "empty part"),
        ("model/./out.json", "empty part"),
        ("model/", "empty part"),
        ("model/out.json\n", "printable ASCII"),
        ("model/out\u200b.json", "printable ASCII"),
        ("model/é.json", "printable ASCII"),
        ("model/.hidden.json", "not letters"),
        ("model/-x.json", "not letters"),
        ("model/a b.json", "not letters"),
        ("model/nul.json", "device"),
        ("model/x.", "not letters"),
        ("model/" + "d/" * 8 + "x.json", "at most 8 parts"),
        ("model/" + "x" * 300 + ".json", "characters"),
        ("", "characters"),
        ("other/x.json", "expected records/"),
        ("model", "a file, and the folder"),
        ("model/x.py", "expected records/"),
        ("records/x.json", "expected records/"),
        (f"records/{'A' * 64}.json", "expected records/"),
        ("MODEL/source.json", "expected records/|case does not count"),
        ("model/Source.json", "case does not count"),
        ("model/source.json/x.json", "a file, and the folder"),
        *((f"model/weights{suffix}", "pickle") for suffix in (".pkl", ".pt", ".bin", ".pth", ".npy", ".joblib", ".PT")),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(genuine: Files, tmp_path: Path, name: str, reason: str) -> None:
    renamed = bound({**genuine, name: b"{}"})
    path = tmp_path / "entry.rab"
    if name.isascii():
        path.write_bytes(packed(renamed))
        with pytest.raises(BundleError, match=reason):
            open_bundle(path)
    path.write_bytes(packed({**genuine, MANIFEST: renamed[MANIFEST], SIGNATURE: renamed[SIGNATURE]}))
    with pytest.raises(BundleError, match=reason):
        open_bundle(path)


@pytest.mark.parametrize("name", ["model/more.json", "more.json", "model/words/.x", "records/x"])
def test_a_file_beside_the_manifests_is_refused(genuine: Files, tmp_path: Path, name: str) -> None:
    refused({**genuine, name: b"{}"}, tmp_path, "not in the manifest|not letters")


def test_a_file_that_is_missing_is_named(genuine: Files, tmp_path: Path) -> None:
    for name in genuine:
        left = {one: data for one, data in genuine.items() if one != name}
        reason = "is missing" if name in (MANIFEST, SIGNATURE) else "not in the bundle"
        refused(left, tmp_path, reason)
    with pytest.raises(BundleError, match="no bundle there"):
        open_bundle(tmp_path / "nothing.rab")


def test_links_pipes_and_empty_folders_are_refused(genuine: Files, tmp_path: Path) -> None:
    vocabulary = "model/words/vocab.txt"
    (tmp_path / "outside.txt").write_bytes(genuine[vocabulary])
    folder = put(genuine, tmp_path / "folder")
    (folder / vocabulary).unlink()
    (folder / vocabulary).symlink_to(tmp_path / "outside.txt")
    with pytest.raises(BundleError, match="a symbolic link"):
        open_bundle(folder)
    (folder / vocabulary).unlink()
    os.mkfifo(folder / vocabulary)
    with pytest.raises(BundleError, match="a pipe"):
        open_bundle(folder)
    (folder / vocabulary).unlink()
    (folder / "model/words").rmdir()
    put({"vocab.txt": genuine[vocabulary]}, tmp_path / "words")
    (folder / "model/words").symlink_to(tmp_path / "words")
    with pytest.raises(BundleError, match="a symbolic link"):
        open_bundle(folder)
    (folder / "model/words").unlink()
    (folder / vocabulary).mkdir(parents=True)
    with pytest.raises(BundleError, match="empty folder"):
        open_bundle(folder)


def edited(data: bytes, name: str, where: str, offset: int, value: bytes) -> bytes:
    """The zip with bytes changed in an entry's local header or directory line, counted from the start of either."""
    magic = zip_layout.LOCAL_MAGIC if where == "local" else zip_layout.CENTRAL_MAGIC
    size = zip_layout.LOCAL.size if where == "local" else zip_layout.CENTRAL.size
    at = -1
    while True:
        at = data.index(magic, at + 1)
        if data[at + size : at + size + len(name)] == name.encode():
            return data[: at + offset] + value + data[at + offset + len(value) :]


LINK, DIRECTORY, PIPE = ((kind | 0o777) << 16 for kind in (stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO))


@pytest.mark.parametrize(
    ("where", "offset", "value", "reason"),
    [
        ("central", 8, b"\x01\x00", "encrypted"),
        ("central", 8, b"\x08\x00", "of its own"),
        ("central", 10, b"\x08\x00", "compressed"),
        ("central", 20, struct.pack("<I", 10**9), "bytes stored"),
        ("central", 20, struct.pack("<2I", 10**9, 10**9), "local header|directory"),
        ("central", 30, b"\x04\x00", "of its own"),
        ("central", 38, struct.pack("<I", LINK), "a symbolic link"),
        ("central", 38, struct.pack("<I", DIRECTORY), "a special file"),
        ("central", 38, struct.pack("<I", PIPE), "a special file"),
        ("central", 12, b"\x01\x02", "of its own"),
        ("central", 42, struct.pack("<I", 0), "expected at byte"),
        ("local", 6, b"\x01\x00", "local header"),
        ("local", 8, b"\x08\x00", "local header"),
        ("local", 18, struct.pack("<I", 10**9), "local header"),
        ("local", 30, b"x", "local header"),
    ],
)
def test_a_zip_that_says_two_things_is_refused(
    zipped: bytes, tmp_path: Path, where: str, offset: int, value: bytes, reason: str
) -> None:
    name = "model/model.safetensors"
    refused(edited(zipped, name, where, offset, value), tmp_path, reason)


def test_a_checksum_that_only_the_headers_agree_on_is_refused(zipped: bytes, tmp_path: Path) -> None:
    for name in ("model/model.safetensors", MANIFEST):
        changed = edited(edited(zipped, name, "local", 14, b"abcd"), name, "central", 16, b"abcd")
        refused(changed, tmp_path, f"{name}: expected CRC-32 64636261")


def test_a_zip_with_anything_before_after_or_between_is_refused(genuine: Files, zipped: bytes, tmp_path: Path) -> None:
    refused(b"MZ" + zipped, tmp_path, "does not end the")
    refused(zipped + b"\n", tmp_path, "no zip directory ends")
    refused(zipped[:-2] + b"\x02\x00hi", tmp_path, "no zip directory ends")
    refused(zipped[:-1], tmp_path, "no zip directory ends")
    refused(zipped[:10], tmp_path, "not a bundle")
    refused(b"", tmp_path, "not a bundle")
    start = int.from_bytes(zipped[-6:-2], "little")
    moved = zip_layout.end_record(len(genuine), len(zipped) - start - 22, start + 3)
    refused(zipped[:start] + b"gap" + zipped[start:-22] + moved, tmp_path, "the entries end at byte")
    twice = zipped[:start] + zipped[start:-22] * 2
    refused(
        twice + zip_layout.end_record(2 * len(genuine), len(twice) - start, start),
        tmp_path,
        "stands .*twice|expected at",
    )
    refused(
        zipped[:-22] + zip_layout.end_record(len(genuine) + 1, len(zipped) - start - 22, start),
        tmp_path,
        "ends in entry",
    )
    refused(
        zipped[:-22] + zip_layout.end_record(len(genuine) - 1, len(zipped) - start - 22, start), tmp_path, "bytes more"
    )


def test_zips_as_others_make_them_are_refused(genuine: Files, tmp_path: Path) -> None:
    for options, reason in (
        ({"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        ({"compression": zipfile.ZIP_BZIP2}, "compressed"),
        ({}, "of its own"),
    ):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", **options) as archive:
            for name, data in sorted(genuine.items()):
                archive.writestr(name, data)
        refused(target.getvalue(), tmp_path, reason)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/model.safetensors", bytes(10**7))
    assert len(bomb.getvalue()) < 20_000
    refused(bomb.getvalue(), tmp_path, "compressed")


def test_unsorted_and_doubled_entries_are_refused(genuine: Files, tmp_path: Path) -> None:
    def laid_out(names: list[str]) -> bytes:
        body, directory = b"", b""
        for name in names:
            data = genuine[name]
            directory += zip_layout.central_header(name, len(data), zlib.crc32(data), len(body))
            body += zip_layout.local_header(name, len(data), zlib.crc32(data)) + data
        return body + directory + zip_layout.end_record(len(names), len(directory), len(body))

    refused(laid_out(sorted(genuine, reverse=True)), tmp_path, "order of their names")
    refused(laid_out(sorted([*genuine, MANIFEST])), tmp_path, "manifest.json stands there twice")


def test_ten_gigabytes_in_a_header_are_refused_before_anything_is_read(
    genuine: Files, zipped: bytes, tmp_path: Path
) -> None:
    claimed = 10 * 10**9
    weights = "model/model.safetensors"
    refused(bound(genuine, lambda plain: plain["files"][weights].update(size=claimed)), tmp_path, "at most 1000000000")
    refused(bound(genuine, lambda plain: plain["files"][weights].update(size=-1)), tmp_path, "number of bytes")
    refused(bound(genuine, lambda plain: plain["files"][weights].update(size=2**70)), tmp_path, "number of bytes")
    header = struct.pack("<Q", claimed) + genuine[weights][8:]
    refused(bound({**genuine, weights: header}), tmp_path, "says a header of 10000000000 bytes")
    sparse = tmp_path / "sparse.rab"
    with sparse.open("wb") as file:
        file.write(zipped)
        file.truncate(claimed)
    with pytest.raises(BundleError, match="expected at most"):
        open_bundle(sparse)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(total=1000), "at most"),
        (Limits(file=150), "at most 150 bytes"),
        (Limits(files=3), "at most"),
        (Limits(manifest=500), "manifest.json: expected at most 500"),
        (Limits(signature=100), "signature.json: expected at most 100"),
        (Limits(record=300), r"records/.*at most 300"),
        (Limits(records=900), "records of at most 900"),
        (Limits(document=5), "at most 5 bytes"),
        (Limits(tensor_header=64), "expected 2 to 64"),
    ],
)
def test_every_limit_holds(genuine: Files, tmp_path: Path, limits: Limits, reason: str) -> None:
    refused(genuine, tmp_path, reason, limits=limits)


RAN: list[str] = []


def note(text: str) -> None:
    RAN.append(text)


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return note, ("a pickle ran",)


def _torch_zip() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    return target.getvalue()


PICKLES = {f"protocol {number}": pickle.dumps(Evil(), number) for number in range(6)}
PICKLES |= {
    "torch": _torch_zip(),
    "array": b"\x93NUMPY\x01\x00" + bytes(80),
    "inst": b"(S'ran'\nitest_bundle_refusals\nnote\n.",
}


@pytest.mark.parametrize("what", PICKLES)
@pytest.mark.parametrize(
    "name", ["model/more.txt", "model/more.json", "model/more.safetensors", evidence_path(ATTACKED)]
)
def test_a_pickle_under_any_name_is_refused(genuine: Files, tmp_path: Path, what: str, name: str) -> None:
    refused(bound({**genuine, name: PICKLES[what]}), tmp_path, f"{name}: (starts like|is a pickle)")
    assert not RAN


def test_text_that_only_starts_like_a_pickle_is_taken(genuine: Files, tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    weights = struct.pack("<Q", 640) + header.ljust(640) + b"abcd"
    assert weights[:2] == b"\x80\x02"
    texts = {"model/more.md": b"Robust net.", "model/words.txt": b"cat\ndog\nbird\n", "model/more.safetensors": weights}
    assert "more.md" in open_bundle(put(bound({**genuine, **texts}), tmp_path / "folder")).model_files


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("model/x.txt", b"\xff\xfe", "not text"),
        ("model/x.md", b"a\x00b", "U\\+0000"),
        ("model/x.json", b'{"a": 1, "a": 2}', "stands twice"),
        ("model/x.json", b'{"a": NaN}', "NaN"),
        ("model/x.json", b'{"a": 1e999}', "too large"),
        ("model/x.json", b"\xef\xbb\xbf{}", "byte order mark"),
        ("model/x.json", "{}".encode("utf-16"), "not valid JSON|starts like"),
        ("model/x.json", b"[" * 100_000, "not valid JSON"),
        ("model/x.json", b"9" * 5000, "not valid JSON"),
        ("model/x.json", b"", "not valid JSON"),
    ],
)
def test_documents_of_the_model_are_read_strictly(
    genuine: Files, tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    refused(bound({**genuine, name: data}), tmp_path, reason)


def tensor_file(header: bytes | dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded) if length is None else length) + encoded + data


def entry(start: int, end: int, shape: list[Any], dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (b"\x01\x00", "2 bytes"),
        (tensor_file(b"{}", length=1), "says a header of 1 bytes"),
        (tensor_file({"a": entry(0, 4, [4])}, bytes(4), length=2**63), "says a header"),
        (tensor_file(b"{" + b" " * (1 << 20) + b"}"), "says a header of 1048578"),
        (tensor_file(b"[]"), "starts with"),
        (tensor_file(b' {"a": 1}'), "starts with"),
        (tensor_file(b'{"a": 1}'), "expected dtype"),
        (tensor_file(b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1], "x": 1}}', b"1"), "expected dtype"),
        (tensor_file(b'{"a": 1, "a": 1}'), "stands twice"),
        (tensor_file(b'{"__metadata__": {"a": 1}}'), "__metadata__"),
        (tensor_file({"a": entry(0, 4, [4], "PICKLE")}, bytes(4)), "expected a dtype"),
        (tensor_file({"a": entry(0, 4, [4])}, bytes(3)), "the tensors end at"),
        (tensor_file({"a": entry(0, 4, [4])}, bytes(5)), "the tensors end at"),
        (tensor_file({"a": entry(0, 4, [4]), "b": entry(3, 7, [4])}, bytes(7)), "overlaps"),
        (tensor_file({"a": entry(0, 4, [4]), "b": entry(5, 9, [4])}, bytes(9)), "leaves a gap"),
        (tensor_file({"a": entry(1, 5, [4])}, bytes(5)), "leaves a gap"),
        (tensor_file({"a": entry(0, 10**10, [10**10])}, bytes(4)), "the tensors end at"),
        (tensor_file({"a": entry(0, 4, [3])}, bytes(4)), "takes 3 bytes"),
        (tensor_file({"a": entry(0, 4, [-4])}, bytes(4)), "shape"),
        (tensor_file({"a": entry(0, 4, [True, 4])}, bytes(4)), "shape"),
        (tensor_file({"a": entry(0, 4, [4.0])}, bytes(4)), "shape"),
        (tensor_file({"a": entry(4, 0, [4])}, bytes(4)), "data_offsets"),
        (tensor_file({"a": entry(-4, 0, [4])}, bytes(4)), "data_offsets"),
        (tensor_file({"a": entry(0, 4, [2**40] * 9)}, bytes(4)), "takes"),
        (save({"a": np.array([1.0, np.nan], np.float32)}), "not finite"),
        (save({"a": np.array([1.0, np.inf], np.float16)}), "not finite"),
        (tensor_file({"a": entry(0, 2, [1], "BF16")}, b"\xc0\x7f"), "not finite"),
    ],
)
def test_a_tensor_file_that_is_not_exact_is_refused(genuine: Files, tmp_path: Path, data: bytes, reason: str) -> None:
    name = evidence_path(ATTACKED)
    refused(bound({**genuine, name: data}), tmp_path, reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda plain: plain.update(surprise=1), "unknown field `surprise`"),
        (lambda plain: plain["entry"].update(score=1), "unknown field `score`"),
        (lambda plain: plain["files"]["model/source.json"].update(md5=""), "unknown field `md5`"),
        (lambda plain: plain.pop("versions"), "versions"),
        (lambda plain: plain.pop("target"), "not canonical"),
        (lambda plain: plain.update(format=2), "Invalid enum value 2"),
        (lambda plain: plain.update(format=True), "format"),
        (lambda plain: plain.update(kind="other"), "other"),
        (lambda plain: plain.update(kind="stronger-attack"), "names the entry's id"),
        (lambda plain: plain.update(target="e" * 64), "names the entry's id"),
        (lambda plain: plain.update(account="A" * 64), "64 hexadecimal"),
        (lambda plain: plain.update(model_hash="a" * 63), "64 hexadecimal"),
        (lambda plain: plain.update(data_hash=""), "64 hexadecimal"),
        (lambda plain: plain.update(suite="../tiny"), "suite"),
        (lambda plain: plain.update(suite=""), "suite"),
        (lambda plain: plain["benchmark"].update(numbers="<1>"), "numbers"),
        (lambda plain: plain["versions"].update(torch="2 <b>"), "version of torch"),
        (lambda plain: plain["plan"].clear(), "no cell"),
        (lambda plain: plain["plan"].update({"x": "a/b/c/d"}), "cell id"),
        (lambda plain: plain["plan"].update({CLEAN: "nothing"}), "does not read"),
        (lambda plain: plain["plan"].update({CLEAN: f"{SPEECH}/{NAME}/none/none"}), "is not of task"),
        (lambda plain: plain["plan"].update({CLEAN: f"{IMAGE}/other/none/none"}), "is not of task"),
        (lambda plain: plain["plan"].update({CLEAN: f"{IMAGE}/{NAME}/pgd/none"}), "label: the manifest says"),
        (lambda plain: plain["plan"].pop(CLEAN), "of no cell of the plan"),
        (lambda plain: plain["files"].pop(record_path(ATTACKED)), "has no record"),
        (lambda plain: plain["files"].pop("model/source.json"), "without model/source.json"),
        (lambda plain: plain["files"].update({MANIFEST: {"size": 1, "sha256": "0" * 64}}), "cannot list themselves"),
        (lambda plain: plain["files"]["model/source.json"].update(sha256="0" * 64), "expected SHA-256 000000000000"),
        (lambda plain: plain["files"]["model/source.json"].update(size=3), "the manifest says 3 bytes"),
        (lambda plain: plain.update(model_hash="b" * 64), "model_hash: the manifest says"),
        (lambda plain: plain.update(data_hash="b" * 64), "data_hash: the manifest says"),
        (lambda plain: plain["entry"].update(defense="jpeg"), "defense: the manifest says"),
        (lambda plain: plain["entry"].update(task="Ünit"), "task"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(
    genuine: Files, tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    refused(bound(genuine, change), tmp_path, reason)


@pytest.mark.parametrize(
    ("field", "text", "reason"),
    [
        ("name", "<script>alert(1)</script>", "no markup"),
        ("name", "a & b", "no markup"),
        ("name", "it's", "no markup"),
        ("name", 'a "b"', "no markup"),
        ("name", "a\u202eb", "control"),
        ("name", "a\x07b", "control"),
        ("name", "a\nb", "control"),
        ("name", "a\u200bb", "control"),
        ("name", "a\ud800", "not valid JSON"),
        ("name", "a\x00", "U\\+0000"),
        ("name", "e\u0301", "NFC"),
        ("name", " a", "no space"),
        ("name", "a ", "no space"),
        ("name", "a" * 81, "1 to 80"),
        ("name", "", "1 to 80"),
        ("name", "--", "letter or digit"),
        ("defense", "<b>", "no markup"),
        ("licence", "<b>", "no markup"),
        ("url", "javascript:alert(1)", "http://"),
        ("url", "JavaScript://x/%0aalert(1)", "http://"),
        ("url", "data:text/html,x", "http://"),
        ("url", "ftp://example.org", "http://"),
        ("url", "//example.org", "http://"),
        ("url", "https:///x", "http://"),
        ("url", "https://user:word@example.org", "without a user"),
        ("url", "https://example.org/a b", "those of a URL"),
        ("url", 'https://example.org/"x', "those of a URL"),
        ("url", "https://example.org/<x>", "those of a URL"),
        ("url", "https://example.org/é", "those of a URL"),
        ("url", "https://example.org/" + "a" * 300, "at most 300"),
        ("url", "https://example.org:x/", "Port"),
        ("url", "https://[::1", "Invalid"),
    ],
)
def test_texts_that_a_page_would_show_are_plain(
    genuine: Files, tmp_path: Path, field: str, text: str, reason: str
) -> None:
    plain = json.loads(genuine[MANIFEST])
    plain["entry"][field] = text
    # Python's own JSON, since canonical_json refuses half a surrogate pair.
    data = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    refused(signed(genuine, data), tmp_path, reason)


def test_a_manifest_has_one_spelling(genuine: Files, tmp_path: Path) -> None:
    data = genuine[MANIFEST]
    repeated = data.replace(b'"format":1', b'"format":1,"format":1')
    for spelling, reason in (
        (repeated, "'format' stands twice"),
        (data.rstrip(), "not canonical"),
        (data + b"\n", "not canonical"),
        (json.dumps(json.loads(data)).encode(), "not canonical"),
        (data.replace(b"tiny@1", b"tin\\u0079@1"), "not canonical"),
        (data.replace(b'"format":1', b'"format":1.0'), "format|not canonical"),
        (data.replace(b'"format":1', b'"format":NaN'), "NaN"),
        (b"", "not valid JSON"),
        (b"[]", "Expected `object`"),
        (b"null\n", "Expected `object`"),
        (b"[" * 100_000, "not valid JSON"),
    ):
        refused(signed(genuine, spelling), tmp_path, reason)
    twice = genuine[SIGNATURE].replace(b'"algorithm"', b'"algorithm":"ed25519","algorithm"')
    refused({**genuine, SIGNATURE: twice}, tmp_path, "signature.json.*stands twice")


def test_a_signature_of_something_else_is_refused(genuine: Files, tmp_path: Path) -> None:
    other = bound(genuine, lambda plain: plain["entry"].update(licence="MIT"))
    refused({**other, SIGNATURE: genuine[SIGNATURE]}, tmp_path, "the signature is of another one")
    refused(bound(genuine, key=STRANGER), tmp_path, "signed by key")
    stolen = bound(genuine, lambda plain: plain.update(account=account_of(STRANGER)))
    refused(stolen, tmp_path, "signed by key")
    refused({**stolen, SIGNATURE: genuine[SIGNATURE]}, tmp_path, "signed by key")
    plain = json.loads(genuine[SIGNATURE])
    forged = canonical_json({**plain, "key": account_of(STRANGER)})
    refused({**stolen, SIGNATURE: forged}, tmp_path, "the signature is of another one")
    for changes, reason in (
        ({"algorithm": "none"}, "Invalid enum"),
        ({"signature": ""}, "half of the signature"),
        ({"signature": "0" * 128}, "not a signature"),
        ({"signature": plain["signature"] + "00"}, "half of the signature"),
        ({"signature": plain["signature"].upper()}, "half of the signature"),
        ({"more": 1}, "unknown field `more`"),
    ):
        refused({**genuine, SIGNATURE: canonical_json({**plain, **changes})}, tmp_path, reason)
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(bytes.fromhex(plain["signature"][64:]), "little") + order
    malleable = plain["signature"][:64] + scalar.to_bytes(32, "little").hex()
    refused({**genuine, SIGNATURE: canonical_json({**plain, "signature": malleable})}, tmp_path, "not a signature")


def test_another_version_of_the_benchmark_is_refused(genuine: Files, tmp_path: Path) -> None:
    open_bundle(put(genuine, tmp_path / "folder"), benchmark=BENCHMARK)
    for other in (Benchmark("0.2.0", "1"), Benchmark("0.1.0", "2")):
        refused(genuine, tmp_path, "made with robustarena 0.1.0 with numbers version 1; expected", benchmark=other)
    refused(genuine, tmp_path, "metric: task", metrics={IMAGE: Metric("accuracy", 0.0, 2.0)})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda plain: plain.update(surprise=1), "unknown field `surprise`"),
        (lambda plain: plain.update(schema=2), "schema 2"),
        (lambda plain: plain["cell"].update(seed=7), "hashes to"),
        (lambda plain: plain["examples"]["values"].__setitem__(0, 2.0), "0 or 1 an example, found 2.0"),
        (lambda plain: plain["examples"]["values"].__setitem__(0, 0.5), "0 or 1 an example, found 0.5"),
        (lambda plain: plain["examples"]["values"].__setitem__(0, -1.0), "0 or 1 an example, found -1.0"),
        (lambda plain: plain["examples"]["values"].__setitem__(0, 1), "not canonical"),
        (lambda plain: plain["examples"]["weights"].__setitem__(0, 0.001), "weighs every example 1"),
        (lambda plain: plain["examples"]["weights"].__setitem__(0, -1.0), "weights must not be negative"),
        (lambda plain: plain["examples"]["distances"].__setitem__(0, -0.5), "distances: expected none below 0"),
        (lambda plain: plain["examples"]["distances"].__setitem__(0, 1e300), "numbers up to"),
        (lambda plain: plain["examples"]["values"].append(1.0), "columns of one length"),
        (lambda plain: plain["examples"]["columns"]["budget_x0.5"].__setitem__(0, 3.0), "budget_x0.5: accuracy"),
        (lambda plain: plain["examples"]["columns"].update(nearest=[-2.0] * 5), "nearest"),
        (lambda plain: plain["examples"]["columns"].update({"<b>": [0.0] * 5}), "no markup"),
        (lambda plain: plain["examples"]["ids"].__setitem__(0, "e001"), "not distinct"),
        (lambda plain: plain["examples"]["ids"].__setitem__(0, "a\u0007"), "printable"),
        (lambda plain: plain["metric"].update(ceiling=0.1), "accuracy runs from 0 to 1"),
        (lambda plain: plain["metric"].update(name="<b>"), "no markup"),
        (lambda plain: plain["cost"].update(queries=-1), "cost"),
        (lambda plain: plain.update(status="n/a", reason="none"), "still has examples"),
        (lambda plain: plain.update(reason="x" * 20_001), "at most 20000"),
        (lambda plain: plain.update(artifacts={}), "artifacts"),
        (lambda plain: plain.update(artifacts={"../x": "0" * 64}), "artifacts"),
        (lambda plain: plain["artifacts"].update({f"{ATTACKED}.safetensors": "0" * 64}), "artifacts"),
        (lambda plain: plain.pop("cost"), "not canonical"),
    ],
)
def test_a_record_that_is_wrong_is_refused(
    genuine: Files, tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    path = record_path(ATTACKED)
    plain = json.loads(genuine[path])
    change(plain)
    refused(bound({**genuine, path: canonical_json(plain)}), tmp_path, reason)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "true", '"1.0"', "null"])
def test_what_is_no_number_is_no_score(genuine: Files, tmp_path: Path, number: str) -> None:
    path = record_path(ATTACKED)
    data = genuine[path].replace(b'"values":[1.0', b'"values":[' + number.encode())
    assert data != genuine[path]
    refused(bound({**genuine, path: data}), tmp_path, "not valid JSON|not a valid record|finite")


def test_a_record_under_another_cell_or_of_another_plan_is_refused(genuine: Files, tmp_path: Path) -> None:
    swapped = {**genuine, record_path(CLEAN): genuine[record_path(ATTACKED)]}
    refused(bound(swapped), tmp_path, "was expected")
    foreign = ok(cell(model="another", model_hash=MODEL_HASH), first(3, 5))
    more = {**genuine, record_path(foreign.id): canonical_json(foreign)}
    refused(bound(more), tmp_path, "of no cell of the plan")
    other = ok(own_cell("pgd", defense="jpeg"), first(3, 5))
    added = {**genuine, record_path(other.id): canonical_json(other)}
    refused(bound(added, lambda plain: plain["plan"].update({other.id: other.cell.label})), tmp_path, "defense")


def test_evidence_without_a_record_that_names_it_is_refused(genuine: Files, tmp_path: Path) -> None:
    refused(bound({**genuine, evidence_path(CLEAN): evidence_of(2)}), tmp_path, "artifacts")
    refused(bound({**genuine, evidence_path(ATTACKED): evidence_of(2)}), tmp_path, "artifacts")


def test_word_errors_are_whole_numbers(genuine: Files, tmp_path: Path) -> None:
    spoken = cell(SPEECH, NAME, "none", model_hash=MODEL_HASH)

    def of(values: list[float], **metric: float) -> Files:
        result = ok(spoken, first(5, 5))
        result = msgspec.structs.replace(
            result,
            examples=examples(SPEECH, values),
            metric=Metric("word error rate", **{"floor": 1.0, "ceiling": 0.0, **metric}),
        )

        def change(plain: dict[str, Any]) -> None:
            plain["entry"]["task"] = SPEECH
            plain["plan"] = {spoken.id: spoken.label}

        kept = {name: genuine[name] for name in (MANIFEST, SIGNATURE)}
        return bound({**kept, record_path(result.id): canonical_json(result)}, change)

    assert open_bundle(put(of([0.0, 3.0, 9.0]), tmp_path / "right")).absent == ()
    for files, reason in (
        (of([0.5]), "whole numbers"),
        (of([-1.0]), "whole numbers"),
        (of([1.0], floor=9.0), "runs from 1 to 0"),
    ):
        refused(files, tmp_path, reason)


def test_a_message_shows_nothing_that_a_terminal_would_obey(genuine: Files, tmp_path: Path) -> None:
    path = tmp_path / "entry.rab"
    path.write_bytes(packed(signed(genuine, {"\x1b[31m" + "x" * 5000: 1})))
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 600
    assert isinstance(caught.value, ValueError)
