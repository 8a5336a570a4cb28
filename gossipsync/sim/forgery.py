"""Bundles and presence that a rogue signs with its own good key, as no honest peer would.

What it writes are keys of its own (`MARK`), so that a checker can tell them from the applications'; only stamps that nobody may
believe go onto applications' keys, where they would win. Invariant: all is signed by the rogue alone; it has nobody else's key.
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import define, field

from gossipsync.core import Now, PeerConfig
from gossipsync.core.membership.presence import Stance, make_presence
from gossipsync.core.model import strict
from gossipsync.core.model.bundle import (
    NO_PREVIOUS,
    Bundle,
    build_header,
    parse_bundle,
    signed_bytes,
)
from gossipsync.core.model.entry import Op, decode_entries, encode_body, encode_entry, leaves_of
from gossipsync.core.model.hlc import ZERO, Hlc, hlc_at
from gossipsync.core.model.ids import Epoch, NetworkId, new_epoch
from gossipsync.core.replication.merkle import merkle_root
from gossipsync.core.replication.pieces import parse_piece
from gossipsync.sim.identities import Identity
from gossipsync.sim.randomness import Randomness
from gossipsync.sim.stores import SimulatedStore

MARK: Final = "rogue-"
"""How a rogue's own keys begin."""
_SECOND_MS: Final = 1000
_YEAR_MS: Final = 365 * 86_400_000
_LONGEST_BRANCH: Final = 5
_FEW: Final = 8
"""Logs that one rogue writes to be believed: enough to push clocks, and what others hold of it stays small."""
DEFECTS: Final = ("network", "chain", "gap", "backwards", "merkle", "total", "huge", "signature")


class Machine(Protocol):
    """Where a rogue runs."""

    number: int
    identity: Identity
    config: PeerConfig
    store: SimulatedStore

    def now(self) -> Now:
        """What its clocks show."""
        ...


@define
class _Log:
    """A log of the rogue's own making, in the bucket of `like`."""

    like: Bundle
    """A genuine bundle, whose bucket and announcement are taken over."""
    epoch: Epoch
    previous: bytes = NO_PREVIOUS
    index: int = 0
    hlc: Hlc = ZERO
    bundles: list[bytes] = field(factory=list)


class Forger:
    """Makes what one rogue signs."""

    def __init__(self, machine: Machine, randomness: Randomness) -> None:
        self._machine = machine
        self._randomness = randomness
        self._branches: list[_Log] = []
        self._writes = self._near = 0

    def old_bundle(self) -> bytes | None:
        """A bundle from the older half of any log that the rogue has stored, whoever signed it."""
        store = self._machine.store
        logs = store.load_logs()
        if not logs:
            return None
        log = self._randomness.pick(tuple(logs))
        # Of a log whose line has not moved yet there may be pieces, taken over by themselves.
        half = max(1, (logs[log].last + 1) // 2)
        data = store.piece(*log, 1 + self._randomness.below(half))
        if data is None:
            return None
        return (
            data if isinstance(parse_piece(data), Bundle) else None
        )  # what is left of one is no bundle

    def branch(self, number: int) -> bytes | None:
        """A bundle of one of two logs that have the same numbers under the same epoch."""
        if not self._branches:
            like = self._like()
            if like is None:
                return None
            epoch = self._epoch()
            self._branches = [_Log(like, epoch), _Log(like, epoch)]
            if self._randomness.chance(0.5):
                # They fork after a common beginning.
                data = self._signed(self._branches[0], self._hlc(0))
                other = self._branches[1]
                trunk = self._branches[0]
                other.previous, other.index, other.hlc = trunk.previous, trunk.index, trunk.hlc
                other.bundles.append(data)
        log = self._branches[number % 2]
        if len(log.bundles) < _LONGEST_BRANCH and (not log.bundles or self._randomness.chance(0.3)):
            return self._signed(log, self._hlc(0))
        return self._randomness.pick(log.bundles)

    def ahead(self) -> bytes | None:
        """The first bundle of a log stamped about as far ahead as is allowed, or much further."""
        like = self._like()
        if like is None:
            return None
        skew_ms = self._machine.config.max_skew_ms
        is_near = self._near < _FEW and self._randomness.chance(0.3)
        self._near += is_near
        # Just inside the bound it is to be believed, with keys of the rogue's own; beyond, it goes for others' keys.
        by_ms = (
            skew_ms - _SECOND_MS
            if is_near
            else self._randomness.pick((skew_ms + 120 * _SECOND_MS, _YEAR_MS, 100 * _YEAR_MS))
        )
        return self._signed(_Log(like, self._epoch()), self._hlc(by_ms), steals=not is_near)

    def flawed(self) -> bytes | None:
        """A bundle with one thing wrong, and everything else right."""
        like = self._like()
        if like is None:
            return None
        return self._signed(
            _Log(like, self._epoch()), self._hlc(0), flaw=self._randomness.pick(DEFECTS)
        )

    def presence(self) -> bytes:
        """Presence under the rogue's own key that says what is not so."""
        machine, randomness = self._machine, self._randomness
        wall_ms = machine.now().wall_ms
        host = f"host-{randomness.below(machine.number + 2)}:1"
        presence = make_presence(
            network=self._network(machine.config.network, 0.1),
            peer=machine.identity.peer,
            stamp=wall_ms + randomness.pick((-_YEAR_MS, 0, _SECOND_MS, 60 * _SECOND_MS)),
            epoch=self._epoch(),
            stance=randomness.pick(tuple(Stance)),
            name=randomness.pick(("peer-0", "\x1b[2J", "\u202eeno", "")),
            addresses=randomness.pick(((), (host,), (host,) * 8, ("nowhere",), ("\n",))),
            zone="",
            version="999.0",
            sign=machine.identity.sign,
        )
        if randomness.chance(0.2):
            return presence.data[:-1] + bytes((presence.data[-1] ^ 1,))
        return presence.data

    # -- parts -----------------------------------------------------------------------------------------------

    def _like(self) -> Bundle | None:
        data = self.old_bundle()
        return None if data is None else parse_bundle(data)

    def _epoch(self) -> Epoch:
        return new_epoch(self._machine.now().wall_ms, self._randomness.getrandbits(15))

    def _hlc(self, ahead_ms: int) -> Hlc:
        return hlc_at(self._machine.now().wall_ms + ahead_ms)

    def _network(self, network: NetworkId, share: float) -> NetworkId:
        return NetworkId(network[::-1]) if self._randomness.chance(share) else network

    def _entry(self, like: Bundle, hlc: Hlc, *, steals: bool, flaw: str) -> bytes:
        """A write: of a key that exists with its shape, where it is to steal, else of an own one."""
        kept = like.entries()[0]
        self._writes += 1
        key = kept.key if steals else f"{MARK}{self._machine.number}-{self._writes}"
        value = strict.encode(f"by rogue {self._machine.number}")
        if flaw == "huge":
            value = strict.encode("x" * (1 << 20))
        total_of = like.header.origin if flaw == "total" else None
        rules = like.header.announcement.rules
        expires = None if rules.ttl_ms is None else (hlc >> 16) + rules.ttl_ms
        return encode_entry(key, total_of, Op.SET, hlc, expires, value)

    def _signed(self, log: _Log, hlc: Hlc, *, steals: bool = False, flaw: str = "") -> bytes:
        """The next bundle of a log."""
        identity, header = self._machine.identity, log.like.header
        log.hlc = max(hlc, log.hlc)
        stamp = Hlc(log.hlc - (1 << 32)) if flaw == "backwards" else log.hlc
        entries = (self._entry(log.like, log.hlc, steals=steals, flaw=flaw),)
        root = bytes(32) if flaw == "merkle" else merkle_root(leaves_of(decode_entries(entries)))
        made = build_header(
            network=NetworkId(bytes(32)) if flaw == "network" else header.network,
            bucket=header.bucket,
            announcement=header.announcement,
            peer=identity.peer,
            epoch=log.epoch,
            index=log.index + (1 << 40 if flaw == "gap" else 1),
            previous=bytes(31) + b"\x01" if flaw == "chain" else log.previous,
            count=len(entries),
            root=root,
            log_hlc=stamp,
        )
        signature = identity.sign(signed_bytes(made.data))
        if flaw == "signature":
            signature = identity.sign(made.data)  # the right key, without the domain
        data = Bundle(made, signature, encode_body(entries)).encode()
        log.previous, log.index = made.hash, made.index
        log.bundles.append(data)
        return data
