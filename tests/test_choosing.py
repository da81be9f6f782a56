"""What a command line asks for: attacks that a suite lacks, threats of one's own, plugins, and cells without a path."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from adversarial.entries import AttackEntry, SurfaceEntry
from adversarial.errors import DataError, InvalidOption, InvalidThreat, UnknownName
from adversarial.registry import Registry
from adversarial.signatures import check_parameters, parameters
from adversarial.surfaces import ENTRIES as SURFACES
from adversarial.threats import Threat
from benchmarks.catalog import catalog
from benchmarks.cli.main import cli
from benchmarks.running.choosing import choose
from benchmarks.running.filters import Filters
from benchmarks.running.measuring import measure
from benchmarks.running.planning import Settings, as_plan, plan_cells
from benchmarks.running.workplace import Workplace
from benchmarks.suites.deriving import attacked_by
from benchmarks.suites.mini_1 import SUITE as MINI_1
from benchmarks.suites.mini_2 import SUITE as MINI_2
from benchmarks.suites.suite import NONE, Suite, TrialSpec


ROOT = Path(__file__).parent.parent
TASKS = {"image-digits", "speech-digits", "sentiment-reviews", "control-cartpole"}
PLUGIN = """
from adversarial.entries import AttackEntry


def mine(problem, *, draws=3):
    problem.submit(problem.space.null())


def register(registry):
    registry.add(AttackEntry("mine", mine, "nothing at all", "scores"))
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "own_attack.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return path


def test_a_plugins_attack_meets_every_task_under_the_threat_that_ranks_it_on_a_board_of_its_own(plugin: Path) -> None:
    chosen = choose(catalog([plugin]), "mini@1", Filters(attacks=("mine",)), Settings(limit=4), plugins=[plugin])
    assert chosen.suite.name == "mini@1+mine"
    assert as_plan(chosen.suite, chosen.planned, Settings(limit=4)).suite == "mini@1+mine-limit4"
    assert {cell.cell.task for cell in chosen.cells} == TASKS
    for cell in chosen.cells:
        own, ranking = cell.cell, Threat.parse(MINI_1.ranking_threats[cell.cell.task])
        assert own.attack in (NONE, "mine")
        assert own.threat == (NONE if own.attack == NONE else str(ranking.with_access("scores")))
        assert own.params == ({} if own.attack == NONE else {"draws": 3})
        assert not cell.reason
    clean = {cell.id for cell in chosen.cells if cell.cell.attack == NONE}
    assert clean <= {cell.id for cell in plan_cells(MINI_1, catalog(), Settings(limit=4))}  # are not measured again


def test_an_attack_of_the_suite_is_a_filter_and_no_board_of_its_own() -> None:
    chosen = choose(catalog(), "mini@1", Filters(attacks=("pgd", "fgsm")), Settings())
    assert chosen.suite is MINI_1
    assert {cell.cell.attack for cell in chosen.cells} == {"pgd", "fgsm"}
    assert len(chosen.planned) == len(plan_cells(MINI_1, catalog(), Settings()))


def test_attacks_that_fit_somewhere_are_left_out_elsewhere() -> None:
    chosen = choose(catalog(), "mini@1", Filters(attacks=("deepfool", "pgd")), Settings())
    assert chosen.suite.name == "mini@1+deepfool+pgd"
    found = {(cell.cell.task, cell.cell.attack) for cell in chosen.cells} - {(task, NONE) for task in TASKS}
    continuous = TASKS - {"sentiment-reviews"}
    assert found == {(task, "pgd") for task in continuous} | {
        (task, "deepfool") for task in continuous - {"speech-digits"}
    }


def test_a_threat_takes_the_place_of_those_that_rank_and_leaves_the_tasks_that_it_fits() -> None:
    chosen = choose(catalog(), "mini@1", Filters(attacks=("pgd",)), Settings(), threat="pixels-linf:8/255")
    assert chosen.suite.name == "mini@1+pgd+pixels-linf-0.03137254901960784"
    assert dict(chosen.suite.ranking_threats) == {"image-digits": "pixels-linf:0.03137254901960784"}
    assert {cell.cell.task for cell in chosen.cells} == {"image-digits"}


def test_what_cannot_be_attacked_so_says_why() -> None:
    hotflip = catalog().attack("hotflip")
    with pytest.raises(InvalidOption, match=r"nothing of mini@1 is left.*image-digits: hotflip needs words"):
        attacked_by(MINI_1, catalog(), [hotflip], "pixels-linf:0.1")
    with pytest.raises(UnknownName, match="no attack is called 'pdg'; did you mean 'pgd'"):
        choose(catalog(), "mini@1", Filters(attacks=("pdg",)), Settings())
    with pytest.raises(UnknownName, match="no surface is called 'pixel'; did you mean 'pixels'"):
        choose(catalog(), "mini@1", Filters(attacks=("pgd",)), Settings(), threat="pixel-linf:0.1")
    with pytest.raises(InvalidThreat, match="write pixels-linf:8/255"):
        choose(catalog(), "mini@1", Filters(attacks=("pgd",)), Settings(), threat="pixels-linf:8")


def test_a_registered_surface_is_a_threats_like_those_that_ship() -> None:
    registry = Registry()
    registry.add(*SURFACES)
    registry.add(SurfaceEntry("table", "rows of numbers", ("l0", "l2"), "columns", frozenset({"steps"})))
    assert registry.threat("table-l0:3@scores<=9") == Threat("table", "l0", 3.0, "scores", 9)
    with pytest.raises(InvalidThreat, match="table cannot be bounded by linf"):
        registry.threat("table-linf:3")
    attack = AttackEntry("one", print, "", "gradient", frozenset({"steps", "bounds"}))
    assert registry.misfit(attack, registry.threat("table-l2:1")) == "one needs features with ends of their range"
    assert registry.misfit(attack, registry.threat("pixels-l2:1")) == ""
    with pytest.raises(UnknownName, match="no surface is called 'tables'; did you mean 'table'"):
        registry.threat("tables-l0:3")


def test_a_planned_cell_holds_no_path_of_this_machine() -> None:
    for suite in (MINI_1, MINI_2):
        for cell in plan_cells(suite, catalog(), Settings()):
            assert str(ROOT).encode() not in pickle.dumps(dataclasses.asdict(cell))


def test_a_plugin_is_part_of_the_cells_that_it_supplies_and_of_no_others(plugin: Path) -> None:
    registry = catalog([plugin])
    digest = hashlib.sha256(plugin.read_bytes()).hexdigest()
    cells = plan_cells(attacked_by(MINI_1, registry, [registry.attack("mine")]), registry, Settings())
    for cell in cells:
        assert cell.cell.plugins == ({} if cell.cell.attack == NONE else {"plugin own_attack.py": digest})
    assert all(not cell.cell.plugins for cell in plan_cells(MINI_1, registry, Settings()))


def test_a_worker_with_another_plugin_measures_nothing(plugin: Path, tmp_path: Path) -> None:
    registry = catalog([plugin])
    suite = attacked_by(MINI_1, registry, [registry.attack("mine")], "pixels-linf:0.1")
    cell = next(one for one in plan_cells(suite, registry, Settings(limit=2)) if one.cell.attack == "mine")
    assert measure(cell, Workplace.of([plugin])).result.status == "ok"
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / plugin.name
    other.write_text(PLUGIN + "# a change\n", encoding="utf-8")
    found = measure(cell, Workplace.of([other]))
    assert found.result.status == "failed"
    assert "another plugin own_attack.py" in found.result.reason
    assert found.machine_fault


def test_a_parameter_that_an_attack_does_not_take_is_named_with_those_that_it_does() -> None:
    with pytest.raises(InvalidOption, match=r"did you mean 'steps'.*it has steps, relative_step"):
        check_parameters(catalog().attack("pgd"), {"step": 3})


EXECUTOR = """
from adversarial.entries import ExecutorEntry
from benchmarks.running.executors import Serial


class Backwards(Serial):
    def run(self, cells, place, started):
        yield from super().run(list(cells)[::-1], place, started)


def register(registry):
    registry.add(ExecutorEntry("backwards", Backwards, "the last cell first"))
"""


def test_an_executor_of_ones_own_measures_a_suite(tmp_path: Path) -> None:
    path = tmp_path / "own_executor.py"
    path.write_text(EXECUTOR, encoding="utf-8")
    words = [
        "run",
        "mini@1",
        "--model",
        "image-digits/undefended",
        "--attack",
        "none",
        "--attack",
        "fgsm",
        "--limit",
        "2",
    ]
    done = CliRunner().invoke(cli, [*words, "--plugin", str(path), "--executor", "backwards", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    order = re.findall(r"\[\d/2\] ok +image-digits/undefended/(\w+)/", done.output)
    assert order == ["fgsm", "none"]  # planned cheapest first


def test_two_plugins_of_one_file_name_are_refused_and_one_twice_is_one(plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / plugin.name
    other.write_text(PLUGIN.replace("mine", "theirs"), encoding="utf-8")
    with pytest.raises(DataError, match=r"two plugin files are called own_attack\.py"):
        catalog([plugin, other])
    other.write_text(PLUGIN, encoding="utf-8")
    assert catalog([plugin, other]).attack("mine").name == "mine"


def test_a_parameter_without_a_default_is_refused() -> None:
    def attack(problem: object, steps: int) -> None: ...

    with pytest.raises(DataError, match="parameter steps without a default"):
        check_parameters(AttackEntry("one", attack, "", "gradient"), {})


def test_a_trial_says_what_its_attack_asks_for() -> None:
    """Noise under a threat that allows gradients would count as a search."""
    suite = Suite("toy@1", "", (TrialSpec("image-digits", "noise", "pixels-linf:0.1@gradient"),), {})
    with pytest.raises(InvalidOption, match=r"noise asks for none, and its trial is pixels-linf:0\.1@gradient"):
        plan_cells(suite, catalog(), Settings())


def test_a_threat_that_names_an_access_leaves_attacks_that_ask_for_no_more_and_has_a_board_of_its_own() -> None:
    found = attacked_by(MINI_1, catalog(), [catalog().attack("pgd")], "pixels-linf:0.1@gradient<=5")
    assert found.name == "mini@1+pgd+pixels-linf-0.1-within-5"
    assert {trial.threat for trial in found.trials} == {NONE, "pixels-linf:0.1@gradient<=5"}
    with pytest.raises(InvalidOption, match=r"pgd asks for gradient, and pixels-linf:0\.1@scores does not allow it"):
        attacked_by(MINI_1, catalog(), [catalog().attack("pgd")], "pixels-linf:0.1@scores")
    names = {attacked_by(MINI_1, catalog(), [catalog().attack("pgd")], f"waveform-snr:{db}").name for db in (5, -5)}
    assert len(names) == 2
    with pytest.raises(InvalidOption, match="no attacker outside of a model can change its embeddings"):
        attacked_by(MINI_1, catalog(), [catalog().attack("pgd")], "embeddings-l2:2")


def test_a_goal_that_an_attack_is_made_for_comes_with_it() -> None:
    found = attacked_by(MINI_1, catalog(), [catalog().attack("cw-ctc")])
    assert {(trial.task, trial.attack, trial.goal) for trial in found.trials if trial.attack != NONE} == {
        ("speech-digits", "cw-ctc", "target")
    }


def test_a_worker_with_other_surrogates_or_other_data_measures_nothing() -> None:
    cells = [one for one in plan_cells(MINI_2, catalog(), Settings(limit=2)) if one.cell.task == "image-digits"]
    transfer = next(one for one in cells if one.cell.attack == "transfer")
    other = msgspec.structs.replace(transfer.cell, options={**transfer.cell.options, "surrogates": "a=b c=d"})
    found = measure(dataclasses.replace(transfer, cell=other))
    assert (found.result.status, found.machine_fault) == ("failed", True)
    assert "other reference models" in found.result.reason
    moved = msgspec.structs.replace(transfer.cell, data_hash="0" * 64)
    assert "on other data" in measure(dataclasses.replace(transfer, cell=moved)).result.reason
    assert measure(transfer).result.status == "ok"


def test_a_plugin_runs_as_the_bytes_that_its_hash_is_of(tmp_path: Path) -> None:
    """A compiled file beside it is trusted by time and size, and both may be those of other code."""
    path = tmp_path / "quick.py"
    for draws in (3, 4):
        path.write_text(PLUGIN.replace("draws=3", f"draws={draws}"), encoding="utf-8")
        os.utime(path, (1, 1))
        assert parameters(catalog([path]).attack("mine")) == {"draws": draws}


def test_names_and_needs_are_checked_where_they_are_registered() -> None:
    with pytest.raises(DataError, match="needs are a set of steps"):
        AttackEntry("one", print, "", "scores", needs={"stepz"})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="access is one of gradient"):
        AttackEntry("one", print, "", "scoress")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="surface Mel: expected a name of small letters"):
        SurfaceEntry("Mel", "", ("l2",), "", frozenset())
    for entry in (3, AttackEntry("square/fast", print, "", "scores")):
        with pytest.raises(DataError, match=r"registers 3|a name is letters"):
            Registry().add(entry)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="NAME@VERSION"):
        Suite("my-suite@1", "", (), {})
