"""Commits: in a thread, one at a time, answered whatever the store raises."""

from threading import Event

import pytest
import trio

from gossipsync.errors import InternalError, StoreFullError
from gossipsync.runtime.commits import Committer, Failure
from gossipsync.stores import MemoryStore


class Store(MemoryStore):
    def __init__(self, *raising: Exception | None) -> None:
        super().__init__()
        self.raising = list(raising)
        self.hold = Event()
        self.hold.set()
        self.entered = Event()
        self.closed = Event()

    def commit(self) -> None:
        self.entered.set()
        self.hold.wait()
        if self.raising and (error := self.raising.pop(0)) is not None:
            raise error

    def close(self) -> None:
        self.closed.set()


async def test_each_ticket_is_answered_once(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(None, StoreFullError("disk full"), RuntimeError("no"))
    answers: list[tuple[int, Failure | None]] = []
    moved = trio.Event()

    def answer(ticket: int, failure: Failure | None) -> None:
        answers.append((ticket, failure))
        if ticket < 3:
            committer.ask(ticket + 1)
        else:
            moved.set()

    committer = Committer(store, answer, is_immediate=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.run)
        committer.ask(1)
        await moved.wait()
        nursery.cancel_scope.cancel()
    assert answers == [(1, None), (2, Failure("disk full")), (3, Failure("RuntimeError: no"))]
    assert "the store raised what no store may raise" in caplog.text
    committer.close()
    assert store.closed.is_set()


async def test_one_at_a_time() -> None:
    committer = Committer(Store(), lambda ticket, failure: None, is_immediate=False)
    committer.ask(1)
    with pytest.raises(InternalError):
        committer.ask(2)


async def test_one_that_hangs_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.hold.clear()
    committer = Committer(store, lambda ticket, failure: None, is_immediate=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.run)
        committer.ask(1)
        await trio.to_thread.run_sync(store.entered.wait)
        nursery.cancel_scope.cancel()
    committer.close()
    assert not store.closed.is_set()
    assert "did not end in time" in caplog.text
    store.hold.set()
    await trio.to_thread.run_sync(store.closed.wait)
