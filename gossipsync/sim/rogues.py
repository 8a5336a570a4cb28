"""Rogues: peers whose certificate is good and whose intentions are not. They run the real core and alter what it sends.

What must follow: nothing they forge is merged, nobody but they are blamed, and correct peers converge without them. What a rogue
validly signs is its own to spoil: whoever signs two histories loses that log, at each peer as soon as it has seen both.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gossipsync.core.model import strict
from gossipsync.core.wire.framing import LENGTH_BYTES, frame
from gossipsync.core.wire.messages import (
    Delta,
    Message,
    Presences,
    Push,
    decode_message,
    encode_message,
)
from gossipsync.sim.forgery import Forger, Machine
from gossipsync.sim.lies import babble, boast, drone, hush
from gossipsync.sim.randomness import Randomness
from gossipsync.sim.sources import SOURCE_HABITS, FalseSource

_KEPT_FRAMES: Final = 32
_WRONG_TYPES: Final = ((), (99,), (-1, 2), ("1", 2), (1,), {1: 2}, None)
"""Payloads that are canonical CBOR and no message."""
HABITS: Final = (
    "tamper",
    "withhold",
    "replay",
    "garble",
    "fork",
    "ahead",
    "unearth",
    "flaw",
    "boast",
    "pose",
    "babble",
)
SOURCES: Final = ("silent", "endless")
"""Habits of rogues that keep joining peers out, each with an option of its own."""


class Rogue:
    """What one rogue does to its frames; each habit strikes some frames and leaves others, as a careful rogue would.

    - tamper, garble: a bit flipped in what carries bundles, or anywhere; withhold: no bundles for anybody
    - replay: frames sent before; unearth: bundles stored long ago, whoever signed them
    - fork: two logs under one epoch, one for half of the peers, the other for the others
    - ahead: own bundles stamped just inside the skew bound, or far beyond; flaw: own bundles with one thing wrong
    - boast: digests, lines, comparisons and confirmations that are not true; pose: presence that is not true
    - babble: messages that nobody waits for, and such as nobody knows
    - silent: everything is trimmed, and no question of a joining peer is answered
    - endless: everything is trimmed, and every answer to a joining peer promises more

    The habits of false sources (see `sources`) strike every frame: a source that delivers half of the time is a slow one.
    """

    def __init__(self, habit: str, randomness: Randomness) -> None:
        self.habit = habit
        self._randomness = randomness
        self._kept: deque[bytes] = deque(maxlen=_KEPT_FRAMES)
        self._forger: Forger | None = None
        self._source = FalseSource(habit, randomness) if habit in SOURCE_HABITS else None

    def alter(self, data: bytes, machine: Machine, target: int) -> list[bytes]:
        """What goes out to a host in place of one frame."""
        randomness = self._randomness
        if self.habit in SOURCES:
            return self._kept_out(data)
        if self._source is not None:
            return [
                _framed(message)
                for message in self._source.alter(decode_message(data[LENGTH_BYTES:]))
            ]
        if not randomness.chance(0.5):
            return [data]
        match self.habit:
            case "garble":
                return [self._flipped(data, LENGTH_BYTES)]
            case "replay":
                self._kept.append(data)
                return [data, randomness.pick(self._kept)]
            case "babble" if randomness.chance(0.2):
                return [data, frame(strict.encode(randomness.pick(_WRONG_TYPES)))]
            case "babble":
                return [data, _framed(babble(randomness))]
            case "fork" | "ahead" | "unearth" | "flaw" | "pose":
                made = self._made(machine, target)
                return [data] if made is None else [data, _framed(made)]
            case _:
                return self._twisted(data)

    def _kept_out(self, data: bytes) -> list[bytes]:
        message = decode_message(data[LENGTH_BYTES:])
        told = hush(message) if self.habit == "silent" else drone(message)
        if told is message:
            return [data]
        return [] if told is None else [_framed(told)]

    def _twisted(self, data: bytes) -> list[bytes]:
        message = decode_message(data[LENGTH_BYTES:])
        carries_bundles = isinstance(message, Delta | Push)
        match self.habit:
            case "tamper" if carries_bundles:
                return [self._flipped(data, LENGTH_BYTES + 2)]
            case "withhold" if carries_bundles:
                return []
            case "boast":
                return [_framed(boast(message, self._randomness))]
            case _:
                return [data]

    def _made(self, machine: Machine, target: int) -> Message | None:
        if self._forger is None:
            self._forger = Forger(machine, self._randomness)
        forger = self._forger
        match self.habit:
            case "fork":
                bundle = forger.branch(target)
            case "ahead":
                bundle = forger.ahead()
            case "unearth":
                bundle = forger.old_bundle()
            case "flaw":
                bundle = forger.flawed()
            case _:
                return Presences((forger.presence(),))
        return None if bundle is None else Push((bundle,))

    def _flipped(self, data: bytes, start: int) -> bytes:
        if len(data) <= start:
            return data
        position = start + self._randomness.below(len(data) - start)
        bit = 1 << self._randomness.below(8)
        return data[:position] + bytes((data[position] ^ bit,)) + data[position + 1 :]


def _framed(message: Message) -> bytes:
    return frame(encode_message(message))
