"""Waiters: asked when something moved, woken once, never left behind."""

import pytest

from gossipsync.runtime.waiters import Waiter, Waiters


class Sleeper:
    def __init__(self, bucket: str | None = None) -> None:
        self.is_met = False
        self.asked = 0
        self.woken = 0
        self.waiter = Waiter(self._ask, self._wake, bucket)

    def _ask(self) -> bool:
        self.asked += 1
        return self.is_met

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def waiters() -> Waiters:
    return Waiters()


def test_one_that_need_not_wait_is_woken_at_once(waiters: Waiters) -> None:
    sleeper = Sleeper()
    sleeper.is_met = True
    waiters.add(sleeper.waiter)
    assert (sleeper.woken, len(waiters)) == (1, 0)


def test_woken_once_when_it_comes_true(waiters: Waiters) -> None:
    sleeper = Sleeper()
    waiters.add(sleeper.waiter)
    waiters.tell(frozenset())
    assert sleeper.woken == 0
    sleeper.is_met = True
    waiters.tell(frozenset())
    waiters.tell(frozenset())
    assert (sleeper.woken, len(waiters)) == (1, 0)


def test_one_with_a_bucket_is_asked_for_that_bucket_only(waiters: Waiters) -> None:
    sleeper = Sleeper("a")
    waiters.add(sleeper.waiter)
    waiters.tell(frozenset({"b"}))
    assert sleeper.asked == 1
    waiters.tell(frozenset({"a"}))
    assert sleeper.asked == 2


def test_a_question_that_raises_wakes_with_the_error_and_spares_the_others(
    waiters: Waiters,
) -> None:
    error = RuntimeError("no")

    def ask() -> bool:
        raise error

    woken: list[int] = []
    waiter = Waiter(ask, lambda: woken.append(1))
    other = Sleeper()
    waiters.add(waiter)
    waiters.add(other.waiter)
    assert woken == [1]
    assert waiter.error is error
    assert len(waiters) == 1


def test_close_wakes_everybody_also_those_who_come_later(waiters: Waiters) -> None:
    early, late = Sleeper(), Sleeper()
    waiters.add(early.waiter)
    waiters.close()
    waiters.add(late.waiter)
    assert (early.woken, late.woken, len(waiters)) == (1, 1, 0)


def test_discard_twice(waiters: Waiters) -> None:
    sleeper = Sleeper()
    waiters.add(sleeper.waiter)
    waiters.discard(sleeper.waiter)
    waiters.discard(sleeper.waiter)
    waiters.close()
    assert sleeper.woken == 0
