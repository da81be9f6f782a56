"""A network over word vectors as attacks may see it, frozen or still learning."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from adversarial.inputs import Inputs, Scores
from adversarial.victims import ModuleVictim
from tasks.sentiment.model import ReviewNet
from tasks.sentiment.words import bundled


class ReviewVictim:
    """A frozen network; the vectors of all words of the lexicon are worked out once."""

    differentiable = True

    def __init__(self, module: nn.Module) -> None:
        self.module = cast("ReviewNet", ModuleVictim(module).module)
        self._vectors: Tensor | None = None

    def embed(self, ids: Tensor) -> Tensor:
        """The vectors of word ids, float32 [..., width] for ids [...]."""
        if self._vectors is None or len(self._vectors) < len(bundled()):
            with torch.no_grad():
                self._vectors = self.module.embed(torch.arange(len(bundled()), device=ids.device))
        return self._vectors[ids]

    def __call__(self, inputs: Inputs) -> Scores:
        values = inputs.values if inputs.values.is_floating_point() else self.embed(inputs.values)
        return Scores(self.module(values, inputs.mask))


class TrainableVictim:
    """A network whose weights, and so its word vectors, still learn."""

    differentiable = True

    def __init__(self, module: nn.Module) -> None:
        self._module = cast("ReviewNet", module)

    def embed(self, ids: Tensor) -> Tensor:
        """The vectors of word ids with their graph, float32 [..., width] for ids [...]."""
        return self._module.embed(ids)

    def __call__(self, inputs: Inputs) -> Scores:
        return Scores(self._module(inputs.values, inputs.mask))
