"""What tasks with classes say of scores: how they are judged, and which form they must have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adversarial.inputs import Scores
from tasks.measuring.batches import Outcomes


def class_outcomes(
    scores: Scores, labels: Iterable[object], columns: Mapping[str, tuple[float, ...]] | None = None
) -> Outcomes:
    """1 for each row that is decided as its label says, and 0 for others; scores that are not finite decide nothing."""
    rows = zip(scores.finite().tolist(), scores.values.argmax(1).tolist(), labels, strict=True)
    right = tuple(float(finite and decision == label) for finite, decision, label in rows)
    return Outcomes(right, (1.0,) * len(right), columns or {})


def class_fault(scores: Scores, classes: int | None, others: int) -> str:
    """What is wrong with the form of scores, [batch, classes and others]; empty where nothing is.

    others: scores after those of the classes, for what a model says that is none of them.
    """
    expected = [len(scores.values), (classes or 0) + others]
    found = list(scores.values.shape)
    return "" if found == expected else f"scores have the shape {found}, expected {expected}"
