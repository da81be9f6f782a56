"""Thousands of damaged bundles, each from its own seed: none gets in, none stops the reader, none leaves a trace."""

from __future__ import annotations

import copy
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from broken_bundles import Files, bound, packed, put, signed
from test_bundle import KEY, STRANGER, everything_in

from leaderboard.bundle import zip_layout
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.manifest import bundle_id
from leaderboard.bundle.names import MANIFEST, SIGNATURE
from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import account_of
from leaderboard.bundle.writing import extract
from leaderboard.records.canonical import canonical_json


DAMAGED = 5_000
SIGNED_NONSENSE = 1_500
BAD_NAMES = ("../x.json", "/x.json", "model\\x.json", "model/x.pkl", "C:x", "a/../../x", "model/x", "MODEL/SOURCE.JSON")
ODD_NUMBERS = (0, 1, 2, 8, 9, 0x21, 0xFFFF, 0xFFFFFFFF, 10**9, 0x80000000, 0xA1ED0000, 12, 100)
WRONG: tuple[Any, ...] = (None, True, -1, 10**10, 1e300, "", "<b>", "\ud800", "x" * 300, [], {}, [[]], {"a": {}}, 0.5)

_watching: list[list[str]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & 3:
        _watching[-1].append(f"open {arguments[0]} for writing")
    elif event.startswith(("subprocess", "socket", "pickle", "marshal")) or event in (
        *("os.mkdir", "os.rename", "os.link", "os.symlink", "os.system", "os.exec", "os.fork", "os.remove", "exec"),
    ):
        _watching[-1].append(event)


sys.addaudithook(_audit)


@contextmanager
def watched() -> Iterator[list[str]]:
    """What was written, started or asked of the network meanwhile."""
    seen: list[str] = []
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)


def flip(data: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def truncate(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def behead(data: bytes, draw: random.Random) -> bytes:
    return data[draw.randrange(1, len(data)) :]


def insert(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.randbytes(draw.choice((1, 1, 4, 22, 500))) + data[at:]


def remove(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + data[at + draw.choice((1, 2, 30, 200)) :]


def repeat(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    part = data[at : at + draw.choice((1, 22, 46, 300))]
    return data[:at] + part + data[at:]


def overwrite(data: bytes, draw: random.Random) -> bytes:
    source, at, count = draw.randrange(len(data)), draw.randrange(len(data)), draw.choice((1, 4, 30, 200))
    part = bytes(count) if draw.random() < 0.3 else data[source : source + count]
    return (data[:at] + part + data[at + len(part) :])[: len(data)]


BYTES = (flip, truncate, behead, insert, remove, repeat, overwrite)


def zip_field(data: bytes, draw: random.Random) -> bytes:
    """One number of a header or of the directory's end becomes an odd one; sometimes in both headers."""
    magic, layout = draw.choice(
        (
            (zip_layout.LOCAL_MAGIC, zip_layout.LOCAL),
            (zip_layout.CENTRAL_MAGIC, zip_layout.CENTRAL),
            (zip_layout.END_MAGIC, zip_layout.END),
        )
    )
    places = [at for at in range(len(data) - layout.size + 1) if data.startswith(magic, at)]
    chosen = places if draw.random() < 0.3 else [draw.choice(places)]
    field, value, small_change = draw.randrange(1, 20), draw.choice(ODD_NUMBERS), draw.choice((-1, 1, 0))
    for at in chosen:
        numbers = list(layout.unpack_from(data, at))
        place = 1 + field % (len(numbers) - 1)
        new = numbers[place] + small_change if small_change else value
        kinds = [kind for number, kind in _counted(layout.format.removeprefix("<4s")) for _ in range(number)]
        numbers[place] = new % (2**16 if kinds[place - 1] == "H" else 2**32)
        data = data[:at] + layout.pack(*numbers) + data[at + layout.size :]
    return data


def _counted(text: str) -> Iterator[tuple[int, str]]:
    number = ""
    for one in text:
        if one.isdigit():
            number += one
        else:
            yield int(number or 1), one
            number = ""


def renamed_in_place(data: bytes, draw: random.Random) -> bytes:
    """A name of the same length, in one header or in all of them, as an attacker with a hex editor does it."""
    name = draw.choice([b"model/source.json", b"model/words/vocab.txt", b"signature.json", b"manifest.json"])
    bad = draw.choice([b"../" + name[3:], b"/" + name[1:], name.upper(), name[:-4] + b".pkl", b"\xff" + name[1:]])
    return data.replace(name, bad, draw.choice((1, 2, -1)))


def renamed(files: Files, draw: random.Random) -> Files:
    changed = dict(files)
    name = draw.choice(sorted(changed))
    other = draw.choice((*BAD_NAMES, name.upper(), name + ".", draw.choice(sorted(changed))))
    changed[other] = changed.pop(name) if draw.random() < 0.5 else changed[name]
    return changed


def one_file(files: Files, draw: random.Random) -> Files:
    name = draw.choice(sorted(files))
    return {**files, name: draw.choice(BYTES)(files[name], draw)}


def lost(files: Files, draw: random.Random) -> Files:
    name = draw.choice(sorted(files))
    return {one: data for one, data in files.items() if one != name}


def paths_of(plain: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in items:
        yield (*here, key)
        yield from paths_of(value, (*here, key))


def edited_json(data: bytes, draw: random.Random) -> bytes:
    """A value of a document becomes another, goes, is doubled, or stands under another key."""
    plain = copy.deepcopy(json.loads(data))
    path = draw.choice(list(paths_of(plain)) or [()])
    if not path:
        return data + b"{}"
    holder = plain
    for key in path[:-1]:
        holder = holder[key]
    match draw.randrange(4):
        case 0:
            holder[path[-1]] = draw.choice(WRONG)
        case 1:
            del holder[path[-1]]
        case 2 if isinstance(holder, dict):
            holder[draw.choice(("zz", "", "../x", "a" * 64))] = draw.choice((1, holder[path[-1]]))
        case _:
            holder[path[-1]] = [holder[path[-1]]]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    if draw.random() < 0.15:
        key = json.dumps(draw.choice(sorted(plain))).encode() if isinstance(plain, dict) and plain else b'"a"'
        text = text.replace(b"{", b"{" + key + b":1,", 1)
    if draw.random() < 0.1:
        text = text.replace(b"1.0", draw.choice((b"NaN", b"Infinity", b"1e999", b"-0.0")), 1)
    return text


def strangers_edit(files: Files, draw: random.Random) -> Files:
    """A document edited, hashed and signed again by somebody who does not have the submitter's key."""
    changed = edit(files, draw, STRANGER)
    if draw.random() < 0.3:
        changed[SIGNATURE] = files[SIGNATURE]
    elif draw.random() < 0.3:  # the stranger's signature under the submitter's name
        plain = json.loads(changed[SIGNATURE])
        changed[SIGNATURE] = canonical_json({**plain, "key": account_of(KEY)})
    return changed


def edit(files: Files, draw: random.Random, key: Any) -> Files:
    name = draw.choice([one for one in sorted(files) if one.endswith(".json") and one != SIGNATURE])
    data = edited_json(files[name], draw)
    if name == MANIFEST:
        return signed(files, data, key)
    return bound({**files, name: data}, key=key)


FILES: tuple[Callable[[Files, random.Random], Files], ...] = (one_file, lost, renamed, strangers_edit, strangers_edit)
ZIPS: tuple[Callable[[bytes, random.Random], bytes], ...] = (*BYTES, zip_field, zip_field, zip_field, renamed_in_place)


def damaged(genuine: Files, whole: bytes, draw: random.Random, place: Path) -> tuple[str, Path]:
    """One bundle that is not as it was, as a zip or, one time in eight, a folder."""
    if draw.random() < 0.125:
        return damaged_folder(genuine, draw, place / "folder")
    how, data = "", whole
    while data == whole:
        if draw.random() < 0.4:
            make = draw.choice(FILES)
            how, data = make.__name__, packed(make(genuine, draw))
        else:
            change = draw.choice(ZIPS)
            how, data = change.__name__, change(whole, draw)
            if draw.random() < 0.1 and data:
                data = draw.choice(BYTES)(data, draw)
    (place / "entry.rab").write_bytes(data)
    return how, place / "entry.rab"


def damaged_folder(genuine: Files, draw: random.Random, folder: Path) -> tuple[str, Path]:
    if draw.random() < 0.1:
        name = draw.choice([one for one in sorted(genuine) if "/" in one])
        put(genuine, folder)
        (folder / name).unlink()
        (folder / name).symlink_to(draw.choice(("/etc/passwd", "../manifest.json", "nowhere")))
        return "folder with a link", folder
    files = genuine
    while files == genuine:
        made = draw.choice(FILES)(genuine, draw)
        # A folder cannot hold what leaves it, nor a file that is another's folder.
        files = {name: data for name, data in made.items() if name not in BAD_NAMES}
    return "folder", put(files, folder)


def clear(place: Path) -> None:
    for path in sorted(place.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


@pytest.mark.slow
def test_no_damaged_bundle_gets_in(genuine: Files, tmp_path: Path) -> None:
    whole = packed(genuine)
    ways: Counter[str] = Counter()
    reasons: set[str] = set()
    for seed in range(DAMAGED):
        how, path = damaged(genuine, whole, random.Random(seed), tmp_path)
        ways[how] += 1
        try:
            with watched() as seen:
                open_bundle(path)
        except BundleError as error:
            reasons.add(str(error).partition(":")[2][:25])
        except Exception as error:
            pytest.fail(f"seed {seed} ({how}): {type(error).__name__}: {error}")
        else:
            pytest.fail(f"seed {seed} ({how}) was accepted")
        assert not seen, f"seed {seed} ({how}): {seen}"
        clear(tmp_path)
    assert sum(ways.values()) == DAMAGED
    assert min(ways.values()) > 20, ways
    assert len(reasons) > 60, "the damage is too much of one kind"


def test_what_is_extracted_lies_below_the_folder(genuine: Files, tmp_path: Path) -> None:
    path = tmp_path / "entry.rab"
    path.write_bytes(packed(genuine))
    bundle = open_bundle(path)
    with watched() as seen:
        extract(bundle, tmp_path / "out")
    assert everything_in(tmp_path / "out") == genuine
    assert seen, "the watch sees what is written"
    for seed in range(200):
        path.write_bytes(flip(packed(genuine), random.Random(seed)))
        try:  # the zip is swapped for a damaged one after it was checked
            extract(bundle, tmp_path / f"out{seed}")
        except BundleError:
            assert not (tmp_path / f"out{seed}").exists()
        else:  # the damage is in a header, which was read before
            assert everything_in(tmp_path / f"out{seed}") == genuine
    assert {one.name.rstrip("0123456789") for one in tmp_path.iterdir()} == {"entry.rab", "out"}


@pytest.mark.slow
def test_nonsense_that_is_rightly_signed_is_judged_by_its_content(genuine: Files, tmp_path: Path) -> None:
    """A stranger may sign what he likes under his own name: what opens is then his, and opens again as the same."""
    own = bound(genuine, lambda plain: plain.update(account=account_of(STRANGER)), key=STRANGER)
    refused = 0
    path = tmp_path / "entry.rab"
    for seed in range(SIGNED_NONSENSE):
        draw = random.Random(seed)
        if draw.random() < 0.6:
            files = edit(own, draw, STRANGER)
        else:
            name = draw.choice([one for one in sorted(own) if one not in (MANIFEST, SIGNATURE)])
            files = bound({**own, name: draw.choice(BYTES)(own[name], draw)}, key=STRANGER)
        path.write_bytes(packed(files))
        try:
            with watched() as seen:
                bundle = open_bundle(path)
        except BundleError:
            refused += 1
        except Exception as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}")
        else:
            assert bundle.manifest.account == account_of(STRANGER)
            assert bundle.id == bundle_id(files[MANIFEST]) != bundle_id(genuine[MANIFEST])
            assert {name: bundle.read(name) for name in bundle.manifest.files} == {
                name: data for name, data in files.items() if name not in (MANIFEST, SIGNATURE)
            }
            assert all(
                0 <= value <= 1 for one in bundle.records.values() if one.examples for value in one.examples.values
            )
        assert not seen, f"seed {seed}: {seen}"
    assert SIGNED_NONSENSE // 2 < refused < SIGNED_NONSENSE
