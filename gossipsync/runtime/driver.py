"""The driver: the only caller of the core's `Peer`.

Everything that happens is told to the peer under one lock, and then the peer is drained: what it asks for
is carried out in the order of its contract, commit before send before tell before the next deadline.
Writers in other threads take the same lock, change the peer, and `wake` the driver; they never wait.

Invariants: only the trio thread speaks for the world. No input and no effect ends the driver: an exception is noted
(see `faults`), and the peer goes on with the next one.

What an exception in the core may leave behind, and why going on is safe: a message is handled to its end or broken off in
the middle, and the rest of what its link brought is lost, so that link is closed and a new one begins without memory. An
effect already asked for is still carried out. A bundle's entries are merged before its line moves and every merge can be
repeated, so a bundle that was broken off arrives again; a line never claims more than is held. Whatever else was half done
(a counter, a queue, a row of membership) may be wrong until a restart: therefore an ERROR is logged and a counter moves.
The simulator and its driver catch nothing; there an exception fails the run.
"""

from collections.abc import Callable
from typing import Final, Protocol, assert_never

import trio

from gossipsync.core import Now, Peer
from gossipsync.core.model.effects import Commit, Dial, Effect, Emit, HangUp, Send, Tell
from gossipsync.core.model.ids import LinkId
from gossipsync.runtime.clock import Clock
from gossipsync.runtime.commits import Committer, Failure
from gossipsync.runtime.faults import EFFECTS_FAILED, INTERNAL, Faults
from gossipsync.runtime.observe import Observer
from gossipsync.runtime.turns import EngineTurn
from gossipsync.runtime.waiters import Waiters

__all__ = ["Driver", "Network"]

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
        self.faults = Faults(observer.tally)
        self._told: set[str] | None = None
        """Buckets that waiters are to hear of; None where there is nothing to tell."""
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
        """Run something in the trio thread; not at all once that has ended. A fault in it is noted."""
        assert self._token is not None, "the engine has not been started"

        def guarded() -> None:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - trio would end with it
                self.faults.note(error, "a call from another thread")

        try:
            self._token.run_sync_soon(guarded)
        except trio.RunFinishedError:
            pass  # whoever waits has been woken when it ended

    # -- the trio thread -------------------------------------------------------------------------------

    def attach(self) -> None:
        """From here on the driver lives in this trio run."""
        self._token = trio.lowlevel.current_trio_token()

    def speak(self, call: Callable[[Now], None], context: str = "an input") -> bool:
        """Tell the peer one thing and do what it asks for; False if that met a fault, which is noted."""
        is_sound = True
        with self._turn:
            try:
                call(self._clock.now())
            except Exception as error:  # noqa: BLE001 - no input may end the service
                self.faults.note(error, context)
                is_sound = False
            self.pump()
        return is_sound

    def pump(self) -> None:
        """Carry out all that the peer asks for now."""
        with self._turn:
            self._is_woken = False
            deadline: float | None = None
            try:
                self._drain()
                deadline = self.peer.next_deadline()
                # Writers need not wake us for what the deadline, or a commit's answer, does anyway.
                self._is_woken = self.peer.is_gathering
            except Exception as error:  # noqa: BLE001 - see speak
                self.faults.note(error, "the peer's deadline")
            told, self._told = self._told, None
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
                is_sound = self.speak(self.peer.handle_deadline, "a deadline")
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

    def answer_commit(self, ticket: int, failure: Failure | None) -> None:
        """A commit has ended: stored where `failure` is None."""
        self.speak(lambda now: self._note_commit(ticket, failure, now), "the answer to a commit")

    def _drain(self) -> None:
        """Carry out effects until there are none. One that fails is dropped; those behind it are carried out."""
        is_sound = True
        while is_sound:
            tickets: list[int] = []
            failed: list[tuple[Effect, str]] = []
            try:
                for effect in self.peer.drain():
                    try:
                        self._carry_out(effect, tickets)
                    except Exception as error:  # noqa: BLE001 - the effects behind it are carried out
                        self.faults.note(error, f"effect {type(effect).__name__}", EFFECTS_FAILED)
                        failed.append((effect, f"{type(error).__name__}: {error}"))
            except Exception as error:  # noqa: BLE001 - see the module
                self.faults.note(error, "draining the peer")
                is_sound = False  # what it still holds comes with the next input
            if not tickets and not failed:
                return
            for ticket in tickets:
                self._answer_now(ticket)
            for effect, detail in failed:
                self._report_failed(effect, detail)

    def _answer_now(self, ticket: int) -> None:
        try:
            self._note_commit(ticket, self._committer.commit_now(), self._clock.now())
        except Exception as error:  # noqa: BLE001 - see the module
            self.faults.note(error, "the answer to a commit")

    def _carry_out(self, effect: Effect, tickets: list[int]) -> None:
        """`tickets` takes the commits that are answered at once, after the effects behind them."""
        match effect:
            case Send(link, data):
                self._network.send(link, data)
            case HangUp(link, reason):
                self._network.hang_up(link, reason)
            case Commit(ticket):
                if self._committer.is_immediate:
                    tickets.append(ticket)
                else:
                    self._committer.ask(ticket)
            case Dial(address):
                self._network.dial(address)
            case Tell(buckets):
                self._told = (self._told or set()) | buckets
            case Emit(event):
                self._told = self._told or set()
                self._observer.observe(event)
            case _:
                assert_never(effect)

    def _report_failed(self, effect: Effect, detail: str) -> None:
        """The peer must not wait for the outcome of an effect that was dropped."""
        now = self._clock.now()
        try:
            match effect:
                case Dial(address):
                    self.peer.handle_dial_failed(address, INTERNAL, now)
                case Commit(ticket):
                    self.peer.handle_commit_failed(ticket, detail, now)
                case Send(link) | HangUp(link):
                    self._end_link(link, now)
                case Tell() | Emit():
                    pass  # nothing waits for these
                case _:
                    assert_never(effect)
        except Exception as error:  # noqa: BLE001 - see the module
            self.faults.note(error, f"the failure of effect {type(effect).__name__}")

    def end_link(self, link: LinkId) -> None:
        """Close a link whose bytes met a fault, and have the peer forget it at once: nothing more is read from it."""
        self.speak(lambda now: self._end_link(link, now), "ending a link")

    def _end_link(self, link: LinkId, now: Now) -> None:
        try:
            self._network.hang_up(link, INTERNAL)
        except Exception as error:  # noqa: BLE001 - the peer forgets the link all the same
            self.faults.note(error, "ending a link", EFFECTS_FAILED)
        self.peer.handle_link_down(link, INTERNAL, now)

    def _note_commit(self, ticket: int, failure: Failure | None, now: Now) -> None:
        if failure is None:
            self.peer.handle_committed(ticket, now)
        else:
            self.peer.handle_commit_failed(ticket, failure.detail, now, is_behind=failure.is_behind)
