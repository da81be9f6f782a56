"""Who may import whom, what stays free of torch, and that nothing happens on import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from benchmarks.catalog import catalog


ROOT = Path(__file__).parent.parent
PACKAGES = ("adversarial", "tasks", "benchmarks", "leaderboard")
# What each package may import of the others: everything, or these modules and what lies in them.
ALLOWED: dict[str, dict[str, tuple[str, ...]]] = {
    "adversarial": {},
    "tasks": {"adversarial": ("adversarial",), "leaderboard": ("leaderboard.records",)},
    "leaderboard": {"adversarial": ("adversarial.threats", "adversarial.errors")},
    "benchmarks": {name: (name,) for name in ("adversarial", "tasks", "leaderboard")},
}
# Rooms of one package, each above those that it may import: a lower one never imports a higher one.
FLOORS = {
    "leaderboard": (
        {"records"},
        {"scoring", "bundle"},
        {"printing", "pages"},
        {"database"},
        {"server"},
    ),
    "tasks": ({"models", "data"}, {"measuring"}, {"image", "speech", "sentiment", "control"}),
    "benchmarks": ({"suites"}, {"running"}, {"verifying", "checking"}, {"submitting"}, {"cli"}),
}
DOMAINS = ("image", "speech", "sentiment", "control")
# Where domains are put together: the list of tasks, the suites that ship, and speed tests against other libraries.
OF_DOMAINS = ("tasks/__init__.py", *(f"tasks/{one}/" for one in DOMAINS), "benchmarks/suites/", "benchmarks/perf/")


def modules(package: str) -> Iterator[Path]:
    yield from sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    """`tasks.image` of tasks/image/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


KNOWN = {name_of(path): path for package in PACKAGES for path in modules(package)}


@cache
def imported(path: Path) -> frozenset[str]:
    """What a file imports anywhere in it, but for the eyes of a type checker alone: modules, ours as whole as we know
    them (`tasks.image` for `from tasks import image`)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typed:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = str(node.module)
            whole = {f"{module}.{alias.name}" for alias in node.names}
            found |= (whole & KNOWN.keys()) | ({module} if whole - KNOWN.keys() else set())
    return frozenset(found)


def ours(path: Path) -> set[str]:
    return {name for name in imported(path) if name.partition(".")[0] in PACKAGES}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    for path in modules(package):
        for name in ours(path):
            other = name.partition(".")[0]
            allowed = ALLOWED[package].get(other, ())
            inside = other == package or any(name == one or name.startswith(f"{one}.") for one in allowed)
            assert inside, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_stand_above_what_they_import(package: str) -> None:
    floor = {room: height for height, rooms in enumerate(FLOORS[package]) for room in rooms}
    for path in modules(package):
        room = name_of(path).split(".")[1:2]
        for name in ours(path):
            other = name.split(".")[1:2] if name.startswith(f"{package}.") else []
            if room and other and room[0] in floor and other[0] in floor:
                assert floor[other[0]] <= floor[room[0]], f"{path.relative_to(ROOT)} imports {name}"


def test_no_import_goes_in_a_circle() -> None:
    """Tarjan's components are overkill for a few hundred files: whatever imports nothing that is left, goes."""
    left = {name: ours(path) & KNOWN.keys() - {name} for name, path in KNOWN.items()}
    while free := {name for name, needed in left.items() if not needed & left.keys()}:
        left = {name: needed for name, needed in left.items() if name not in free}
    assert not left, f"in a circle, or above one: {', '.join(sorted(left))}"


def test_no_generic_file_names_a_domain() -> None:
    """Neither by an import nor in code; an example in a docstring or a help text may."""
    names = {task.name for task in catalog().tasks()}
    for path in (path for package in PACKAGES for path in modules(package)):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(OF_DOMAINS):
            continue
        domains = {name for name in ours(path) if name.startswith(tuple(f"tasks.{one}" for one in DOMAINS))}
        assert not domains, f"{place} imports {domains}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{place}:{node.lineno} names {node.value}"
                assert not node.value.startswith(tuple(f"tasks.{one}." for one in DOMAINS)), f"{place}:{node.lineno}"


def test_a_public_class_has_its_name_for_itself() -> None:
    places: dict[str, list[str]] = {}
    for name, path in KNOWN.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_no_import_of_torch_or_textattack_where_it_is_not_wanted() -> None:
    for path in modules("leaderboard"):
        assert not {name.partition(".")[0] for name in imported(path)} & {"torch", "torchaudio", "transformers"}, path
    for package in PACKAGES:
        for path in modules(package):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            top = {
                (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
                for node in tree.body
                if isinstance(node, ast.Import | ast.ImportFrom)
            }
            assert not any(name.startswith("textattack") for name in top), path


@pytest.mark.parametrize(
    "statement",
    [
        "import leaderboard.scoring.board, leaderboard.scoring.compare, leaderboard.pages.site",
        "import leaderboard.printing.table, leaderboard.printing.export, leaderboard.records.run_folder",
        "import adversarial, tasks, benchmarks.cli.main, benchmarks.catalog; benchmarks.catalog.catalog()",
        "import robustarena as r; r.list_attacks('pixels'), r.list_models(), r.load_model, r.Threat, r.__version__",
        "import benchmarks.running.planning as p, benchmarks.suites.mini_1 as s, benchmarks.catalog as c; "
        "p.plan_cells(s.SUITE, c.catalog(), p.Settings())",
    ],
)
def test_listing_planning_and_boards_import_no_torch(statement: str) -> None:
    code = f"{statement}\nimport sys\nbad = {{'torch', 'transformers', 'textattack', 'datasets'}} & set(sys.modules)\n"
    subprocess.run([sys.executable, "-c", code + "assert not bad, bad"], check=True, cwd=ROOT)


def test_the_public_face_is_what_it_says() -> None:
    import adversarial
    import robustarena

    for module in (adversarial, robustarena):
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        adversarial.nothing  # noqa: B018


def test_modules_are_of_a_readable_length() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for package in PACKAGES
        for path in modules(package)
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert not long


def test_a_foreign_module_of_our_name_is_named_with_both_paths(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("x = 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "robustarena", "list"],
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if "another module" not in done.stderr:  # python -m puts the working folder first: go through the script instead
        code = "import robustarena; robustarena.main()"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert str(tmp_path / "tasks.py") in done.stderr
    assert str(ROOT / "tasks" / "__init__.py") in done.stderr
