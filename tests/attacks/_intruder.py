"""Whole honest peers with a driver, and one member with valid credentials that says whatever it likes to them.

The driver is that of tests/core/_world, which catches nothing: an exception in the core fails the test. Beyond that it checks each
effect of an honest peer as a strict driver would: what it dials has the form of an address, what it sends are frames that decode.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import TypeAlias, get_args

from gossipsync.core import LinkPeer, Peer
from gossipsync.core.membership.presence import Stance, make_presence
from gossipsync.core.membership.statements import Claim, make_statement
from gossipsync.core.model import strict
from gossipsync.core.model.address import check_address
from gossipsync.core.model.bundle import parse_header
from gossipsync.core.model.effects import Dial, Effect, HangUp, Send
from gossipsync.core.model.entry import Op, encode_entry
from gossipsync.core.model.ids import Epoch, LinkId, Origin, PeerId, new_epoch, origin_of
from gossipsync.core.model.stage import Stage
from gossipsync.core.replication.forks import make_fork_proof
from gossipsync.core.replication.pieces import encode_piece
from gossipsync.core.wire import evidence, liveness, looking, messages, readiness, reconciling
from gossipsync.core.wire.framing import FrameReader, frame
from gossipsync.core.wire.messages import Message, decode_message, encode_message
from tests.attacks._mutate import decoded
from tests.core._world import EVERYTHING, NETWORK, Author, Node, World, entry, identity

KINDS: tuple[type[Message], ...] = get_args(Message)
Make: TypeAlias = "Callable[[Intruder], Message]"
_FIRST_LINK = 1 << 20
_KEPT = 40
NAME = "intruder"


class GuardedWorld(World):
    """Honest peers whose effects are checked; links of the intruder are carried to it."""

    intruder: Intruder | None = None

    def _do(self, node: Node, peer: Peer, effect: Effect) -> None:
        match effect:
            case Dial(address):
                check_address(address)
            case Send(link, data):
                self._check_frames(peer, data)
                if link >= _FIRST_LINK and self.intruder is not None:
                    self.intruder.hear(node, link, data)
            case HangUp(link, reason) if link >= _FIRST_LINK and self.intruder is not None:
                assert reason, "a hang-up has a reason"
                self.intruder.lost(node)
            case _:
                pass
        super()._do(node, peer, effect)

    def _check_frames(self, peer: Peer, data: bytes) -> None:
        reader = FrameReader(peer.config.limits.frame_bytes)
        reader.feed(data)
        for payload in reader:
            decode_message(payload)
        assert reader.buffered == 0, "a Send holds whole frames"


class Intruder:
    """A member with valid credentials. It learns from what honest peers send it, and keeps links to them open."""

    def __init__(self, world: GuardedWorld, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.me = identity(NAME)
        self.author = Author(NAME, wall_ms=world.nodes[0].now.wall_ms)
        self.credential = world.authority.issue(self.me.peer, EVERYTHING)
        self.heard: dict[type[Message], list[bytes]] = defaultdict(list)
        """Payloads that honest peers sent, newest last."""
        self.hung_up = 0
        self._numbers: list[int] = []
        """Of runs, requests and exchanges that honest peers named last."""
        self._links: dict[int, LinkId] = {}
        self._next_link = _FIRST_LINK
        world.intruder = self

    def link(self, node: Node) -> LinkId:
        """The link with a node, a new one if need be."""
        known = self._links.get(node.number)
        if known is not None:
            return known
        link = LinkId(self._next_link)
        self._next_link += 1
        self._links[node.number] = link
        is_dialer = self.rng.random() < 0.5
        epoch = new_epoch(node.now.wall_ms, self.rng.choice((1, 1, 1, 7)))
        node.up.handle_link_up(
            link,
            LinkPeer(
                *(self.me.peer, NAME, epoch, "intruder:1", "0", self.credential),
                is_dialer=is_dialer,
                dialled="intruder:1" if is_dialer else None,
            ),
            node.now,
        )
        self.world.touched(node)
        return link

    def hear(self, node: Node, link: LinkId, data: bytes) -> None:
        reader = FrameReader(1 << 24)
        reader.feed(data)
        for payload in reader:
            message = decode_message(payload)
            known = self.heard[type(message)]
            known.append(payload)
            del known[:-_KEPT]
            number = decoded(payload)
            if number is not None and len(number) > 1 and type(number[1]) is int:
                self._numbers = [*self._numbers[-8:], number[1]]

    def lost(self, node: Node) -> None:
        self.hung_up += 1
        self._links.pop(node.number, None)

    def leave(self, node: Node) -> None:
        """This end closes."""
        link = self._links.pop(node.number, None)
        if link is not None:
            node.up.handle_link_down(link, "eof", node.now)
            self.world.touched(node)

    def say(self, node: Node, data: bytes) -> None:
        """Bytes on the link with a node."""
        node.up.receive_data(self.link(node), data, node.now)
        self.world.touched(node)

    def say_payload(self, node: Node, payload: bytes) -> None:
        self.say(node, frame(payload))

    # -- what a message of each kind is made of ----------------------------------------------------------------

    @property
    def wall_ms(self) -> int:
        return self.world.nodes[0].now.wall_ms

    def number(self) -> int:
        """A run, request or exchange that may be under way, or one that never was."""
        made_up = self.rng.choice((0, 1, 2, 3, self.rng.randrange(40), (1 << 63) - 1))
        return self.rng.choice((*self._numbers, made_up))

    def origins(self) -> tuple[Origin, ...]:
        found = [log.origin for node in self.world.running for log in node.up._ctx.logs.logs()]
        made_up = origin_of(PeerId(self.rng.randbytes(32)), Epoch(1))
        mine = origin_of(self.me.peer, new_epoch(self.wall_ms, self.rng.randrange(9)))
        return tuple(self.rng.sample([*sorted(set(found)), made_up, mine], 2))

    def bucket(self) -> str:
        return self.rng.choice(("b", "m", "unknown"))

    def places(self) -> tuple[tuple[str, bytes, int], ...]:
        return tuple(
            (bucket, origin, self.rng.choice((1, 2, 5, 1 << 39)))
            for bucket, origin in zip(("b", "m"), self.origins(), strict=True)
        )

    def lines(self) -> tuple[messages.WireLine, ...]:
        return tuple((*place, self.rng.randbytes(8), self.author.tick()) for place in self.places())

    def bundles(self) -> tuple[bytes, ...]:
        """A new one of the intruder's, and one that an honest peer holds."""
        key = f"intruder {self.rng.randrange(5)}"
        total = strict.encode((self.rng.randrange(100), None))
        entries = {
            "b": entry(key, self.rng.randrange(100), at=self.author.tick()),
            "m": encode_entry(key, "f", Op.SET, self.author.tick(), self.wall_ms + 60_000, b"\x01"),
            "s": entry(key, None, at=self.author.tick(), field="element"),
            "n": encode_entry(
                "counter", self.author.origin, Op.SET, self.author.tick(), None, total
            ),
        }
        bucket = self.rng.choice(tuple(entries))
        return (self.author.bundle([entries[bucket]], bucket), *self.pieces(1))

    def pieces(self, count: int = 3) -> tuple[bytes, ...]:
        held = [
            encode_piece(piece)
            for node in self.world.running
            for log in node.up._ctx.logs.logs()
            for piece in log.pieces.values()
        ]
        return tuple(self.rng.sample(held, min(count, len(held))))

    def excerpt(self) -> bytes:
        """A header of the intruder's without rows."""
        ((header, signature, _),) = (self._opened(self.author.put("excerpt", 1)),)
        return strict.encode((header, signature, b"", b"", (), b""))

    def _opened(self, bundle: bytes) -> tuple[bytes, bytes, bytes]:
        header, signature, body = strict.decode(bundle, 2)  # type: ignore[misc]
        return header, signature, body

    def proof(self) -> bytes:
        """Two headers of one number: the intruder has forked one of its own epochs."""
        author = Author(
            NAME, wall_ms=self.wall_ms, epoch=new_epoch(self.wall_ms, self.rng.randrange(4))
        )
        signed = []
        for value in (1, 2):
            header, signature, _ = self._opened(
                author.wrong([entry("fork", value, at=author.tick())])
            )
            signed.append((parse_header(header), signature))
        return make_fork_proof(signed[0], signed[1]).data

    def presence(self) -> bytes:
        rng = self.rng
        return make_presence(
            network=NETWORK,
            peer=self.me.peer,
            stamp=self.wall_ms + rng.choice((-1000, 0, 1, 60_000, 1 << 40)),
            epoch=new_epoch(self.wall_ms, rng.randrange(9)),
            stance=rng.choice((Stance.UP, Stance.UP, Stance.AWAY, Stance.LEFT)),
            name=rng.choice((NAME, "p0", 'x="1" y=2')),
            addresses=rng.choice(((), ("intruder:1",), ("p0:1",), ("[fe80::1%eth0]:1", "a.b.:2"))),
            zone=rng.choice(("", "z")),
            version="0",
            sign=self.me.sign,
        ).data

    def statement(self) -> bytes:
        about = self.rng.choice(
            [*(identity(node.name).peer for node in self.world.nodes), PeerId(bytes(32))]
        )
        return make_statement(
            self.rng.choice((Claim.DOUBT, Claim.DISMISSAL)),
            network=NETWORK,
            by=self.me.peer,
            about=about,
            bound=self.wall_ms + self.rng.choice((-1000, 0, 1000, 100_000)),
            sign=self.me.sign,
        ).data

    def names(self) -> tuple[tuple[str, bytes, bytes], ...]:
        return ((self.bucket(), b"", self.rng.randbytes(8 * self.rng.randrange(1, 4))),)

    def template(self, kind: type[Message]) -> Message:
        """A well-formed message of a kind."""
        return TEMPLATES[kind](self)

    def payload(self, kind: type[Message]) -> bytes:
        """A message of a kind: made up, or as an honest peer sent it."""
        heard = self.heard.get(kind)
        if heard and self.rng.random() < 0.4:
            return self.rng.choice(heard)
        return encode_message(self.template(kind))


def _sought(intruder: Intruder) -> messages.Seek:
    if intruder.rng.random() < 0.5:
        return messages.Seek((), intruder.rng.choice((b"", bytes(32))))
    return messages.Seek(((identity("p0").peer[:8], True), (bytes(8), False)), None)


def _look(intruder: Intruder) -> looking.Look:
    rng = intruder.rng
    keys = rng.choice(((), ("k0", "k1"), ("x",)))
    aspect = rng.choice(tuple(looking.Aspect))
    after = b"" if keys else rng.choice((b"", b"k", bytes(40)))
    return looking.Look(intruder.number(), intruder.bucket(), aspect, "", keys, after)


def _shown(intruder: Intruder) -> looking.Shown:
    rng = intruder.rng
    outcome = rng.choice(tuple(looking.Outcome))
    reached = rng.choice((b"", b"k0", bytes(40)))
    return looking.Shown(
        intruder.number(), outcome, rng.random() < 0.5, reached, intruder.pieces(1), (("k0", 1),)
    )


TEMPLATES: dict[type[Message], Make] = {
    messages.Digest: lambda i: messages.Digest(
        2 * i.number() % (1 << 62),
        i.rng.randbytes(16),
        i.rng.choice((b"", i.rng.randbytes(16))),
        i.wall_ms,
    ),
    messages.Equal: lambda i: messages.Equal(i.number(), i.wall_ms, i.rng.randbytes(8)),
    messages.Compare: lambda i: messages.Compare(
        i.number(),
        i.rng.choice(
            ((), ((b"", bytes(16), 2),), ((b"\0", bytes(16), 3), (b"\1\2", bytes(16), 1 << 40)))
        ),
        i.rng.random() < 0.5,
        i.rng.choice(((), (b"",), (b"\1", b"\2"))),
        i.lines(),
        i.lines(),
        i.rng.random() < 0.3,
    ),
    messages.Want: lambda i: messages.Want(
        i.number(),
        i.rng.choice((0, 1, 1 << 18, 1 << 62)),
        tuple((*place, 1 << 40) for place in i.places()),
    ),
    messages.Delta: lambda i: messages.Delta(i.number(), i.bundles(), i.rng.random() < 0.5),
    messages.Push: lambda i: messages.Push(i.bundles()),
    messages.Prune: lambda i: messages.Prune(i.origins()),
    messages.Stored: lambda i: messages.Stored(i.places()),
    messages.Presences: lambda i: messages.Presences((i.presence(),)),
    messages.Credentials: lambda i: messages.Credentials((i.credential,)),
    messages.Known: lambda i: messages.Known(
        i.rng.choice((0, 3, 1 << 62)),
        i.rng.random() < 0.5,
        (
            i.me.peer[:8] + i.wall_ms.to_bytes(8, "big"),
            b"\xff" * 16,
            identity("p0").peer[:8] + b"\xff" * 8,
        ),
    ),
    messages.Seek: _sought,
    messages.Page: lambda i: messages.Page((i.presence(),)),
    readiness.Readiness: lambda i: readiness.Readiness(i.rng.choice(list(Stage))),
    liveness.Ping: lambda i: liveness.Ping(i.number()),
    liveness.Pong: lambda i: liveness.Pong(i.number()),
    liveness.Reach: lambda i: liveness.Reach(
        i.number(),
        i.rng.choice((identity("p0").peer, identity("p1").peer, i.me.peer, PeerId(bytes(32)))),
    ),
    liveness.Reached: lambda i: liveness.Reached(i.number(), i.rng.random() < 0.5),
    liveness.Statements: lambda i: liveness.Statements((i.statement(),)),
    liveness.Parting: lambda _: liveness.Parting(),
    evidence.Contest: lambda i: evidence.Contest(i.places()),
    evidence.Evidence: lambda i: evidence.Evidence((i.proof(), i.excerpt(), *i.pieces(1))),
    reconciling.Heads: lambda i: reconciling.Heads(
        i.number(),
        tuple((bucket, origin) for bucket, origin, _ in i.places()),
        i.rng.choice((b"", i.rng.randbytes(8))),
        i.rng.random() < 0.5,
    ),
    reconciling.Survey: lambda i: reconciling.Survey(
        i.number(),
        i.wall_ms,
        i.rng.random() < 0.5,
        ((i.bucket(), i.rng.choice((b"", b"\1", b"\1\2\3\4"))),),
    ),
    reconciling.Findings: lambda i: reconciling.Findings(
        i.number(),
        i.wall_ms,
        i.rng.random() < 0.7,
        ((i.bucket(), b"", i.rng.randbytes(8 * 16)),),
        i.names(),
    ),
    reconciling.Fetch: lambda i: reconciling.Fetch(i.number(), i.names()),
    reconciling.Dump: lambda i: reconciling.Dump(i.number(), i.rng.choice((None, i.places()[0]))),
    reconciling.Parts: lambda i: reconciling.Parts(
        i.number(), i.rng.random() < 0.5, (i.excerpt(), *i.pieces())
    ),
    reconciling.Covered: lambda i: reconciling.Covered(
        i.number(),
        tuple(
            (bucket, origin, i.rng.choice((1, 7, (1 << 39) - 1)))
            for bucket, origin, _ in i.places()
        ),
    ),
    reconciling.Doubt: lambda i: reconciling.Doubt(
        i.number(),
        (
            (
                i.bucket(),
                b"",
                reconciling.doubt_row(
                    i.origins()[0], i.rng.choice((1, 1 << 40, (1 << 64) - 1)), bytes(8)
                ),
            ),
        ),
    ),
    reconciling.Verdict: lambda i: reconciling.Verdict(
        i.number(), i.rng.randbytes(i.rng.randrange(5))
    ),
    reconciling.StateSum: lambda i: reconciling.StateSum(
        i.rng.random() < 0.5, i.wall_ms, i.rng.randbytes(16), i.rng.randbytes(8), i.rng.randbytes(8)
    ),
    looking.Look: _look,
    looking.Shown: _shown,
}
"""How a message of each kind is made. A kind without one fails `test_every_kind_of_message_is_mutated`."""
