"""The surfaces that ship: where an attacker may touch an input. Imports no torch."""

from __future__ import annotations

from typing import Final

from adversarial.entries import SurfaceEntry


ENTRIES: Final = (
    SurfaceEntry(
        name="pixels",
        summary="images in [0, 1]",
        norms=("linf", "l2", "l1", "l0"),
        unit="pixel units, under l0 a number of values",
        offers=frozenset({"steps", "bounds", "classes"}),
        code="adversarial.spaces.surfaces:pixels",
        largest={"linf": 1.0},
    ),
    SurfaceEntry(
        name="waveform",
        summary="16-bit audio as floats in [-1, 1)",
        norms=("linf", "l2", "l1", "l0", "snr"),
        unit="full scale, under l0 a number of samples, under snr decibels",
        offers=frozenset({"steps", "bounds", "classes", "transcripts"}),
        code="adversarial.spaces.surfaces:waveform",
    ),
    SurfaceEntry(
        name="words",
        summary="words, replaced by others of the same meaning",
        norms=("l0",),
        unit="a number of words",
        offers=frozenset({"candidates", "classes"}),
    ),
    SurfaceEntry(
        name="characters",
        summary="words, replaced by slips on a keyboard",
        norms=("l0",),
        unit="a number of words",
        offers=frozenset({"candidates", "classes"}),
    ),
    SurfaceEntry(
        name="embeddings",
        summary="the vectors of words",
        norms=("linf", "l2", "l1"),
        unit="the vectors' own unit, over a whole sentence",
        offers=frozenset({"steps", "classes"}),
        code="adversarial.spaces.surfaces:embeddings",
        realisable=False,
    ),
    SurfaceEntry(
        name="observations",
        summary="what an agent sees",
        norms=("linf", "l2", "l1", "l0"),
        unit="multiples of the environment's scale, under l0 a number of values",
        offers=frozenset({"steps", "bounds", "classes", "episodes"}),
    ),
    SurfaceEntry(
        name="rewards",
        summary="rewards while an agent learns",
        norms=("linf", "l2", "l1", "l0"),
        unit="the rewards' own unit, under l0 a number of steps",
        offers=frozenset(),
    ),
    SurfaceEntry(
        name="training-set",
        summary="examples that a model learns on",
        norms=("linf", "l2", "l1", "l0"),
        unit="the inputs' own unit, under l0 a number of examples",
        offers=frozenset(),
    ),
)
