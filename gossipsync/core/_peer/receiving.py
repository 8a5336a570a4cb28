"""Receiving: from a link's bytes to messages, and each message to the part of the peer that it is for."""

from __future__ import annotations

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.parts import Parts as PeerParts
from gossipsync.core.model import strict
from gossipsync.core.model.ids import LinkId
from gossipsync.core.model.reasons import Reason
from gossipsync.core.model.stage import Stage
from gossipsync.core.wire.evidence import Contest, Evidence
from gossipsync.core.wire.framing import FrameTooLargeError
from gossipsync.core.wire.liveness import Parting, Ping, Pong, Reach, Reached, Statements
from gossipsync.core.wire.looking import Look, Looking, Shown
from gossipsync.core.wire.messages import (
    Compare,
    Credentials,
    Delta,
    Digest,
    Equal,
    Known,
    Message,
    Page,
    Presences,
    Prune,
    Push,
    Seek,
    Stored,
    Want,
    decode_message,
)
from gossipsync.core.wire.readiness import Readiness
from gossipsync.core.wire.reconciling import (
    Covered,
    Doubt,
    Dump,
    Fetch,
    Findings,
    Heads,
    Parts,
    Reconciling,
    StateSum,
    Survey,
    Verdict,
)


class Receiving:
    """The receiving end of all links."""

    def __init__(self, ctx: Context, parts: PeerParts) -> None:
        self._ctx = ctx
        self._parts = parts

    def receive_data(self, link: LinkId, data: bytes) -> None:
        """Bytes of a link's stream, in any pieces."""
        ctx = self._ctx
        known = ctx.links.get(link)
        if known is None or known.is_closing:
            return
        known.received_bytes += len(data)
        known.heard_s = ctx.now.mono_s  # a part of a long message is a sign of life too
        ctx.traffic["received_bytes"] += len(data)
        known.reader.feed(data)
        may_speak = self._parts.links.may_speak
        try:
            for payload in known.reader:
                if not may_speak(known):
                    return
                self._receive(known, payload)
        except FrameTooLargeError as error:
            ctx.refuse(known, Reason.OVERSIZE, str(error))

    def _receive(self, link: Link, payload: bytes) -> None:
        ctx = self._ctx
        try:
            message = decode_message(payload)
        except strict.MalformedError as error:
            ctx.refuse(link, Reason.MALFORMED, str(error))
            return
        if link.is_spare:
            self._hear_out(link, message)
        else:
            if link.stage is None and not isinstance(message, Readiness):
                # Another implementation, perhaps: what it has is compared like a ready member's.
                self._parts.joining.on_readiness(link, Readiness(Stage.READY))
            self._dispatch(link, message)
        if not isinstance(message, Ping | Pong):  # nobody waits for a sign of life
            ctx.has_moved = True
        self._parts.joining.go_on()

    def _dispatch(self, link: Link, message: Message) -> None:
        match message:
            case Readiness():
                self._parts.joining.on_readiness(link, message)
            case Ping() | Pong() | Reach() | Reached() | Statements() | Parting():
                self._parts.probing.receive(link, message)
            case Push():
                self._parts.exchanges.on_push(link, message)
            case Delta():
                self._parts.exchanges.on_delta(link, message)
            case Stored():
                self._parts.commits.on_stored(link, message)
            case Digest():
                self._parts.exchanges.on_digest(link, message)
            case Equal():
                self._parts.exchanges.on_equal(link, message)
            case Compare():
                self._parts.exchanges.on_compare(link, message)
            case Want():
                self._parts.exchanges.on_want(link, message)
            case Prune():
                self._parts.commits.on_prune(link, message)
            case Presences() | Credentials():
                self._parts.introductions.receive(link, message)
            case Known() | Seek() | Page():
                self._parts.hearsay.receive(link, message)
            case Contest() | Evidence():
                self._parts.forks.receive(link, message)
            case _:
                self._reconcile(link, message)

    def _hear_out(self, link: Link, message: Message) -> None:
        """An older life of a peer may show its presence, and that is all."""
        if isinstance(message, Presences):
            self._parts.introductions.receive(link, message)
            if any(self._parts.introductions.peer_in(data) == link.peer for data in message.data):
                self._ctx.hang_up(link, "duplicate")

    def _reconcile(self, link: Link, message: Reconciling | Looking) -> None:
        link.reconciled_s = self._ctx.now.mono_s
        match message:
            case Heads():
                self._parts.answers.on_heads(link, message)
            case Survey():
                self._parts.answers.on_survey(link, message)
            case Fetch():
                self._parts.answers.on_fetch(link, message)
            case Dump():
                self._parts.answers.on_dump(link, message)
            case Doubt():
                self._parts.answers.on_doubt(link, message)
            case Covered():
                self._parts.reconciler.on_covered(link, message)
            case Findings():
                self._parts.reconciler.on_findings(link, message)
            case Parts():
                self._parts.reconciler.on_parts(link, message)
            case Verdict():
                self._parts.reconciler.on_verdict(link, message)
            case StateSum():
                self._parts.upkeep.on_sum(link, message)
            case Look():
                self._parts.showing.on_look(link, message)
            case Shown():
                self._parts.looks.on_shown(link, message)
