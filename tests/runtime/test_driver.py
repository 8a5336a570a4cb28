"""The driver: effects in their order, one wake-up at a time, and bugs that end nothing."""

from collections.abc import Callable, Iterator
from typing import cast

import pytest
import trio
import trio.testing
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

pytestmark = pytest.mark.plants_bugs


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

    def handle_commit_failed(
        self, ticket: int, detail: str, now: Now, *, is_behind: bool = False
    ) -> None:
        self.log.append(("commit failed", ticket, detail))

    def handle_dial_failed(self, address: str, reason: str, now: Now) -> None:
        self.log.append(("dial failed", address, reason))

    def handle_link_down(self, link: LinkId, reason: str, now: Now) -> None:
        self.log.append(("link down", link, reason))

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


class FailingNetwork(FakeNetwork):
    """Raises in some of its verbs."""

    def __init__(self, log: list[object], *failing: str) -> None:
        super().__init__(log)
        self.failing = failing

    def send(self, link: LinkId, data: bytes) -> None:
        if "send" in self.failing:
            raise OSError("no send")
        super().send(link, data)

    def hang_up(self, link: LinkId, reason: str) -> None:
        if "hang_up" in self.failing:
            raise OSError("no hang-up")
        super().hang_up(link, reason)

    def dial(self, address: str) -> None:
        if "dial" in self.failing:
            raise ValueError("no dial")
        super().dial(address)


def failing(*verbs: str) -> Scene:
    scene = Scene()
    scene.driver._network = FailingNetwork(scene.log, *verbs)
    return scene


async def test_an_effect_that_fails_is_dropped_and_those_behind_it_are_carried_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Fault g of issue 9: an address that could not be split ended the engine."""
    scene = failing("dial")
    scene.peer.effects = [
        Send(LinkId(1), b"x"),
        Dial("a:1", None),
        Dial("b:1", None),
        Send(LinkId(1), b"y"),
        Tell(frozenset({"b"})),
    ]
    told: list[int] = []
    scene.driver.waiters.add(Waiter(lambda: told.append(1) or False, lambda: None))
    scene.driver.pump()
    assert scene.log == [
        ("send", 1, b"x"),
        ("send", 1, b"y"),
        ("dial failed", "a:1", "internal"),
        ("dial failed", "b:1", "internal"),
    ]
    assert scene.observer.tally == {"effects-failed": 2}
    assert told == [1, 1]
    assert caplog.text.count("a bug in gossipsync") == 1  # once for each place


@pytest.mark.parametrize("effect", [Send(LinkId(7), b"x"), HangUp(LinkId(7), "r")])
async def test_a_link_whose_effect_fails_ends(effect: Effect) -> None:
    scene = failing("send", "hang_up")
    scene.peer.effects = [effect, Dial("a:1", None)]
    scene.driver.pump()
    assert scene.log == [("dial", "a:1"), ("link down", 7, "internal")]
    scene = failing("send")
    scene.peer.effects = [Send(LinkId(7), b"x")]
    scene.driver.pump()
    assert scene.log == [("hang up", 7, "internal"), ("link down", 7, "internal")]


async def test_a_commit_that_cannot_be_asked_for_has_failed() -> None:
    scene = Scene()
    committer = Committer(MemoryStore(), lambda ticket, failure: None, is_immediate=False)
    scene.driver._committer = committer
    scene.peer.effects = [Commit(1)]
    scene.driver.pump()
    scene.peer.effects = [Commit(2)]  # before the first was answered
    scene.driver.pump()
    ((word, ticket, detail),) = scene.log
    assert (word, ticket) == ("commit failed", 2)
    assert "before the last one was answered" in str(detail)


async def test_a_drain_that_breaks_off_loses_nothing_that_came_before(scene: Scene) -> None:
    scene.peer.effects = [Commit(3), Tell(frozenset({"b"})), ZeroDivisionError()]
    told: list[int] = []
    scene.driver.waiters.add(Waiter(lambda: told.append(1) or False, lambda: None))
    scene.driver.pump()
    assert ("committed", 3) in scene.log
    assert told == [1, 1]
    assert scene.observer.tally == {"internal": 1}


async def test_a_call_from_another_thread_that_raises_does_not_end_the_run(scene: Scene) -> None:
    def bug() -> None:
        raise ZeroDivisionError

    scene.driver.attach()
    scene.driver.run_soon(bug)
    await trio.testing.wait_all_tasks_blocked()
    assert scene.observer.tally == {"internal": 1}


async def test_a_place_is_logged_once_and_counted_each_time(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    def bug(now: Now) -> None:
        raise ZeroDivisionError

    for _ in range(5):
        assert not scene.driver.speak(bug, "bytes of link 1")
    assert scene.observer.tally == {"internal": 5}
    assert caplog.text.count("a bug in gossipsync (bytes of link 1)") == 1


async def test_cancellation_and_interrupts_pass(scene: Scene) -> None:
    def interrupted(now: Now) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scene.driver.speak(interrupted)
