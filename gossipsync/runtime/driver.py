"""The driver: the only caller of the core's `Peer`.

Everything that happens is told to the peer under one lock, and then the peer is drained: what it asks for
is carried out in the order of its contract, commit before send before tell before the next deadline.
Writers in other threads take the same lock, change the peer, and `wake` the driver; they never wait.

Invariants: only the trio thread speaks for the world; a bug that some input brings to light is logged and
counted, and the peer goes on with the next input.
"""

import logging
from collections.abc import Callable
from typing import Final, Protocol, assert_never

import trio

from gossipsync.core import Now, Peer
from gossipsync.core.model.effects import Commit, Dial, Effect, Emit, HangUp, Send, Tell
from gossipsync.core.model.ids import LinkId
from gossipsync.runtime.clock import Clock
from gossipsync.runtime.commits import Committer
from gossipsync.runtime.observe import Observer
from gossipsync.runtime.turns import EngineTurn
from gossipsync.runtime.waiters import Waiters

__all__ = ["Driver", "Network"]

_log = logging.getLogger("gossipsync.engine")
_TICK_S: Final = 0.005
_AFTER_BUG_S: Final = 1.0  # a deadline that fails every time must not spin


class Network(Protocol):
    """What the peer's effects act on; each returns at once."""

    def send(self, link: LinkId, data: bytes) -> None:
        """Queue bytes on a link; nothing, where it has ended."""
        ...

    def hang_up(self, link: LinkId, reason: str) -> None:
        """End a link after what is queued."""
        ...

    def dial(self, address: str) -> None:
        """Begin to dial."""
        ...


class Driver:
    """Drives one peer. `lock` guards `peer` and `waiters`; hold it for every call on either."""

    def __init__(
        self, peer: Peer, network: Network, committer: Committer, observer: Observer, clock: Clock
    ) -> None:
        self.peer = peer
        self._turn = EngineTurn()
        self.lock = self._turn.lock
        self.let_pass = self._turn.let_pass
        """For whoever writes often: call it before taking the lock."""
        self.waiters = Waiters()
        self._network = network
        self._committer = committer
        self._observer = observer
        self._clock = clock
        self._token: trio.lowlevel.TrioToken | None = None
        self._is_woken = False
        self._armed_s = float("inf")
        self._rearm: trio.Event | None = None

    # -- any thread ------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have the peer drained soon. Call it with the lock held, after every change of the peer."""
        if not self._is_woken and self._token is not None:
            self._is_woken = True
            self.run_soon(self.pump)

    def run_soon(self, call: Callable[[], None]) -> None:
        """Run something in the trio thread; not at all once that has ended."""
        assert self._token is not None, "the engine has not been started"
        try:
            self._token.run_sync_soon(call)
        except trio.RunFinishedError:
            pass  # whoever waits has been woken when it ended

    # -- the trio thread -------------------------------------------------------------------------------

    def attach(self) -> None:
        """From here on the driver lives in this trio run."""
        self._token = trio.lowlevel.current_trio_token()

    def speak(self, call: Callable[[Now], None]) -> bool:
        """Tell the peer one thing and do what it asks for; False if that hit a bug, which is noted."""
        is_sound = True
        with self._turn:
            try:
                call(self._clock.now())
            except Exception:  # noqa: BLE001 - no input may end the service
                self.note_bug()
                is_sound = False
            self.pump()
        return is_sound

    def pump(self) -> None:
        """Carry out all that the peer asks for now."""
        with self._turn:
            self._is_woken = False
            try:
                told = self._drain()
                deadline = self.peer.next_deadline()
                # Writers need not wake us for what the deadline, or a commit's answer, does anyway.
                self._is_woken = self.peer.is_gathering
            except Exception:  # noqa: BLE001 - see speak
                self.note_bug()
                return
            if told is not None:
                self.waiters.tell(frozenset(told))
            if deadline is not None and deadline < self._armed_s and self._rearm is not None:
                self._rearm.set()

    def is_idle(self) -> bool:
        """Whether all that was written here is sealed, committed and handed out."""
        with self.lock:
            return self.peer.is_idle

    async def keep_deadlines(self) -> None:
        """Call the peer whenever its deadline has come, until cancelled."""
        met: float | None = None
        while True:
            with self._turn:
                deadline = self.peer.next_deadline()
            now = self._clock.now()
            if deadline is not None and deadline <= now.mono_s:
                is_sound = self.speak(self.peer.handle_deadline)
                # One that stands still waits for something else, such as a commit under way.
                pause_s = 0.0 if deadline != met else _TICK_S
                await trio.sleep(pause_s if is_sound else _AFTER_BUG_S)
                met = deadline
                continue
            self._armed_s = float("inf") if deadline is None else deadline
            self._rearm = trio.Event()
            with trio.move_on_after(self._armed_s - now.mono_s):
                await self._rearm.wait()
            self._armed_s = float("-inf")  # nothing is armed, and the pump need not say so

    def answer_commit(self, ticket: int, failure: str | None) -> None:
        """A commit has ended: stored where `failure` is None."""
        self.speak(lambda now: self._note_commit(ticket, failure, now))

    def note_bug(self) -> None:
        """Count and log the exception that is being handled."""
        self._observer.tally["internal"] += 1
        _log.exception("a bug in gossipsync: please report it with this traceback")

    def _drain(self) -> set[str] | None:
        """Buckets to tell about; None where there is nothing to tell."""
        told: set[str] | None = None
        while True:
            tickets = []
            for effect in self.peer.drain():
                match effect:
                    case Commit(ticket) if self._committer.is_immediate:
                        tickets.append(ticket)
                    case Tell(buckets):
                        told = (told or set()) | buckets
                    case Emit(event):
                        self._observer.observe(event)
                        told = told or set()
                    case _:
                        self._carry_out(effect)
            if not tickets:
                return told
            for ticket in tickets:
                self._note_commit(ticket, self._committer.commit_now(), self._clock.now())

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(link, data):
                self._network.send(link, data)
            case HangUp(link, reason):
                self._network.hang_up(link, reason)
            case Commit(ticket):
                self._committer.ask(ticket)
            case Dial(address):
                self._network.dial(address)
            case Tell() | Emit():
                pass  # _drain sees to these
            case _:
                assert_never(effect)

    def _note_commit(self, ticket: int, failure: str | None, now: Now) -> None:
        if failure is None:
            self.peer.handle_committed(ticket, now)
        else:
            self.peer.handle_commit_failed(ticket, failure, now)
