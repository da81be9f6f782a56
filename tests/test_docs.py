"""What the pages say is true: every name is there, every example runs."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adversarial.attacks.pgd import pgd
from adversarial.diagnostics import Trace
from adversarial.goals import Flip
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.problem import Problem
from adversarial.registry import resolve
from adversarial.spaces import pixels
from adversarial.threats import Threat
from adversarial.victims import ModuleVictim
from benchmarks.catalog import catalog
from benchmarks.suites import ENTRIES as SUITES


ROOT = Path(__file__).parent.parent
PAGES = sorted((*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_attack_and_defense_has_a_docstring_and_a_row() -> None:
    registry = catalog()
    for attack in registry.attacks():
        assert resolve(attack.code).__doc__, attack.name
        assert f"| `{attack.name}` |" in page("docs/attacks.md"), attack.name
    for defense in registry.defenses():
        assert resolve(defense.code).__doc__, defense.name
        assert f"| `{defense.name}` |" in page("docs/defenses.md"), defense.name


def test_every_attack_names_its_paper_in_its_files_first_lines() -> None:
    import importlib

    for attack in catalog().attacks():
        if attack.paper:
            doc = importlib.import_module(attack.code.partition(":")[0]).__doc__
            assert doc is not None
            assert attack.paper in doc.partition("\n\n")[0], attack.name


def test_every_task_and_suite_is_on_a_page() -> None:
    everything = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    for name in (*(task.name for task in catalog().tasks()), *(suite.name for suite in SUITES)):
        assert f"`{name}`" in everything, name


def test_every_diagnostic_is_on_the_page() -> None:
    source = (ROOT / "adversarial" / "diagnostics.py").read_text(encoding="utf-8")
    source += (ROOT / "leaderboard" / "scoring" / "diagnostics.py").read_text(encoding="utf-8")
    names = set(re.findall(r'"((?:[a-z]+-)+[a-z]+)"', source))
    assert Trace.__name__ == "Trace"
    assert {"zero-gradients", "gradient-weaker-than-noise"} <= names
    for name in names:
        assert f"`{name}`" in page("docs/attacks.md"), name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path}: {target}"


@pytest.mark.parametrize("name", ["README.md", "docs/commands.md", "docs/python.md"])
def test_python_examples_run(name: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page(name), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), {})


def test_the_search_of_the_page_is_bim() -> None:
    (block,) = re.findall(r"```python\n(# stepwise.py.*?)```", page("docs/extending.md"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "docs/extending.md", "exec"), names)
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    victim = ModuleVictim(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    labels = victim.module(images).argmax(1)
    threat = Threat.parse("pixels-linf:0.02")
    found = []
    for attack in (names["stepwise"], partial(pgd, steps=10, relative_step=0.1, random_start=False)):
        keys = Keys.of(0, [str(row) for row in range(5)])
        problem = Problem(victim, pixels(Inputs(images), threat), Flip(labels), threat, keys, early_stopping=False)
        attack(problem)
        found.append(problem.best)
    assert bool((found[0].d != 0).any())
    assert bool((found[0].loss <= found[1].loss + 1e-6).all())  # BIM looks at its last point as well
    assert torch.allclose(found[0].loss, found[1].loss, atol=0.1)


def test_the_readme_shows_a_board_of_all_tasks_and_models() -> None:
    board = page("README.md").partition("<!-- board -->")[2].partition("<!-- /board -->")[0]
    for task in catalog().tasks():
        assert all(part in board for part in task.name.split("-", 1)), task.name
        assert all(model in board for model in task.models)
