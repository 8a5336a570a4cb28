"""The sections of a first transfer."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core._peer.transfer import Place, Transfer
from gossipsync.core.model.ids import LinkId, Origin
from gossipsync.core.replication.lines import LineKey

ONE, OTHER = LinkId(1), LinkId(2)


def key(number: int) -> LineKey:
    return ("b", Origin(number.to_bytes(40, "big")))


def places(lines: dict[LineKey, int]) -> list[Place]:
    return [(*line, index) for line in sorted(lines) for index in range(1, lines[line] + 1)]


@given(
    lines=st.dictionaries(
        st.integers(0, 50).map(key), st.integers(1, 400), min_size=1, max_size=20
    ),
    members=st.integers(1, 5),
    page=st.integers(1, 90),
    seed=st.integers(0, 1 << 32),
)
def test_every_place_is_shown_however_members_are_drawn_and_lost(
    lines: dict[LineKey, int], members: int, page: int, seed: int
) -> None:
    rng = random.Random(seed)
    transfer = Transfer(lines, members)
    transfer.begin([LinkId(number) for number in range(members)])
    shown: list[Place] = []
    now_s = 0.0
    while not transfer.is_over:
        now_s += rng.random()
        link = rng.choice(transfer.members)
        section = transfer.of(link) or transfer.assign(link, now_s)
        if section is None:
            continue
        if len(transfer.members) > 1 and rng.random() < 0.02:
            transfer.drop(link)
            continue
        found = [
            place
            for place in places(lines)
            if (section.after is None or place > section.after)
            and (section.until is None or place <= section.until)
        ]
        for place in found[:page]:
            assert section.reached(place)
        shown += found[:page]
        section.asked_s = now_s
        if len(found) <= page or transfer.is_at_end(section):
            transfer.finish(section)
    assert set(shown) == set(places(lines))
    assert len(shown) == len(set(shown))


def test_few_bundles_are_one_section_and_many_are_shared() -> None:
    assert len(Transfer({key(1): 100}, 4).sections) == 1
    assert len(Transfer({key(1): 1000}, 4).sections) == 4


def test_a_member_that_is_done_takes_half_of_what_another_is_at() -> None:
    transfer = Transfer({key(1): 1000}, 1)
    transfer.begin([ONE, OTHER])
    first = transfer.assign(ONE, 0.0)
    second = transfer.assign(OTHER, 0.0)
    assert first is not None
    assert second is not None
    assert first.until == second.after == (*key(1), 500)


def test_a_short_section_is_taken_over_from_a_member_that_is_slow() -> None:
    transfer = Transfer({key(1): 10}, 2)
    transfer.begin([ONE, OTHER])
    section = transfer.assign(ONE, 0.0)
    assert transfer.assign(OTHER, 1.0) is None
    due_s = transfer.next_deadline(1.0, 10.0, OTHER)
    assert due_s == 2.0
    assert transfer.assign(OTHER, 2.1) is section
    assert transfer.of(ONE) is None


def test_an_answer_that_does_not_get_on_is_noticed() -> None:
    transfer = Transfer({key(1): 10}, 1)
    transfer.begin([ONE])
    section = transfer.assign(ONE, 0.0)
    assert section is not None
    assert section.reached((*key(1), 3))
    assert not section.reached((*key(1), 3))
    assert not section.reached((*key(1), 2))
