"""Builders of small records for the tests of the leaderboard: one task of each kind of metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboard.records.metric import Metric
from leaderboard.records.plan import JournalEntry, Plan
from leaderboard.records.record import Cell, Cost, Diagnostic, Examples, Result


ACCURACY = Metric("accuracy", 0.0, 1.0)
WORD_ERROR_RATE = Metric("word error rate", 1.0, 0.0)
RETURN = Metric("return", 20.0, 500.0)

IMAGE, SPEECH, CONTROL = "image-digits", "speech-digits", "control-cartpole"
PIXELS, WAVEFORM, OBSERVATIONS = "pixels-linf:0.1", "waveform-snr:30", "observations-linf:0.2"
METRICS = {IMAGE: ACCURACY, SPEECH: WORD_ERROR_RATE, CONTROL: RETURN}
THREATS = {IMAGE: PIXELS, SPEECH: WAVEFORM, CONTROL: OBSERVATIONS}
WORDS = 4.0


def cell(
    task: str = IMAGE,
    model: str = "undefended",
    attack: str = "pgd",
    threat: str | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    defense: str = "none",
    model_hash: str | None = None,
) -> Cell:
    """A cell of a small suite; the clean pass is attack `none` under threat `none`."""
    access = "none" if attack.startswith("noise") else "gradient"
    default = "none" if attack == "none" else f"{THREATS[task]}@{access}"
    return Cell(
        task=task,
        data_hash="d" * 64,
        split="test",
        limit=None,
        model=model,
        model_hash=model_hash or model,
        defense=defense,
        attack=attack,
        params=dict(params or {}),
        threat=threat or default,
        goal="worst",
        seed=seed,
        dtype="float32",
        batch_size=8,
        device="cpu",
        threads=1,
        plugins={},
        versions={"robustarena": "1"},
    )


def examples(task: str, values: Sequence[float], columns: Mapping[str, Sequence[float]] | None = None) -> Examples:
    """Examples named e000, e001, ...; for speech each reference has four words."""
    count = len(values)
    return Examples(
        ids=tuple(f"e{index:03}" for index in range(count)),
        values=tuple(float(value) for value in values),
        weights=(WORDS if task == SPEECH else 1.0,) * count,
        distances=(0.0,) * count,
        columns={name: tuple(float(number) for number in column) for name, column in (columns or {}).items()},
    )


def ok(
    of: Cell,
    values: Sequence[float],
    *,
    columns: Mapping[str, Sequence[float]] | None = None,
    diagnostics: tuple[Diagnostic, ...] = (),
) -> Result:
    """A measured cell; it cost one forward and one backward an example."""
    return Result(
        id=of.id,
        cell=of,
        status="ok",
        metric=METRICS[of.task],
        examples=examples(of.task, values, columns),
        cost=Cost(forwards=len(values), backwards=len(values)),
        diagnostics=diagnostics,
    )


def without_number(of: Cell, status: Any, reason: str = "did not fit") -> Result:
    """A cell that is n/a, failed or timed out."""
    return Result(id=of.id, cell=of, status=status, reason=reason)


def plan(results: Sequence[Result], missing: Sequence[Cell] = (), *, labels: bool = True) -> Plan:
    """A plan of these cells, ranked by the threat of each task."""
    cells = [*(result.cell for result in results), *missing]
    return Plan(
        suite="tiny@1",
        ranking_threats={task: f"{threat}@gradient" for task, threat in THREATS.items()},
        unrealisable_threats=("embeddings-l2:0.5",),
        cells=tuple(one.id for one in cells),
        labels={one.id: one.label for one in cells} if labels else {},
    )


def by_id(results: Sequence[Result]) -> dict[str, Result]:
    return {result.id: result for result in results}


def journal_entry(result: Result, seconds: float = 1.5) -> JournalEntry:
    return JournalEntry(
        id=result.id,
        label=result.cell.label,
        status=result.status,
        finished="2030-01-01T00:00:00Z",
        seconds=seconds,
        peak_memory_bytes=300_000_000,
    )


def first(count: int, total: int = 40, *, good: float = 1.0, bad: float = 0.0) -> list[float]:
    """`count` good values, then bad ones."""
    return [good] * count + [bad] * (total - count)


def small_board() -> tuple[list[Result], list[Cell]]:
    """Three entries on three tasks with every kind of cell; the cells without a record come second."""
    results = [
        ok(cell(attack="none"), first(39)),
        ok(cell(attack="noise"), first(36)),
        ok(cell(attack="pgd"), first(4)),
        without_number(cell(attack="universal"), "n/a", "no fit split in this task"),
        ok(cell(attack="pgd", threat="embeddings-l2:0.5@gradient"), first(2)),
        ok(cell(model="adversarial-training", attack="none"), first(36)),
        ok(cell(model="adversarial-training", attack="noise"), first(35)),
        ok(cell(model="adversarial-training", attack="pgd"), first(27)),
        without_number(cell(model="adversarial-training", attack="universal"), "n/a", "no fit split in this task"),
        ok(cell(model="adversarial-training", attack="pgd", threat="embeddings-l2:0.5@gradient"), first(9)),
        ok(cell(model="masked-gradient", attack="none"), first(38)),
        ok(cell(model="masked-gradient", attack="noise"), first(20)),
        ok(cell(model="masked-gradient", attack="pgd"), first(38)),
        without_number(cell(model="masked-gradient", attack="universal"), "n/a", "no fit split in this task"),
    ]
    for model, clean, attacked in (("undefended", 38, 8), ("adversarial-training", 34, 22)):
        results += [
            ok(cell(SPEECH, model, "none"), first(clean, good=0, bad=1), columns=_edits(clean)),
            ok(cell(SPEECH, model, "pgd"), first(attacked, good=0, bad=3), columns=_edits(attacked, 3)),
        ]
    for model, clean, attacked in (("undefended", 500, 60), ("adversarial-training", 470, 310)):
        results += [
            ok(cell(CONTROL, model, "none"), [clean - index % 5 for index in range(40)]),
            ok(cell(CONTROL, model, "noise"), [clean - 7 * (index % 5) for index in range(40)]),
            ok(cell(CONTROL, model, "pgd"), [attacked + 9 * (index % 7) for index in range(40)]),
        ]
    results += [
        ok(cell(CONTROL, "masked-gradient", "none"), [450 - index % 9 for index in range(40)]),
        without_number(cell(CONTROL, "masked-gradient", "pgd"), "failed", "RuntimeError: gradient is not finite"),
        ok(cell(CONTROL, "masked-gradient", "noise"), [400 + index % 9 for index in range(40)]),
    ]
    return results, [cell(SPEECH, "masked-gradient", "pgd"), cell(SPEECH, "masked-gradient", "none")]


def _edits(right: int, wrong: float = 1.0) -> dict[str, list[float]]:
    return {
        "substitutions": first(right, good=0, bad=wrong),
        "insertions": first(right, good=0, bad=0),
        "deletions": first(right, good=0, bad=0),
    }
