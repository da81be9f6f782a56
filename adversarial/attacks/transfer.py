"""Transfer, Papernot et al. 2016, https://arxiv.org/abs/1605.07277: examples made on other models, with momentum (Dong
et al. 2017, https://arxiv.org/abs/1710.06081), input diversity (Xie et al. 2018, https://arxiv.org/abs/1803.06978) and
translation invariance (Dong et al. 2019, https://arxiv.org/abs/1904.02884)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from adversarial.attacks.hotflip import flipped
from adversarial.attacks.pgd import of_unit_mean
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.keys import Keys
from adversarial.problem import Problem
from adversarial.spaces.kinds import bounded, discrete, is_continuous


SMALLEST = 0.9  # of the side of an image that input diversity shrinks it to
REACH = 3.0  # deviations of the gaussian at the end of its kernel


def transfer(
    problem: Problem,
    *,
    steps: int = 10,
    relative_step: float | None = None,
    momentum: float = 1.0,
    loss: str = "ce",
    diversity: float = 0.0,
    translation: int = 0,
) -> None:
    """Ascends the losses of the surrogates together and submits the last point; the victim is never asked.

    The gradients of the surrogates weigh the same, whatever their sizes. relative_step, momentum: as pgd has them.
    diversity: the chance that a gradient is taken on an image that is shrunk a little and padded at random.
    translation: the odd width of the gaussian that smooths the gradient, over height and width of images and over time
    in waveforms; 0 leaves it as it is. Among word candidates each step replaces the word with the largest gain, summed
    over the surrogates, and the other options have no meaning. A step costs a forward and a backward for each
    surrogate.
    """
    if steps < 1:
        raise InvalidOption(f"steps must be at least 1, got {steps}")
    if relative_step is not None and not relative_step > 0:
        raise InvalidOption(f"relative_step must be above 0, got {relative_step}")
    if not 0 <= momentum <= 1 or not 0 <= diversity <= 1:
        raise InvalidOption(f"momentum and diversity must be in [0, 1], got {momentum} and {diversity}")
    shape = problem.inputs.values.shape
    if any(surrogate.inputs.values.shape != shape for surrogate in problem.surrogates):
        raise NotApplicable("the surrogates read inputs of another shape, so what is made on them does not fit")
    _check_shapes(shape, diversity, translation, is_continuous(problem.space))
    if is_continuous(problem.space):
        share = min(1.0, 2.5 / steps) if relative_step is None else relative_step
        for view in problem.batches():
            view.submit(_ascended(view, steps, share, momentum, loss, diversity, translation))
    else:
        for view in problem.batches():
            view.submit(_replaced(view, steps, loss))


def _ascended(
    problem: Problem, steps: int, share: float, momentum: float, loss: str, diversity: float, translation: int
) -> Tensor:
    space, surrogates = bounded(problem.space), problem.surrogates
    d = space.null()
    direction = torch.zeros_like(d)
    for step in range(steps):
        gradients = []
        for number, surrogate in enumerate(surrogates):
            if diversity:
                keys = problem.keys.fold("diversity", step, number)
                gradient = _diverse_gradient(surrogate, d, loss, keys, diversity)
            else:
                gradient = surrogate.gradient(d, loss).values
            gradients.append(of_unit_mean(_smoothed(gradient, translation) if translation else gradient))
        direction = momentum * direction + torch.stack(gradients).mean(0)
        d = space.step(d, direction, share * space.radius)
    return d


def _replaced(problem: Problem, steps: int, loss: str) -> Tensor:
    space, surrogates = discrete(problem.space), problem.surrogates
    d = space.null()
    for _ in range(steps):
        gains = torch.stack([surrogate.gains(d, loss) for surrogate in surrogates]).sum(0)
        d = flipped(space, gains, d, at_once=1)
    return d


def _check_shapes(shape: torch.Size, diversity: float, translation: int, steps_exist: bool) -> None:
    images, lines = steps_exist and len(shape) == 4, steps_exist and len(shape) == 2
    if diversity and not images:
        raise InvalidOption(f"diversity resizes images, [batch, channels, height, width], not {list(shape)}; use 0")
    if not translation:
        return
    if not images and not lines:
        raise InvalidOption(f"translation smooths images and waveforms, not inputs of {list(shape)}; use 0")
    most = min(shape[2:] if images else shape[1:])
    if translation % 2 == 0 or not 0 < translation <= most:
        raise InvalidOption(f"translation must be 0 or an odd width of at most {most} here, got {translation}")


def _diverse_gradient(surrogate: Problem, d: Tensor, loss: str, keys: Keys, chance: float) -> Tensor:
    """The gradient in d of the loss at the shrunken, padded image.

    What resizes is a matrix from the left and one from the right, so its own gradient is their transposes.
    """
    images = surrogate.inputs.values
    drawn = keys.uniform((4,))
    rows, columns = (
        _resizing(images.shape[2 + axis], drawn[:, 0] < chance, drawn[:, 1], drawn[:, 2 + axis])[:, None]
        for axis in (0, 1)
    )
    disturbed = rows @ (images + d) @ columns.mT
    return rows.mT @ surrogate.gradient(disturbed - images, loss).values @ columns


def _resizing(side: int, shrinks: Tensor, size: Tensor, offset: Tensor) -> Tensor:
    """The matrix [batch, side, side] that shrinks a side linearly and pads it with zeros; the identity where it does
    not. size, offset: float32 [batch], uniform in (0, 1)."""
    least = int(SMALLEST * side)
    length = torch.where(shrinks, least + (size * (side - least + 1)).floor(), float(side))[:, None]
    begin = (offset[:, None] * (side - length + 1)).floor()
    place = torch.arange(side, device=size.device)
    source = ((place - begin + 0.5) * side / length - 0.5).clamp(0, side - 1)
    inside = (place >= begin) & (place < begin + length)
    weights = (1 - (source[:, :, None] - place).abs()).clamp(min=0)
    return weights * inside[:, :, None]


def _smoothed(gradient: Tensor, width: int) -> Tensor:
    """Convolved with a gaussian along its last axis, and along the one before where it is of images. A sum of shifted
    copies, so that no row's rounding depends on its neighbours."""
    weights = torch.exp(-0.5 * torch.linspace(-REACH, REACH, width, dtype=torch.float64).square())
    weights = weights / weights.sum()
    for axis in range(2, gradient.ndim) if gradient.ndim == 4 else (1,):
        moved = gradient.movedim(axis, -1)
        count = moved.shape[-1]
        padded = functional.pad(moved, (width // 2, width // 2))
        moved = sum(
            (padded.narrow(-1, shift, count) * weight for shift, weight in enumerate(weights.tolist())),
            torch.zeros_like(moved),
        )
        gradient = moved.movedim(-1, axis)
    return gradient
