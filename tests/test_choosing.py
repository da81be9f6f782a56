"""What a command line asks for: attacks that a suite lacks, threats of one's own, plugins, and cells without a path."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from adversarial.entries import AttackEntry, SurfaceEntry
from adversarial.errors import InvalidOption, InvalidThreat, UnknownName
from adversarial.registry import Registry
from adversarial.signatures import check_parameters
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
from benchmarks.suites.suite import NONE


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
