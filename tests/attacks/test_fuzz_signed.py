"""Every part of every signed datum, replaced by every value of a list and signed again: whole peers take it or refuse it, and live.

Where test_fuzz_peers draws at random, this goes through all: a presence, a statement, a bundle's header and announcement, an
entry in a bucket of each kind, an excerpt and a proof of a fork. What is taken is then used: a presence by dialling it, an entry
by every read. The world and what must hold afterwards are those of test_fuzz_peers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gossipsync.core.model import strict
from gossipsync.core.model.address import is_address
from gossipsync.core.model.bundle import signed_bytes
from gossipsync.core.model.ids import new_epoch
from gossipsync.core.wire.evidence import Evidence
from gossipsync.core.wire.liveness import Statements
from gossipsync.core.wire.messages import Message, Presences, Push, encode_message
from gossipsync.core.wire.reconciling import Parts
from tests.attacks._hand import ADDRESSES, signed_presence, signed_statement
from tests.attacks._intruder import NAME
from tests.attacks._mutate import BLOBS, INTS, OTHERS, TEXTS, encoded, rooted
from tests.attacks.test_fuzz_peers import Siege
from tests.core._world import NETWORK, Author, entry, identity

VALUES: tuple[object, ...] = (
    *(*INTS, *TEXTS, *BLOBS, *OTHERS),
    *((address,) for address in ADDRESSES.values()),
    *(("host:1",) * 9, ("host:1", "host:1"), (None,), (b"host:1",), (("host", 1),)),
)
CBOR = (
    *(
        b"\xf7",
        b"\xff",
        b"\x82\x01",
        b"\xfb\x7f\xf8" + bytes(6),
        b"\xa1\x01\x02",
        b"\xa1\x41\x01\x02",
        b"\xc2\x41\x01",
    ),
    *(
        b"\x1b" + b"\xff" * 8,
        b"\x3b" + b"\xff" * 8,
        b"\xc0\x63abc",
        b"\x81" * 200 + b"\0",
        b"\x82\x1b" + b"\xff" * 8 + b"\xf6",
    ),
)
"""Bytes of values that no application writes."""


class Signer:
    """Signs what is wrong in one part."""

    def __init__(self, siege: Siege) -> None:
        self.siege = siege
        self.me = identity(NAME)
        self._epochs = 10

    @property
    def wall_ms(self) -> int:
        return self.siege.honest[0].now.wall_ms

    def replaced(self, parts: tuple[object, ...]) -> Iterator[tuple[object, ...]]:
        """The parts with each of them replaced by each value."""
        for at in range(len(parts)):
            for value in VALUES:
                yield (*parts[:at], value, *parts[at + 1 :])

    def author(self) -> Author:
        """A log of its own for each bundle, so that a refusal leaves no gap."""
        self._epochs += 1
        return Author(
            NAME, wall_ms=self.wall_ms, epoch=new_epoch(self.wall_ms, self._epochs % (1 << 15))
        )

    def sealed(self, header: tuple[object, ...], body: bytes) -> bytes:
        data = encoded(header)
        return strict.encode((data, self.me.sign(signed_bytes(data)), body))

    # -- streams of messages -----------------------------------------------------------------------------------

    def presences(self) -> Iterator[Message]:
        # The stamp comes last: nothing is news after one that is far ahead.
        names = ("addresses", "format", "network", "peer", "name", "zone", "version", "more")
        names = (*names, "stance", "epoch", "stamp")
        for name in names:
            for value in VALUES:
                usual: dict[str, object] = {"stamp": self.wall_ms, "addresses": ("intruder:1",)}
                try:
                    parts = usual | {name: value}
                    yield Presences(
                        (signed_presence(NETWORK, self.me.peer, self.me.sign, **parts),)
                    )  # type: ignore[arg-type]
                except (ValueError, OverflowError, TypeError):
                    continue  # CBOR has no such thing

    def statements(self) -> Iterator[Message]:
        about = identity("p1").peer
        for name in ("format", "network", "claim", "by", "about", "bound"):
            for value in VALUES:
                usual: dict[str, object] = {"about": about, "bound": self.wall_ms}
                try:
                    parts = usual | {name: value}
                    yield Statements(
                        (signed_statement(NETWORK, self.me.peer, self.me.sign, **parts),)
                    )  # type: ignore[arg-type]
                except (ValueError, OverflowError):
                    continue

    def _bundle(self, bucket: str = "b") -> tuple[tuple[object, ...], bytes]:
        author = self.author()
        data = author.wrong([entry("signed", 1, at=author.tick())], bucket)
        header, _, body = strict.decode(data, 2)  # type: ignore[misc]
        parts = strict.decode(header)
        assert isinstance(parts, tuple)
        return parts, body

    def headers(self) -> Iterator[Message]:
        header, _ = self._bundle()
        for at in range(len(header)):
            for value in VALUES:
                fresh, body = self._bundle()
                yield Push((self.sealed((*fresh[:at], value, *fresh[at + 1 :]), body),))

    def announcements(self) -> Iterator[Message]:
        for at in range(5):
            for value in VALUES:
                fresh, body = self._bundle(f"announced {at}")
                announced = list(fresh[3])  # type: ignore[call-overload]
                announced[at] = value
                yield Push((self.sealed((*fresh[:3], tuple(announced), *fresh[4:]), body),))

    def entries(self) -> Iterator[Message]:
        for bucket, field in (("b", None), ("m", "f"), ("s", "e"), ("n", None)):
            for at in range(6):
                for value in (*VALUES, *(CBOR if at == 5 else ())):
                    fresh, body = self._bundle(bucket)
                    author_origin = strict.encode(0) and fresh[4] + fresh[5].to_bytes(8, "big")  # type: ignore[operator,attr-defined]
                    ((key, _, op, stamp, expires, cell),) = strict.decode(body)  # type: ignore[misc]
                    slot = author_origin if bucket == "n" else field
                    row = [f"{key} {at}", slot, op, stamp, expires, cell]
                    row[at] = value
                    changed = encoded([row])
                    yield Push((self.sealed(strict.decode(rooted(fresh, changed)), changed),))  # type: ignore[arg-type]

    def excerpts(self) -> Iterator[Message]:
        header, _ = self._bundle()
        data = strict.encode(header)
        parts = (data, self.me.sign(signed_bytes(data)), b"", b"", (), b"")
        for changed in self.replaced(parts):
            yield Parts(1, False, (encoded(changed),))
            yield Evidence((encoded(changed),))

    def proofs(self) -> Iterator[Message]:
        parts = strict.decode(self.siege.intruder.proof())
        assert isinstance(parts, tuple)
        for changed in self.replaced(parts):
            yield Evidence((encoded(changed),))


STREAMS: dict[str, Callable[[Signer], Iterator[Message]]] = {
    "presence": Signer.presences,
    "statement": Signer.statements,
    "header": Signer.headers,
    "announcement": Signer.announcements,
    "entry": Signer.entries,
    "excerpt": Signer.excerpts,
    "proof": Signer.proofs,
}


@pytest.mark.parametrize("kind", STREAMS)
def test_every_part_replaced_by_every_value(kind: str) -> None:
    siege = Siege(1)
    intruder, rogue = siege.intruder, identity(NAME).peer
    taken = 0
    for number, message in enumerate(STREAMS[kind](Signer(siege))):
        node = siege.honest[number // 2 % 2]
        intruder.say_payload(node, encode_message(message))
        if isinstance(message, Presences):
            known = node.up._ctx.members.presence_of(rogue)
            if known is not None and known.data == message.data[0]:
                taken += 1
                assert all(map(is_address, known.addresses))
                intruder.leave(node)
            siege.world.run(0.6)  # a round, in which it is dialled
        elif number % 40 == 0:
            siege.world.run(0.6)
        if number % 200 == 0:
            siege.write(len(siege.written))
    assert taken > 50 or kind != "presence"
    siege.restart(siege.honest[0])
    siege.end()
