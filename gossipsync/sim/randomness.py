"""Randomness that is the same on every machine and Python: streams named by a path below one seed.

Only `random()` and `getrandbits()` of the Mersenne Twister are used, whose output Python promises to keep; what else is needed is
built on them here with comparisons and plain arithmetic, for `sample` may change with the interpreter and `log` with the machine.
Invariant: what one stream gives depends on the seed and its name alone, never on what others have given.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Randomness:
    """One stream; satisfies `core.ports.Rng`."""

    __slots__ = ("_path", "getrandbits", "random")

    def __init__(self, *path: int | str) -> None:
        self._path = path
        name = "\x00".join(map(str, path)).encode()
        source = Random(int.from_bytes(sha256(name).digest(), "big"))  # noqa: S311 - a world is drawn, not a secret
        self.random = source.random
        self.getrandbits = source.getrandbits

    def stream(self, *path: int | str) -> Randomness:
        """Another stream, named below this one."""
        return Randomness(*self._path, *path)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return probability > 0 and self.random() < probability

    def below(self, bound: int) -> int:
        """Uniform in 0 … bound - 1."""
        bits = bound.bit_length()
        number = self.getrandbits(bits)
        while number >= bound:
            number = self.getrandbits(bits)
        return number

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.random()

    def pick(self, population: Sequence[T]) -> T:
        """One element."""
        return population[self.below(len(population))]

    def sample(self, population: Sequence[T], k: int) -> list[T]:
        """k different elements, in random order."""
        size = len(population)
        if k * 3 < size:
            chosen: dict[int, None] = {}
            while len(chosen) < k:
                chosen[self.below(size)] = None
            return [population[position] for position in chosen]
        pool = list(population)
        for position in range(k):
            other = position + self.below(size - position)
            pool[position], pool[other] = pool[other], pool[position]
        return pool[:k]

    def exponential(self) -> float:
        """Exponential with mean 1, by von Neumann's comparison of uniform numbers (1951): no logarithm."""
        whole = 0
        while True:
            first = last = self.random()
            runs = 1
            while (following := self.random()) < last:
                last = following
                runs += 1
            if runs & 1:
                return whole + first
            whole += 1
