"""What a benchmark gives back: figures, each with the target it is held against."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from statistics import median

__all__ = ["Benchmark", "Figure", "Scale", "medians", "untargeted"]


@dataclass(frozen=True)
class Scale:
    """How much to do: the sizes the targets are for, or a tenth and less, to see that all of it runs."""

    name: str
    entries: int  # in a bucket that is filled, replicated or joined
    missed: int  # of these, how many a peer catches up on
    sessions: int
    paced_s: float  # how long latency is measured
    idle_s: float
    origins: tuple[int, ...]
    meshes: tuple[int, ...]  # processes in the larger meshes; the smallest has two
    idle_meshes: tuple[int, ...]
    crowds: tuple[int, ...]  # peers in each of the processes that hold many
    watch_s: float  # how long a crowd is looked at, with nothing wrong and after each loss

    @property
    def is_full(self) -> bool:
        """Whether figures may be held against targets."""
        return self.name == "full"


@dataclass(frozen=True)
class Figure:
    """One number. `target` is the most it may be, or the least where `is_floor`; None where nothing is promised."""

    what: str
    value: float
    unit: str
    target: float | None = None
    is_floor: bool = False

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.is_floor else self.value <= self.target

    @property
    def missed_by(self) -> float | None:
        """By what share of the target it is missed, of 1 where that is 0; None where it is met or there is none."""
        if self.target is None or self.is_met:
            return None
        return abs(self.value - self.target) / (self.target or 1)


@dataclass(frozen=True)
class Benchmark:
    """A name for `--only`, what is measured and with which store, and the function that does it."""

    name: str
    about: str
    run: Callable[[Scale], Iterable[Figure]]


def untargeted(figures: Iterable[Figure]) -> list[Figure]:
    """The figures, held against nothing."""
    return [replace(figure, target=None) for figure in figures]


def medians(runs: list[list[Figure]]) -> list[Figure]:
    """Each figure's median over several runs of one benchmark."""
    return [
        replace(figures[0], value=median(figure.value for figure in figures))
        for figures in zip(*runs, strict=True)
    ]
