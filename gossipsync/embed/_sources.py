"""What views of a bucket read and write through: with patience for threads, without for coroutines.

Invariant: each `edit` is one write of its own, or none where nothing was drafted.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from gossipsync.embed._binding import Binding

if TYPE_CHECKING:
    from gossipsync.core import Draft

__all__ = ["DirectSource", "PatientSource"]

T = TypeVar("T")


class DirectSource:
    """For coroutines: a write without room fails at once, because waiting would block the loop."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    def read(self, key: str) -> object:
        """A fresh plain value. Raises KeyError."""
        return self._binding.read(key, self._binding.wall_ms())

    def edit(self, change: Callable[["Draft"], T]) -> T:
        """One write. Raises OverloadedError and what `change` raises."""
        return self._binding.edit(change)[0]


class PatientSource(DirectSource):
    """For threads: a write waits up to a second for room."""

    def edit(self, change: Callable[["Draft"], T]) -> T:
        """One write. Raises OverloadedError and what `change` raises."""
        return self._binding.patiently(lambda: self._binding.edit(change))[0]
