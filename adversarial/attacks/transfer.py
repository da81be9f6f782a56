"""Transfer, Papernot et al. 2016, https://arxiv.org/abs/1605.07277: examples made on other models, measured on one that
is never asked. With momentum (Dong et al. 2017, https://arxiv.org/abs/1710.06081), input diversity (Xie et al. 2018,
https://arxiv.org/abs/1803.06978) and smoothed gradients (Dong et al. 2019, https://arxiv.org/abs/1904.02884)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from adversarial.attacks.pgd import of_unit_mean
from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.keys import Keys
from adversarial.problem import Problem
from adversarial.spaces.kinds import bounded, continuous, discrete, is_continuous


ENTRIES = (
    AttackEntry(
        name="transfer",
        code="adversarial.attacks.transfer:transfer",
        summary="momentum steps on other models; the victim is never asked",
        access="surrogate",
        paper="https://arxiv.org/abs/1605.07277",
    ),
)


SMALLEST = 0.9  # of a diversified image's side, as published


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
    """Gradient steps on the surrogates, whose gradients weigh the same; the last point is submitted.

    Word candidates are replaced as by hotflip, by the gains summed over the surrogates. momentum: how much of the
    gathered direction each step keeps. diversity: the chance that a step sees an image shrunk by up to a tenth and put
    at a random place. translation: width of the Gaussian that smooths gradients, an odd number of pixels or samples,
    or 0; it stands for gradients at shifted inputs. A step costs one forward and one backward on each surrogate.
    """
    if steps < 1 or not 0 <= momentum <= 1:
        raise InvalidOption(f"steps must be at least 1 and momentum in [0, 1], got {steps} and {momentum}")
    if not 0 <= diversity <= 1:
        raise InvalidOption(f"diversity is a chance in [0, 1], got {diversity}")
    if translation and translation % 2 == 0:
        raise InvalidOption(f"translation is an odd width, or 0; got {translation}")
    if relative_step is not None and not relative_step > 0:
        raise InvalidOption(f"relative_step must be above 0, got {relative_step}")
    _check_shapes(problem, diversity, translation)
    share = min(1.0, 2.5 / steps) if relative_step is None else relative_step
    for view in problem.batches():
        if is_continuous(view.space):
            d = _climb(view, steps, share, momentum, loss, diversity, translation)
        else:
            d = _replace(view, steps, loss)
        view.submit(d)


def _check_shapes(problem: Problem, diversity: float, translation: int) -> None:
    shape = list(problem.inputs.values.shape)
    for surrogate in problem.surrogates:
        other = list(surrogate.inputs.values.shape)
        if other != shape:
            raise NotApplicable(
                f"a surrogate reads inputs of shape {other} where the target reads {shape}: what changes one is no "
                "change of the other"
            )
    if diversity and len(shape) != 4:
        raise InvalidOption(f"diversity resizes images [batch, channels, height, width], not {shape}")
    if translation and len(shape) not in (2, 4):
        raise InvalidOption(f"translation smooths images and waveforms, not {shape}")
    shifted = shape[2:] if len(shape) == 4 else shape[1:]
    if translation > min(shifted):
        raise InvalidOption(f"translation {translation} is wider than the inputs {shifted}")


def _climb(
    problem: Problem, steps: int, share: float, momentum: float, loss: str, diversity: float, translation: int
) -> Tensor:
    space, surrogates = bounded(problem.space), problem.surrogates
    d, direction = space.null(), torch.zeros_like(space.null())
    for step in range(steps):
        gathered = torch.zeros_like(d)
        for place, surrogate in enumerate(surrogates):
            keys = problem.keys.fold("transfer", step, place)
            at = continuous(surrogate.space).project(d)
            gathered += of_unit_mean(problem, _slope(surrogate, at, loss, keys, diversity))
        if translation:
            gathered = _smoothed(gathered, translation)
        direction = momentum * direction + of_unit_mean(problem, gathered)
        d = space.step(d, direction, share * space.radius)
    return d


def _slope(surrogate: Problem, d: Tensor, loss: str, keys: Keys, diversity: float) -> Tensor:
    """The gradient at d, or, on the rows that a keyed coin picks, through a shrunk and shifted image."""
    if not diversity:
        return surrogate.gradient(d, loss).values
    size = 1 - (1 - SMALLEST) * keys.fold("size").uniform((1,))
    shift = (keys.fold("place").uniform((2,)) * 2 - 1) * (1 - size)
    # Where an output pixel comes from: the image is `size` of its side, `shift` from the middle.
    theta = torch.zeros(len(d), 2, 3, device=d.device)
    theta[:, 0, 0] = theta[:, 1, 1] = (1 / size).squeeze(1)
    theta[:, :, 2] = -shift / size
    picked = (keys.fold("coin").uniform((1,)) < diversity).reshape(-1, 1, 1, 1)
    values = surrogate.inputs.values
    grid = functional.affine_grid(theta, list(d.shape), align_corners=False)
    variable = d.detach().requires_grad_(True)
    changed = functional.grid_sample(values + variable, grid, align_corners=False)
    seen = torch.where(picked, changed - values, variable)
    gradient = surrogate.gradient(seen.detach(), loss).values
    (through,) = torch.autograd.grad(seen, variable, gradient)
    return through


def _replace(problem: Problem, steps: int, loss: str) -> Tensor:
    """One word a step, by the gains that the surrogates agree on, each weighed by its largest at the clean sentence."""
    space, surrogates = discrete(problem.space), problem.surrogates
    d, sizes = space.null(), [torch.ones(())] * len(surrogates)
    for step in range(steps):
        gains = [surrogate.gains(d, loss) for surrogate in surrogates]
        if step == 0:
            sizes = [torch.where(torch.isfinite(gain), gain.abs(), 0.0).amax((1, 2), keepdim=True) for gain in gains]
        total = sum(gain / torch.where(size > 0, size, 1.0) for gain, size in zip(gains, sizes, strict=True))
        assert isinstance(total, Tensor)
        total[:, :, 0] = torch.where(d == 0, total[:, :, 0], -torch.inf)  # undoing would run in circles
        free = space.radius.floor() > (d != 0).sum(1)
        best, choice = total.max(2)
        best = torch.where(((d != 0) | free[:, None]) & (choice != d), best, 0.0)
        top, place = best.max(1)
        replaced = d.scatter(1, place[:, None], choice.gather(1, place[:, None]))
        d = space.project(torch.where((top > 0)[:, None], replaced, d))
    return d


def _smoothed(gradient: Tensor, width: int) -> Tensor:
    """Convolved with a Gaussian of deviation width / 6 over the last axis, and over the last two of images."""
    place = torch.arange(width, device=gradient.device) - width // 2
    kernel = torch.exp(-0.5 * (6 * place / width).square())
    kernel = (kernel / kernel.sum()).to(gradient.dtype)
    rows = gradient.reshape(-1, 1, gradient.shape[-1])
    smooth = functional.conv1d(rows, kernel[None, None], padding=width // 2).reshape(gradient.shape)
    if gradient.ndim != 4:
        return smooth
    columns = smooth.transpose(2, 3).reshape(-1, 1, gradient.shape[2])
    turned = functional.conv1d(columns, kernel[None, None], padding=width // 2)
    return turned.reshape(*gradient.shape[:2], gradient.shape[3], gradient.shape[2]).transpose(2, 3)
