"""Change logs, tokens and sealing groups, each against the plainest model of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core import Limits
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.replication.changes import ChangeLog
from gossipsync.core.replication.tokens import LineId, read_token, write_token
from gossipsync.errors import TokenError
from tests.core._world import NETWORK, OTHER_NETWORK, TOKEN_KEY, Stage

_RUNS = st.lists(st.lists(st.sampled_from("abcd"), max_size=4), max_size=10)


@given(_RUNS, st.integers(1, 12))
def test_changes_since_a_position_come_once_each_oldest_first(
    runs: list[list[str]], limit: int
) -> None:
    log = ChangeLog(limit)
    every = [key for run in runs for key in run]
    for run in runs:
        log.add(run)
    assert log.position == len(every)
    for position in range(len(every) + 1):
        since = log.since(position)
        last_seen = {key: number for number, key in enumerate(every[position:])}
        expected = sorted(last_seen, key=last_seen.__getitem__)
        if len(every) - position + max(map(len, runs), default=0) <= limit:
            assert since == expected
        else:
            assert since in (None, expected)
    assert log.since(-1) is None
    assert log.since(len(every) + 1) is None
    assert sum(len(run) for _, run in log._runs) <= limit + max(map(len, runs), default=0)


_PARTS = st.lists(
    st.tuples(st.binary(min_size=12, max_size=12).map(LineId), st.integers(0, 1000).map(Hlc)),
    max_size=5,
)


@given(_PARTS)
def test_tokens_read_as_written(parts: list[tuple[LineId, Hlc]]) -> None:
    text = write_token(parts, NETWORK, TOKEN_KEY)
    assert read_token(text, NETWORK, TOKEN_KEY, Hlc(1000)).parts == tuple(parts)
    for network, key in ((OTHER_NETWORK, TOKEN_KEY), (NETWORK, bytes(32))):
        with pytest.raises(TokenError):
            read_token(text, network, key, Hlc(1000))


@given(_PARTS.filter(bool), st.data())
def test_a_token_changed_anywhere_is_refused(
    parts: list[tuple[LineId, Hlc]], data: st.DataObject
) -> None:
    text = write_token(parts, NETWORK, TOKEN_KEY)
    position = data.draw(st.integers(0, len(text) - 2))  # the last one may carry unused bits
    other = data.draw(st.sampled_from("ABab01-_").filter(lambda char: char != text[position]))
    with pytest.raises(TokenError):
        read_token(text[:position] + other + text[position + 1 :], NETWORK, TOKEN_KEY, Hlc(1000))


@given(st.text(max_size=60))
def test_any_text_is_a_token_or_an_error_of_ours(text: str) -> None:
    with pytest.raises(TokenError):
        read_token(text, NETWORK, TOKEN_KEY, Hlc(1000))


def test_a_token_ahead_of_the_bound_or_too_long_is_refused() -> None:
    text = write_token([(LineId(bytes(12)), Hlc(1001))], NETWORK, TOKEN_KEY)
    with pytest.raises(TokenError):
        read_token(text, NETWORK, TOKEN_KEY, Hlc(1000))
    assert read_token(text, NETWORK, TOKEN_KEY, Hlc(1001))
    with pytest.raises(TokenError):
        read_token("A" * 20_000, NETWORK, TOKEN_KEY, Hlc(1000))


def test_a_token_is_satisfied_by_the_write_and_all_after_it_and_by_nothing_less() -> None:
    stage = Stage()
    stage.put("k", 1)
    before = stage.peer.token(stage.now)
    stage.put("k", 2)
    after = stage.peer.token(stage.now)
    fresh = Stage("other")
    remote = fresh.link("self")
    tokens = [fresh.peer.parse_token(text, fresh.now) for text in (before, after)]
    seen = [[fresh.peer.is_satisfied(token) for token in tokens]]
    from gossipsync.core.wire.messages import Push

    for row in stage.disk.rows:
        remote.says(Push((row[3],)))
        seen.append([fresh.peer.is_satisfied(token) for token in tokens])
    assert seen == [[False, False], [True, False], [True, True]]


@given(st.lists(st.integers(1, 12), max_size=12))
def test_batches_are_sealed_whole_in_order_and_within_the_limit(sizes: list[int]) -> None:
    stage = Stage(limits=Limits(seal_entries=10))
    stage.peer.open_bucket("b", stage.now)
    places = []
    for number, size in enumerate(sizes):
        draft = stage.peer.draft("b", stage.now)
        for key in range(size):
            draft.put(f"{number}/{key}", number)
        places.append(stage.peer.commit_draft(draft, stage.now).index)
    stage.wait(0.1)
    from gossipsync.core.model.bundle import parse_bundle
    from gossipsync.core.model.entry import decode_entries

    held: dict[int, list[str]] = {}
    for row in stage.disk.rows:
        held[row[2]] = [entry.key for entry in decode_entries(parse_bundle(row[3]).entries)]
    assert list(held) == list(range(1, len(held) + 1))
    for number, (size, place) in enumerate(zip(sizes, places, strict=True)):
        assert {f"{number}/{key}" for key in range(size)} <= set(held[place])
    assert all(
        len(keys) <= 10 or len({key.split("/")[0] for key in keys}) == 1 for keys in held.values()
    )
    assert [key for keys in held.values() for key in keys] == [
        f"{number}/{key}" for number, size in enumerate(sizes) for key in range(size)
    ]
