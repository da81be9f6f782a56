"""Who may import whom, what stays free of torch, and that nothing happens on import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
ALLOWED = {
    "adversarial": {"adversarial"},
    "tasks": {"adversarial", "tasks", "leaderboard"},
    "benchmarks": {"adversarial", "tasks", "benchmarks", "leaderboard"},
    "leaderboard": {"leaderboard", "adversarial"},
}
OF_ADVERSARIAL = {"adversarial.threats", "adversarial.errors"}  # torch-free: what leaderboard may import of it


def modules(package: str) -> Iterator[Path]:
    yield from sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The top-level names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package: str) -> None:
    for path in modules(package):
        foreign = (imported(path) & set(ALLOWED)) - ALLOWED[package]
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_leaderboard_imports_threats_and_errors_of_adversarial_and_nothing_else() -> None:
    for path in modules("leaderboard"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            names |= {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
            foreign = {one for one in names if one.partition(".")[0] == "adversarial"} - OF_ADVERSARIAL
            assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_no_import_of_torch_or_textattack_where_it_is_not_wanted() -> None:
    for path in modules("leaderboard"):
        assert not imported(path) & {"torch", "torchaudio", "transformers"}, path
    for package in ALLOWED:
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
        for package in ALLOWED
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
