"""Every way what a bundle holds may lie: model files, tensors, manifest, signature, records."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from broken_bundles import ATTACKED, CLEAN, Files, bound, put, refused, signed
from safetensors.numpy import save
from synthetic import IMAGE, SPEECH, cell, examples, first, ok
from test_bundle import BENCHMARK, MODEL_HASH, NAME, STRANGER, evidence_of, own_cell

from leaderboard.bundle.manifest import Benchmark
from leaderboard.bundle.names import MANIFEST, SIGNATURE, evidence_path, record_path
from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import account_of
from leaderboard.records.canonical import canonical_json
from leaderboard.records.metric import Metric


RAN: list[str] = []


def note(text: str) -> None:
    RAN.append(text)


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return note, ("a pickle ran",)


PICKLES = {f"protocol {number}": pickle.dumps(Evil(), number) for number in range(6)}


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
