"""The norms that favour few features, on rows alone: against brute force, and where the box or the budget is odd."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.spaces import observations, pixels
from adversarial.spaces.norms import DISTRIBUTIONS, geometry
from adversarial.spaces.sparse import L0, L1
from adversarial.threats import Threat


SEEDS = st.integers(0, 10_000)
NORMS = ["linf", "l2", "l1", "l0"]
ROWS = [str(row) for row in range(5)]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def box(seed: int, rows: int, features: int) -> tuple[Tensor, Tensor]:
    """A box around zero in which a good part of the features has no room on one side."""
    values = (draw(seed, rows, features) * 0.6 + 0.5).clamp(0, 1)
    return -values, 1 - values


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, size=st.sampled_from([1e-3, 0.3, 40.0]), walls=st.booleans())
def test_no_point_of_ball_and_box_is_nearer_than_the_l1_projection(seed: int, size: float, walls: bool) -> None:
    low, high = box(seed, 5, 12) if walls else (None, None)
    d, radius = draw(seed + 1, 5, 12) * size, torch.tensor([0.0, 0.1, 1.0, 4.0, torch.inf])
    found = L1().project(d, radius, low, high)
    length = (found - d).double().norm(dim=1)
    for other in range(20):
        inside = draw(seed + 2 + other, 5, 12)
        inside = inside / inside.abs().sum(1, keepdim=True) * radius.clamp(max=50)[:, None]
        # Other points of the ball, and neighbours of the one that was found.
        for candidate in (inside, found + 0.01 * (inside - found)):
            candidate = candidate if low is None else torch.clamp(candidate, low, high)
            assert bool(((candidate - d).double().norm(dim=1) >= length * (1 - 1e-5) - 1e-6).all())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("walls", [False, True])
def test_projections_with_no_budget_and_with_any(norm: str, walls: bool) -> None:
    low, high = box(3, 5, 20) if walls else (None, None)
    d = draw(4, 5, 20)
    clamped = d if low is None else torch.clamp(d, low, high)
    project = geometry(norm).project
    assert torch.equal(project(d, torch.zeros(5), low, high), torch.zeros(5, 20))
    assert torch.equal(project(d, torch.full((5,), torch.inf), low, high), clamped)
    mixed = project(d, torch.tensor([0.0, torch.inf, 1.0, 2.0, torch.inf]), low, high)
    assert torch.equal(mixed[[0, 1, 4]], torch.stack([torch.zeros(20), clamped[1], clamped[4]]))
    inside = project(clamped, geometry(norm).measure(clamped), low, high)
    assert torch.allclose(inside, clamped, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", ["l1", "l0"])
def test_a_point_inside_is_its_own_projection_to_the_last_bit(norm: str) -> None:
    low, high = box(5, 5, 30)
    d = torch.clamp(draw(6, 5, 30) * 1e-3, low, high)
    for room in ((low, high), (None, None)):
        assert torch.equal(geometry(norm).project(d, torch.full((5,), 30.0), *room), d)


def test_the_steepest_step_of_l1_goes_to_the_leftmost_of_the_largest_slopes() -> None:
    gradient = torch.tensor([[1.0, -3.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1e-30, 0.0, -1e-30]])
    expected = torch.tensor([[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    assert torch.equal(L1().steepest(gradient), expected)


def test_a_sparse_step_takes_ties_from_the_left_and_never_more_features_than_have_a_slope() -> None:
    gradient = torch.tensor([[2.0, -5.0, 2.0, 2.0], [0.0, 4.0, 0.0, -4.0], [0.0, 0.0, 0.0, 0.0]])
    step = L1().sparse_step(gradient, torch.tensor([3, 4, 2]))
    third = 1 / torch.tensor(3.0)
    expected = torch.tensor([[third, -third, third, 0.0], [0.0, 0.5, 0.0, -0.5], [0.0, 0.0, 0.0, 0.0]])
    assert torch.equal(step, expected)


@pytest.mark.parametrize("norm", ["l1", "l0"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_samples_leave_padding_alone(norm: str, distribution: str) -> None:
    live = torch.arange(40) < torch.tensor([40, 20, 5, 1, 0])[:, None]
    unit = geometry(norm).sample(Keys.of(0, ROWS), 40, distribution, live)
    assert bool(torch.isfinite(unit).all())
    assert not bool((unit * ~live).any())
    assert bool((unit[:4] != 0).any(1).all())


def test_l1_samples_fill_the_ball_evenly() -> None:
    keys = Keys.of(0, [str(row) for row in range(4000)])
    inside = L1().measure(L1().sample(keys, 3, "uniform", None))
    assert bool((inside <= 1 + 1e-6).all())
    assert float(inside.mean()) == pytest.approx(3 / 4, abs=0.02)  # a radius drawn by volume
    assert float((inside < 0.5).float().mean()) == pytest.approx(1 / 8, abs=0.02)
    for distribution in ("gaussian", "sign"):
        surface = L1().sample(keys, 3, distribution, None)
        assert torch.allclose(L1().measure(surface), torch.ones(4000), atol=1e-6)
    assert torch.allclose(surface.abs(), torch.full((4000, 3), 1 / 3))


def test_l0_counts_every_change_however_small() -> None:
    d = torch.tensor([[0.0, -0.0, 1e-45, -7.0], [0.0, 0.0, 0.0, 0.0]])
    assert L0().measure(d).tolist() == [2.0, 0.0]
    assert L0().project(torch.tensor([[1.0, -1.0, 1.0]]), torch.tensor([2.9]), None, None).tolist() == [
        [1.0, -1.0, 0.0]
    ]


def test_two_observations_within_an_open_range_differ_by_no_more_than_the_nominal_one() -> None:
    """l0 bounds no size, so that a side without an end is one of 3 scales."""
    scale, bound = torch.tensor([0.5, 2.0]), torch.tensor([4.8, torch.inf])
    threat = Threat("observations", "l0", 2)
    inputs = Inputs(torch.tensor([[0.0, 0.0], [1.0, 9.0]]))
    for low, high in ((-bound, bound), (None, bound), (-bound, None), (None, None)):
        reached = inputs.values + observations(inputs, threat, scale, low, high).project(torch.full((2, 2), 1e9))
        wall = 4.8 if high is not None else 1.5
        assert torch.allclose(reached, torch.tensor([[wall, 6.0], [wall, 9.0]]))
        assert bool(torch.isinf(observations(inputs, threat, scale, low, high).distance(Inputs(reached + 1))).all())


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, count=st.integers(0, 6), walls=st.booleans())
def test_no_choice_of_features_is_nearer_than_the_l0_projection(seed: int, count: int, walls: bool) -> None:
    low, high = box(seed, 1, 6) if walls else (None, None)
    d = draw(seed + 1, 1, 6)
    inside = d if low is None else torch.clamp(d, low, high)
    found = L0().project(d, torch.tensor([count + 0.5]), low, high)
    assert float(L0().measure(found)) <= count
    for kept in itertools.combinations(range(6), count):
        other = torch.zeros(1, 6)
        other[:, list(kept)] = inside[:, list(kept)]
        assert float((other - d).norm()) >= float((found - d).norm()) * (1 - 1e-6)


@settings(max_examples=80, deadline=None)
@given(seed=SEEDS, size=st.sampled_from([0.3, 0.6, 3.0, 400.0]), slack=st.floats(1.0, 1.5))
def test_rounding_in_l1_stays_in_the_ball_and_loses_less_than_one_step(seed: int, size: float, slack: float) -> None:
    d = draw(seed, 5, 200) * size * (draw(seed + 1, 5, 200) > 0)
    length = L1().measure(d.double())
    radius = (length * slack).float()
    whole = L1().round(d, radius)
    assert torch.equal(whole, whole.round())
    assert torch.equal(L1().round(whole, radius), whole)
    assert bool(((whole - d).abs() < 1).all())
    assert not bool((whole[d == 0] != 0).any())
    reached = L1().measure(whole.double())
    assert bool((reached <= radius.double() * (1 + 1e-6)).all())
    assert bool((reached > length * (1 - 1e-6) - 1).all())


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_l0_samples_are_random_features_anywhere_in_their_range(distribution: str) -> None:
    inputs = Inputs(torch.linspace(0.2, 0.8, 20).expand(500, 20).clone())
    space = pixels(inputs, Threat("pixels", "l0", 4.5))
    d = space.sample(Keys.of(0, [str(row) for row in range(500)]), distribution)
    assert space.norm(d).tolist() == [4.0] * 500
    assert bool(((d != 0).sum(0) > 60).all())  # 100 on average, whatever their room
    reached = (inputs.values + d)[d != 0]
    assert float(reached.min()) < 0.01
    assert float(reached.max()) > 0.99
    unbounded = space.with_budget(torch.full((500,), torch.inf)).sample(Keys.of(0, ["0"] * 500), distribution)
    assert bool((unbounded != 0).all())


def test_a_wide_range_grants_no_feature_on_top_of_a_count() -> None:
    inputs = Inputs(torch.tensor([[1e7, 0.0, 0.0]]))
    space = observations(inputs, Threat("observations", "l0", 1), torch.ones(3))
    assert space.tolerance().tolist() == [0.0]
