"""Makes one node of a world a false source: what it sends, and to which questions, is altered on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gossipsync.core.wire.framing import FrameReader, frame
from gossipsync.core.wire.messages import Message, decode_message, encode_message
from gossipsync.sim.randomness import Randomness
from gossipsync.sim.sources import SOURCE_HABITS, FalseSource
from tests.core._world.world import Node, World

Lie = Callable[[Message], Iterable[Message]]


def tell_lies(world: World, node: Node, lie: Lie) -> None:
    """Pass every message that a node sends through `lie` from now on; from its next link on, at the latest."""
    readers: dict[int, FrameReader] = {}
    send = world._send

    def altered(end: Any, data: bytes) -> None:
        if end.node is not node:
            send(end, data)
            return
        reader = readers.setdefault(id(end), FrameReader(1 << 24))
        reader.feed(data)
        for payload in reader:
            for message in lie(decode_message(payload)):
                send(end, frame(encode_message(message)))

    world._send = altered  # type: ignore[method-assign]


def ask_lies(world: World, node: Node, answer: Callable[[Any, Message], bool]) -> None:
    """Let `answer(end, message)` see every message that is sent to a node first; True keeps it from the node."""
    readers: dict[int, FrameReader] = {}
    send = world._send

    def seen(end: Any, data: bytes) -> None:
        if end.other.node is not node:
            send(end, data)
            return
        reader = readers.setdefault(id(end), FrameReader(1 << 24))
        reader.feed(data)
        for payload in reader:
            if not answer(end, decode_message(payload)):
                send(end, frame(payload))

    world._send = seen  # type: ignore[method-assign]


def habit_of(habit: str, seed: int = 1) -> Lie:
    """The simulator's false source of that habit."""
    assert habit in SOURCE_HABITS
    return FalseSource(habit, Randomness(seed)).alter
