"""Transfer: what the surrogates say is what is submitted, and the victim itself is never asked."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from adversarial.attacks.hotflip import hotflip
from adversarial.attacks.pgd import pgd
from adversarial.attacks.transfer import _resizing, _smoothed, transfer
from adversarial.audit import audit
from adversarial.errors import AccessDenied, InvalidOption, NotApplicable
from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces import Space, embeddings, observations, pixels, waveform, words
from adversarial.threats import Threat


ROWS = 5
SURFACES = {
    "pixels": Threat("pixels", "linf", 0.1, "surrogate"),
    "waveform": Threat("waveform", "snr", 20.0, "surrogate"),
    "embeddings": Threat("embeddings", "l2", 1.0, "surrogate"),
    "observations": Threat("observations", "linf", 0.3, "surrogate"),
    "words": Threat("words", "l0", 2.0, "surrogate"),
}


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Victim:
    """Two classes and a margin that is linear, or bent where `curved`; counts the rows that it is asked about."""

    differentiable = True

    def __init__(self, seed: int, width: int, curved: float = 0.5, size: float = 1.0) -> None:
        self.weight, self.table = size * draw(seed, width), draw(3, 60, 4)
        self.curved, self.asked = curved, 0

    def embed(self, ids: Tensor) -> Tensor:
        return self.table[ids]

    def __call__(self, inputs: Inputs) -> Scores:
        self.asked += len(inputs)
        values = inputs.values if inputs.values.is_floating_point() else self.embed(inputs.values)
        if inputs.mask is not None:
            values = values * inputs.mask.reshape(*inputs.mask.shape, *[1] * (values.ndim - inputs.mask.ndim))
        flat = values.flatten(1)
        margin = ((flat + self.curved * torch.sin(3 * flat)) * self.weight).sum(1)
        return Scores(torch.stack([-margin, margin], 1))


def batch(surface: str) -> Inputs:
    if surface == "pixels":
        return Inputs((draw(1, ROWS, 2, 6, 6) * 0.2 + 0.5).clamp(0, 1))
    if surface == "observations":
        return Inputs(draw(1, ROWS, 4))
    mask = torch.arange(30 if surface == "waveform" else 6) < torch.tensor([6, 5, 4, 3, 2])[:, None] * (
        5 if surface == "waveform" else 1
    )
    if surface == "waveform":
        return Inputs((draw(1, ROWS, 30) * 5000).round() / 32768 * mask, mask)
    if surface == "embeddings":
        return Inputs(draw(1, ROWS, 6, 4) * mask[:, :, None], mask)
    ids = torch.randint(0, 15, (ROWS, 6), generator=torch.Generator().manual_seed(1))
    return Inputs(torch.where(mask, ids, 0), mask)


def space(inputs: Inputs, threat: Threat) -> Space:
    if threat.surface == "observations":
        return observations(inputs, threat, torch.tensor([1.0, 2.0, 0.1, 0.5]))
    if threat.surface == "words":
        others = inputs.values[:, :, None] + 15 * torch.arange(1, 4)
        return words(inputs, threat, torch.cat([inputs.values[:, :, None], others], 2))
    return {"pixels": pixels, "waveform": waveform, "embeddings": embeddings}[threat.surface](inputs, threat)


def width_of(surface: str) -> int:
    return 24 if surface == "words" else batch(surface).values[0].numel()


def problem(surface: str, surrogates: list[Victim], rows: list[int] | None = None, width: int | None = None) -> Problem:
    threat, chosen = SURFACES[surface], torch.arange(ROWS) if rows is None else torch.tensor(rows)
    inputs = batch(surface).take(chosen)
    keys, labels = Keys.of(0, [str(row) for row in chosen.tolist()]), torch.zeros(len(chosen), dtype=torch.int64)
    make = partial(Problem, goal=Flip(labels), keys=keys, early_stopping=False, ledger=Ledger())
    ask = threat.with_access("gradient")
    return make(
        Victim(99, width_of(surface)),
        space(inputs, threat),
        threat=threat,
        width=width,
        surrogates=tuple(make(victim, space(inputs, threat), threat=ask) for victim in surrogates),
    )


def on_the_surrogate(surface: str, victim: Victim) -> Problem:
    """The surrogate as a victim that may be asked."""
    return problem(surface, [victim]).surrogates[0]


@pytest.mark.parametrize("surface", SURFACES)
def test_the_victim_is_never_asked_and_the_surrogates_passes_are_counted(surface: str) -> None:
    surrogates = [Victim(seed, width_of(surface)) for seed in (1, 2)]
    attacked = problem(surface, surrogates)
    transfer(attacked, steps=4)
    assert attacked._victim.asked == 0
    assert [surrogate.asked for surrogate in surrogates] == [4 * ROWS] * 2
    assert attacked.ledger.forwards == attacked.ledger.backwards == 8 * ROWS
    audited = audit(attacked.space, attacked.best.d, attacked.inputs)
    assert bool((audited.distance > 0).all())
    for ask in (attacked.evaluate, attacked.gradient):
        with pytest.raises(AccessDenied):
            ask(attacked.best.d)


@pytest.mark.parametrize("surface", ["pixels", "waveform", "embeddings", "observations"])
def test_with_the_victim_as_its_own_surrogate_it_is_the_last_point_of_pgd_with_momentum(surface: str) -> None:
    victim = Victim(1, width_of(surface))
    attacked = problem(surface, [victim])
    transfer(attacked, steps=7)
    known = on_the_surrogate(surface, victim)
    last: list[Tensor] = []
    evaluate = known.evaluate
    known.evaluate = lambda d, loss="ce": last.append(d) or evaluate(d, loss)  # type: ignore
    pgd(known, steps=7, random_start=False, momentum=1.0)
    assert torch.equal(attacked.best.d, last[-1])


def test_among_words_it_is_the_last_sentence_of_hotflip() -> None:
    victim = Victim(1, 24)
    attacked, known = problem("words", [victim]), on_the_surrogate("words", victim)
    transfer(attacked, steps=5)
    last: list[Tensor] = []
    evaluate = known.evaluate
    known.evaluate = lambda d, loss="ce": last.append(d) or evaluate(d, loss)  # type: ignore
    hotflip(known, steps=5)
    assert torch.equal(attacked.best.d, last[-1])


@pytest.mark.parametrize("surface", SURFACES)
def test_two_linear_surrogates_lead_to_the_optimum_of_their_sum(surface: str) -> None:
    """Of one size on every part of a row, so that equal weights are a plain sum."""
    first, second = (Victim(seed, width_of(surface), curved=0.0) for seed in (1, 2))
    first.weight, second.weight = first.weight.sign(), second.weight.sign()
    both = Victim(1, width_of(surface), curved=0.0)
    both.weight = first.weight + second.weight
    attacked, known = problem(surface, [first, second]), on_the_surrogate(surface, both)
    transfer(attacked, steps=20, loss="margin")
    if surface == "words":
        hotflip(known, steps=6, loss="margin")
    else:
        pgd(known, steps=40, loss="margin", random_start=False)

    def gain(d: Tensor) -> Tensor:
        return both(attacked.space.apply(d)).values[:, 1] - both(attacked.inputs).values[:, 1]

    assert torch.allclose(gain(attacked.best.d), gain(known.best.d), rtol=1e-3)


def test_a_loud_surrogate_does_not_drown_the_others() -> None:
    loud, quiet = Victim(1, 72, curved=0.0, size=100.0), Victim(2, 72, curved=0.0, size=0.01)
    attacked = problem("pixels", [loud, quiet])
    transfer(attacked, steps=10, loss="margin")
    before = quiet(attacked.inputs).values[:, 1]
    assert bool((quiet(attacked.space.apply(attacked.best.d)).values[:, 1] > before).all())


@pytest.mark.parametrize("options", [{}, {"diversity": 0.7}, {"diversity": 1.0, "translation": 3, "momentum": 0.5}])
def test_every_row_is_the_same_alone_and_in_company(options: dict[str, float]) -> None:
    surrogates = [Victim(seed, 72) for seed in (1, 2)]
    whole = problem("pixels", surrogates)
    transfer(whole, steps=3, **options)  # type: ignore[arg-type]
    narrow = problem("pixels", surrogates, width=2)
    transfer(narrow, steps=3, **options)  # type: ignore[arg-type]
    assert torch.equal(whole.best.d, narrow.best.d)
    for row in range(ROWS):
        alone = problem("pixels", surrogates, [row])
        transfer(alone, steps=3, **options)  # type: ignore[arg-type]
        assert torch.allclose(alone.best.d, whole.best.d[row : row + 1], atol=1e-6)


def test_resizing_is_a_linear_shrinking_with_padding() -> None:
    """A matrix for height and width is what interpolate and pad do."""
    image, side = draw(5, 1, 1, 20, 20), 20
    size, offset = torch.tensor([0.1]), torch.tensor([0.6])
    matrix = _resizing(side, torch.tensor([True]), size, offset)[0]
    inner = functional.interpolate(image, (18, 18), mode="bilinear", align_corners=False)
    expected = functional.pad(inner, (1, 1, 1, 1))
    assert torch.allclose(matrix @ image[0, 0] @ matrix.T, expected[0, 0], atol=1e-5)
    assert torch.equal(_resizing(side, torch.tensor([False]), size, offset)[0], torch.eye(side))


def test_the_diverse_gradient_is_that_of_the_resized_image() -> None:
    surrogate = Victim(1, 72)
    attacked = problem("pixels", [surrogate])
    transfer(attacked, steps=1, relative_step=1.0, diversity=1.0)
    keys = attacked.keys.fold("diversity", 0, 0)
    drawn = keys.uniform((4,))
    images = attacked.inputs.values.clone().requires_grad_(True)
    height, width = (_resizing(6, drawn[:, 0] < 1, drawn[:, 1], drawn[:, 2 + axis])[:, None] for axis in (0, 1))
    labels = torch.zeros(ROWS, dtype=torch.int64)
    loss = functional.cross_entropy(surrogate(Inputs(height @ images @ width.mT)).values, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    expected = attacked.space.step(attacked.space.null(), gradient, attacked.space.radius)  # type: ignore[attr-defined]
    assert float((attacked.best.d == expected).float().mean()) > 0.99


@pytest.mark.parametrize("shape", [(2, 3, 9, 7), (2, 15)])
def test_smoothing_is_a_convolution_with_a_gaussian(shape: tuple[int, ...]) -> None:
    gradient = draw(1, *shape)
    kernel = torch.exp(-0.5 * torch.linspace(-3, 3, 5).square())
    kernel = kernel / kernel.sum()
    if len(shape) == 2:
        expected = functional.conv1d(gradient[:, None], kernel[None, None], padding="same")[:, 0]
    else:
        weights = torch.outer(kernel, kernel)[None, None].expand(3, 1, 5, 5)
        expected = functional.conv2d(gradient, weights, padding="same", groups=3)
    assert torch.allclose(_smoothed(gradient, 5), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("surface", "options", "message"),
    [
        ("pixels", {"steps": 0}, "steps must be"),
        ("pixels", {"relative_step": 0.0}, "relative_step must be"),
        ("pixels", {"diversity": 1.5}, "must be in"),
        ("pixels", {"momentum": -0.1}, "must be in"),
        ("pixels", {"translation": 4}, "odd width"),
        ("pixels", {"translation": 7}, "at most 6"),
        ("waveform", {"diversity": 0.5}, "resizes images"),
        ("embeddings", {"translation": 3}, "smooths images"),
        ("words", {"translation": 3}, "smooths images"),
        ("words", {"diversity": 0.5}, "resizes images"),
    ],
)
def test_options_that_make_no_sense_are_refused(surface: str, options: dict[str, float], message: str) -> None:
    attacked = problem(surface, [Victim(1, width_of(surface))])
    with pytest.raises(InvalidOption, match=message):
        transfer(attacked, **options)  # type: ignore[arg-type]


def test_without_a_surrogate_or_with_one_of_another_shape_it_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match="another model"):
        transfer(problem("pixels", []))
    attacked = problem("pixels", [Victim(1, 72)])
    attacked._surrogates = problem("observations", [Victim(1, 4)]).surrogates
    with pytest.raises(NotApplicable, match="another shape"):
        transfer(attacked)
