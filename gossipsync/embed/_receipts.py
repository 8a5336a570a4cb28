"""Receipts: what became of a write.

A member acknowledges a write once it has stored it, and says so over its own link; so an ack is worth
what the member's store is worth. The local store comes first and is never counted.

Invariant: a receipt never undoes its write. A wait that fails leaves it spreading.
"""

from typing import TYPE_CHECKING

from gossipsync.core.model.acks import ACKS_TOLD, Ack, is_ack
from gossipsync.core.model.ids import peer_text
from gossipsync.embed._durations import check_timeout
from gossipsync.embed._waiting import wait, wait_async
from gossipsync.errors import AckTimeoutError, ConfigError

if TYPE_CHECKING:
    from gossipsync.core import Written
    from gossipsync.runtime.engine import Engine

__all__ = ["AsyncReceipt", "Receipt", "check_ack"]


def check_ack(ack: Ack) -> Ack:
    """Raise ConfigError for what is no ack, before anything is written."""
    if is_ack(ack):
        return ack
    raise ConfigError(f"ack is {ACKS_TOLD}, not {ack!r}")


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

    def _is_acked(self, ack: Ack) -> bool:
        """Under the lock. Asked anew each time, for members come and go while one waits."""
        return self._engine.seek_acks(self._written, ack)

    def _timeout_s(self, timeout: float | None) -> float | None:
        return check_timeout(self._engine.settings.ack_timeout if timeout is None else timeout)

    def _failure(self, ack: Ack) -> AckTimeoutError:
        peer = self._engine.peer
        with self._engine.lock:
            message = f"ack={ack!r} did not come in time: {peer.shortfall(self._written, ack)}"
            return AckTimeoutError(message, acked_by=self.acked_by, needed=peer.needed_acks(ack))


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
