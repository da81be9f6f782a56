"""The device that was named is the one that measures; a cell's identity names its class alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from forging import Honest
from forging import measured as made

from adversarial.errors import InvalidOption
from benchmarks.catalog import catalog
from benchmarks.cli.main import cli
from benchmarks.running import executors, measuring
from benchmarks.running.devices import checked_device
from benchmarks.running.measuring import measure
from benchmarks.running.planning import Settings, as_plan, plan_cells
from benchmarks.running.workplace import Workplace
from benchmarks.suites.suite import suite_named
from benchmarks.verifying import cells as rechecking
from benchmarks.verifying.bundles import verify


TASK = "image-digits"


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


class Stop(Exception):
    """Raised once the device was seen: none is there to go on with."""


class SeeingTask:
    """Stands for any task, and remembers on which devices it was asked to work."""

    name = TASK

    def __init__(self) -> None:
        self.victims: list[torch.device] = []
        self.trials: list[torch.device] = []

    def load_victim(self, _folder: Path, device: torch.device) -> object:
        self.victims.append(device)
        return object()

    def measure(self, _victim: object, trial: Any, _ledger: object) -> None:
        self.trials.append(trial.device)
        raise Stop


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_model_surrogates_and_trial_are_on_the_device_that_was_named(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, task = suite_named(catalog(), "mini@2"), SeeingTask()
    cells = plan_cells(suite, catalog(), Settings(device=checked_device(device), limit=8))
    (planned,) = (
        one for one in cells if one.group == (TASK, "undefended") and one.cell.attack == "transfer" and not one.reason
    )
    assert planned.surrogates
    assert planned.cell.device == device.partition(":")[0]
    monkeypatch.setattr(measuring, "_task", lambda *_: task)
    measuring._loaded.cache_clear()
    found = measure(planned, Workplace.of(device=device)).result
    measuring._loaded.cache_clear()
    assert found.reason.startswith("Stop"), found.reason
    first = torch.device("cuda:0" if device == "cuda" else device)
    assert set(task.victims) == set(task.trials) == {first}
    assert len(task.victims) == 1 + len(planned.surrogates)


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
    ("device", "asked", "devices"),
    [
        ("cuda", None, ["cuda:0", "cuda:1"]),
        ("cuda", 8, ["cuda:0", "cuda:1"]),
        ("cuda", 1, ["cuda:0"]),
        ("cuda:1", None, ["cuda:1"]),
        ("cuda:1", 8, ["cuda:1"]),
        ("cpu", 3, ["cpu", "cpu", "cpu"]),
    ],
)
def test_an_accelerator_has_one_worker_and_a_worker_one_accelerator(
    device: str, asked: int | None, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, ...]] = []

    class Worker:
        """Ends the cell that it is given at once."""

        connection = planned = group = None

        def __init__(self, place: Workplace) -> None:
            given.append(place.devices)

        def give(self, planned: Any) -> None:
            self.planned = planned

        def finished(self, ready: bool) -> Any:  # noqa: ARG002
            planned, self.planned = self.planned, None
            return planned, None

        def stop(self) -> None: ...

    monkeypatch.setattr(executors, "_Worker", Worker)
    monkeypatch.setattr(executors, "wait", lambda connections, timeout: connections)  # noqa: ARG005
    cells = plan_cells(suite_named(catalog(), "mini@1"), catalog(), Settings(device=device, limit=8))
    place, process = Workplace.of(device=device), executors.Process(asked)
    assert process.workers(place) == len(devices)
    done = list(process.run(cells, place, lambda planned: None))  # noqa: ARG005
    assert len(done) == len(cells)
    assert given == [(name,) for name in devices]


def test_devices_of_one_class_share_their_cells_and_their_board() -> None:
    one, other = (Settings(device=name, limit=8) for name in ("cuda:0", "cuda:1"))
    cells = [plan_cells(suite_named(catalog(), "mini@1"), catalog(), settings) for settings in (one, other)]
    plans = [as_plan(suite_named(catalog(), "mini@1"), found, settings) for found, settings in zip(cells, (one, other))]  # noqa: B905
    assert plans[0] == plans[1]
    assert plans[0].suite.endswith("-cuda")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return made(tmp_path_factory.mktemp("honest"), TASK, limit=8)


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize("rerun", [0, 1])
def test_verification_asks_the_model_where_it_is_told_to(
    rerun: int, honest: Honest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The devices that re-scoring and measuring again are given; the CPU does the work, for there is no other here."""
    seen: dict[str, set[torch.device]] = {"loaded": set(), "trial": set(), "measured": set()}
    from tasks import models as loading

    load, trial, measured = loading.load_source, rechecking._trial, rechecking.measure

    def on_cpu(source: Any, task: Any, registry: Any, device: torch.device, data: Any = None) -> Any:
        seen["loaded"].add(device)
        return load(source, task, registry, torch.device("cpu"), data)

    def of_trial(planned: Any, place: Any) -> Any:
        import dataclasses

        found = trial(planned, place)
        seen["trial"].add(found.device)
        return dataclasses.replace(found, device=torch.device("cpu"))

    def of_measure(planned: Any, place: Any) -> Any:
        seen["measured"] |= set(map(torch.device, place.devices))
        return measured(planned, place.on("cpu"))

    monkeypatch.setattr(loading, "load_source", on_cpu)
    monkeypatch.setattr(rechecking, "_trial", of_trial)
    monkeypatch.setattr(rechecking, "measure", of_measure)
    verdict = verify(honest.bundle(tmp_path), catalog(), rerun=rerun, nonce="00", device="cuda:1")
    assert verdict.level == ("re-run" if rerun else "re-scored"), verdict.reasons
    assert seen["trial"] == {torch.device("cuda:1")}
    assert torch.device("cuda:1") in seen["loaded"]
    assert seen["measured"] <= {torch.device("cuda:1")}
    assert bool(seen["measured"]) >= bool(rerun)


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("foo", "no device is called 'foo'; expected cpu, cuda or cuda:N"),
        ("cuda:", "no device is called 'cuda:'"),
        ("cuda:-1", "no device is called"),
        ("cuda:01", "no device is called"),
        ("", "no device is called ''"),
        ("cuda:2", "there are 2 here, cuda:0 to cuda:1"),
    ],
)
def test_other_devices_are_refused(name: str, said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        checked_device(name)


@pytest.mark.parametrize("command", ["plan mini@1", "run mini@1", "check torch:x --task image-digits", "verify x.rab"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, [*command.split(), "--device", "cuda"])
    assert isinstance(done.exception, InvalidOption), done.output
    assert "torch finds no CUDA device here" in str(done.exception)
    assert not list(tmp_path.iterdir())
