"""The engine: one peer as a trio program, with its listener, links, dials, commits and control socket.

It owns the sockets and tasks and decides nothing: what arrives goes to the `Driver`, which speaks to the
peer, and comes back as calls on this engine's network side.

Invariants: no queue is unbounded. No remote input ends `run`: whatever raises is noted (see `faults`), a link whose
bytes met a fault is closed, and all other links stay. `run` ends within two seconds of `request_close`.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from threading import RLock
from typing import Final

import trio
from attrs import evolve

from gossipsync.core import Now, PeerStatus, Token, Written
from gossipsync.core.model.acks import Ack
from gossipsync.core.model.address import split_address
from gossipsync.core.model.ids import LinkId, PeerId
from gossipsync.core.model.reasons import WarningCode
from gossipsync.core.ports import Store
from gossipsync.core.wire.hello import LocalHello, Stranger
from gossipsync.errors import BucketKindError, GossipsyncError
from gossipsync.runtime.addresses import advertised
from gossipsync.runtime.clock import Clock
from gossipsync.runtime.commits import Committer, Failure
from gossipsync.runtime.control_waits import until
from gossipsync.runtime.dials import Dialer, Expectation
from gossipsync.runtime.discovery import SeedLookup
from gossipsync.runtime.driver import Driver
from gossipsync.runtime.faults import INTERNAL
from gossipsync.runtime.links import Link
from gossipsync.runtime.observe import (
    EVENT_KINDS,
    LOST_ADVICE,
    BucketDiffers,
    ControlUnavailable,
    DialFailed,
    Observer,
    WritesKept,
    WritesLost,
)
from gossipsync.runtime.peering import link_peer, make_peer
from gossipsync.runtime.settings import BucketSettings, Settings
from gossipsync.runtime.start_gate import StartGate
from gossipsync.runtime.strangers import Strangers, StrangerStatus
from gossipsync.runtime.transport import Connection, Transport
from gossipsync.runtime.trust.credentials import Credentials
from gossipsync.runtime.version import VERSION

__all__ = ["Engine"]

_HAND_OVER_S: Final = 1.5
"""How long a closing peer tries to get its last writes to another member, in seconds."""
_FLUSH_S: Final = 1.8
"""How long closing may take in all, in seconds: of the two that are promised the rest is for ending threads."""
_AFTER_BUG_S: Final = 1.0


class Engine:
    """Runs one peer. `lock` guards `peer` and `waiters`; hold it for every call on either.

    Made in any thread (loading the store may take long), then `run` once under trio. `store` is open and
    belongs to the engine from then on. Raises StoreCorruptError.
    """

    def __init__(
        self, settings: Settings, credentials: Credentials, store: Store, clock: Clock
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.observer = Observer()
        self.addresses: tuple[str, ...] = ()
        """What others are told to dial; empty while nothing listens."""
        self.lost_writes = 0
        """After `run`: writes that ended with this peer, because no other member confirmed them and no store keeps them."""
        self.transport = Transport(
            credentials, self._hello, self.observer.tally, self._handle_stranger
        )
        self._strangers = Strangers()
        self.peer = make_peer(settings, self.transport, store, clock.now())
        self._committer = Committer(
            store, self._answer_commit, is_immediate=settings.store_kind == "memory"
        )
        for name, asked in settings.buckets.items():
            self._open_bucket(name, asked)
        self._driver = Driver(self.peer, self, self._committer, self.observer, clock)
        self._faults = self._driver.faults
        self.dialer = Dialer(self.transport, self._serve, self._handle_dial_failed, self._faults)
        self.lock = self._driver.lock
        self.let_pass = self._driver.let_pass
        self.waiters = self._driver.waiters
        self.wake = self._driver.wake
        """Have the peer drained soon: with the lock held, after every change of the peer. Any thread."""
        self.gate = StartGate(self.peer, self.lock, self.now, self.wake, settings.start_wait)
        self._links: dict[LinkId, Link] = {}
        self._link_ids = count(1)
        self._nursery: trio.Nursery | None = None
        self._is_durable = settings.store_kind != "memory"
        self._is_leaving = False
        self._is_flushed = False
        self._is_closing = trio.Event()
        self._has_moved = trio.Event()

    def _open_bucket(self, name: str, asked: BucketSettings) -> None:
        """As in the settings, unless the mesh has it otherwise: then a running service must still start."""
        rules = {
            "kind": asked.kind,
            "deletes": asked.deletes,
            "ttl_ms": asked.ttl_ms,
            "history_ms": asked.history_ms,
        }
        try:
            self.peer.open_bucket(name, self.now(), **rules)  # type: ignore[arg-type]
        except BucketKindError as error:
            self.observer.observe(BucketDiffers(name, str(error)))

    def now(self) -> Now:
        """This moment on both clocks."""
        return self.clock.now()

    def status(self) -> PeerStatus:
        """What state the peer is in; refusals before a link was up are counted among the peer's."""
        with self.lock:
            status = self.peer.status(self.now())
        rejected = Counter(self.observer.tally)
        for kind in EVENT_KINDS:
            del rejected[kind]
        rejected.update(status.rejected)
        incompatible = self.incompatible()
        warnings = status.warnings
        if incompatible:
            warnings = (*warnings, WarningCode.INCOMPATIBLE)
        return evolve(status, rejected=dict(rejected), warnings=warnings, incompatible=incompatible)

    def incompatible(self) -> tuple[StrangerStatus, ...]:
        """Members of this network without a common protocol that were met of late. Any thread."""
        return self._strangers.shown(self.now().mono_s)

    def count_alive(self) -> int:
        """Members that are alive, self included. With the lock held."""
        return sum(member.state == "alive" for member in self.peer.members(self.now()))

    def seek_acks(self, written: Written, ack: Ack) -> bool:
        """Is a write stored as widely as `ack` asks for? If not, it is sought. With the lock held."""
        is_met = self.peer.seek_acks(written, ack, self.now())
        self._see_to_effects()
        return is_met

    def seek_token(self, token: Token) -> bool:
        """Has this peer seen all that a token names? If not, it is sought. With the lock held."""
        is_met = self.peer.seek_token(token, self.now())
        self._see_to_effects()
        return is_met

    def _see_to_effects(self) -> None:
        """Waiters are asked after a drain: what asking brought about must not wait for the next."""
        if self.peer.has_effects:
            self.wake()

    def request_close(self, *, leave: bool = False) -> None:
        """Flush, say goodbye and end `run`, within two seconds; `leave` gives up membership. Any thread."""

        def close() -> None:
            self._is_leaving = self._is_leaving or leave
            self._is_closing.set()

        self._driver.run_soon(close)

    def connect(self, address: str) -> Expectation:
        """Dial "host:port" now; the expectation says how it ends, and waiters are asked then. Any thread."""
        expectation = Expectation(address)
        with self.lock:
            self.peer.connect(address, self.now())
            self.wake()
        self._driver.run_soon(lambda: self._follow(expectation))
        return expectation

    def _follow(self, expectation: Expectation) -> None:
        """The core lets an address rest between dials; somebody who asks for it does not want to wait."""
        self._driver.pump()
        if not self.dialer.follow(expectation):
            self.dial(expectation.address)
        self._tell()

    def _tell(self) -> None:
        """Something has moved that the core knows nothing of."""
        with self.lock:
            self.waiters.tell(frozenset())

    def disown(self) -> None:
        """In a forked child: this engine is the parent's. Nobody here may wait for it or its locks."""
        self.lock = RLock()
        self.waiters.is_closed = True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `request_close`; started once it listens. Raises TransportError, ConfigError."""
        self._driver.attach()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._open(nursery)
                task_status.started()
                await self._is_closing.wait()
                await self._flush()
                self._report_unheld()
                nursery.cancel_scope.cancel()
        finally:
            with self.lock:
                self.waiters.close()
            self._leave_cursors()
            self._committer.close()

    def _leave_cursors(self) -> None:
        """No task is left that could change anything; where all is stored, cursors stay valid over the restart."""
        with self.lock:
            if self._is_flushed and not self._committer.is_busy and self._driver.is_idle():
                try:
                    self.peer.leave_cursors(self.now())
                    self._committer.commit_now()
                except Exception as error:  # noqa: BLE001 - the store must still be closed
                    self._faults.note(error, "leaving cursors")

    async def _open(self, nursery: trio.Nursery) -> None:
        settings = self.settings
        if not settings.is_lone:
            listener = await self.transport.listen(*split_address(settings.listen))
            self.addresses = advertised(settings.advertise, listener.addresses)
            nursery.start_soon(listener.serve, self._serve_inbound)
            self._driver.speak(lambda now: self.peer.handle_bound(self.addresses, now))
        nursery.start_soon(self._supervise, self._committer.run)
        nursery.start_soon(self._supervise, self._driver.keep_deadlines)
        if settings.seeds:
            nursery.start_soon(self._supervise, self._keep_seeds)
        if settings.has_control_socket:
            await self._open_control(nursery)
        self._driver.pump()

    async def _open_control(self, nursery: trio.Nursery) -> None:
        from gossipsync.runtime import control, control_protocol

        path = control_protocol.socket_path(self.settings)
        try:
            await nursery.start(control.serve, self, path)
        except (GossipsyncError, OSError) as error:
            if self.settings.socket is not None:
                raise  # asked for by name; not to be had is then a mistake worth stopping for
            self._observe(ControlUnavailable(str(error)))

    async def _supervise(self, task: Callable[[], Awaitable[None]]) -> None:
        """Keep a task going whatever bug it meets."""
        while True:
            try:
                await task()
                return
            except Exception as error:  # noqa: BLE001 - a bug of ours must not end the service
                self._faults.note(error, "a task of the engine")
                await trio.sleep(_AFTER_BUG_S)

    async def _keep_seeds(self) -> None:
        def handle(addresses: tuple[str, ...]) -> None:
            self._driver.speak(lambda now: self.peer.handle_seeds(addresses, now))

        def is_linked() -> bool:
            return self.peer.state != "alone"

        await SeedLookup(self.settings.seeds, handle, self._observe, is_linked).run()

    async def _flush(self) -> None:
        """Seal, commit, hand over and say goodbye, as far as the time allows."""
        with trio.move_on_after(_FLUSH_S):
            await self._hand_over()
            self._driver.speak(self.peer.leave if self._is_leaving else self.peer.close)
            await self._commit_all()
            for link in self._links.values():
                link.hang_up("closing")
            while self._links:
                await self._next_move()
            await self._commit_all()
            self._is_flushed = True

    async def _hand_over(self) -> None:
        """Wait until another member has stored all that was written here, if one can be reached in time."""
        is_durable = self._is_durable
        self._driver.speak(lambda now: self.peer.hand_over(now, is_durable=is_durable))
        self._count_lost()
        await until(self, self.peer.is_handed_over, _HAND_OVER_S)

    def _report_unheld(self) -> None:
        """Tell of writes that no other member has: lost with this peer, or kept in its store until the next start."""
        self._count_lost()
        with self.lock:
            unheld = self.peer.unheld_writes()
        if self.lost_writes:
            self.observer.observe(WritesLost(self.lost_writes, LOST_ADVICE))
        elif unheld and self._is_durable:
            self.observer.observe(WritesKept(unheld))

    def _count_lost(self) -> None:
        """A peer that leaves for good does not come back with the writes in its store."""
        is_durable = self._is_durable and not self._is_leaving
        with self.lock:
            self.lost_writes = self.peer.lost_writes(is_durable=is_durable)

    async def _commit_all(self) -> None:
        while self._committer.is_busy or not self._driver.is_idle():
            await self._next_move()

    async def _next_move(self) -> None:
        """Sleep until a commit was answered or a link has ended."""
        self._has_moved = trio.Event()
        await self._has_moved.wait()

    def _answer_commit(self, ticket: int, failure: Failure | None) -> None:
        self._driver.answer_commit(ticket, failure)
        self._has_moved.set()

    # -- what the driver asks for --------------------------------------------------------------------------

    def send(self, link: LinkId, data: bytes) -> None:
        """Queue bytes on a link; nothing, where it has ended."""
        if link in self._links:
            self._links[link].send(data)

    def hang_up(self, link: LinkId, reason: str) -> None:
        """End a link after what is queued."""
        if link in self._links:
            self._links[link].hang_up(reason)

    def dial(self, address: str) -> None:
        """Begin to dial."""
        assert self._nursery is not None
        self.dialer.start(self._nursery, address)

    # -- what links and dials report -----------------------------------------------------------------------

    def receive(self, link: LinkId, data: bytes) -> None:
        """A link's bytes for the peer."""
        is_sound = self._driver.speak(
            lambda now: self.peer.receive_data(link, data, now), f"bytes of link {link}"
        )
        if not is_sound:
            self._driver.end_link(link)

    def report_sent(self, link: LinkId, size_bytes: int) -> None:
        """A link's progress for the peer."""
        self._driver.speak(lambda now: self.peer.handle_sent(link, size_bytes, now))

    async def _serve_inbound(self, connection: Connection) -> None:
        if len(self._links) >= self.peer.config.limits.links:
            self.observer.tally["links"] += 1
            return
        await self._serve(connection, None)

    async def _serve(self, connection: Connection, dialled: str | None) -> None:
        queue_bytes = self.peer.config.limits.link_queue_bytes
        link = Link(LinkId(next(self._link_ids)), connection.stream, self, queue_bytes=queue_bytes)
        self._links[link.id] = link
        reason = INTERNAL
        try:
            remote = link_peer(connection, dialled)
            self._strangers.link_up(remote.peer)
            if self._driver.speak(
                lambda now: self.peer.handle_link_up(link.id, remote, now), "a new link"
            ):
                reason = await link.run(connection.leftover)
        except Exception as error:  # noqa: BLE001 - see _supervise
            self._faults.note(error, f"carrying link {link.id}")
        finally:
            del self._links[link.id]
            self._driver.speak(
                lambda now: self.peer.handle_link_down(link.id, reason, now), "a link's end"
            )
            self._has_moved.set()

    def _handle_stranger(self, address: str, peer: PeerId, stranger: Stranger) -> None:
        event = self._strangers.meet(address, peer, stranger, self.now().mono_s)
        if event is not None:
            self._observe(event)

    def _handle_dial_failed(self, address: str, reason: str) -> None:
        self._driver.speak(lambda now: self.peer.handle_dial_failed(address, reason, now))
        self._observe(DialFailed(address, reason))

    def _observe(self, event: object) -> None:
        """An event of our own; the core's come through the driver."""
        self.observer.observe(event)
        self._tell()

    def _hello(self) -> LocalHello:
        address = self.addresses[0] if self.addresses else None
        return LocalHello(self.settings.name, self.peer.epoch, address, VERSION)
