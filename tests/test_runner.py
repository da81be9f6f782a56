"""The runner: every status, resuming, and cells that do not disturb each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from adversarial.errors import StoreError, UnknownName
from adversarial.threats import Threat
from benchmarks.catalog import catalog
from benchmarks.running.cells import PlannedCell
from benchmarks.running.executors import Executor, Process, Serial
from benchmarks.running.filters import Filters
from benchmarks.running.measuring import Measured
from benchmarks.running.planning import Settings, plan_cells
from benchmarks.running.runner import Summary, missing, run_cells, with_timeout
from benchmarks.running.workplace import Workplace
from benchmarks.suites.suite import NONE, Suite, TrialSpec, suite_named
from leaderboard.records.canonical import ResultError
from leaderboard.records.record import Result, decode_result
from leaderboard.records.run_folder import RunFolder


PLUGIN = Path(__file__).parent / "plugins" / "misbehaving.py"
PLACE = Workplace.of([PLUGIN])
THREAT = "pixels-linf:0.15@gradient"


class Silent:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    def started(self, planned: PlannedCell) -> None:
        self.labels.append(planned.cell.label)

    def finished(self, planned: PlannedCell, measured: Measured) -> None: ...


def planned_cells(*attacks: str, task: str = "image-digits", threat: str = THREAT) -> list[PlannedCell]:
    """The cells of some attacks on one model, eight examples each."""
    registry = catalog([PLUGIN])

    def reached(name: str) -> str:
        return NONE if name == NONE else str(Threat.parse(threat).with_access(registry.attack(name).access))

    trials = tuple(TrialSpec(task, name, reached(name), batch_size=4) for name in attacks)
    suite = Suite("toy@1", "", trials, {task: threat})
    cells = plan_cells(suite, registry, Settings(limit=8))
    return [cell for cell in cells if cell.cell.model == "undefended"]


def run(
    cells: Sequence[PlannedCell], folder: RunFolder, executor: Executor | None = None
) -> tuple[Summary, dict[str, Result]]:
    summary = run_cells(cells, PLACE, folder, executor or Serial(), Silent())
    results = {cell.cell.attack: folder.read_result(cell.id) for cell in cells}
    return summary, {name: result for name, result in results.items() if result is not None}


def test_a_second_run_measures_nothing_and_a_deleted_record_only_itself(tmp_path: Path) -> None:
    cells, folder = planned_cells(NONE, "noise", "fgsm"), RunFolder(tmp_path)
    assert run(cells, folder)[0] == Summary(0, {"ok": 3})
    before = {path.name: path.read_bytes() for path in (tmp_path / "cells").iterdir()}
    assert run(cells, folder)[0] == Summary(3, {})
    folder.record_path(cells[1].id).unlink()
    progress = Silent()
    run_cells(cells, PLACE, folder, Serial(), progress)
    assert progress.labels == [cells[1].cell.label]
    assert {path.name: path.read_bytes() for path in (tmp_path / "cells").iterdir()} == before


@pytest.mark.parametrize("executor", [Serial(), Process(2)], ids=["serial", "process"])
def test_a_failing_cell_keeps_its_reason_and_never_stops_the_others(tmp_path: Path, executor: Executor) -> None:
    cells = planned_cells(NONE, "crash", "fgsm", "hotflip", "overreach", "overwrite")
    summary, results = run(cells, RunFolder(tmp_path), executor)
    assert summary.statuses == {"ok": 2, "failed": 3, "n/a": 1}
    assert not summary.clean
    assert results["crash"].reason == "ZeroDivisionError: a bug of the attack's own"
    assert "needs words" in results["hotflip"].reason
    assert "over budget in 4 of 4 rows" in results["overreach"].reason
    assert "changed its input" in results["overwrite"].reason
    assert results["fgsm"].examples is not None


def test_an_attack_that_changes_padding_fails_its_cell(tmp_path: Path) -> None:
    cells = planned_cells("smear", task="speech-digits", threat="waveform-snr:20@gradient")
    _, results = run(cells, RunFolder(tmp_path))
    assert results["smear"].status == "failed"
    assert "padding" in results["smear"].reason


@pytest.mark.slow
def test_a_dead_worker_costs_one_cell(tmp_path: Path) -> None:
    cells = planned_cells(NONE, "vanish", "fgsm")
    summary, results = run(cells, RunFolder(tmp_path), Process(1))
    assert summary.statuses == {"ok": 2, "failed": 1}
    assert "exit code 9" in results["vanish"].reason


def test_a_cell_out_of_time_says_so(tmp_path: Path) -> None:
    cells = with_timeout(planned_cells("dawdle", "fgsm"), 1.0)
    _, results = run(cells, RunFolder(tmp_path))
    assert results["dawdle"].status == "timeout"
    assert "1 s" in results["dawdle"].reason
    assert results["fgsm"].status == "ok"


@pytest.mark.slow
def test_a_worker_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.running.executors.GRACE_SECONDS", 2.0)
    cells = with_timeout(planned_cells("hang", "fgsm"), 20.0)
    _, results = run(cells, RunFolder(tmp_path), Process(1))
    assert results["hang"].status == "timeout"
    assert results["fgsm"].status == "ok"


def test_failed_cells_are_tried_again_and_final_ones_are_not(tmp_path: Path) -> None:
    cells, folder = planned_cells("crash", "fgsm", "hotflip"), RunFolder(tmp_path)
    run(cells, folder)
    assert [cell.cell.attack for cell in missing(cells, folder)] == ["crash"]


def test_a_corrupt_record_is_an_error_and_nothing_is_lost(tmp_path: Path) -> None:
    cells, folder = planned_cells(NONE, "fgsm"), RunFolder(tmp_path)
    run(cells, folder)
    path = folder.record_path(cells[0].id)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResultError, match=cells[0].id[:12]):
        run(cells, folder)
    assert path.read_bytes() == whole[: len(whole) // 2]
    assert decode_result(folder.record_path(cells[1].id).read_bytes()).status == "ok"


def test_a_folder_that_cannot_be_written_stops_the_run_without_a_partial_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, folder = planned_cells(NONE, "noise"), RunFolder(tmp_path)
    run(cells[:1], folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        run(cells, folder)
    monkeypatch.undo()
    kept = sorted(path.name for path in (tmp_path / "cells").iterdir())
    assert kept == [f"{cells[0].id}.json"]


def test_records_hold_what_the_evidence_file_hashes_to(tmp_path: Path) -> None:
    cells, folder = planned_cells("fgsm"), RunFolder(tmp_path)
    _, results = run(cells, folder)
    ((name, digest),) = results["fgsm"].artifacts.items()
    assert name == f"{cells[0].id}.safetensors"
    assert folder.read_artifact(cells[0].id, digest)


def test_filters_name_the_nearest() -> None:
    cells = [cell.cell for cell in planned_cells(NONE, "fgsm")]
    with pytest.raises(UnknownName, match="did you mean 'fgsm'"):
        Filters(attacks=("fgsmm",)).check(cells)
    assert Filters(attacks=("f*",)).admit(cells[1])


def test_unknown_suites_name_the_nearest() -> None:
    assert suite_named(catalog(), "mini").name == "mini@2"
    with pytest.raises(UnknownName, match="did you mean 'mini@2'"):
        suite_named(catalog(), "mini@7")


def test_every_field_of_a_cell_is_part_of_its_identity() -> None:
    cell = planned_cells("fgsm")[0].cell
    import msgspec

    for field in cell.__struct_fields__:
        value = getattr(cell, field)
        other = {**value, "x": "1"} if isinstance(value, dict) else 7 if isinstance(value, int | None) else value + "x"
        assert msgspec.structs.replace(cell, **{field: other}).id != cell.id, field
