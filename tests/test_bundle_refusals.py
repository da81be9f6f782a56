"""Every way the files of a bundle may lie as a container, each refused with a reason that names the place."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from broken_bundles import Files, bound, packed, put, refused, signed
from test_bundle import NAME, small

from leaderboard.bundle import zip_layout
from leaderboard.bundle.container import Limits
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.names import MANIFEST, SIGNATURE
from leaderboard.bundle.reading import open_bundle


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


def test_a_message_shows_nothing_that_a_terminal_would_obey(genuine: Files, tmp_path: Path) -> None:
    path = tmp_path / "entry.rab"
    path.write_bytes(packed(signed(genuine, {"\x1b[31m" + "x" * 5000: 1})))
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 600
    assert isinstance(caught.value, ValueError)
