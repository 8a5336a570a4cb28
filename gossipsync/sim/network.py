"""The network: dials, links and frames with latency, bandwidth, loss and cuts.

A link is what TLS over TCP gives: whole frames in order, or the end of the link. What loss does is therefore what it does to TCP:

- **`loss`** P: the opening of a conversation (a dial, or the digest that opens an exchange over an old link) is lost with
  probability P, which costs this round's exchange; any other frame is late by a retransmission time-out with probability P, and those behind it.
- **cuts** (partitions, in one direction or both): what meets one is gone, and its link carries nothing more in that direction,
  until one end gives up. Neither end is told.
- **`drops`, `duplicates`, `reorders`**: single frames lost, doubled or overtaken. No stream does that; the core must bear it anyway.

A dial that succeeds takes three round trips (TCP, TLS 1.3, hello). Invariant: without `reorders`, what one end sends over a link
arrives in that order or not at all.
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import define, evolve, field, frozen

from gossipsync.core import LinkPeer
from gossipsync.core.model.ids import LinkId
from gossipsync.core.wire.framing import LENGTH_BYTES
from gossipsync.core.wire.messages import Digest, encode_message
from gossipsync.sim.latency import Latency
from gossipsync.sim.world import World

DIAL_TRIPS: Final = 6
"""One-way trips until a link carries its first message."""
DIAL_PATIENCE_S: Final = 3.0
"""How long somebody waits for an answer to a dial."""
RETRANSMISSION_S: Final = 0.2
"""The least time after which TCP sends again (RFC 6298 as Linux has it)."""
_DIGEST_BEGINS: Final = encode_message(Digest(0, b"", b"", 0))[:2]
"""How the payload of every digest begins: an array of so many parts, the first of them its type."""


@frozen
class Conditions:
    """How bad the network is. Shares are probabilities per frame or conversation."""

    latency: Latency
    loss: float = 0.0
    drops: float = 0.0
    duplicates: float = 0.0
    reorders: float = 0.0
    bytes_per_s: float | None = None
    """Bandwidth of each direction of each link; None: as much as anybody wants."""

    may_hit_frames: bool = field(init=False)
    """Does one frame fare otherwise than the next?"""

    @may_hit_frames.default
    def _may_hit_frames(self) -> bool:
        return bool(self.loss or self.drops or self.duplicates or self.reorders or self.bytes_per_s)


class Host(Protocol):
    """Who sits at the end of a link."""

    number: int
    run: int
    """How often it was started: a dial of an earlier run leads nowhere."""

    @property
    def is_up(self) -> bool:
        """Does it run?"""
        ...

    @property
    def key(self) -> bytes:
        """Whose certificate it shows."""
        ...

    @property
    def is_rogue(self) -> bool:
        """Does it alter what it sends?"""
        ...

    def linked(self, end: End, dialled: str | None) -> None:
        """A link is up."""
        ...

    def received(self, end: End, data: bytes) -> None:
        """Frames have come."""
        ...

    def unlinked(self, end: End, reason: str) -> None:
        """The other end closed."""
        ...

    def dial_failed(self, address: str, reason: str, run: int) -> None:
        """Nobody answered a dial of that run."""
        ...

    def seen_as(self, *, is_dialer: bool, dialled: str | None) -> LinkPeer:
        """How the other end of a new link sees this host; the flags are the other's."""
        ...

    def altered(self, data: bytes, target: int) -> list[bytes]:
        """What a rogue sends to a host in place of a frame."""
        ...


@define(eq=False)
class End:
    """One end of a link."""

    host: Host
    link: LinkId
    other: End = field(init=False)
    is_open: bool = True
    is_new: bool = False
    """Dialled, and nothing sent yet: the first exchange is of one conversation with the dial."""
    is_broken: bool = False
    """Has something that was sent here met a cut?"""
    free_s: float = 0.0
    """When the line is free again: the bandwidth's share of latency."""
    arrived_s: float = 0.0
    """When the last frame sent arrives at the other end."""


class Network:
    """Who listens where, who can reach whom, and what is under way."""

    def __init__(self, world: World, conditions: Conditions) -> None:
        self.conditions = conditions
        self.frames = 0
        self.bytes = 0
        self.dials = 0
        self.lost = 0
        self._world = world
        self._randomness = world.randomness.stream("network")
        self._listening: dict[str, Host] = {}
        self._islands: dict[int, int] = {}
        self._cuts: set[tuple[int, int]] = set()
        self._mended_s = 0.0
        """When a cut was last taken back."""
        self._next_link = 0

    # -- who can be reached ----------------------------------------------------------------------------------

    def listen(self, address: str, host: Host) -> None:
        """A host answers at an address."""
        self._listening[address] = host

    def silence(self, address: str) -> None:
        """Nobody answers there any more."""
        self._listening.pop(address, None)

    def split(self, islands: dict[int, int]) -> None:
        """Hosts of different islands cannot reach each other; whoever is not named is on island 0."""
        self._islands = islands

    def cut(self, source: int, target: int) -> None:
        """Nothing gets from one host to another any more; the other way is not touched."""
        self._cuts.add((source, target))

    def mend(self, source: int, target: int) -> None:
        """Take a cut back; links that met it stay dead until an end gives up."""
        self._cuts.discard((source, target))
        self._mended_s = self._world.now_s

    def rejoin(self) -> None:
        """There is one island again; links that were cut stay dead until an end gives up."""
        self._islands = {}
        self._mended_s = self._world.now_s

    def heal(self) -> None:
        """Everybody can reach everybody again."""
        self._islands, self._cuts = {}, set()
        self._mended_s = self._world.now_s

    def calm(self) -> None:
        """Nothing is lost, doubled or overtaken any more."""
        self.conditions = evolve(
            self.conditions, loss=0.0, drops=0.0, duplicates=0.0, reorders=0.0, bytes_per_s=None
        )

    @property
    def is_whole(self) -> bool:
        """Is there no cut anywhere?"""
        return not self._islands and not self._cuts

    @property
    def is_sound(self) -> bool:
        """Whether every frame arrives: no cut anywhere, nothing lost, no narrow links."""
        return self.is_whole and not self.conditions.may_hit_frames

    @property
    def whole_s(self) -> float:
        """For how long there has been no cut anywhere, in seconds."""
        return self._world.now_s - self._mended_s if self.is_whole else 0.0

    def reaches(self, source: int, target: int) -> bool:
        """Does what one host sends get to the other?"""
        islands = self._islands
        if islands and islands.get(source, 0) != islands.get(target, 0):
            return False
        return not self._cuts or (source, target) not in self._cuts

    # -- dialling --------------------------------------------------------------------------------------------

    def dial(self, host: Host, address: str) -> None:
        """Open a link; the host hears of it later."""
        self.dials += 1
        draw = self.conditions.latency.draw
        target = self._listening.get(address)
        if target is host:
            self._world.after(0.0, host.dial_failed, address, "self", host.run)
        elif target is None:
            delay = 2 * draw(self._randomness)
            self._world.after(delay, host.dial_failed, address, "refused", host.run)
        elif self._is_lost() or not self._reach_each_other(host, target):
            self.lost += 1
            self._world.after(DIAL_PATIENCE_S, host.dial_failed, address, "timed out", host.run)
        else:
            delay = DIAL_TRIPS * draw(self._randomness)
            self._world.after(delay, self._connect, host, target, address, host.run)

    def _is_lost(self) -> bool:
        loss = self.conditions.loss
        return loss > 0 and self._randomness.random() < loss

    def _reach_each_other(self, one: Host, other: Host) -> bool:
        return self.reaches(one.number, other.number) and self.reaches(other.number, one.number)

    def _connect(self, dialer: Host, target: Host, address: str, run: int) -> None:
        if dialer.run != run or not dialer.is_up:
            return
        if self._listening.get(address) is not target:
            dialer.dial_failed(address, "refused", run)
            return
        if not self._reach_each_other(dialer, target):
            dialer.dial_failed(address, "timed out", run)
            return
        if target.key == dialer.key:
            dialer.dial_failed(address, "clone", run)
            return
        self._next_link += 2
        near = End(dialer, LinkId(self._next_link), is_new=True)
        far = End(target, LinkId(self._next_link + 1))
        near.other, far.other = far, near
        target.linked(far, None)
        dialer.linked(near, address)

    # -- links -----------------------------------------------------------------------------------------------

    @property
    def is_slow(self) -> bool:
        """Does one frame leave after the other?"""
        return self.conditions.bytes_per_s is not None

    def send(self, end: End, frames: list[bytes]) -> None:
        """Put frames on their way: in one piece, as a stream carries what is written at once, unless single frames may be hit."""
        if end.host.is_rogue:
            target = end.other.host.number
            frames = [altered for data in frames for altered in end.host.altered(data, target)]
        if self.conditions.may_hit_frames:
            for data in frames:
                self._send(end, data)
        else:
            self._send(end, b"".join(frames), len(frames))

    def _send(self, end: End, data: bytes, frames: int = 1) -> None:
        self.frames += frames
        self.bytes += len(data)
        conditions, world, randomness = self.conditions, self._world, self._randomness
        if end.is_broken or not self.reaches(end.host.number, end.other.host.number):
            end.is_broken = True
            self.lost += 1
            return
        leaves = world.now_s
        if conditions.bytes_per_s is not None:
            leaves = end.free_s = max(leaves, end.free_s) + len(data) / conditions.bytes_per_s
        arrives = leaves + conditions.latency.draw(randomness)
        if not conditions.may_hit_frames:
            end.is_new = False
            arrives = end.arrived_s = max(arrives, end.arrived_s)
            world.at(arrives, self._deliver, end.other, data)
            return
        if self._is_lost():
            self.lost += 1
            if _opens_exchange(data) and not end.is_new:
                return
            arrives += RETRANSMISSION_S
        end.is_new = False
        if randomness.chance(conditions.drops):
            self.lost += 1
            return
        if randomness.chance(conditions.duplicates):
            world.at(arrives + conditions.latency.draw(randomness), self._deliver, end.other, data)
        if randomness.chance(conditions.reorders):
            arrives += RETRANSMISSION_S
        else:
            arrives = end.arrived_s = max(arrives, end.arrived_s)
        world.at(arrives, self._deliver, end.other, data)

    def _deliver(self, end: End, data: bytes) -> None:
        if end.is_open:
            end.host.received(end, data)

    def close(self, end: End) -> None:
        """One end hangs up; the other hears of it after what was sent before, unless a cut is between."""
        end.is_open = False
        if end.is_broken or not self.reaches(end.host.number, end.other.host.number):
            return
        arrives = self._world.now_s + self.conditions.latency.draw(self._randomness)
        self._world.at(max(arrives, end.arrived_s), self._closed, end.other)

    def _closed(self, end: End) -> None:
        if end.is_open:
            end.is_open = False
            end.host.unlinked(end, "closed")


def _opens_exchange(data: bytes) -> bool:
    return data.startswith(_DIGEST_BEGINS, LENGTH_BYTES)
