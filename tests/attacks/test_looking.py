"""Looks between a victim and a rogue: answers that lie, and questions that are dear."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import pytest

from gossipsync.core import Aspect, Limits, Sight
from gossipsync.core.model import strict
from gossipsync.core.model.capability import Capability
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.celltree import CellTree
from gossipsync.core.replication.pieces import (
    NOBODY,
    Excerpt,
    chosen,
    encode_piece,
    header_only,
    parse_piece,
    whole_piece,
)
from gossipsync.core.wire.looking import Look, Outcome, Shown
from gossipsync.core.wire.messages import Credentials, encode_message
from gossipsync.errors import RemoteError
from tests.attacks._marks import Victim
from tests.attacks.test_reconciling import settled
from tests.core._world import EVERYTHING, OTHER_NETWORK, START_MS, Author, Remote, entry


def looking(
    *, aspect: Aspect = Aspect.VALUES, keys: tuple[str, ...] | None = ("own", "k", "k1", "k2")
) -> tuple[Victim, Remote, Author, Sight]:
    """A victim that has asked the rogue."""
    victim = settled()
    rogue = victim.link("rogue")
    author = Author("rogue", wall_ms=victim.wall_ms)
    sight = victim.peer.look("rogue", "b", victim.now, aspect=aspect, keys=keys)
    victim.settle()
    (question,) = rogue.hears(Look)
    assert isinstance(question, Look)
    assert question.run == sight.number
    victim._before, victim._counted = victim._state(), victim.refused
    return victim, rogue, author, sight


def shows(sight: Sight, *pieces: bytes, reached: bytes = b"", is_last: bool = True) -> Shown:
    return Shown(sight.number, Outcome.SHOWN, is_last, reached, pieces)


def excerpt(bundle: bytes, *keys: str) -> bytes:
    parsed = parse_piece(bundle)
    assert not isinstance(parsed, Excerpt)
    header = parsed.header
    piece = chosen(
        whole_piece(parsed, parsed.entries(), NOBODY),
        header.origin,
        header.index,
        lambda key, _: key in keys,
    )
    assert piece is not None
    return encode_piece(piece)


def test_what_is_genuine_is_seen_and_not_taken() -> None:
    victim, rogue, author, sight = looking()
    bundle = author.bundle([entry(key, key, at=author.tick()) for key in ("own", "k1", "k2")])
    rogue.says(shows(sight, excerpt(bundle, "own", "k2")))
    assert sight.error is None
    assert sight.values(victim.wall_ms) == {"own": "own", "k2": "k2"}
    assert victim.is_unmoved()
    assert rogue.hung_up is None
    assert victim.serves_the_honest()


def _forged(author: Author) -> bytes:
    return author.wrong([entry("own", "stolen", at=author.tick())], signature=bytes(64))


def _altered(author: Author) -> bytes:
    """The proof of one value, with another value."""
    rows = [entry(key, "v", at=author.tick()) for key in ("own", "k1")]
    data = strict.decode(excerpt(author.bundle(rows), "own"), 2)
    assert isinstance(data, tuple)
    changed = entry("own", "w", at=strict.decode(rows[0], 2)[3])  # type: ignore[index]
    return strict.encode((*data[:4], (changed,), data[5]))


def _proof_of_another_key(author: Author) -> bytes:
    rows = [entry(key, "v", at=author.tick()) for key in ("own", "k1")]
    bundle = author.bundle(rows)
    one, other = (strict.decode(excerpt(bundle, key), 2) for key in ("own", "k1"))
    assert isinstance(one, tuple)
    assert isinstance(other, tuple)
    return strict.encode((*one[:5], other[5]))


def _foreign(author: Author) -> bytes:
    return author.wrong([entry("own", 1, at=author.tick())], network=OTHER_NETWORK)


def _of_another_bucket(author: Author) -> bytes:
    return author.put("own", 1, "another")


def _from_the_future(author: Author) -> bytes:
    author.pass_time(3_600_000)
    return author.put("own", 1)


def _by_nobody(author: Author) -> bytes:
    return Author("unknown", wall_ms=START_MS).put("own", 1)


def _huge(author: Author) -> bytes:
    return bytes(900 << 10)


LIES: dict[str, tuple[Callable[[Author], bytes], Reason]] = {
    "a forged signature": (_forged, Reason.SIGNATURE),
    "another value": (_altered, Reason.MERKLE),
    "the proof of another key": (_proof_of_another_key, Reason.MERKLE),
    "a piece of another network": (_foreign, Reason.NETWORK),
    "a piece of another bucket": (_of_another_bucket, Reason.UNSOLICITED),
    "a key not asked for": (lambda author: author.put("not asked for", 1), Reason.UNSOLICITED),
    "a stamp from the future": (_from_the_future, Reason.SKEW),
    "an author that nobody knows": (_by_nobody, Reason.NO_CREDENTIAL),
    "garbage": (lambda _: b"garbage", Reason.MALFORMED),
    "more than any bundle": (_huge, Reason.OVERSIZE),
}


@pytest.mark.parametrize(("lie", "reason"), LIES.values(), ids=LIES.keys())
def test_lies_end_the_look_and_are_named(lie: Callable[[Author], bytes], reason: Reason) -> None:
    victim, rogue, author, sight = looking()
    rogue.says(shows(sight, author.put("own", "genuine"), lie(author), is_last=False))
    assert isinstance(sight.error, RemoteError)
    assert f"({reason}: " in str(sight.error)
    assert sight.groups == {}
    victim.withstood(rogue, reason)
    assert victim.peer._ctx.counters["looks-failed"] == 1


def test_who_may_not_write_a_bucket_is_not_believed_about_it() -> None:
    victim, rogue, _, sight = looking()
    reader = Author("reader", wall_ms=victim.wall_ms)
    rights = Capability(("other",), True, 0, 1 << 60)
    rogue.says(Credentials((victim.authority.issue(reader.identity.peer, rights),)))
    rogue.says(shows(sight, reader.put("own", 1)))
    assert f"({Reason.RIGHTS}: " in str(sight.error)
    victim.withstood(rogue, Reason.RIGHTS)


def test_no_second_word_of_a_cell_wins_but_by_its_stamp() -> None:
    victim, rogue, author, sight = looking()
    older, newer = author.put("k", "older"), author.put("k", "newer")
    rogue.says(shows(sight, newer, older))
    assert sight.values(victim.wall_ms) == {"k": "newer"}


def test_what_is_left_out_is_not_noticed() -> None:
    """Nothing proves that there is no more: the documents say so."""
    victim, rogue, author, sight = looking(keys=("own", "k"))
    author.put("k", "withheld")
    rogue.says(shows(sight, author.put("own", 1)))
    assert sight.error is None
    assert sight.values(victim.wall_ms) == {"own": 1}


def _ordered(count: int) -> list[str]:
    tree = CellTree("b", 0)
    return sorted((f"k{n}" for n in range(count)), key=tree.place_of)


def test_endless_pages_come_to_an_end() -> None:
    limits = Limits(look_pages=50)
    victim = settled(limits=limits)
    rogue = victim.link("rogue")
    sight = victim.peer.look("rogue", "b", victim.now)
    victim.settle()
    for key in _ordered(200):
        if sight.is_over:
            break
        rogue.says(shows(sight, reached=key.encode()))
    assert "more of 'b' than one look takes in" in str(sight.error)
    assert victim.serves_the_honest()


def test_endless_parts_of_one_page_come_to_an_end() -> None:
    victim = settled(limits=Limits(look_bytes=50_000))
    rogue = victim.link("rogue")
    author = Author("rogue", wall_ms=victim.wall_ms)
    sight = victim.peer.look("rogue", "b", victim.now, keys=["k"])
    victim.settle()
    piece, count = author.put("k", "x" * 100), 0
    while not sight.is_over:
        rogue.says(shows(sight, piece, is_last=False), shows(sight, is_last=False))
        count += 1
    assert count < 150
    assert victim.serves_the_honest()


def test_silence_and_dripping_end_too() -> None:
    victim, rogue, _, sight = looking()
    victim.wait(11)
    assert "does not answer" in str(sight.error)
    victim, rogue, _, sight = looking()
    for _ in range(100):
        rogue.says(Shown(sight.number, Outcome.BUSY, True, b"", ()))
        victim.wait(0.3)
    assert "does not answer" in str(sight.error)
    assert victim.serves_the_honest()


@pytest.mark.parametrize(
    ("keys", "reached"),
    [(None, [b"k1", b"k1"]), (None, ["k\xff".encode("latin-1")]), (("k1",), [b"k2"])],
)
def test_answers_that_do_not_get_on(keys: tuple[str, ...] | None, reached: list[bytes]) -> None:
    victim, rogue, _, sight = looking(keys=keys)
    for place in reached:
        rogue.says(shows(sight, reached=place))
    assert f"({Reason.UNSOLICITED}: " in str(sight.error)
    victim.withstood(rogue, Reason.UNSOLICITED)


def test_a_list_of_keys_only_says_what_to_ask_for() -> None:
    victim, rogue, author, sight = looking(keys=None)
    listed = (("k2", 7), ("no such", 1), ("k1", 3), ("k2", 3))
    rogue.says(Shown(sight.number, Outcome.SHOWN, True, b"", (), listed))
    (question,) = rogue.hears(Look)
    assert isinstance(question, Look)
    assert question.keys == ("no such", "k1", "k2")
    rogue.says(shows(sight, author.put("k1", 1)))
    assert sight.values(victim.wall_ms) == {"k1": 1}


def test_keys_that_were_not_asked_for() -> None:
    victim = settled()
    rogue = victim.link("rogue")
    sight = victim.peer.look("rogue", "b", victim.now, prefix="k")
    victim.settle()
    victim._before, victim._counted = victim._state(), victim.refused
    rogue.says(Shown(sight.number, Outcome.SHOWN, True, b"", (), (("own", 1),)))
    assert f"({Reason.UNSOLICITED}: " in str(sight.error)
    victim.withstood(rogue, Reason.UNSOLICITED)


def test_answers_that_nobody_asked_for_change_nothing() -> None:
    victim, rogue, author, sight = looking()
    other = victim.link("other rogue")
    piece = author.put("own", "stolen")
    for number in (0, sight.number + 1):
        rogue.says(Shown(number, Outcome.SHOWN, True, b"", (piece,)))
    other.says(shows(sight, piece))
    assert victim.peer._ctx.counters["look-stale"] == 3
    assert not sight.is_over
    assert sight.groups == {}
    assert victim.is_unmoved()
    rogue.says(shows(sight))
    assert sight.values(victim.wall_ms) == {}
    rogue.says(shows(sight, piece))
    assert victim.peer._ctx.counters["look-stale"] == 4
    assert victim.serves_the_honest()


def test_lines_are_proven_and_hold_no_entries() -> None:
    victim, rogue, author, sight = looking(aspect=Aspect.LINES)
    bundle = parse_piece(author.put("k", 1))
    assert not isinstance(bundle, Excerpt)
    head = encode_piece(header_only(whole_piece(bundle, (), NOBODY)))
    rogue.says(Shown(sight.number, Outcome.SHOWN, True, b"", (head,)))
    assert sight.error is None
    assert sight.lines == {author.origin: (1, bundle.header.hash)}
    victim, rogue, author, sight = looking(aspect=Aspect.LINES)
    rogue.says(shows(sight, author.put("k", 1)))
    assert f"({Reason.UNSOLICITED}: " in str(sight.error)
    victim.withstood(rogue, Reason.UNSOLICITED)


# -- questions ---------------------------------------------------------------------------------------------------------

GARBAGE = {
    "look: a run that is a text": (40, "1", "b", 0, "", (), b""),
    "look: a bucket without a name": (40, 1, "", 0, "", (), b""),
    "look: an aspect that is none": (40, 1, "b", 4, "", (), b""),
    "look: true as an aspect": (40, 1, "b", True, "", (), b""),
    "look: a prefix of 513 bytes": (40, 1, "b", 0, "x" * 513, (), b""),
    "look: a key of bytes": (40, 1, "b", 0, "", (b"k",), b""),
    "look: behind a text": (40, 1, "b", 0, "", (), "k"),
    "look: behind 513 bytes": (40, 1, "b", 0, "", (), bytes(513)),
    "look: behind what is no text": (40, 1, "b", 3, "", (), b"\xff"),
    "look: no keys": (40, 1, "b", 0, "", None, b""),
    "look: a part too many": (40, 1, "b", 0, "", (), b"", 1),
    "shown: an outcome that is none": (41, 1, 5, True, b"", (), ()),
    "shown: last as a number": (41, 1, 0, 1, b"", (), ()),
    "shown: a piece that is a text": (41, 1, 0, True, b"", ("piece",), ()),
    "shown: a key without its number": (41, 1, 0, True, b"", (), ("k",)),
    "shown: a negative number": (41, 1, 0, True, b"", (), (("k", -1),)),
    "shown: reached a text": (41, 1, 0, True, "k", (), ()),
}


@pytest.mark.parametrize("parts", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_closes_the_link_and_nothing_else(parts: tuple[object, ...]) -> None:
    victim = settled()
    rogue = victim.link("rogue")
    victim._before, victim._counted = victim._state(), victim.refused
    rogue.says_payload(strict.encode(parts))
    victim.withstood(rogue, Reason.MALFORMED)


def test_too_many_keys_at_once() -> None:
    victim = settled()
    rogue = victim.link("rogue")
    victim._before, victim._counted = victim._state(), victim.refused
    rogue.says(Look(1, "b", Aspect.VALUES, "", ("k",) * 2049, b""))
    assert rogue.hears() == []
    victim.withstood(rogue, Reason.LIMIT)


def _filled(bundle_of: int) -> Victim:
    victim = settled()
    for first in range(0, 20_000, bundle_of):
        rows = [
            entry(f"k{n:05d}", n, at=victim.author.tick()) for n in range(first, first + bundle_of)
        ]
        victim.honest.says_payload(strict.encode((6, (victim.author.bundle(rows),))))
    return victim


@pytest.mark.parametrize(
    "question",
    [
        Look(1, "b", Aspect.KEYS, "no such", (), b""),
        Look(1, "b", Aspect.KEYS, "", (), b""),
        Look(1, "b", Aspect.VALUES, "", tuple(f"k{n * 40:05d}" for n in range(500)), b""),
        Look(1, "b", Aspect.OUTLINES, "", tuple(f"k{n:05d}" for n in range(2000)), b""),
        Look(1, "b", Aspect.LINES, "", (), b""),
    ],
)
def test_one_question_costs_little_and_a_flood_ends_with_the_link(question: Look) -> None:
    victim = _filled(500)
    rogue = victim.link("rogue")
    rogue.says(Look(1, "b", Aspect.KEYS, "k00000", (), b""))  # sums are made once
    rogue.hears()
    start = process_time()
    rogue.says(question)
    assert process_time() - start < 1.0
    answers = rogue.hears(Shown)
    assert answers
    assert sum(len(encode_message(answer)) for answer in answers) < 2 * (256 << 10)
    count = 0
    while rogue.hung_up is None:
        rogue.says(question)
        count += 1
    assert rogue.hung_up == "rate"
    assert count < 3000
    assert victim.serves_the_honest()


def test_answers_that_wait_for_the_store_are_bounded() -> None:
    victim = settled(limits=Limits(looks_held=2))
    rogue, other = victim.link("rogue"), victim.link("other")
    victim.holds_commits = True
    victim.put("own", 2)
    for number in range(3):
        rogue.says(Look(number, "b", Aspect.VALUES, "", ("own",), b""))
    (answer,) = rogue.hears(Shown)
    assert isinstance(answer, Shown)
    assert answer.outcome is Outcome.BUSY
    rogue.leaves()
    other.says(Look(1, "b", Aspect.VALUES, "", ("own",), b""))
    assert other.hears(Shown) == []
    victim.finish_commit()
    (answer,) = other.hears(Shown)
    assert isinstance(answer, Shown)
    assert len(answer.pieces) == 1


def test_a_joiner_shows_nothing() -> None:
    victim = Victim(capability=EVERYTHING)
    rogue = victim.link("rogue")
    assert victim.peer.state == "joining"
    rogue.says(Look(1, "b", Aspect.KEYS, "", (), b""))
    assert rogue.hears() == [Shown(1, Outcome.JOINING, True, b"")]


@pytest.mark.parametrize("parts", [0, 1], ids=["empty", "the same again"])
def test_answers_that_never_end_keep_no_look_alive(parts: int) -> None:
    """An answer in endless parts, each in time, that show nothing or always the same."""
    victim, rogue, author, sight = looking()
    piece = excerpt(author.put("own", "mine"), "own")
    for _ in range(150):
        rogue.says(shows(sight, *[piece] * parts, is_last=False))
        victim.wait(5.0)
    assert sight.is_over
    assert "does not answer" in str(sight.error)
    assert victim.serves_the_honest()
