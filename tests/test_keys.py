"""Keyed randomness: the same draw for the same purpose, whoever else is in the batch, and sound statistics."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from scipy import stats

from adversarial.keys import Keys, stable_hash


IDS = [f"example-{i}" for i in range(50)]


def test_a_row_draws_the_same_wherever_it_is() -> None:
    keys, order = Keys.of(3, IDS), torch.randperm(50, generator=torch.Generator().manual_seed(0))
    shuffled = Keys.of(3, [IDS[i] for i in order.tolist()])
    for draw in (
        lambda k: k.fold("noise", 4).uniform((7,)),
        lambda k: k.normal((3, 2)),
        lambda k: k.sign((9,)),
        lambda k: k.integers((4,), 11),
    ):
        assert torch.equal(draw(keys)[order], draw(shuffled))
        assert torch.equal(draw(keys.take(order[:5])), draw(shuffled)[:5])


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    keys = Keys.of(0, IDS)
    assert torch.equal(keys.uniform((100,))[:, :10], keys.uniform((10,)))


def test_other_purposes_seeds_and_restarts_draw_otherwise() -> None:
    keys = Keys.of(0, IDS)
    members = torch.arange(50)
    streams = [
        keys.uniform((20,)),
        Keys.of(1, IDS).uniform((20,)),
        keys.fold("a").uniform((20,)),
        keys.fold("b").uniform((20,)),
        keys.fold("a", 1).uniform((20,)),
        keys.fold_rows(members).uniform((20,)),
        keys.fold_rows(members + 1).uniform((20,)),
    ]
    for i, one in enumerate(streams):
        for other in streams[i + 1 :]:
            assert not bool((one == other).all(1).any())
            assert abs(float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])) < 0.12


def test_the_distributions_are_what_they_say() -> None:
    keys = Keys.of(11, IDS)
    uniform = keys.uniform((4000,))
    assert float(uniform.min()) > 0
    assert float(uniform.max()) < 1
    assert stats.kstest(uniform.flatten().double().numpy(), "uniform").pvalue > 1e-4
    assert stats.kstest(keys.normal((4000,)).flatten().double().numpy(), "norm").pvalue > 1e-4
    sign = keys.sign((4000,))
    assert set(sign.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(sign.mean())) < 0.01
    counts = torch.bincount(keys.integers((4000,), 7).flatten(), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
    bits = keys.bits((4000,)).flatten()
    for bit in range(64):
        assert abs(float(((bits >> bit) & 1).double().mean()) - 0.5) < 0.01, bit


def test_integers_may_have_a_limit_of_their_own_each() -> None:
    high = torch.tensor([1, 2, 5]).expand(50, 3)
    drawn = Keys.of(0, IDS).integers((3,), high)
    assert bool(((drawn >= 0) & (drawn < high)).all())


def test_the_stream_is_pinned() -> None:
    """Another stream would change every record: it needs another NUMBERS_VERSION."""
    assert stable_hash("pgd", 0) == stable_hash("pgd", 0)
    keys = Keys.of(0, ["a"])
    assert keys.state.tolist() == [stable_hash(0, "a")]
    assert keys.fold("x").bits((2,)).tolist() == PINNED
    x = keys.fold("x")
    assert x.uniform((2,)).tolist() == [[0.5594004988670349, 0.37959975004196167]]
    assert x.normal((2,)).tolist() == [pytest.approx([0.1494494378566742, -0.3065321445465088], abs=1e-6)]
    assert x.sign((2,)).tolist() == [[1.0, -1.0]]
    assert x.integers((2,), 1000).tolist() == [[559, 379]]
    assert keys.fold_rows(torch.tensor([3])).state.tolist() == [-2636958542186590921]


def test_the_mixer_is_the_published_one() -> None:
    """SplitMix64 from the seed 0, as its reference implementation prints it."""
    found = Keys(torch.zeros(1, dtype=torch.int64)).bits((3,)).flatten().tolist()
    assert [value % 2**64 for value in found] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


PINNED = [[-8127625427686968968, 7002379369960558175]]


def test_hashes_do_not_depend_on_the_process() -> None:
    code = "from adversarial.keys import stable_hash; print(stable_hash('a', 1))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == stable_hash("a", 1)
