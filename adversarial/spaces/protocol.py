"""What an attack may know of the place it works in. A perturbation is always a tensor, here called d."""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

from torch import Tensor

from adversarial.inputs import Inputs
from adversarial.keys import Keys


@runtime_checkable
class Space(Protocol):
    """The geometry of one batch under one threat."""

    @property
    def inputs(self) -> Inputs:
        """The undisturbed batch."""

    @property
    def radius(self) -> Tensor:
        """The largest allowed distance of each row, float32 [batch]; inf where unbounded."""

    def null(self) -> Tensor:
        """The perturbation that changes nothing."""

    def sample(self, keys: Keys, distribution: str = "uniform") -> Tensor:
        """A random perturbation inside the budget."""

    def project(self, d: Tensor) -> Tensor:
        """A perturbation inside the budget near d; d itself where it is inside."""

    def apply(self, d: Tensor) -> Inputs:
        """The disturbed batch, differentiable in d in a continuous space. Never clips d into the budget."""

    def distance(self, inputs: Inputs) -> Tensor:
        """How far each row of `inputs` is from the undisturbed one, float64 [batch], from the inputs alone; inf where
        it is not an input at all: outside of the input range, a word that is no candidate."""

    def tolerance(self) -> Tensor:
        """What a distance may exceed its radius by for float32's sake: 1e-6 of the input range, float64 [batch]."""

    def intact(self, inputs: Inputs) -> Tensor:
        """bool [batch]: whether everything that must not change (padding, lengths) is unchanged."""

    def norm(self, d: Tensor) -> Tensor:
        """The size of each row of d in the units of the radius, float32 [batch]; what `distance` is, but for
        rounding."""

    def take(self, rows: Tensor) -> Self:
        """The space of some rows; rows may repeat. int64 [rows]."""

    def with_budget(self, radius: Tensor) -> Self:
        """The same batch with another radius for each row, float32 [batch]."""


@runtime_checkable
class ContinuousSpace(Space, Protocol):
    """A space in which d can be stepped along a gradient."""

    @property
    def sparse(self) -> bool:
        """Whether the steepest step changes a single feature, as in L1."""

    @property
    def convex(self) -> bool:
        """Whether the budget bounds the size of a step; a count of features does not."""

    def steepest(self, gradient: Tensor, at: Tensor | None = None, spread: Tensor | None = None) -> Tensor:
        """The step of unit norm that raises the loss most, shaped like d; zero where the gradient is.

        at: the perturbation that the step starts from; features that would only be pushed into a wall of the input
        range then leave their share of the step to the others. spread: int64 [batch], where the space is sparse, over
        how many features a step is spread instead of one.
        """

    def step(self, d: Tensor, gradient: Tensor, length: Tensor) -> Tensor:
        """d moved by `length` [batch] along the steepest direction and projected: what iterative attacks repeat."""

    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """The lowest and highest d that the input range admits, shaped like d; None where the range is open."""


@runtime_checkable
class DiscreteSpace(Space, Protocol):
    """A space of choices: d[b, i] is the index of position i's replacement among its candidates, 0 meaning keep."""

    def sizes(self) -> Tensor:
        """The number of choices of each position, the 0 included; int64 [batch, positions]."""

    def candidates(self) -> Tensor:
        """The values behind the choices, int64 [batch, positions, choices]; column 0 holds the original."""

    def mutate(self, d: Tensor, keys: Keys) -> Tensor:
        """d with one more or another random replacement, inside the budget."""
