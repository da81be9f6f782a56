"""Every space: what stays inside stays inside, what must not change does not, and rows are strangers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adversarial.audit import audit
from adversarial.errors import DataError, InvalidThreat, NotApplicable
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.spaces import Ball, Space, embeddings, observations, pixels, snr_db, waveform, words
from adversarial.spaces.kinds import bounded
from adversarial.spaces.norms import DISTRIBUTIONS, geometry
from adversarial.spaces.sparse import L1
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
    if norm == "l0":  # the range that bounds each feature; a row outside of it may stay where it is
        values = values.clamp(-3 * SCALE, 3 * SCALE)
    return observations(Inputs(values), Threat("observations", norm, budget), SCALE)  # type: ignore[arg-type]


def added_space(norm: str, budget: float, seed: int, rows: int = 4) -> Ball:
    """Features that are there or not, which an attacker may only add."""
    values = (draw(seed, rows, 30) > 0.5).float()
    radius, quantum = torch.full((rows,), float(budget)), 1.0 if norm == "l0" else 0.0
    low, high = torch.zeros(()), torch.ones(())
    return Ball(Inputs(values), radius, geometry(norm), low=low, high=high, quantum=quantum, rising=True)


BALLS: dict[str, tuple[Callable[..., Ball], str, tuple[float, float]]] = {
    "pixels-linf": (pixel_space, "linf", (0.0, 1.5)),
    "pixels-l2": (pixel_space, "l2", (0.0, 8.0)),
    "pixels-l1": (pixel_space, "l1", (0.0, 60.0)),
    "pixels-l0": (pixel_space, "l0", (0.0, 110.0)),
    "waveform-l1": (waveform_space, "l1", (0.0, 40.0)),
    "waveform-l0": (waveform_space, "l0", (0.0, 500.0)),
    "embeddings-l1": (embedding_space, "l1", (0.0, 30.0)),
    "observations-l1": (observation_space, "l1", (0.0, 9.0)),
    "observations-l0": (observation_space, "l0", (0.0, 5.0)),
    "waveform-linf": (waveform_space, "linf", (0.0, 0.3)),
    "waveform-l2": (waveform_space, "l2", (0.0, 5.0)),
    "waveform-snr": (waveform_space, "snr", (-5.0, 60.0)),
    "embeddings-linf": (embedding_space, "linf", (0.0, 3.0)),
    "embeddings-l2": (embedding_space, "l2", (0.0, 9.0)),
    "observations-linf": (observation_space, "linf", (0.0, 3.0)),
    "observations-l2": (observation_space, "l2", (0.0, 6.0)),
    "added-l0": (added_space, "l0", (0.0, 20.0)),
    "added-l1": (added_space, "l1", (0.0, 20.0)),
    "added-l2": (added_space, "l2", (0.0, 5.0)),
    "added-linf": (added_space, "linf", (0.0, 1.5)),
}
KINDS = st.sampled_from(sorted(BALLS))
CONVEX = st.sampled_from(sorted(kind for kind in BALLS if not kind.endswith("-l0")))  # where a budget bounds a step
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
        # x + (high - x) may round past a wall that is not a round number; the audit allows the same.
        slack = 0.0 if space.scale is None else 1e-6 * (space.high - space.low)
        values = audited.inputs.values
        assert bool((values >= space.low - slack).all() and (values <= space.high + slack).all())


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
    steepest = Ball.steepest if space.convex else Ball.project
    together = (space.project(d), space.sample(keys), steepest(space, d), space.apply(space.project(d)).values)
    for row in range(4):
        rows = torch.tensor([row])
        own = space.take(rows)
        alone = (own.project(d[rows]), own.sample(keys.take(rows)), steepest(own, d[rows]))
        for ours, theirs in zip(alone, together[:3], strict=True):
            assert torch.equal(ours[0], theirs[row])
        assert torch.equal(own.apply(alone[0]).values[0], together[3][row])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=CONVEX, seed=SEEDS)
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


@settings(max_examples=60, deadline=None)
@given(colour=st.floats(0.25, 0.75, width=32), radius=st.floats(2**-7, 16.0, width=32), sign=st.sampled_from([-1, 1]))
def test_an_honest_point_passes_even_where_all_features_round_the_same_way(
    colour: float, radius: float, sign: int
) -> None:
    values = torch.full((1, 3, 64, 64), colour)
    space = pixels(Inputs(values), Threat("pixels", "l2", radius))
    audit(space, space.project(torch.full_like(values, float(sign))), Inputs(values.clone()))


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("radius", [0.5, 3.0, 8.0])
def test_an_l2_projection_in_a_box_is_the_nearest_point(radius: float, size: float) -> None:
    """The nearest point is clip(t d, box) with the largest t up to 1 that stays in the ball; here by bisection."""
    values = (2 * torch.rand(4, 1, 20, 20, generator=torch.Generator().manual_seed(2)) - 0.5).clamp(0, 1)
    space = pixels(Inputs(values), Threat("pixels", "l2", radius))
    d = draw(3, *values.shape) * size
    low, high = (bound.double() for bound in space.bounds() or ())
    least, most = torch.zeros(4, 1, 1, 1).double(), torch.ones(4, 1, 1, 1).double()
    for _ in range(60):
        middle = (least + most) / 2
        length = torch.clamp(d * middle, low, high).flatten(1).norm(dim=1).reshape(middle.shape)
        least, most = torch.where(length <= radius, middle, least), torch.where(length <= radius, most, middle)
    nearest = torch.clamp(d * least, low, high).flatten(1)
    off = (space.project(d).flatten(1) - nearest).norm(dim=1) / nearest.norm(dim=1)
    assert bool((off < 0.03).all())


def test_a_sample_is_the_same_alone_and_in_company() -> None:
    """Many rows, because powers and roots differ in the last bit of one row in ten between a batch and a row alone."""
    ids = [str(i) for i in range(200)]
    space = observations(Inputs(torch.zeros(200, 4)), Threat("observations", "l2", 1.0), SCALE)
    together = space.sample(Keys.of(0, ids))
    for row in range(200):
        alone = space.take(torch.tensor([row])).sample(Keys.of(0, ids[row : row + 1]))
        assert torch.equal(alone[0], together[row])


def test_what_the_padding_holds_does_not_count() -> None:
    space, d = waveform_space("snr", 20.0, 4), draw(9, 4, 400)
    assert space.inputs.mask is not None
    dirty = Inputs(torch.where(space.inputs.mask, space.inputs.values, 0.25), space.inputs.mask)
    other = waveform(dirty, Threat("waveform", "snr", 20.0))
    assert torch.equal(other.project(d), space.project(d))
    applied = other.apply(other.project(d))
    assert torch.equal(other.distance(applied), space.distance(space.apply(space.project(d))))


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


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=KINDS.filter(lambda kind: kind.startswith(("waveform", "embeddings"))), seed=SEEDS)
def test_a_row_is_the_same_without_the_padding_that_its_neighbours_bring(
    data: st.DataObject, kind: str, seed: int
) -> None:
    space, distribution = ball(kind, data, seed), data.draw(st.sampled_from(DISTRIBUTIONS))
    d, keys = wild(space, seed, 0.3), Keys.of(1, ["a", "b", "c", "d"])
    steepest = Ball.steepest if space.convex else Ball.project
    assert space.inputs.mask is not None
    for row, length in enumerate(space.inputs.mask.sum(1).tolist()):
        rows = torch.tensor([row])
        short = Inputs(space.inputs.values[rows, :length], space.inputs.mask[rows, :length])
        own = Ball(
            short,
            space.radius[rows],
            space.geometry,
            low=space.low,
            high=space.high,
            relative=space.relative,
            quantum=space.quantum,
        )
        for alone, together in (
            (own.project(d[rows, :length]), space.project(d)),
            (own.sample(keys.take(rows), distribution), space.sample(keys, distribution)),
            (steepest(own, d[rows, :length]), steepest(space, d)),
            (own.apply(own.project(d[rows, :length])).values, space.apply(space.project(d)).values),
        ):
            assert torch.equal(alone[0], together[row, :length])


def test_what_lies_outside_of_the_input_range_is_infinitely_far() -> None:
    inputs = Inputs(torch.tensor([[0.2, 0.99], [0.2, 0.99], [0.2, 1.5]]))
    space = Ball(
        inputs, torch.ones(3), pixel_space("linf", 1.0, 0).geometry, low=torch.tensor(0.0), high=torch.tensor(1.0)
    )
    moved = inputs.values + torch.tensor([[-0.2, 0.01], [0.0, 0.02], [0.1, -0.3]])
    assert space.distance(Inputs(moved)).tolist() == pytest.approx([0.2, float("inf"), 0.3])
    half_open = Ball(inputs, torch.ones(3), space.geometry, low=torch.tensor(0.0))
    assert half_open.distance(Inputs(moved - 0.3)).tolist() == pytest.approx([float("inf"), float("inf"), 0.6])
    assert float(half_open.project(-torch.ones(3, 2))[0, 0]) == pytest.approx(-0.2)


def test_a_range_that_is_open_in_one_dimension_grants_no_tolerance_without_end() -> None:
    inputs, bound = Inputs(torch.zeros(2, 2)), torch.tensor([4.8, torch.inf])
    space = observations(inputs, Threat("observations", "linf", 0.1), torch.tensor([0.01, 1.0]), -bound, bound)
    assert bool((space.tolerance() <= 1e-5).all())
    tight = torch.tensor([4.8, 0.4])
    space = observations(inputs, Threat("observations", "linf", 0.1), torch.tensor([0.01, 0.01]), -tight, tight)
    assert space.tolerance().tolist() == pytest.approx([9.6e-4] * 2)  # 1e-6 of the range, in units of the scale


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("radius", [1e-6, 1e-3, 30.0, 1e4, 1e8])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_honest_points_of_open_balls_of_any_size_pass(norm: str, radius: float, size: float) -> None:
    values = draw(4, 3, 50, 300) * size
    space = embeddings(Inputs(values), Threat("embeddings", norm, radius))  # type: ignore[arg-type]
    audited = audit(space, space.project(draw(5, *values.shape) * radius), Inputs(values.clone()))
    if radius > 1e-4 * size * 122:  # below this, float32 cannot hold the perturbation
        assert bool((audited.distance >= 0.95 * radius).all())


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, step=st.floats(2.0, 500.0), sign=st.booleans())
def test_the_grid_costs_little_of_an_l2_ball_whatever_its_size(seed: int, step: float, sign: bool) -> None:
    """step: the perturbation of one sample in steps of the grid, root mean square; samples that all move equally far
    all round the same way, which costs up to half a step."""
    step = max(step, 12.0) if sign else step
    values = (draw(seed, 2, 2000) * 2000).round().clamp(-32768, 32767) * SAMPLE_STEP
    budget = step * SAMPLE_STEP * 2000**0.5
    space = waveform(Inputs(values), Threat("waveform", "l2", budget))
    d = draw(seed + 1, 2, 2000)
    d = space.project(
        (d.sign() * (1 + 0.2 * torch.rand(2000, generator=torch.Generator().manual_seed(seed))) if sign else d) * 50
    )
    audited = audit(space, d, space.inputs.clone())
    assert bool((audited.distance >= 0.95 * budget).all())


def test_silence_without_a_budget_is_free() -> None:
    space = waveform(Inputs(torch.zeros(1, 50)), Threat("waveform", "snr", 20.0)).with_budget(torch.tensor([torch.inf]))
    assert bool(torch.isfinite(space.project(torch.ones(1, 50))).all())
    assert bool(torch.isfinite(space.sample(Keys.of(0, ["a"]))).all())


def test_a_table_of_candidates_is_checked() -> None:
    ids, threat = torch.tensor([[1, 2]]), Threat("words", "l0", 1)
    words(Inputs(ids), threat, torch.tensor([[[1, 5, NO_WORD], [2, NO_WORD, NO_WORD]]]))
    for table in ([[[5, 1, 6], [2, 3, 4]]], [[[1, NO_WORD, 6], [2, 3, 4]]], [[[1, 5], [2, 3], [3, 4]]]):
        with pytest.raises(DataError, match="candidates"):
            words(Inputs(ids), threat, torch.tensor(table))


@settings(max_examples=80, deadline=None)
@given(seed=SEEDS, share=st.floats(0.0, 0.4), walls=st.booleans(), size=st.sampled_from([0.01, 0.3, 5.0]))
def test_the_l1_projection_is_the_nearest_point(seed: int, share: float, walls: bool, size: float) -> None:
    """Against bisection for the shrinkage that reaches the ball, in float64."""
    values, d = (draw(seed, 6, 40) * 0.6 + 0.5).clamp(0, 1), draw(seed + 1, 6, 40) * size
    low, high = (-values, 1 - values) if walls else (None, None)
    radius = torch.linspace(0, share * 40, 6)

    def shrunk(by: Tensor) -> Tensor:
        kept = d.double().sign() * (d.double().abs() - by).clamp(min=0)
        return kept if low is None or high is None else kept.clamp(low.double(), high.double())

    least, most = torch.zeros(6, 1, dtype=torch.float64), torch.full((6, 1), 100.0, dtype=torch.float64)
    for _ in range(200):
        middle = (least + most) / 2
        over = shrunk(middle).abs().sum(1, keepdim=True) > radius[:, None]
        least, most = torch.where(over, middle, least), torch.where(over, most, middle)
    found = geometry("l1").project(d, radius, low, high)
    assert torch.allclose(found.double(), shrunk(most), atol=1e-6)


@given(seed=SEEDS, count=st.integers(1, 12))
def test_a_sparse_step_is_spread_over_the_largest_slopes(seed: int, count: int) -> None:
    gradient = draw(seed, 3, 12)
    gradient[0] = 0
    step = L1().sparse_step(gradient, torch.full((3,), count))
    assert torch.equal(step[0], torch.zeros(12))
    assert torch.allclose(step[1:].abs().sum(1), torch.ones(2))
    for row in (1, 2):
        touched = step[row] != 0
        assert int(touched.sum()) == count
        assert float(gradient[row][touched].abs().min()) >= float((gradient[row].abs() * ~touched).max())
        assert bool((step[row] * gradient[row] >= 0).all())


def test_l0_keeps_the_largest_changes_and_says_why_it_has_no_steps() -> None:
    space = pixel_space("l0", 3.0, 5)
    d = space.project(draw(1, *space.inputs.values.shape))
    assert space.norm(d).tolist() == [3.0] * 4
    with pytest.raises(NotApplicable, match="jsma"):
        space.steepest(d)
    with pytest.raises(NotApplicable, match="jsma"):
        bounded(space)
    with pytest.raises(InvalidThreat, match="embeddings cannot be bounded by l0"):
        embedding_space("l0", 3.0, 5)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_where_features_may_only_be_added_nothing_is_taken_away(norm: str) -> None:
    space = added_space(norm, 3.0, 11)
    clean = space.inputs.values
    for d in (space.project(draw(2, *clean.shape) * 2), space.sample(Keys.of(1, list("abcd")), "sign")):
        assert bool((d >= 0).all())
        assert float(d.max()) > 0
        assert bool((space.distance(space.apply(d)) <= space.radius + space.tolerance()).all())
    removed = Inputs(clean.clone())
    place = int(clean[0].argmax())
    removed.values[0, place] = 0.0
    assert space.distance(removed).tolist() == [float("inf"), 0.0, 0.0, 0.0]


def test_a_tiny_unit_on_one_feature_gives_no_room_on_the_others() -> None:
    """Of a range of millions of units a millionth is several: it is no tolerance for a budget of half a unit."""
    scale, wall = torch.tensor([1e-6, 0.5, 0.5]), torch.full((3,), 4.0)
    inputs = Inputs(torch.zeros(1, 3))
    space = Ball(inputs, torch.full((1,), 0.5), geometry("linf"), scale=scale, low=-wall, high=wall)
    far = Inputs(torch.tensor([[0.0, 0.6, 0.0]]))
    assert float(space.distance(far)) == pytest.approx(1.2)
    assert float(space.distance(far)) > float(space.radius + space.tolerance())
    outside = Inputs(torch.tensor([[0.0, 4.1, 0.0]]))
    assert float(space.distance(outside)) == float("inf")
    honest = space.apply(space.project(torch.tensor([[1.0, 1.0, -1.0]])))
    assert float(space.distance(honest)) <= float(space.radius + space.tolerance())


def test_a_space_without_an_upper_wall_is_searched_in_l1() -> None:
    space = Ball(Inputs(torch.zeros(2, 3)), torch.full((2,), 1.0), geometry("l1"), rising=True)
    d = space.step(space.null(), torch.tensor([[1.0, 2.0, -3.0], [0.1, 0.0, 0.5]]), torch.full((2,), 1.0))
    assert torch.allclose(d, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), atol=1e-5)
