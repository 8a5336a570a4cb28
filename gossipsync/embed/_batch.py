"""Batches: several writes as one bundle, atomic on every peer.

Invariant: a batch is written whole when its block ends, or, on an exception, not at all.
"""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from gossipsync.core.model.acks import Ack
from gossipsync.embed._binding import Binding
from gossipsync.embed._bucket_base import delete_present
from gossipsync.embed._durations import Ttl, ttl_ms
from gossipsync.embed._edits import merging
from gossipsync.embed._receipts import AsyncReceipt, Receipt
from gossipsync.embed._views import Counter, Elements, Fields
from gossipsync.errors import LocalError

if TYPE_CHECKING:
    from gossipsync.core import Draft, Written
    from gossipsync.runtime.engine import Engine

__all__ = ["AsyncBatch", "Batch"]

T = TypeVar("T")
R = TypeVar("R", Receipt, AsyncReceipt)


class _BatchBase(Generic[R]):
    """Writes gather in a `with` block. Reads within it see them; nobody else does before its end."""

    def __init__(self, binding: Binding, after: str | None) -> None:
        self.receipt: R | None = None
        """Set when the block has ended; None where the batch wrote nothing."""
        self._binding = binding
        self._after = after
        self._open: tuple[Engine, Draft] | None = None

    def __enter__(self) -> Self:
        if self._open is not None or self.receipt is not None:
            raise LocalError("a batch is used once; ask the bucket for another")
        self._open = self._binding.draft(self._after)
        return self

    def __getitem__(self, key: str) -> object:
        return self.read(key)

    def __setitem__(self, key: str, value: object) -> None:
        self._edit_blind(lambda draft: draft.put(key, value))

    def __delitem__(self, key: str) -> None:
        self.edit(lambda draft: delete_present(draft, key))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.edit(lambda draft: draft.has(key))

    def get(self, key: str, default: object = None) -> object:
        """The value as this batch would leave it, else `default`."""
        try:
            return self.read(key)
        except KeyError:
            return default

    def put(self, key: str, value: object, *, ttl: Ttl = None) -> None:
        """Assign with a ttl of its own."""
        milliseconds = ttl_ms(ttl)
        self._edit_blind(lambda draft: draft.put(key, value, milliseconds))

    def merge(self, key: str, before: object, after: object, *, ttl: Ttl = None) -> None:
        """Write the changes between two plain copies of a value; see `Bucket.merge`."""
        self.edit(merging(key, before, after, ttl_ms(ttl)))

    def delete(self, key: str) -> None:
        """Write a delete, whether the key is here or not."""
        self._edit_blind(lambda draft: draft.delete(key))

    def touch(self, key: str, ttl: Ttl = None) -> bool:
        """Extend the key's life; False where it is absent."""
        milliseconds = ttl_ms(ttl)
        return self.edit(lambda draft: draft.touch(key, milliseconds))

    def fields(self, key: str) -> Fields:
        """The fields of one map, within this batch. Raises BucketKindError."""
        self._binding.check_kind("map")
        return Fields(self, key)

    def counter(self, key: str) -> Counter:
        """One counter, within this batch. Raises BucketKindError."""
        self._binding.check_kind("counter")
        return Counter(self, key)

    def elements(self, key: str) -> Elements:
        """The elements of one set, within this batch. Raises BucketKindError."""
        self._binding.check_kind("set")
        return Elements(self, key)

    def read(self, key: str) -> object:
        """The value as this batch would leave it. Raises KeyError."""
        return self.edit(lambda draft: draft.read(key))

    def edit(self, change: Callable[["Draft"], T]) -> T:
        """Draft something more, once the bucket may be read."""
        if self._open is not None:
            self._binding.replica()
        return self._edit_blind(change)

    def _edit_blind(self, change: Callable[["Draft"], T]) -> T:
        """Draft a put or a delete: entering the block has waited if these have to."""
        if self._open is None:
            raise LocalError("a batch is used within its `with` block")
        engine, draft = self._open
        with engine.lock:
            return change(draft)

    def _close(self) -> tuple["Engine", "Draft"]:
        assert self._open is not None
        opened, self._open = self._open, None
        return opened


def _commit(engine: "Engine", draft: "Draft") -> "Written":
    with engine.lock:
        written = engine.peer.commit_draft(draft, engine.now())
        engine.wake()
    return written


class Batch(_BatchBase[Receipt]):
    """Writes gather in a `with` block and become one bundle at its end, atomic on every peer."""

    def __init__(
        self, binding: Binding, after: str | None, ack: Ack, timeout: float | None
    ) -> None:
        super().__init__(binding, after)
        self._ack = ack
        self._timeout = timeout

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        engine, draft = self._close()
        if kind is None and not draft.is_empty:
            written = self._binding.patiently(lambda: _commit(engine, draft))
            self.receipt = Receipt(engine, written, None)
            self.receipt.wait(self._ack, timeout=self._timeout)


class AsyncBatch(_BatchBase[AsyncReceipt]):
    """Writes gather in a plain `with` block and become one bundle at its end, atomic on every peer."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        engine, draft = self._close()
        if kind is None and not draft.is_empty:
            self.receipt = AsyncReceipt(engine, _commit(engine, draft), None)
