"""The one registry: names, duplicates, plugins, and which pairs fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from adversarial.errors import DataError, DuplicateName, UnknownName
from adversarial.registry import AttackEntry, Registry, resolve
from adversarial.threats import CONTINUOUS_SURFACES, SURFACES
from benchmarks.catalog import catalog
from benchmarks.suites import MINI_1, NONE


def entry(name: str) -> AttackEntry:
    return AttackEntry(name, "adversarial.attacks.none:none", "", "", "none", frozenset({"pixels"}))


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no attack is called 'pgdd'; did you mean 'pgd'"):
        catalog().attack("pgdd")
    with pytest.raises(UnknownName, match="did you mean 'adversarial-training'"):
        catalog().defense("adversarial-trainig")
    with pytest.raises(UnknownName, match="known: control-cartpole"):
        catalog().task("zzzzz")


def test_a_name_twice_is_refused_with_both_origins() -> None:
    registry = Registry()
    registry.add(entry("mine"), origin="package one")
    with pytest.raises(DuplicateName, match="'mine' of package two is already registered by package one"):
        registry.add(entry("mine"), origin="package two")


def test_a_plugin_may_not_replace_ours(tmp_path: Path) -> None:
    path = tmp_path / "sly.py"
    path.write_text(
        "from adversarial.registry import AttackEntry\n"
        "def register(registry):\n"
        "    registry.add(AttackEntry('pgd', 'os:getcwd', '', '', 'none', frozenset()))\n"
    )
    with pytest.raises(DuplicateName, match=r"plugin sly\.py"):
        catalog([path])


def test_a_plugin_without_register_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("x = 1\n")
    with pytest.raises(DataError, match="no function register"):
        catalog([path])


def test_entry_points_are_discovered(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "third"
        dist = None

        def load(self) -> object:
            return lambda registry: registry.add(entry("third-party"))

    def installed(*, group: str) -> list[Point]:
        return [Point()] if group == "robustarena" else []

    monkeypatch.setattr("importlib.metadata.entry_points", installed)
    registry = catalog()
    assert registry.attack("third-party").name == "third-party"
    assert "entry point third" in registry.plugins


def test_entries_name_code_that_exists() -> None:
    registry = catalog()
    for one in (*registry.attacks(), *registry.defenses(), *registry.tasks()):
        assert callable(resolve(one.code))


# The design's table, for the rows that are in: where each attack runs.
TABLE = {
    "none": set(SURFACES) - {"rewards", "training-set"},
    "noise": set(SURFACES) - {"rewards", "training-set"},
    "fgsm": set(CONTINUOUS_SURFACES),
    "pgd": set(CONTINUOUS_SURFACES),
    "hotflip": {"words", "characters"},
    "hotflip-one-step": {"words", "characters"},
}


def test_the_pairs_that_fit_are_those_of_the_designs_table() -> None:
    assert {attack.name: set(attack.surfaces) for attack in catalog().attacks()} == TABLE
    for attack in catalog().attacks():
        for surface in SURFACES:
            reason = attack.reason_against(surface)
            assert (reason is None) == (surface in TABLE[attack.name])
            assert reason is None or len(reason) > 15


def test_mini_1_never_changes() -> None:
    """The released suite, trial by trial; a new idea makes mini@2."""
    rows = [f"{t.task} {t.attack} {t.threat} {dict(t.params)} {t.goal} {t.batch_size} {t.seed}" for t in MINI_1.trials]
    import hashlib

    assert len(rows) == 24
    assert hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16] == "75a12cfd3f468417"
    for task in catalog().tasks():
        attacks = {t.attack for t in MINI_1.trials if t.task == task.name}
        assert {NONE, "noise", "fgsm", "pgd", "hotflip"} <= attacks
