"""Every space: what stays inside stays inside, what must not change does not, and rows are strangers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adversarial.audit import audit
from adversarial.errors import InvalidThreat
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.spaces import Ball, Space, embeddings, observations, pixels, snr_db, waveform, words
from adversarial.spaces.norms import DISTRIBUTIONS
from adversarial.spaces.surfaces import SAMPLE_STEP
from adversarial.spaces.words import NO_WORD
from adversarial.threats import Threat


SCALE = torch.tensor([0.7, 1.1, 0.12, 0.44])


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lengths_mask(rows: int, longest: int) -> Tensor:
    """Rows of different lengths; the first is full, and none is empty."""
    lengths = torch.tensor([max(1, longest - row * (longest // rows)) for row in range(rows)])
    return torch.arange(longest) < lengths[:, None]


def pixel_space(norm: str, budget: float, seed: int, rows: int = 4) -> Ball:
    values = (draw(seed, rows, 3, 6, 6) * 0.6 + 0.5).clamp(0, 1)  # a good part lies on the walls
    return pixels(Inputs(values), Threat("pixels", norm, budget))  # type: ignore[arg-type]


def waveform_space(norm: str, budget: float, seed: int, rows: int = 4) -> Ball:
    mask = lengths_mask(rows, 400)
    grid = (draw(seed, rows, 400) * 4000).round().clamp(-32768, 32767)
    values = torch.where(mask, grid, 0.0) * SAMPLE_STEP
    return waveform(Inputs(values, mask), Threat("waveform", norm, budget))  # type: ignore[arg-type]


def embedding_space(norm: str, budget: float, seed: int, rows: int = 4) -> Ball:
    mask = lengths_mask(rows, 8)
    return embeddings(Inputs(draw(seed, rows, 8, 5) * mask[:, :, None], mask), Threat("embeddings", norm, budget))  # type: ignore[arg-type]


def observation_space(norm: str, budget: float, seed: int, rows: int = 4) -> Ball:
    values = draw(seed, rows, 4) * SCALE * 3
    return observations(Inputs(values), Threat("observations", norm, budget), SCALE)  # type: ignore[arg-type]


BALLS: dict[str, tuple[Callable[..., Ball], str, tuple[float, float]]] = {
    "pixels-linf": (pixel_space, "linf", (0.0, 1.5)),
    "pixels-l2": (pixel_space, "l2", (0.0, 8.0)),
    "waveform-linf": (waveform_space, "linf", (0.0, 0.3)),
    "waveform-l2": (waveform_space, "l2", (0.0, 5.0)),
    "waveform-snr": (waveform_space, "snr", (-5.0, 60.0)),
    "embeddings-linf": (embedding_space, "linf", (0.0, 3.0)),
    "embeddings-l2": (embedding_space, "l2", (0.0, 9.0)),
    "observations-linf": (observation_space, "linf", (0.0, 3.0)),
    "observations-l2": (observation_space, "l2", (0.0, 6.0)),
}
KINDS = st.sampled_from(sorted(BALLS))
SEEDS = st.integers(0, 10_000)


def ball(kind: str, data: st.DataObject, seed: int, rows: int = 4) -> Ball:
    make, norm, (least, most) = BALLS[kind]
    return make(norm, data.draw(st.floats(least, most)), seed, rows)


def wild(space: Ball, seed: int, size: float) -> Tensor:
    """A perturbation of any size, masked like nothing at all."""
    return draw(seed + 1, *space.inputs.values.shape) * size


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=KINDS, seed=SEEDS, size=st.sampled_from([1e-4, 0.01, 1.0, 50.0]))
def test_a_projection_passes_the_audit_and_projecting_again_changes_nothing(
    data: st.DataObject, kind: str, seed: int, size: float
) -> None:
    space = ball(kind, data, seed)
    d = space.project(wild(space, seed, size))
    audited = audit(space, d, space.inputs.clone())
    assert bool((audited.distance <= space.radius.double() + space.tolerance()).all())
    again = space.project(d)
    assert torch.allclose(again, d, rtol=1e-5, atol=1e-7)
    if space.low is not None and space.high is not None:
        assert bool((audited.inputs.values >= space.low).all() and (audited.inputs.values <= space.high).all())


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=KINDS, seed=SEEDS, distribution=st.sampled_from(DISTRIBUTIONS))
def test_samples_are_inside(data: st.DataObject, kind: str, seed: int, distribution: str) -> None:
    space = ball(kind, data, seed)
    d = space.sample(Keys.of(seed, [str(row) for row in range(4)]), distribution)
    audit(space, d, space.inputs.clone())


@pytest.mark.parametrize("kind", BALLS)
def test_null_changes_nothing(kind: str) -> None:
    make, norm, (least, most) = BALLS[kind]
    space = make(norm, (least + most) / 2, 3)
    applied = space.apply(space.null())
    assert applied.same_as(space.inputs)
    assert space.distance(applied).tolist() == [0.0] * 4
    assert torch.equal(space.project(space.null()), space.null())


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=KINDS, seed=SEEDS)
def test_rows_are_strangers_byte_for_byte(data: st.DataObject, kind: str, seed: int) -> None:
    space = ball(kind, data, seed)
    d, keys = wild(space, seed, 0.3), Keys.of(1, ["a", "b", "c", "d"])
    together = (space.project(d), space.sample(keys), space.steepest(d), space.apply(space.project(d)).values)
    for row in range(4):
        rows = torch.tensor([row])
        own = space.take(rows)
        alone = (own.project(d[rows]), own.sample(keys.take(rows)), own.steepest(d[rows]))
        for ours, theirs in zip(alone, together[:3], strict=True):
            assert torch.equal(ours[0], theirs[row])
        assert torch.equal(own.apply(alone[0]).values[0], together[3][row])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=KINDS, seed=SEEDS)
def test_the_steepest_step_has_norm_one_and_gains_most(data: st.DataObject, kind: str, seed: int) -> None:
    space = ball(kind, data, seed)
    gradient = wild(space, seed, 1.0)
    step = space.steepest(gradient)
    assert torch.allclose(space.norm(step), torch.ones(4), atol=1e-4)
    live = space._live()
    masked = gradient if live is None else gradient * live
    best = (masked * step).flatten(1).sum(1)
    for other in range(5):
        d = space.with_budget(torch.ones(4)).sample(Keys.of(other, ["a", "b", "c", "d"]))
        assert bool(((masked * d).flatten(1).sum(1) <= best * (1 + 1e-4) + 1e-5).all())
    assert torch.equal(space.steepest(torch.zeros_like(gradient)), torch.zeros_like(gradient))


@pytest.mark.parametrize("snr", [10.0, 25.0, 40.0])
def test_waveforms_lie_on_the_16_bit_grid_and_lose_little_of_the_ball_to_it(snr: float) -> None:
    space = waveform_space("snr", snr, 5)
    d = space.project(wild(space, 5, 1.0))
    applied = space.apply(d)
    steps = applied.values.double() * 32768
    assert torch.equal(steps, steps.round())
    distance = space.distance(applied)
    assert bool((distance <= space.radius.double() + space.tolerance()).all())
    assert bool((distance >= 0.97 * space.radius.double()).all())
    assert bool((snr_db(distance) >= snr - 1e-5).all())


def test_the_grid_lets_gradients_through() -> None:
    space = waveform_space("snr", 20.0, 5)
    d = space.project(wild(space, 5, 1.0)).requires_grad_(True)
    space.apply(d).values.sum().backward()  # type: ignore[no-untyped-call]
    assert d.grad is not None
    assert torch.equal(d.grad, torch.ones_like(d))


@pytest.mark.parametrize("features", [3 * 32 * 32, 20_000])
@pytest.mark.parametrize("radius", [1e-3, 0.5, 12.0])
def test_an_honest_float32_point_on_the_surface_of_a_large_ball_passes(features: int, radius: float) -> None:
    values = torch.rand(3, 1, 1, features, generator=torch.Generator().manual_seed(features))
    space = pixels(Inputs(values), Threat("pixels", "l2", radius))
    audited = audit(space, space.project(draw(1, *values.shape) * 10), Inputs(values.clone()))
    assert bool((audited.distance >= 0.99 * min(radius, float(audited.distance.max()))).all())


@pytest.mark.parametrize("kind", BALLS)
def test_an_unbounded_ball_projects_to_the_box_alone(kind: str) -> None:
    make, norm, (_, most) = BALLS[kind]
    space = make(norm, most, 2).with_budget(torch.full((4,), torch.inf))
    d = space.project(wild(space, 2, 0.01))
    assert bool(torch.isfinite(d).all())
    audit(space, d, space.inputs.clone())


def test_silence_stays_silent_under_a_relative_budget() -> None:
    values, mask = torch.zeros(2, 50), torch.ones(2, 50, dtype=torch.bool)
    space = waveform(Inputs(values, mask), Threat("waveform", "snr", 20.0))
    d = space.project(torch.ones(2, 50))
    assert torch.equal(d, torch.zeros(2, 50))
    assert bool(torch.isfinite(space.steepest(torch.ones(2, 50))).all())
    assert bool(torch.isinf(space.distance(Inputs(values + SAMPLE_STEP, mask))).all())


def test_scales_must_be_positive() -> None:
    with pytest.raises(InvalidThreat, match="positive and finite"):
        observations(Inputs(torch.zeros(1, 2)), Threat("observations", "linf", 1.0), torch.tensor([1.0, 0.0]))


def word_space(budget: float, seed: int) -> Space:
    generator = torch.Generator().manual_seed(seed)
    mask = lengths_mask(4, 7)
    ids = torch.where(mask, torch.randint(0, 50, (4, 7), generator=generator), 0)
    sizes = torch.randint(0, 5, (4, 7), generator=generator)
    others = 100 + torch.randint(0, 50, (4, 7, 4), generator=generator)
    table = torch.cat([ids[:, :, None], torch.where(torch.arange(4) < sizes[:, :, None], others, NO_WORD)], 2)
    return words(Inputs(ids, mask), Threat("words", "l0", budget), table)


@settings(max_examples=100, deadline=None)
@given(budget=st.integers(0, 8), seed=SEEDS)
def test_words_stay_inside_whatever_is_done_to_them(budget: int, seed: int) -> None:
    space = word_space(budget, seed)
    generator = torch.Generator().manual_seed(seed)
    keys, before = Keys.of(seed, list("abcd")), space.inputs.clone()
    sampled = space.sample(keys)
    mutated = sampled
    for step in range(3):
        mutated = space.mutate(mutated, keys.fold(step))  # type: ignore[attr-defined]
    wildest = space.project(torch.randint(-2, 9, (4, 7), generator=generator))
    for d in (sampled, mutated, wildest, space.null()):
        audited = audit(space, d, before)
        assert bool((audited.distance <= budget).all())
        assert torch.equal(space.project(d), d)
    changeable = (space.sizes() > 1).sum(1).clamp(max=budget)  # type: ignore[attr-defined]
    assert torch.equal((sampled != 0).sum(1), changeable)
    assert space.apply(space.null()).same_as(space.inputs)


def test_a_word_that_is_no_candidate_is_infinitely_far() -> None:
    space = word_space(3, 1)
    values = space.inputs.values.clone()
    values[1, 0] = 999
    assert space.distance(Inputs(values, space.inputs.mask)).tolist() == [0.0, float("inf"), 0.0, 0.0]
