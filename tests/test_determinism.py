"""Section 4 of the design, word by word: the same bytes for any order, any workers, killed or not; and across batch
sizes on the reference models, nearly all examples agree and the others are listed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from adversarial.attacks.hotflip import hotflip
from adversarial.attacks.pgd import pgd
from adversarial.ledger import Ledger
from adversarial.registry import resolve
from adversarial.threats import Threat
from benchmarks.catalog import catalog
from benchmarks.running.cells import PlannedCell
from benchmarks.running.executors import Executor, Process, Serial
from benchmarks.running.filters import Filters
from benchmarks.running.planning import Settings, plan_cells
from benchmarks.running.runner import run_cells
from benchmarks.running.workplace import NOWHERE
from benchmarks.suites.mini_1 import SUITE as MINI_1
from leaderboard.records.run_folder import RunFolder
from tasks.measuring.protocol import Task, Trial


ROOT = Path(__file__).parent.parent


class Silent:
    def started(self, planned: PlannedCell) -> None: ...

    def finished(self, planned: PlannedCell, measured: object) -> None: ...


def cells() -> list[PlannedCell]:
    """Every attack on one model of every task, a few examples each."""
    filters = Filters(models=("adversarial-training",))
    planned = plan_cells(MINI_1, catalog(), Settings(limit=3))
    return [cell for cell in planned if filters.admit(cell.cell)]


def records(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "cells").iterdir())}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("reference")
    run_cells(cells(), NOWHERE, RunFolder(folder), Serial(), Silent())
    return records(folder)


@pytest.mark.slow
@pytest.mark.parametrize("executor", [Serial(), Process(2)], ids=["reversed", "two-workers"])
def test_any_order_and_any_number_of_workers_give_the_same_bytes(
    reference: dict[str, bytes], tmp_path: Path, executor: Executor
) -> None:
    run_cells(cells()[::-1], NOWHERE, RunFolder(tmp_path), executor, Silent())
    assert records(tmp_path) == reference


@pytest.mark.slow
def test_a_killed_run_loses_the_cells_in_flight_and_goes_on_to_the_same_bytes(
    reference: dict[str, bytes], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "robustarena", "run", "mini@1", "--limit", "3", "--out", str(tmp_path)]
    command += ["--model", "adversarial-training", "--executor", "serial"]
    kills = 0
    for wanted in (1, 4, 9):
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while child.poll() is None and time.monotonic() < deadline:
            if len(list(tmp_path.glob("cells/*.json"))) >= wanted:
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        child.wait(timeout=60)
    assert kills == 3
    done = {name: data for name, data in records(tmp_path).items() if name.endswith(".json")}
    assert done.items() <= reference.items()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    left = {name: data for name, data in records(tmp_path).items() if not name.startswith(".")}
    assert left == reference


# Per task: the threat, the attack, examples, and two batch sizes.
AGREEMENT = {
    "image-digits": ("pixels", partial(pgd, steps=20), 400, (400, 37), 0.99),
    "speech-digits": ("waveform", partial(pgd, steps=50), 32, (32, 1), 0.97),
    "sentiment-reviews": ("words", partial(hotflip, steps=8), 340, (128, 17), 0.99),
    "control-cartpole": ("observations", partial(pgd, steps=10), 20, (20, 3), 0.95),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", AGREEMENT)
def test_batch_sizes_agree_on_the_reference_models(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Kernels round differently for other shapes, so a row near its decision may differ; each one is printed with
    the distance between its two outcomes."""
    _, attack, limit, sizes, share = AGREEMENT[name]
    first, second = (outcomes(name, attack, limit, size) for size in sizes)
    differing = [(key, first[key], second[key]) for key in first if first[key] != second[key]]
    with capsys.disabled():
        for key, one, other in differing:
            print(f"\n{name} {key}: {one:g} at batch {sizes[0]}, {other:g} at {sizes[1]}, margin {abs(one - other):g}")
    assert len(differing) <= (1 - share) * len(first)


def outcomes(name: str, attack: partial[None], limit: int, batch_size: int) -> dict[str, float]:
    entry = catalog().task(name)
    task: Task = resolve(entry.code)()
    victim = task.load_victim(Path(entry.folder) / "undefended", torch.device("cpu"))
    threat = Threat.parse(MINI_1.ranking_threats[name])
    goal = "worst" if name == "speech-digits" else "flip"
    trial = Trial(threat, attack, goal=goal, limit=limit, batch_size=batch_size)
    measured = task.measure(victim, trial, Ledger())
    return dict(zip(measured.examples.ids, measured.examples.values, strict=True))


def test_no_attack_touches_the_global_generator() -> None:
    state = torch.random.get_rng_state()
    outcomes("image-digits", partial(pgd, steps=2, restarts=2), 8, 8)
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_problem_is_the_only_argument_that_an_attack_needs() -> None:
    needed = {"test": ("problem", "Problem"), "fit": ("problems", "Callable[[], Iterator[Problem]]")}
    for entry in catalog().attacks():
        function = resolve(entry.code)
        name, kind = needed[entry.stage]
        assert function.__code__.co_varnames[: function.__code__.co_argcount] == (name,)
        assert function.__annotations__[name] == kind
