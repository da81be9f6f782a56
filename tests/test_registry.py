"""The one registry: names, duplicates, plugins, and which pairs fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from adversarial.entries import AttackEntry
from adversarial.errors import DataError, DuplicateName, UnknownName
from adversarial.registry import Registry, resolve
from adversarial.threats import Threat
from benchmarks.catalog import catalog
from benchmarks.running.planning import Settings, plan_cells
from benchmarks.suites.full_1 import SUITE as FULL_1
from benchmarks.suites.mini_1 import SUITE as MINI_1
from benchmarks.suites.mini_2 import SUITE as MINI_2
from benchmarks.suites.suite import NONE, Suite
from leaderboard.records.canonical import canonical_json


def entry(name: str) -> AttackEntry:
    return AttackEntry(name, "adversarial.attacks.none:none", "", "none")


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
        "from adversarial.entries import AttackEntry\n"
        "def register(registry):\n"
        "    registry.add(AttackEntry('pgd', 'os:getcwd', '', 'none'))\n"
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


CONTINUOUS, WORDS = {"pixels", "waveform", "embeddings", "observations"}, {"words", "characters"}
TASKS = {
    "pixels": "image-digits",
    "waveform": "speech-digits",
    **dict.fromkeys(("words", "characters", "embeddings"), "sentiment-reviews"),
    "observations": "control-cartpole",
}
CLASSES = CONTINUOUS - {"waveform"}

# The design's table, row by row: where each attack runs, and the entries that are it there.
TABLE = {
    "none": {"none": CONTINUOUS | WORDS},
    "noise": {"noise": CONTINUOUS | WORDS},
    "FGSM": {"fgsm": CONTINUOUS, "hotflip-one-step": WORDS},
    "I-FGSM / PGD": {
        "bim": CONTINUOUS,
        "mi-fgsm": CONTINUOUS,
        "pgd": CONTINUOUS,
        "hotflip": WORDS,
        "hotflip-beam": WORDS,
    },
    "APGD": {"apgd-ce": CONTINUOUS, "apgd-dlr": CLASSES, "apgd-t": CLASSES},
    "JSMA": {"jsma": {"pixels", "observations"}, "jsma-words": WORDS},
    "DeepFool": {"deepfool": CLASSES},
    "Carlini & Wagner": {"cw": CLASSES, "cw-ctc": {"waveform"}},
    "universal perturbation": {"universal": CONTINUOUS, "trigger-words": WORDS},
    "transfer": {"transfer": CONTINUOUS | WORDS},
    "attacks on the return": {"force": {"observations"}},
    "greedy search on scores": {"greedy-words": WORDS},
}
PAIRS = {name: surfaces for row in TABLE.values() for name, surfaces in row.items()}


def test_the_pairs_that_fit_are_those_of_the_designs_table() -> None:
    registry = catalog()
    assert {attack.name for attack in registry.attacks()} == set(PAIRS)
    for attack in registry.attacks():
        for surface, task in TASKS.items():
            reason = registry.misfit(
                attack, Threat(surface, "l0" if surface in WORDS else "linf", 1), registry.task(task)
            )
            assert (reason == "") == (surface in PAIRS[attack.name]), (attack.name, surface)
            assert not reason or len(reason) > 15


def test_every_row_of_the_table_runs_somewhere_in_every_domain_or_says_why_not() -> None:
    """What the design marks as not applicable, and nothing else."""
    missing = {
        (row, surface)
        for row, entries in TABLE.items()
        for surface in ("pixels", "waveform", "embeddings", "words", "observations")
        if not any(surface in surfaces for surfaces in entries.values())
    }
    assert missing == {
        ("APGD", "words"),
        ("JSMA", "waveform"),
        ("JSMA", "embeddings"),
        ("DeepFool", "waveform"),
        ("DeepFool", "words"),
        ("Carlini & Wagner", "words"),
        *(("attacks on the return", surface) for surface in ("pixels", "waveform", "embeddings", "words")),
        *(("greedy search on scores", surface) for surface in ("pixels", "waveform", "embeddings", "observations")),
    }


@pytest.mark.parametrize("suite", [MINI_2, FULL_1], ids=["mini@2", "full@1"])
def test_the_cells_without_a_number_are_the_pairs_that_do_not_fit(suite: Suite) -> None:
    for planned in plan_cells(suite, catalog(), Settings()):
        if planned.cell.threat == NONE:
            assert not planned.reason
            continue
        surface = Threat.parse(planned.cell.threat).surface
        assert bool(planned.reason) == (surface not in PAIRS[planned.cell.attack]), planned.cell.label


def test_the_suites_hold_the_new_attacks() -> None:
    for task in catalog().tasks():
        few = {trial.attack for trial in MINI_2.trials if trial.task == task.name} - {NONE}
        every = {trial.attack for trial in FULL_1.trials if trial.task == task.name}
        assert len(few) <= 10
        assert every == set(PAIRS)
    assert {trial.attack for trial in MINI_2.trials} >= set(PAIRS) - {"bim", "mi-fgsm"}


def test_a_model_is_never_its_own_surrogate() -> None:
    transfers = [one for one in plan_cells(MINI_2, catalog(), Settings()) if one.cell.attack == "transfer"]
    assert len(transfers) == 15
    for planned in transfers:
        assert len(planned.surrogates) == 2
        assert planned.cell.model not in planned.surrogates
        assert planned.cell.model + "=" not in str(planned.cell.options["surrogates"])


def test_cells_of_a_plain_run_have_no_options_and_keep_their_ids() -> None:
    cells = plan_cells(MINI_1, catalog(), Settings())
    assert all(not one.cell.options for one in cells)
    assert b"options" not in canonical_json(cells[0].cell)
    assert any(one.cell.options.get("curve") == "0.25 0.5 2" for one in plan_cells(MINI_2, catalog(), Settings()))


def test_mini_1_measures_with_several_losses_and_searches() -> None:
    """One loss is never enough: each is blind to something."""
    attacks = {
        task.name: [(t.attack, *sorted(t.params.items())) for t in MINI_1.trials if t.task == task.name]
        for task in catalog().tasks()
    }
    for names in attacks.values():
        assert {NONE, "noise", "fgsm", "pgd", "hotflip"} <= {name for name, *_ in names}
    assert {"apgd-ce", "apgd-dlr", "apgd-t"} <= {name for name, *_ in attacks["image-digits"]}
    assert ("pgd", ("loss", "frame-margin"), ("steps", 20)) in attacks["speech-digits"]
    assert "apgd-ce" in {name for name, *_ in attacks["speech-digits"]}
    assert "greedy-words" in {name for name, *_ in attacks["sentiment-reviews"]}
    assert {("force", ("action", 0)), ("force", ("action", 1))} <= set(attacks["control-cartpole"])


def test_noise_and_forced_actions_have_budget_curves() -> None:
    curved = {(t.task, t.attack) for t in MINI_2.trials if t.curve}
    assert {("control-cartpole", "noise"), ("control-cartpole", "force"), ("control-cartpole", "pgd")} <= curved
