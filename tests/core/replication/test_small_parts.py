"""Change logs, tokens and sealing groups, each against the plainest model of it."""

from __future__ import annotations

import hmac
import random
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core import Limits
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import PeerId
from gossipsync.core.replication.changes import ChangeLog
from gossipsync.core.replication.tokens import LineName, read_token, shortened, write_token
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


@given(_RUNS, st.integers(1, 3), st.sets(st.sampled_from("abcd")))
def test_a_log_that_is_followed_knows_as_much_as_there_is_in_state(
    runs: list[list[str]], limit: int, held: set[str]
) -> None:
    log = ChangeLog(limit, held)
    log.is_followed = True
    every = [key for run in runs for key in run]
    for run in runs:
        log.add(run)
    for position in range(len(every) + 1):
        last_seen = {key: number for number, key in enumerate(every[position:], position)}
        expected = sorted(last_seen.items(), key=lambda one: one[1])
        changed = log.changed_since(position)
        assert changed == expected or (changed is None and len(held) + limit < len("abcd"))
        if changed is None:
            continue
        floor, newest = log.newest(1000)
        assert newest == log.changed_since(floor)
        later = ChangeLog(limit, held)
        later.add(["x"])  # what loading adds, and is not to be shown
        later.go_on(log.position, floor, newest)
        later.add(["b"])
        assert later.changed_since(position) == [
            *(one for one in expected if one[0] != "b"),
            ("b", len(every)),
        ]
    floor, newest = log.newest(26)  # of two keys
    assert newest == log.changed_since(floor)
    known, all_newest = log.newest(1000)
    assert newest == all_newest[-2:]
    assert floor == (known if len(newest) == len(all_newest) else all_newest[-3][1] + 1)


MAKER = PeerId(bytes(range(32)))
_LINES = st.dictionaries(
    st.integers(0, (1 << 64) - 1).map(LineName),
    st.one_of(st.integers(0, 300), st.integers(0, 1 << 40)),
    max_size=40,
)


def token_text(lines: dict[LineName, int], hlc: int = 7) -> str:
    return write_token(MAKER, Hlc(hlc), lines, NETWORK, TOKEN_KEY)


@given(_LINES, st.integers(0, 998))
def test_tokens_read_as_written(lines: dict[LineName, int], hlc: int) -> None:
    text = token_text(lines, hlc)
    token = read_token(text, NETWORK, TOKEN_KEY, Hlc(1000))
    assert (token.maker, token.hlc) == (MAKER[:8], hlc)
    assert sorted(index for _, index in token.lines) == sorted(lines.values())
    for line, index in lines.items():
        assert (shortened(line, 64), index) in [
            (shortened(name, token.bits), index) for name, index in token.lines
        ]
        assert any(token.is_named(name, line) for name, _ in token.lines)
    for network, key in ((OTHER_NETWORK, TOKEN_KEY), (NETWORK, bytes(32))):
        with pytest.raises(TokenError):
            read_token(text, network, key, Hlc(1000))


def test_tokens_fit_a_cookie() -> None:
    """A write's own in 64 characters whatever its number; 100 logs in 1 KB at four million bundles each."""
    rng = random.Random(5)
    names = [LineName(rng.getrandbits(64)) for _ in range(512)]
    now = 1_900_000_000_000 << 16
    for bits in range(41):
        assert len(token_text({names[0]: 1 << bits}, now)) <= 64
    for most, size in ((1_000, 850), (4_000_000, 1_000)):
        lines = {name: rng.randrange(1, most) for name in names[:100]}
        assert len(token_text(lines, now)) <= size
    lines = {name: (1 << 62) + rng.getrandbits(61) for name in names}
    text = token_text(lines, now)
    read = read_token(text, NETWORK, TOKEN_KEY, Hlc(1 << 63))
    assert sorted(index for _, index in read.lines) == sorted(lines.values())


@given(st.binary(max_size=40), st.integers(0, 600), st.integers(0, 255))
def test_what_a_member_signed_wrongly_is_an_error_of_ours(
    code: bytes, count: int, parameter: int
) -> None:
    body = b"\x02" + bytes(16) + count.to_bytes(2, "big") + bytes((parameter,)) + code
    mac = hmac.digest(TOKEN_KEY, b"gossipsync token v2" + NETWORK + body, "sha256")[:12]
    text = urlsafe_b64encode(body + mac).decode().rstrip("=")
    try:
        token = read_token(text, NETWORK, TOKEN_KEY, Hlc(1000))
    except TokenError:
        return
    assert len(token.lines) == count


@given(_LINES.filter(bool), st.data())
def test_a_token_changed_anywhere_is_refused(
    lines: dict[LineName, int], data: st.DataObject
) -> None:
    text = token_text(lines)
    position = data.draw(st.integers(0, len(text) - 2))  # the last one may carry unused bits
    other = data.draw(st.sampled_from("ABab01-_").filter(lambda char: char != text[position]))
    with pytest.raises(TokenError):
        read_token(text[:position] + other + text[position + 1 :], NETWORK, TOKEN_KEY, Hlc(1000))


@given(st.text(max_size=60))
def test_any_text_is_a_token_or_an_error_of_ours(text: str) -> None:
    with pytest.raises(TokenError):
        read_token(text, NETWORK, TOKEN_KEY, Hlc(1000))


def test_a_token_ahead_of_the_bound_or_too_long_is_refused() -> None:
    text = token_text({LineName(5): 1}, 999)
    with pytest.raises(TokenError, match="max_skew"):
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

    held: dict[int, list[str]] = {}
    for row in stage.disk.rows:
        held[row[2]] = [entry.key for entry in parse_bundle(row[3]).entries()]
    assert list(held) == list(range(1, len(held) + 1))
    for number, (size, place) in enumerate(zip(sizes, places, strict=True)):
        assert {f"{number}/{key}" for key in range(size)} <= set(held[place])
    assert all(
        len(keys) <= 10 or len({key.split("/")[0] for key in keys}) == 1 for keys in held.values()
    )
    assert [key for keys in held.values() for key in keys] == [
        f"{number}/{key}" for number, size in enumerate(sizes) for key in range(size)
    ]


def test_beside_a_small_bucket_the_log_of_changes_is_small_too() -> None:
    log = ChangeLog(100_000, ["some", "keys"])
    for _ in range(1000):
        log.add(["some"] * 10)
    assert sum(len(run) for _, run in log._runs) <= 270
    assert log.since(log.position - 100) == ["some"]
    assert log.since(0) is None
