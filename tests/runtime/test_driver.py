"""The driver: effects in their order, one wake-up at a time, and bugs that end nothing."""

from collections.abc import Callable, Iterator
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from gossipsync.core import Now, Peer
from gossipsync.core.model.effects import Commit, Dial, Effect, Emit, HangUp, Send, Tell
from gossipsync.core.model.events import StoreRecovered
from gossipsync.core.model.ids import LinkId
from gossipsync.runtime.commits import Committer
from gossipsync.runtime.driver import Driver
from gossipsync.runtime.observe import Observer
from gossipsync.runtime.waiters import Waiter
from gossipsync.stores import MemoryStore


class FakePeer:
    """Says what it is told to say; `log` is the dialogue."""

    def __init__(self, log: list[object]) -> None:
        self.log = log
        self.effects: list[Effect | Exception] = []
        self.deadline: float | None = None
        self.is_idle = True
        self.is_gathering = False

    def drain(self) -> Iterator[Effect]:
        effects, self.effects = self.effects, []
        for effect in effects:
            if isinstance(effect, Exception):
                raise effect
            yield effect

    def next_deadline(self) -> float | None:
        return self.deadline

    def handle_committed(self, ticket: int, now: Now) -> None:
        self.log.append(("committed", ticket))
        self.effects.append(Send(LinkId(1), b"after the commit"))

    def handle_deadline(self, now: Now) -> None:
        self.log.append(("deadline", round(now.mono_s, 3)))
        self.deadline = None


class FakeNetwork:
    def __init__(self, log: list[object]) -> None:
        self.log = log

    def send(self, link: LinkId, data: bytes) -> None:
        self.log.append(("send", link, data))

    def hang_up(self, link: LinkId, reason: str) -> None:
        self.log.append(("hang up", link, reason))

    def dial(self, address: str) -> None:
        self.log.append(("dial", address))


class TrioClock:
    def now(self) -> Now:
        return Now(trio.current_time(), 0)

    def wall_ms(self) -> int:
        return 0


class Scene:
    def __init__(self) -> None:
        self.log: list[object] = []
        self.peer = FakePeer(self.log)
        self.observer = Observer()
        committer = Committer(MemoryStore(), lambda ticket, failure: None, is_immediate=True)
        self.driver = Driver(
            cast(Peer, self.peer), FakeNetwork(self.log), committer, self.observer, TrioClock()
        )


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_commit_then_send_then_tell(scene: Scene) -> None:
    asked: list[int] = []
    waiter = Waiter(lambda: asked.append(len(scene.log)) or False, lambda: None)
    scene.driver.waiters.add(waiter)
    scene.peer.effects = [
        Tell(frozenset({"b"})),
        Commit(7),
        Send(LinkId(1), b"x"),
        HangUp(LinkId(1), "r"),
        Dial("a:1", None),
        Emit(StoreRecovered()),
    ]
    scene.driver.pump()
    assert scene.log == [
        ("send", 1, b"x"),
        ("hang up", 1, "r"),
        ("dial", "a:1"),
        ("committed", 7),
        ("send", 1, b"after the commit"),
    ]
    assert asked == [0, 5]
    assert scene.observer.tally == {"store-recovered": 1}


async def test_many_wake_ups_are_one(scene: Scene, autojump_clock: MockClock) -> None:
    pumped: list[int] = []
    drain = scene.peer.drain

    def counted() -> Iterator[Effect]:
        pumped.append(1)
        return drain()

    scene.peer.drain = counted  # type: ignore[method-assign]
    scene.driver.wake()  # before it is attached: nothing to wake
    scene.driver.attach()
    for _ in range(5):
        with scene.driver.lock:
            scene.driver.wake()
    await trio.sleep(1)
    assert pumped == [1]
    scene.peer.is_gathering = True  # its deadline will have it drained: writers need not
    scene.driver.pump()
    scene.driver.wake()
    await trio.sleep(1)
    assert pumped == [1, 1]


async def test_a_bug_ends_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def bug(now: Now) -> None:
        raise ZeroDivisionError

    assert not scene.driver.speak(bug)
    scene.peer.effects = [ZeroDivisionError("in drain")]
    scene.driver.pump()
    scene.peer.effects = [Send(LinkId(1), b"x")]
    assert scene.driver.speak(lambda now: None)
    assert scene.log == [("send", 1, b"x")]
    assert scene.observer.tally == {"internal": 2}
    assert caplog.text.count("a bug in gossipsync") == 2


async def test_deadlines_are_met_and_moved(scene: Scene, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    scene.driver.attach()
    scene.peer.deadline = began + 10
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.driver.keep_deadlines)
        await trio.sleep(1)
        scene.peer.deadline = began + 2
        scene.driver.pump()
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert scene.log == [("deadline", round(began + 2, 3))]


@pytest.mark.parametrize("raising", [True, False])
async def test_a_deadline_that_stands_still_does_not_spin(
    scene: Scene, autojump_clock: MockClock, raising: bool
) -> None:
    calls: list[float] = []

    def stuck(now: Now) -> None:
        calls.append(now.mono_s)
        if raising:
            raise ZeroDivisionError

    scene.peer.deadline = trio.current_time()
    handle: Callable[[Now], None] = stuck
    scene.peer.handle_deadline = handle  # type: ignore[method-assign]
    with trio.move_on_after(1.5):
        await scene.driver.keep_deadlines()
    assert len(calls) <= (2 if raising else 302)
