"""Values that a member signs with its own good key and that no application wrote: nothing that looks at them raises, but for the read
of that very value, which says whose it is."""

from __future__ import annotations

import pytest

from gossipsync.core import Kind
from gossipsync.core.model import strict
from gossipsync.core.model.bucket import Announcement, BucketRules
from gossipsync.core.model.entry import Op, encode_entry
from gossipsync.core.model.hlc import hlc_at
from gossipsync.core.model.ids import new_epoch
from gossipsync.core.wire.messages import Push
from tests.attacks._marks import Victim
from tests.core._world import START_MS, Author

TOTALS = {
    "no CBOR": b"\xff",
    "half": b"\x82\x01",
    "a number": b"\x01",
    "text": strict.encode(("7", None)),
    "true": strict.encode((True, None)),
    "a float": strict.encode((1.5, None)),
    "null": strict.encode((None, None)),
    "2**63": strict.encode((1 << 63, None)),
    "below -2**63": strict.encode((-(1 << 63) - 1, None)),
    "nested": b"\x81" * 60 + b"\0",
}


def counter_victim(count: int, value: bytes) -> Victim:
    """A peer whose counter has so many totals by epochs of a rogue, each of this value, and 5 of its own."""
    victim = Victim()
    rogue = victim.link("rogue")
    victim.peer.open_bucket("n", victim.now, kind=Kind.COUNTER)
    draft = victim.peer.draft("n", victim.now)
    draft.add("k", 5)
    victim.peer.commit_draft(draft, victim.now)
    victim.settle()
    for number in range(count):
        author = Author("rogue", wall_ms=START_MS, epoch=new_epoch(START_MS, number + 2))
        rules = BucketRules(kind=Kind.COUNTER)
        author.announcement = Announcement(rules, hlc_at(START_MS))
        data = encode_entry("k", author.origin, Op.SET, author.tick(), None, value)
        rogue.says(Push((author.bundle([data], "n"),)))
    return victim


@pytest.mark.parametrize("value", TOTALS.values(), ids=TOTALS.keys())
def test_a_running_total_that_is_none_counts_nothing(value: bytes) -> None:
    """`history` raised a ValueError for it."""
    victim = counter_victim(1, value)
    assert victim.peer.replicas["n"].counter("k", victim.wall_ms) == 5
    shown = {version.value for version in victim.peer.history("n", "k", victim.now)()}
    assert shown <= {5, None}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_of_totals_stays_a_number_that_can_be_sent(sign: int) -> None:
    """Two totals of 2**63 - 1 were more than a control socket's reply can hold."""
    victim = counter_victim(3, strict.encode((sign * ((1 << 63) - 1), None)))
    expected = (1 << 63) - 1 if sign > 0 else -(1 << 63)
    assert victim.peer.replicas["n"].counter("k", victim.wall_ms) == expected
    assert victim.serves_the_honest()
