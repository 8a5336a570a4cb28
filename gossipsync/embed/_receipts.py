"""Receipts: what became of a write.

A member acknowledges a write once it has stored it, and says so over its own link; so an ack is worth
what the member's store is worth. The local store comes first and is never counted.

Invariant: a receipt never undoes its write. A wait that fails leaves it spreading.
"""

from typing import TYPE_CHECKING

from gossipsync.core.model.ids import peer_text
from gossipsync.embed._durations import check_timeout
from gossipsync.embed._waiting import wait, wait_async
from gossipsync.errors import AckTimeoutError, ConfigError

if TYPE_CHECKING:
    from gossipsync.core import Written
    from gossipsync.runtime.engine import Engine

__all__ = ["Ack", "AsyncReceipt", "Receipt", "check_ack"]

Ack = int | str
"""A number of other members, "self", "majority" or "all"."""

_WORDS = ("self", "majority", "all")


def check_ack(ack: Ack) -> Ack:
    """Raise ConfigError for what is no ack, before anything is written."""
    if (type(ack) is int and ack >= 0) or ack in _WORDS:
        return ack
    raise ConfigError(
        f'ack: a number from 0 up, "self", "majority" or "all" is needed, not {ack!r}'
    )


class _ReceiptBase:
    """One write, or one batch, where `key` is None."""

    def __init__(self, engine: "Engine", written: "Written", key: str | None) -> None:
        self.bucket = written.bucket
        self.key = key
        self.hlc: int = written.hlc
        self._written = written
        self._engine = engine

    @property
    def token(self) -> str:
        """The write as a token: `wait_for` it elsewhere to read it there."""
        with self._engine.lock:
            return self._engine.peer.token_of(self._written)

    @property
    def acked_by(self) -> tuple[str, ...]:
        """Ids of the other members that have stored it, as far as known now."""
        with self._engine.lock:
            return tuple(map(peer_text, self._engine.peer.acked_by(self._written)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.key!r} in bucket {self.bucket!r}>"

    def _needed(self, ack: Ack) -> int:
        return ack if isinstance(ack, int) else self._engine.peer.needed_acks(ack)

    def _is_acked(self, ack: Ack) -> bool:
        """Under the lock. Asked anew each time, for members come and go while one waits."""
        return self._engine.peer.seek_acks(self._written, ack, self._engine.now())

    def _timeout_s(self, timeout: float | None) -> float | None:
        return check_timeout(self._engine.settings.ack_timeout if timeout is None else timeout)

    def _failure(self, ack: Ack) -> AckTimeoutError:
        with self._engine.lock:
            needed = self._needed(ack)
            unstored = self._engine.peer.why_unstored(self._written)
        acked_by = self.acked_by
        if unstored is None:
            message = (
                f"{len(acked_by)} of {needed} members confirmed in time (ack={ack!r}); "
                "the write stays and goes on spreading"
            )
        else:
            message = (
                f"not stored here in time (ack={ack!r}): {unstored}. The write stays in memory, and is stored "
                "and sent as soon as that can be"
            )
        return AckTimeoutError(message, acked_by=acked_by, needed=needed)


class Receipt(_ReceiptBase):
    """What became of a write: `bucket`, `key` (None for a batch), `hlc`, `token`, `acked_by`."""

    def wait(self, ack: Ack, *, timeout: float | None = None) -> None:
        """Block until so many members have stored it; None waits for the setting `ack_timeout`.

        Raises AckTimeoutError, after which the write still stands; ClosedError.
        """
        if check_ack(ack) == 0:
            return
        if not wait(self._engine, lambda: self._is_acked(ack), self._timeout_s(timeout)):
            raise self._failure(ack)


class AsyncReceipt(_ReceiptBase):
    """What became of a write: `bucket`, `key` (None for a batch), `hlc`, `token`, `acked_by`."""

    async def wait(self, ack: Ack, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the contract's name
        """Wait until so many members have stored it; None waits for the setting `ack_timeout`.

        Raises AckTimeoutError, after which the write still stands; ClosedError.
        """
        if check_ack(ack) == 0:
            return
        is_met = await wait_async(
            self._engine, lambda: self._is_acked(ack), self._timeout_s(timeout)
        )
        if not is_met:
            raise self._failure(ack)
