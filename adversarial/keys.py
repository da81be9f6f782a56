"""Keyed randomness after Salmon et al. 2011 (Parallel random numbers: as easy as 1, 2, 3), with the mixer of
Steele et al. 2014 (SplittableRandom).

Every draw is a hash of what it is for: seed, example id, time step, attack, restart, iteration, purpose. No generator
has a state, so neither the order of examples nor their place in a batch can change a draw. Integer arithmetic only,
so bits, and all draws but the normal ones to their last digit, are the same on every device. Draws of one key share
their bits: fold in a purpose for each.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The 64-bit pattern of an unsigned integer as torch's signed one."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def stable_hash(*parts: str | int) -> int:
    """A 64-bit signed integer that is the same in every process and on every machine."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


@dataclass(frozen=True, slots=True)
class Keys:
    """One 64-bit key a row.

    state: int64 [batch].
    """

    state: Tensor

    @classmethod
    def of(cls, seed: int, ids: Sequence[str], device: torch.device | str = "cpu") -> Keys:
        """Keys from a run's seed and the examples' ids."""
        return cls(torch.tensor([stable_hash(seed, example) for example in ids], dtype=torch.int64, device=device))

    def __len__(self) -> int:
        return len(self.state)

    def take(self, rows: Tensor) -> Keys:
        return Keys(self.state[rows])

    def fold(self, *parts: str | int) -> Keys:
        """New keys for a purpose, a time step, an iteration: the same parts give the same keys."""
        return Keys(_mix(self.state ^ stable_hash(*parts)))

    def fold_each(self, *parts: str | int, numbers: Tensor) -> Keys:
        """What fold(*parts, number) is for each row's own number, such as its restart. int64 [batch], at least 0."""
        most = int(numbers.max()) if len(numbers) else 0
        hashes = torch.tensor([stable_hash(*parts, number) for number in range(most + 1)], device=self.state.device)
        return Keys(_mix(self.state ^ hashes[numbers]))

    def fold_rows(self, numbers: Tensor) -> Keys:
        """New keys by a number of each row's own, such as the restart or member that the row is. int64 [batch]."""
        return Keys(_mix(self.state ^ _mix(numbers.to(torch.int64) * _GOLDEN + _MIX_1)))

    def bits(self, shape: Sequence[int]) -> Tensor:
        """64 random bits an element; int64 [batch, *shape]."""
        count = math.prod(shape)
        counter = torch.arange(1, count + 1, dtype=torch.int64, device=self.state.device) * _GOLDEN
        return _mix(self.state[:, None] + counter).reshape(len(self.state), *shape)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Uniform on the open interval (0, 1), in steps of 2^-24; float32 [batch, *shape]."""
        top = _shift_right(self.bits(shape), 41).to(torch.float32)  # 23 bits, so that adding 1/2 stays exact
        return top.add_(0.5).mul_(2.0**-23)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal by the inverse of its distribution; float32 [batch, *shape]."""
        quantiles: Tensor = torch.special.ndtri(self.uniform(shape).to(torch.float64))
        return quantiles.to(torch.float32)

    def sign(self, shape: Sequence[int]) -> Tensor:
        """-1 or 1 with equal chance; float32 [batch, *shape]."""
        return (_shift_right(self.bits(shape), 63) * 2 - 1).to(torch.float32)

    def integers(self, shape: Sequence[int], high: Tensor | int) -> Tensor:
        """Integers in [0, high), high broadcast against [batch, *shape] and at least 1; int64 [batch, *shape]."""
        return _shift_right(self.bits(shape), 32) * high >> 32


def _shift_right(value: Tensor, count: int) -> Tensor:
    """A logical shift; torch's own keeps the sign."""
    return (value >> count).bitwise_and_((1 << (64 - count)) - 1)


def _mix(value: Tensor) -> Tensor:
    # In place but for the first line: starts of a search are as many numbers as the batch has features.
    value = (value ^ _shift_right(value, 30)).mul_(_MIX_1)
    value.bitwise_xor_(_shift_right(value, 27)).mul_(_MIX_2)
    return value.bitwise_xor_(_shift_right(value, 31))
