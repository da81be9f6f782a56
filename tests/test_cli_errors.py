"""Whatever is wrong, a command ends in one sentence and an exit code: 2 for what was asked, 1 for what failed."""

from __future__ import annotations

import contextlib
import http.server
import importlib
import io
import os
import pkgutil
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from synthetic import cell, first, ok, plan

from adversarial.errors import RobustArenaError
from benchmarks.catalog import catalog
from benchmarks.cli.main import main
from leaderboard.bundle.signing import generate_key, save_key
from leaderboard.records.run_folder import RunFolder


ROOT = Path(__file__).parent.parent
TASK = "image-digits"


class Said(NamedTuple):
    code: int
    out: str
    err: str


def said(*words: str) -> Said:
    """A command in this process, as its entry point runs it."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    before = sys.argv, sys.stdout, sys.stderr
    sys.argv, sys.stdout, sys.stderr = ["robustarena", *words], out, err
    code: object = 0
    try:
        main()
    except SystemExit as error:
        code = error.code
    finally:
        sys.argv, sys.stdout, sys.stderr = before
    printed = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return Said(int(str(code or 0)), *printed)


def process(*words: str, **options: object) -> Said:
    """A command in a process of its own."""
    environment = {**os.environ, **dict(options.pop("env", {}))}  # type: ignore[call-overload]
    done = subprocess.run(
        [sys.executable, "-m", "robustarena", *words],
        cwd=ROOT,
        env=environment,
        stdout=options.pop("stdout", subprocess.PIPE),  # type: ignore[call-overload]
        stderr=subprocess.PIPE,
        check=False,
        **options,
    )
    return Said(done.returncode, (done.stdout or b"").decode(errors="replace"), done.stderr.decode(errors="replace"))


def assert_one_sentence(found: Said, code: int, text: str) -> None:
    assert found.code == code, found
    assert "Traceback" not in found.err
    if not found.err.startswith("Usage: robustarena"):  # click's own way to say it
        assert found.err.startswith("robustarena: "), found.err
        assert found.err.count("\n") == 1, found.err
    assert text in found.err, found.err


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, keys, a run folder, and much that is none of these."""
    folder = tmp_path_factory.mktemp("errors")
    shutil.copytree(Path(catalog().task(TASK).folder) / "undefended", folder / "model")
    save_key(folder / "key.pem", generate_key())
    shutil.copy(folder / "key.pem", folder / "open.pem")
    (folder / "open.pem").chmod(0o644)
    rsa = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name, data in {"rsa.pem": rsa, "junk.pem": bytes(range(256)), "empty.pem": b""}.items():
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)
    (folder / "folder.pem").mkdir()
    (folder / "junk.rab").write_bytes(b"junk")
    (folder / "empty.rab").write_bytes(b"")
    (folder / "zip.rab").write_bytes(b"PK\x05\x06" + bytes(18))
    (folder / "folder.rab").mkdir()
    (folder / "file").write_text("x")
    (folder / "raises.py").write_text("raise RuntimeError('two\\nlines')")
    (folder / "exits.py").write_text("raise SystemExit(0)")
    (folder / "wrong.py").write_text("def register(registry): registry.nothing()")
    (folder / "binary.py").write_bytes(b"\xff\xfe")
    results = [ok(cell(model=name, attack=attack), first(8, 10)) for name in ("a", "b") for attack in ("none", "pgd")]
    runs = RunFolder(folder / "runs")
    for result in results:
        runs.write_result(result)
    runs.write_plan(plan(results))
    return folder


SUBMIT = f"submit torch:{{0}}/model --task {TASK} --name x --suite mini@1 --limit 2 --out {{0}}/made"
STRENGTHEN = "strengthen {0}/junk.rab --attack pgd --key {0}/key.pem"

SITUATIONS: list[tuple[str, int, str]] = [
    (f"{SUBMIT} --key {{0}}/none.pem", 2, "is missing; expected a private key as PEM"),
    (f"{SUBMIT} --key {{0}}/rsa.pem", 2, "is of the kind RSA; expected Ed25519"),
    (f"{SUBMIT} --key {{0}}/junk.pem", 2, "is no private key as PEM"),
    (f"{SUBMIT} --key {{0}}/empty.pem", 2, "is no private key as PEM"),
    (f"{SUBMIT} --key {{0}}/folder.pem", 2, "cannot be read: Is a directory"),
    (f"{SUBMIT} --key {{0}}/open.pem", 2, "Run chmod 600"),
    (f"submit torch:{{0}}/model --task {TASK} --name a<b", 2, "expected no markup"),
    (f"submit torch:{{0}}/model --task {TASK} --name \x1b", 2, "control characters"),
    (f"submit torch:{{0}}/model --task {TASK} --name undefended", 2, "is a reference model"),
    (f"{SUBMIT} --link javascript:x", 2, "expected http:// or https://"),
    (f"{SUBMIT} --defense <b>", 2, "expected no markup"),
    (f"submit torch:{{0}}/model --task {TASK} --name x --suite mimi@1", 2, "did you mean 'mini@1'"),
    (f"submit torch:{{0}}/nowhere --task {TASK} --name x --key {{0}}/key.pem", 1, "is no folder"),
    (f"submit python:{{0}}/raises.py:make --task {TASK} --name x --key {{0}}/key.pem", 1, "RuntimeError: two lines"),
    (f"submit nope:x --task {TASK} --name x", 2, "no kind of model is called 'nope'"),
    ("submit torch:x --task image-digit --name x", 2, "did you mean 'image-digits'"),
    (f"{SUBMIT} --key {{0}}/key.pem --to https://board.example.org", 2, "--to needs a token"),
    (STRENGTHEN, 1, "not a bundle"),
    ("strengthen {0}/empty.rab --attack pgd --key {0}/key.pem", 1, "not a bundle"),
    ("strengthen {0}/folder.rab --attack pgd --key {0}/key.pem", 1, "manifest.json is missing"),
    ("strengthen {0}/zip.rab --attack pgd --key {0}/key.pem", 1, "manifest.json"),
    ("strengthen {0}/none.rab --attack pgd --key {0}/key.pem", 1, "no bundle there"),
    (f"{STRENGTHEN} --param steps", 2, "expected --param NAME=VALUE"),
    (f"{STRENGTHEN} --param steps=[1]", 2, "expected --param NAME=VALUE"),
    (f"{STRENGTHEN} --param steps=NaN", 2, "expected --param NAME=VALUE"),
    (f"{STRENGTHEN} --to ftp://x", 2, "--to needs a token"),
    ("verify {0}/junk.rab --nonce xyz", 2, "hexadecimal"),
    ("verify {0}/junk.rab --device foo", 2, "no device is called 'foo'"),
    ("verify {0}/junk.rab --data {0}", 1, "data.json"),
    ("list --plugin {0}/raises.py", 1, "RuntimeError: two lines"),
    ("list --plugin {0}/exits.py", 1, "SystemExit: 0"),
    ("list --plugin {0}/wrong.py", 1, "AttributeError"),
    ("list --plugin {0}/binary.py", 1, "SyntaxError"),
    ("list --plugin {0}/file", 1, "is not a Python file"),
    ("list modles", 2, "did you mean 'models'"),
    ("plan mini@1 --task [", 2, "no task is called '['"),
    ("plan \udcff\udcfe", 2, "no suite is called"),
    ("plan mini@1 --limit 0", 2, "--limit"),
    ("plan mini@1 --device cuda:x", 2, "no device is called 'cuda:x'"),
    ("run mini@1 --device foo --out {0}/untouched", 2, "expected cpu, cuda or cuda:N"),
    ("run mini@1 --timeout nan --out {0}/untouched", 2, "expected a finite number"),
    ("run mini@1 --threads 100000 --out {0}/untouched", 2, "--threads"),
    ("run mini@1 --executor serail --out {0}/untouched", 2, "did you mean 'serial'"),
    ("run mini@1 --out {0}/file", 2, "is a file"),
    ("run mini@1 --limit 2 --out {0}/file/x", 1, "is a file where a folder is needed"),
    ("run mini@1 --limit 2 --out /proc/nowhere", 1, "/proc/nowhere"),
    (f"run mini@1 --task {TASK} --data {{0}}/none.csv", 1, "there is no file or folder"),
    ("table --out {0}/nowhere", 1, "no board here yet"),
    ("table --out {0}/file", 2, "is a file"),
    ("table --suite nope@1 --out {0}/runs", 2, "has no plan 'nope@1'"),
    ("table --suite ../x --out {0}/runs", 2, "has no plan '../x'"),
    ("compare --suite nope@1 --out {0}/runs", 2, "has no plan"),
    ("site {0}/file --out {0}/runs", 2, "is a file"),
    ("site {0}/file/x --out {0}/runs", 1, "is a file where a folder is needed"),
    ("export --file {0}/file/x --out {0}/runs", 1, "is a file where a folder is needed"),
    ("export --file /proc/nowhere --out {0}/runs", 1, "/proc/nowhere"),
    ("badge nobody --out {0}/runs", 2, "has no entry 'nobody'"),
    ("badge a --task nope --out {0}/runs", 2, "has no task 'nope'"),
    ("train image-digits/undefendd", 2, "did you mean 'undefended'"),
    ("train image-digits/undefended --to /proc/nowhere", 1, "/proc/nowhere"),
    ("check torch:x --task image-digits --device cuda:-1", 2, "no device is called"),
    ("check torch: --task image-digits", 2, "expected KIND:LOCATION"),
    ("prepare {0}/none.csv {0}/prepared --task sentiment-reviews", 1, "there is no file or folder"),
    ("prepare {0}/file {0}/prepared --task sentiment-reviews", 1, "expected a file that ends in"),
    ("prepare {0}/file {0}/prepared --task nope", 2, "no task is called 'nope'"),
    ("prepare {0}/file {0}/prepared --task control-cartpole", 2, "takes no data but its own"),
    ("prepare {0}/file {0}/prepared --task sentiment-reviews --size 8", 2, "does not know --size"),
    ("serve --store {0}/file", 2, "is a file"),
    ("serve --store /proc/nowhere", 1, "/proc/nowhere"),
    ("serve --store {0}/store --host nowhere.invalid --port 0", 1, "cannot listen on nowhere.invalid"),
    ("serve --store {0}/store --host 0.0.0.0", 2, "is every address"),
    ("worker --store {0}/file --once", 2, "is a file"),
    ("worker --store {0}/store --once --minutes nan", 2, "expected a finite number"),
    ("worker --store {0}/store --once --memory inf", 2, "expected a finite number"),
    ("token issue --store {0}/store --account xyz --name a", 1, "expected a public key"),
    (f"token issue --store {{0}}/store --account {'a' * 64} --name a<b", 1, "expected no markup"),
    ("token revoke --store {0}/store nope", 1, "no token starts with 'nope'"),
    ("token list --store {0}/file", 2, "is a file"),
    ("requeue --store {0}/store abc", 1, "0 bundles here start with 'abc'"),
    ("rebuild --store {0}/file", 2, "is a file"),
    ("tabel", 2, "No such command"),
]


@pytest.mark.parametrize(("line", "code", "text"), SITUATIONS, ids=[line for line, *_ in SITUATIONS])
def test_one_sentence_and_the_right_exit_code(line: str, code: int, text: str, place: Path) -> None:
    assert_one_sentence(said(*(word.format(place) for word in line.split(" "))), code, text)
    assert not (place / "untouched").exists()
    assert not (place / "made").exists()


def test_an_empty_name(place: Path) -> None:
    found = said("submit", f"torch:{place}/model", "--task", TASK, "--name", "")
    assert_one_sentence(found, 2, "expected 1 to 80 characters")


# Damaged stores of several kinds.


def overwritten(pattern: str, data: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        min(folder.glob(pattern)).write_bytes(data)

    return spoil


def folder_instead(pattern: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = min(folder.glob(pattern))
        path.unlink()
        path.mkdir()

    return spoil


@pytest.mark.parametrize("command", ["table", "compare", "export", "site {0}/site", "badge a"])
@pytest.mark.parametrize(
    "spoil",
    [
        overwritten("plans/*.json", b"{"),
        overwritten("plans/*.json", b"[1]\n"),
        overwritten("plans/*.json", b"\xff"),
        overwritten("plans/*.json", b"[" * 100_000),
        folder_instead("plans/*.json"),
        overwritten("cells/*.json", b'{"a":'),
        overwritten("cells/*.json", b"\xff\xfe"),
        overwritten("cells/*.json", b"[" * 100_000),
        folder_instead("cells/*.json"),
        lambda folder: (folder / "journal.jsonl").mkdir(),
    ],
    ids=[
        *("plan-cut", "plan-of-another-kind", "plan-no-text", "plan-nested", "plan-a-folder"),
        *("cell-cut", "cell-no-text", "cell-nested", "cell-a-folder", "journal-a-folder"),
    ],
)
def test_a_damaged_folder_stops_with_the_path(
    command: str, spoil: Callable[[Path], None], place: Path, tmp_path: Path
) -> None:
    shutil.copytree(place / "runs", tmp_path / "runs")
    spoil(tmp_path / "runs")
    found = said(*command.format(tmp_path).split(), "--out", str(tmp_path / "runs"))
    assert_one_sentence(found, 1, str(tmp_path / "runs"))


@pytest.mark.parametrize("words", ["token list", "worker --once", "rebuild", "requeue x", "serve --port 0"])
@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "file is not a database"),
        ("nonsense", "is no database URL"),
        ("mysql://x/y", "mysql is not supported"),
        ("postgresql://127.0.0.1:1/x", "refused"),
        ("sqlite:////proc/nowhere/x", "unable to open database file"),
    ],
)
def test_a_database_that_is_none(
    words: str, url: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "board.sqlite3").write_text("junk")
    monkeypatch.setenv("ROBUSTARENA_DATABASE_URL", url)
    assert_one_sentence(said(*words.split(), "--store", str(tmp_path)), 1, text)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = said("serve", "--store", str(tmp_path), "--port", str(taken.getsockname()[1]))
    assert_one_sentence(found, 1, "Address already in use")


# Servers that a bundle is sent to.


class Odd(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(b"what is this\r\n\r\n")

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("server", "token", "code", "text"),
    [
        ("http://127.0.0.1:1", "x", 1, "Connection refused"),
        ("ODD", "x", 1, "send it again"),
        ("http://127.0.0.1:99999", "x", 2, "expected a server like"),
        ("http://[::1", "x", 2, "expected a server like"),
        ("ftp://x", "x", 2, "expected a server like"),
        ("http://127.0.0.1:1/a b", "x", 2, "expected a server like"),
        ("http://127.0.0.1:1", "a\nb", 2, "the token of the server"),
        ("http://127.0.0.1:1", "€", 2, "the token of the server"),
    ],
)
def test_a_server_that_is_none(
    server: str, token: str, code: int, text: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.submitting.sending import send

    def sending(*_: object) -> None:
        send(place / "junk.rab", "a" * 64, server, token)

    monkeypatch.setenv("ROBUSTARENA_TOKEN", token)
    with contextlib.ExitStack() as stack:
        if server == "ODD":
            httpd = stack.enter_context(http.server.HTTPServer(("127.0.0.1", 0), Odd))
            thread = threading.Thread(target=httpd.handle_request)
            thread.start()
            stack.callback(thread.join, 10)
            server = f"http://127.0.0.1:{httpd.server_port}"
        monkeypatch.setattr("benchmarks.submitting.entry.check_entry", sending)  # once the options were looked at
        found = said(
            "submit", "torch:x", "--task", TASK, "--name", "x", "--key", str(place / "key.pem"), "--to", server
        )
    assert_one_sentence(found, code, text)


# Encodings, pipes and signals: in processes of their own.


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("command", ["table", "compare"])
def test_tables_are_spelled_in_what_the_encoding_has(command: str, encoding: str, place: Path) -> None:
    found = process(command, "--out", str(place / "runs"), env={"PYTHONIOENCODING": encoding})
    assert (found.code, found.err) == (0, "")
    assert encoding != "ascii" or found.out.isascii()
    first = [line for line in found.out.split("\n+", 1)[1].split("\n\n")[0].splitlines() if line.startswith("|")]
    assert len({len(line) for line in first}) == 1, "columns are aligned"
    assert command != "table" or "->" in found.out


def test_the_c_locale_is_no_exception(place: Path) -> None:
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}
    for words in (("table", "--out", str(place / "runs")), ("list",), ("badge", "a", "--out", str(place / "runs"))):
        found = process(*words, env=locale)
        assert (found.code, found.err) == (0, ""), words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["table", "table --json", "export", "--help"])
def test_a_full_disk_behind_standard_output(words: str, place: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        found = process(*words.split(), *(() if words == "--help" else ("--out", str(place / "runs"))), stdout=full)
    assert_one_sentence(found, 1, "No space left on device")


@pytest.mark.parametrize("words", ["table", "list", "export"])
def test_a_reader_that_left(words: str, place: Path) -> None:
    """Silent, as everything else that is piped into `head`."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        found = process(words, *(() if words == "list" else ("--out", str(place / "runs"))), stdout=pipe)
    assert (found.code, found.err) == (1, "")


def test_standard_error_that_nobody_reads(place: Path) -> None:
    code = "import os, sys; os.close(2); sys.stderr = None; import robustarena; robustarena.main()"
    done = subprocess.run([sys.executable, "-c", code, "table", "--out", str(place / "no")], cwd=ROOT, check=False)
    assert done.returncode == 1


def test_ctrl_c_reaches_workers_too_and_is_one_sentence(tmp_path: Path) -> None:
    """A terminal sends it to the whole group, also while the workers are still importing."""
    words = ("run", "mini@1", "--task", "speech-digits", "--workers", "2", "--out", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-m", "robustarena", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as running:
        assert running.stderr is not None
        head = running.stderr.readline()
        assert b"to do" in head
        time.sleep(1.0)  # the workers have been started, and import
        os.killpg(running.pid, signal.SIGINT)
        _, rest = running.communicate(timeout=60)
    assert running.returncode == 130
    assert b"Traceback" not in rest
    assert rest.decode().splitlines()[-1].startswith("robustarena: interrupted; run the same command again")


# One root.


def exceptions(package: str) -> Iterator[type[BaseException]]:
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        if ".migrations" in module.name or ".perf" in module.name:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, BaseException) and value.__module__.startswith(package):
                yield value


@pytest.mark.parametrize("package", ["adversarial", "tasks", "benchmarks", "leaderboard"])
def test_every_error_of_ours_has_the_one_root(package: str) -> None:
    assert {one.__qualname__ for one in exceptions(package) if not issubclass(one, RobustArenaError)} == set()
