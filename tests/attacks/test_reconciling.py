"""Messages of reconciliations that members may send and should not, and members that lie in them."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import pytest

from gossipsync.core.model import strict
from gossipsync.core.model.bundle import parse_bundle
from gossipsync.core.model.entry import Op
from gossipsync.core.model.hlc import hlc_at
from gossipsync.core.model.ids import Epoch, Origin, new_epoch, origin_of
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.celltree import CellTree
from gossipsync.core.replication.pieces import (
    NOBODY,
    Excerpt,
    Piece,
    cells_in_piece,
    encode_piece,
    header_only,
    parse_piece,
    whole_piece,
)
from gossipsync.core.wire.messages import (
    Compare,
    Delta,
    Digest,
    Message,
    Push,
    Stored,
    Want,
    encode_message,
)
from gossipsync.core.wire.reconciling import (
    Covered,
    Doubt,
    Dump,
    Fetch,
    Findings,
    Heads,
    Parts,
    StateSum,
    Survey,
    Verdict,
    doubt_row,
)
from tests.attacks._marks import Victim
from tests.core._world import OTHER_NETWORK, START_MS, Author, Remote, entry, identity

ORIGIN = bytes(40)


def _in_b(*rows: object) -> tuple[object, ...]:
    return (("b", rows),)


GARBAGE = {
    "heads: a run that is a text": (30, "1", (), b"", False),
    "heads: a negative run": (30, -1, (), b"", False),
    "heads: a run of 2**63": (30, 1 << 63, (), b"", False),
    "heads: an origin of 39 bytes": (30, 1, _in_b((bytes(39),)), b"", False),
    "heads: a row of two": (30, 1, _in_b((ORIGIN, 1)), b"", False),
    "heads: covered of 7 bytes": (30, 1, (), bytes(7), False),
    "heads: all as a number": (30, 1, (), b"", 1),
    "heads: no groups": (30, 1, (ORIGIN,), b"", False),
    "heads: a bucket without a name": (30, 1, (("", ((ORIGIN,),)),), b"", False),
    "survey: a cut that is none": (31, 1, None, True, ()),
    "survey: a prefix too deep": (31, 1, 1, True, _in_b((bytes(5), 1))),
    "survey: a prefix of no nibbles": (31, 1, 1, True, _in_b((b"\x10", 1))),
    "survey: a negative count": (31, 1, 1, True, _in_b((b"", -1))),
    "findings: half a sum": (32, 1, 1, True, _in_b((b"", bytes(12))), ()),
    "findings: one sum": (32, 1, 1, True, _in_b((b"", bytes(8))), ()),
    "findings: seventeen sums": (32, 1, 1, True, _in_b((b"", bytes(17 * 8))), ()),
    "findings: four levels at once": (32, 1, 1, True, _in_b((b"", bytes(8 * 16**4))), ()),
    "findings: three levels below the second": (
        32,
        1,
        1,
        True,
        _in_b((bytes(2), bytes(8 * 16**3))),
        (),
    ),
    "findings: sums below the lowest": (32, 1, 1, True, _in_b((bytes(4), bytes(128))), ()),
    "findings: sums far below": (32, 1, 1, True, _in_b((bytes(3), bytes(2048))), ()),
    "findings: half a name": (32, 1, 1, True, (), _in_b((b"", bytes(4)))),
    "findings: ready as a number": (32, 1, 1, 1, (), ()),
    "fetch: half a name": (33, 1, _in_b((b"", bytes(9)))),
    "fetch: a name that is a text": (33, 1, _in_b((b"", "12345678"))),
    "dump: behind a number": (34, 1, 7, None),
    "dump: an origin of 41 bytes": (34, 1, ("b", bytes(41), 1), None),
    "dump: behind -1": (34, 1, ("b", ORIGIN, -1), None),
    "dump: behind true": (34, 1, ("b", ORIGIN, True), None),
    "dump: up to a number": (34, 1, None, 7),
    "dump: up to an origin of 39 bytes": (34, 1, None, ("b", bytes(39), 1)),
    "dump: up to -1": (34, 1, None, ("b", ORIGIN, -1)),
    "dump: no end": (34, 1, None),
    "parts: a piece that is a text": (35, 1, False, ("piece",)),
    "parts: cut as a number": (35, 1, 1, ()),
    "covered: index 0": (36, 1, _in_b((ORIGIN, 0))),
    "covered: an index that no bundle has": (36, 1, _in_b((ORIGIN, 1 << 40))),
    "covered: a row of three": (36, 1, _in_b((ORIGIN, 1, b""))),
    "covered: an origin of 39 bytes": (36, 1, _in_b((bytes(39), 1))),
    "doubt: half a row": (37, 1, _in_b((b"", bytes(55)))),
    "verdict: no bytes": (38, 1, (True,)),
    "state sum: lines of 8 bytes": (39, False, 1, bytes(8), bytes(8), bytes(8)),
    "state sum: remembered lines of 16 bytes": (39, False, 1, bytes(16), bytes(16), bytes(8)),
    "state sum: a total of 16 bytes": (39, False, 1, bytes(16), bytes(8), bytes(16)),
    "state sum: a cut of -1": (39, False, -1, bytes(16), bytes(8), bytes(8)),
    "one part too many": (38, 1, b"", 1),
}


@pytest.mark.parametrize("parts", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_closes_the_link_and_nothing_else(parts: tuple[object, ...]) -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    rogue.says_payload(strict.encode(parts))
    victim.withstood(rogue, Reason.MALFORMED)


def _rogue(victim: Victim) -> tuple[Remote, Author]:
    return victim.link("rogue"), Author("rogue", wall_ms=victim.wall_ms)


def settled(**settings: object) -> Victim:
    """A victim that is in agreement with its honest member, and so no joiner."""
    victim = Victim(**settings)
    victim.honest.says(_digest(victim, 1))
    assert victim.peer.state == "ready"
    victim.honest.hears()
    return victim


def _digest(victim: Victim, number: int, covered: bytes = bytes(8)) -> Digest:
    return Digest(number, victim.peer.digest, b"", victim.wall_ms, covered)


def asks(victim: Victim, rogue: Remote, number: int = 1) -> int:
    """Have the victim ask the rogue what it remembers; the run's number."""
    rogue.says(_digest(victim, number, number.to_bytes(8, "big")))
    (heads,) = rogue.hears(Heads)
    assert isinstance(heads, Heads)
    return heads.run


def begins(victim: Victim, rogue: Remote, number: int = 1) -> tuple[int, Message]:
    """Have the victim take the rogue for one that knows more: the run's number, and the first question."""
    run = asks(victim, rogue, number)
    ended = Author("rogue", wall_ms=START_MS, epoch=Epoch(number))
    proof = _proof(ended.put("ended", number))
    rogue.says(Covered(run, (("b", ended.origin, 1),)), Parts(run, False, ()))
    (heads,) = rogue.hears()
    assert isinstance(heads, Heads)
    assert heads.lines == (("b", ended.origin),)
    rogue.says(Parts(run, False, (proof,)))
    (question,) = rogue.hears()
    return run, question


def _proof(bundle: bytes) -> bytes:
    """The proof that a log went so far."""
    return encode_piece(header_only(whole_piece(parse_bundle(bundle), (), NOBODY)))


def first_survey(victim: Victim, rogue: Remote) -> int:
    run, question = begins(victim, rogue)
    if isinstance(question, Dump):
        rogue.says(Parts(run, False, ()))
        (question,) = rogue.hears()
    assert isinstance(question, Survey)
    assert question.is_first
    return run


# -- unsolicited and too much ------------------------------------------------------------------------------------------


def test_answers_that_nobody_asked_for_change_nothing() -> None:
    victim = settled()
    rogue, author = _rogue(victim)
    victim._before, victim._counted = victim._state(), victim.refused
    bundle = author.put("own", "stolen")
    for run in (0, 1, 2):
        rogue.says(
            Findings(run, START_MS, True, (), (("b", b"", b"12345678"),)),
            Parts(run, False, (bundle,)),
            Covered(run, (("b", author.origin, 7),)),
            Verdict(run, b"\x01" * 100),
        )
    assert victim.peer._ctx.counters["reconcile-stale"] == 12
    assert rogue.hears() == []
    assert rogue.hung_up is None
    assert victim.is_unmoved()
    assert victim.serves_the_honest()


def test_an_answer_to_another_question_than_the_one_asked() -> None:
    victim = settled()
    rogue, author = _rogue(victim)
    run = first_survey(victim, rogue)
    victim._before = victim._state()
    rogue.says(Parts(run, False, (author.put("own", "stolen"),)), Verdict(run, b"\x01"))
    assert victim.peer._ctx.counters["reconcile-stale"] == 2
    assert victim.is_unmoved()


TOO_MUCH: dict[str, Callable[[], Message]] = {
    "heads": lambda: Heads(1, tuple(("b", n.to_bytes(40, "big")) for n in range(4097))),
    "survey": lambda: Survey(1, START_MS, True, (("b", b""),) * 4097),
    "fetch": lambda: Fetch(1, (("b", b"", bytes(8 * 8200)),)),
    "fetch of nothing": lambda: Fetch(1, (("b", b"", b""),) * 8200),
    "doubt": lambda: Doubt(1, (("b", b"", bytes(56 * 8200)),)),
    "doubt of nothing": lambda: Doubt(1, (("b", b"", b""),) * 8200),
}


@pytest.mark.parametrize("question", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_questions_that_are_too_large_are_not_answered(question: Callable[[], Message]) -> None:
    victim = settled()
    rogue, _ = _rogue(victim)
    victim._before, victim._counted = victim._state(), victim.refused
    rogue.says(question())
    assert rogue.hears() == []
    victim.withstood(rogue, Reason.LIMIT)


def _filled(count: int) -> Victim:
    """A victim with so many cells."""
    victim = settled()
    rows = [entry(f"k{n:05d}", n, at=victim.author.tick()) for n in range(count)]
    for first in range(0, count, 500):
        bundle = victim.author.bundle(rows[first : first + 500])
        victim.honest.says_payload(strict.encode((6, (bundle,))))
    victim._before, victim._counted = victim._state(), victim.refused
    assert len(victim.pairs()) == count + 2
    return victim


DEAR: dict[str, Callable[[], Message]] = {
    "fetches over everything": lambda: Fetch(1, (("b", b"", bytes(8)),) * 4000),
    "fetches over sixteenths": lambda: Fetch(
        1, tuple(("b", bytes((n % 16,)), bytes(8)) for n in range(4000))
    ),
    "doubts over everything": lambda: Doubt(
        1, (("b", b"", doubt_row(ORIGIN, 1, bytes(8))),) * 4000
    ),
    "surveys over everything": lambda: Survey(1, START_MS, True, (("b", b""),) * 4000),
}


@pytest.mark.parametrize("question", DEAR.values(), ids=DEAR.keys())
def test_one_message_costs_little_however_it_is_asked(question: Callable[[], Message]) -> None:
    """Hashing ten thousand cells for each of four thousand ranges would take minutes."""
    victim = _filled(10_000)
    rogue, _ = _rogue(victim)
    rogue.says(Survey(1, START_MS, True, ()))  # sums are made once
    rogue.hears()
    start = process_time()
    rogue.says(question())
    assert process_time() - start < 1.0
    assert sum(len(encode_message(message)) for message in rogue.hears()) < 2 * (256 << 10)
    assert victim.serves_the_honest()


def test_a_flood_of_dear_questions_ends_with_the_link() -> None:
    victim = settled(limits=Limits(messages_per_s=1000))
    rogue, _ = _rogue(victim)
    rogue.says(*[Survey(1, START_MS, True, (("b", b""),) * 4000)] * 4)
    assert rogue.hung_up == "rate"
    assert len(rogue.hears(Findings)) <= 2
    assert victim.serves_the_honest()


def test_a_flood_of_dumps_ends_with_the_link() -> None:
    victim = settled(limits=Limits(messages_per_s=100))
    rogue, _ = _rogue(victim)
    rogue.says(*[Dump(1, None)] * 100)
    assert rogue.hung_up == "rate"
    assert len(rogue.hears(Parts)) <= 51
    assert victim.serves_the_honest()


def test_state_sums_in_floods_move_nothing() -> None:
    victim = settled()
    rogue, _ = _rogue(victim)
    victim._before, victim._counted = victim._state(), victim.refused
    for ahead_ms in (0, 1, 1 << 40, (1 << 63) - 1 - START_MS):
        rogue.says(StateSum(False, START_MS + ahead_ms, victim.peer.digest, bytes(8), bytes(8)))
        rogue.says(StateSum(True, START_MS + ahead_ms, victim.peer.digest, bytes(8), bytes(8)))
    assert victim.peer._ctx.counters["states-differ"] <= 4
    assert victim.is_unmoved()
    assert victim.serves_the_honest()


def test_a_joiner_gives_nothing_away() -> None:
    victim = Victim()
    rogue, _ = _rogue(victim)
    assert victim.peer.state == "joining"
    rogue.says(Survey(1, START_MS, True, (("b", b""),)), Dump(1, None))
    findings, parts = rogue.hears()
    assert isinstance(findings, Findings)
    assert not findings.is_ready
    assert (findings.sums, findings.names) == ((), ())
    assert isinstance(parts, Parts)
    assert parts.pieces == ()


# -- pieces ------------------------------------------------------------------------------------------------------------


def _asked_for_cells(victim: Victim, rogue: Remote) -> int:
    run = first_survey(victim, rogue)
    rogue.says(Findings(run, START_MS, True, (), (("b", b"", b"12345678"),)))
    (fetch,) = rogue.hears()
    assert isinstance(fetch, Fetch)
    return run


def _forged(author: Author) -> bytes:
    return author.wrong([entry("own", "stolen", at=author.tick())], signature=bytes(64))


def _foreign(author: Author) -> bytes:
    other = Author("rogue", wall_ms=START_MS, network=OTHER_NETWORK)
    return other.put("own", "stolen")


def _false_excerpt(author: Author) -> bytes:
    """The signed header of one bundle with the entry of another."""
    mine, other = (parse_bundle(author.put("own", value)) for value in ("x", "y"))
    header, signature, *_ = whole_piece(mine, (), NOBODY)
    return strict.encode(
        (header, signature, b"\0\0", b"", tuple(entry.data for entry in other.entries()), b"")
    )


PIECES: dict[str, tuple[Callable[[Author], bytes], Reason]] = {
    "forged": (_forged, Reason.SIGNATURE),
    "of another network": (_foreign, Reason.NETWORK),
    "of another's entries": (_false_excerpt, Reason.MERKLE),
    "noise": (lambda _: b"noise", Reason.MALFORMED),
    "too large": (lambda _: bytes(900 << 10), Reason.OVERSIZE),
}


@pytest.mark.parametrize("step", ["heads", "dump", "fetch"])
@pytest.mark.parametrize(("make", "reason"), PIECES.values(), ids=PIECES.keys())
def test_false_pieces_close_the_link(
    make: Callable[[Author], bytes], reason: Reason, step: str
) -> None:
    victim = settled()
    rogue, author = _rogue(victim)
    victim._before, victim._counted = victim._state(), victim.refused
    run = _to_step(victim, rogue, author, step)
    before = victim.counted
    rogue.says(Parts(run, False, (make(author),)))
    assert victim.counted - before == {reason: 1}
    assert rogue.hung_up == reason
    assert victim.pairs()["own"] == 1
    assert not victim.peer._reconciler.is_running
    assert victim.serves_the_honest()


def _to_step(victim: Victim, rogue: Remote, author: Author, step: str) -> int:
    if step == "fetch":
        return _asked_for_cells(victim, rogue)
    run, question = _claims(victim, rogue, author, ahead=100)
    assert isinstance(question, Heads)
    if step == "heads":
        return run
    return _to_dump(victim, rogue, author)


def _claims(victim: Victim, rogue: Remote, author: Author, ahead: int) -> tuple[int, Message]:
    """The rogue says that a log is long, and that it has it no more: the victim reconciles."""
    rogue.says(Digest(21, bytes(16), b"", victim.wall_ms))
    line = ("b", author.origin, ahead, bytes(8), hlc_at(victim.wall_ms))
    rogue.says(Compare(21, (), False, (), (line,), ()))
    victim.wait(0.01)
    wants = [message for message in rogue.hears() if isinstance(message, Want)]
    rogue.says(Delta(wants[-1].request, (), True))
    (question,) = rogue.hears(Heads)
    assert isinstance(question, Heads)
    assert [Origin(origin) for _, origin in question.lines] == [author.origin]
    return question.run, question


def _to_dump(victim: Victim, rogue: Remote, author: Author) -> int:
    """Past the proofs of lines, which the rogue gives for one bundle of its own."""
    run = victim.peer._reconciler._run
    assert run is not None
    rogue.says(Parts(run.number, False, ()))
    (question,) = rogue.hears()
    assert isinstance(question, Dump)
    return run.number


def test_a_false_proof_of_a_line_moves_nothing() -> None:
    """Signed by another than the log's origin."""
    victim = settled()
    rogue, author = _rogue(victim)
    run, _ = _claims(victim, rogue, author, ahead=100)
    far = author.wrong([entry("x", 1, at=author.tick())], index=100, signer=identity("else"))
    rogue.says(Parts(run, False, (_proof(far),)))
    assert rogue.hung_up == Reason.SIGNATURE
    assert victim.peer._ctx.logs.find(("b", author.origin)) is None


def test_what_is_parked_keeps_all_lines_where_they_are() -> None:
    """A cell too far ahead of our clock: nobody is blamed, and nothing is complete without it."""
    victim = settled()
    rogue, author = _rogue(victim)
    first = author.put("early", 1)
    run, _ = _claims(victim, rogue, author, ahead=100)
    author.pass_time(3_600_000)
    ahead = author.put("ahead", 1)
    rogue.says(Parts(run, False, (_proof(first),)))
    rogue.says(Parts(run, False, (ahead,)))  # the dump
    rogue.says(Findings(run, START_MS, True, (), (("b", b"", b""),)))
    assert victim.counted[Reason.SKEW] == 1
    assert rogue.hung_up is None
    assert victim.peer._ctx.counters["reconcile-parked"] == 1
    assert victim.peer._ctx.logs.find(("b", author.origin)) is None
    assert "ahead" not in victim.pairs()
    assert victim.serves_the_honest()


# -- liars -------------------------------------------------------------------------------------------------------------


def _endless(victim: Victim, rogue: Remote, run: int, seconds: float) -> int:
    """Whatever is asked, there is more; how many questions that brought."""
    made = questions = 0
    for _ in range(round(seconds)):
        heard = rogue.hears()
        questions += len(heard)
        for question in heard:
            if isinstance(question, Survey):
                made += 1
                sums = tuple(
                    (bucket, prefix, made.to_bytes(8, "big") * 16)
                    for bucket, prefix in question.areas
                    if len(prefix) < 4
                )
                names = tuple(
                    (bucket, prefix, (made << 20 | n).to_bytes(8, "big"))
                    for n, (bucket, prefix) in enumerate(question.areas)
                    if len(prefix) == 4
                )
                rogue.says(Findings(run, victim.wall_ms, True, sums, names))
            elif isinstance(question, Fetch):
                rogue.says(Parts(run, False, ()))
        victim.wait(1.0)
    return questions


def test_findings_that_never_end_are_given_up_and_others_get_their_turn() -> None:
    victim = settled()
    rogue, _ = _rogue(victim)
    run = first_survey(victim, rogue)
    rogue.says(Findings(run, START_MS, True, (("b", b"", b"differs!" * 16),), ()))
    questions = _endless(victim, rogue, run, 130)
    assert questions > 100
    assert not victim.peer._reconciler.is_running
    assert victim.peer._ctx.counters["reconcile-late"] == 1
    assert victim.serves_the_honest()


def test_ranges_and_names_without_end_are_held_within_bounds() -> None:
    room = 500
    victim = settled(limits=Limits(run_cells=room))
    rogue, _ = _rogue(victim)
    run = first_survey(victim, rogue)
    rogue.says(Findings(run, START_MS, True, (("b", b"", b"differs!" * 4096),), ()))
    for made in range(1, 40):
        reconciling = victim.peer._reconciler._run
        if reconciling is None:
            break
        assert len(reconciling.todo) <= room
        assert len(reconciling.surveys) <= room
        assert len(reconciling.asked) <= room + 5000
        for question in rogue.hears():
            if isinstance(question, Survey):
                areas = list(question.areas)
                differs = made.to_bytes(8, "big") * 16
                sums = tuple((*area, differs) for area in areas if len(area[1]) < 4)
                names = tuple(
                    (*area, b"".join((made << 40 | place << 20 | n).to_bytes(8) for n in range(9)))
                    for place, area in enumerate(areas)
                    if len(area[1]) >= 4
                )
                rogue.says(Findings(run, victim.wall_ms, True, sums, names))
            elif isinstance(question, Fetch):
                rogue.says(Parts(run, False, ()))
    assert victim.peer._reconciler._run is None
    assert (
        victim.peer._ctx.counters["reconcile-partial"]
        + victim.peer._ctx.counters["reconcile-parked"]
        == 1
    )
    assert victim.serves_the_honest()


def test_findings_about_what_was_not_asked_are_not_looked_at() -> None:
    victim = settled()
    rogue, _ = _rogue(victim)
    run = first_survey(victim, rogue)
    rogue.says(Findings(run, START_MS, True, (("b", b"", b"notthis!" * 16),), ()))
    victim._counted = victim.refused
    reconciling = victim.peer._reconciler._run
    assert reconciling is not None
    before = len(reconciling.todo)
    invented = tuple((f"bucket {n}", b"", b"invented" * 16) for n in range(500))
    rogue.says(Findings(run, START_MS, True, invented, ()))
    assert victim.counted == {Reason.UNSOLICITED: 500}
    assert len(reconciling.todo) <= before
    assert victim.serves_the_honest()


def test_invented_buckets_in_the_first_answer_are_bounded() -> None:
    victim = settled(limits=Limits(buckets=20))
    rogue, _ = _rogue(victim)
    run = first_survey(victim, rogue)
    invented = tuple((f"bucket {n}", b"", b"invented" * 16) for n in range(500))
    rogue.says(Findings(run, START_MS, True, invented, ()))
    reconciling = victim.peer._reconciler._run
    assert reconciling is not None
    assert len(reconciling.todo) <= 20 * 16 + 1
    assert set(victim.peer.replicas) == {"b"}


def test_a_silent_liar_is_given_up() -> None:
    victim = settled()
    rogue, _ = _rogue(victim)
    first_survey(victim, rogue)
    victim.wait(11.0)
    assert not victim.peer._reconciler.is_running
    assert victim.peer._ctx.counters["reconcile-late"] == 1
    assert victim.serves_the_honest()


def test_a_dump_that_goes_round_in_circles_ends() -> None:
    victim = settled()
    rogue, author = _rogue(victim)
    bundles = [author.put(f"k{n}", n) for n in range(3)]
    run, _ = _claims(victim, rogue, author, ahead=100)
    _to_dump(victim, rogue, author)
    asked = []
    for _ in range(10):
        rogue.says(Parts(run, True, tuple(bundles)))
        asked += rogue.hears()
    assert [type(question) for question in asked] == [Dump]
    assert asked[0].after == ("b", author.origin, 3)
    assert victim.peer._ctx.counters["reconcile-barren"] == 1
    assert victim.pairs()["k2"] == 2  # genuine cells are taken
    assert victim.serves_the_honest()


def test_a_dump_without_an_end_is_given_up_once_it_brings_nothing() -> None:
    """Bundles that lose at once, each behind the last."""
    victim = settled()
    rogue, author = _rogue(victim)
    stale = [author.bundle([entry("own", n, at=author.tick() - (1 << 40))]) for n in range(200)]
    run, _ = _claims(victim, rogue, author, ahead=1000)
    _to_dump(victim, rogue, author)
    for bundle in stale:
        rogue.says(Parts(run, True, (bundle,)))
        victim.wait(1.0)
    assert not victim.peer._reconciler.is_running
    assert victim.pairs()["own"] == 1
    assert victim.serves_the_honest()


def test_covered_lines_that_nothing_proves_are_not_believed() -> None:
    """Of living epochs, of ended ones and of those that nobody has heard of; nor is anything compared for their sake."""
    victim = settled()
    rogue, _ = _rogue(victim)
    run = asks(victim, rogue)
    speaker = Author("honest", wall_ms=START_MS, epoch=new_epoch(START_MS, 7))
    living = speaker.origin  # that of its link
    claims = [
        ("b", living, 1000),
        ("b", victim.peer.origin, 1000),
        ("b", origin_of(victim.peer.peer_id, Epoch(77)), 5),
        ("b", origin_of(victim.honest.peer, Epoch(77)), 5),
        ("b", origin_of(identity("nobody").peer, Epoch((1 << 62) + 1)), 5),
    ]
    rogue.says(Covered(run, tuple(claims)), Parts(run, False, ()))
    (heads,) = rogue.hears(Heads)
    assert isinstance(heads, Heads)
    assert set(heads.lines) == {claim[:2] for claim in claims}
    rogue.says(Parts(run, False, ()))
    assert rogue.hears(Survey) == []
    assert not victim.peer._reconciler.is_running
    victim.wait(1.0)
    for bucket, origin, _ in claims:
        log = victim.peer._ctx.logs.find((bucket, Origin(origin)))
        assert log is None or (log.index < 5 and not log.is_covered)
    assert victim.peer._keeper.covered() == []
    assert victim.serves_the_honest()
    victim.put("mine", 1)
    victim.honest.says(Push((speaker.put("spoken", 1),)))
    assert victim.pairs()["mine"] == victim.pairs()["spoken"] == 1


AWAY_S = 25.0
AWAY: dict[str, object] = {"horizon_ms": 20_000, "max_skew_ms": 1000}


def _cut_off(victim: Victim) -> Author:
    """A member writes twice, is cut off for longer than the horizon, and its line leaves the digest."""
    away = Author("away", wall_ms=victim.wall_ms)
    link = victim.link("away", epoch=away.epoch)
    link.says(Push((away.put("first", 1), away.put("second", 2))))
    link.leaves()
    victim.wait(AWAY_S)
    victim.peer.handle_deadline(victim.now)
    victim.settle()
    victim.honest.hears()
    log = victim.peer._ctx.logs.find(("b", away.origin))
    assert log is not None
    assert log.index == 2
    assert victim.peer._parts.disputes.is_over(log.key)
    victim.peer._keeper.cover(log)  # as a round does
    return away


def test_whoever_was_cut_off_is_heard_though_a_liar_said_that_it_had_written_more() -> None:
    victim = settled(**AWAY)
    away = _cut_off(victim)
    rogue, _ = _rogue(victim)
    run = asks(victim, rogue)
    rogue.says(Covered(run, (("b", away.origin, 1000),)), Parts(run, False, ()))
    rogue.says(Parts(run, False, ()))
    _finish(rogue, run)
    confirmed = [away.put("third", 3), away.put("fourth", 4)]  # while it was alone
    link = victim.link("away", epoch=away.epoch)
    assert [m.lines[0][2] for m in link.hears() if isinstance(m, Stored)] in ([], [2])
    link.says(Push(tuple(confirmed)))
    assert victim.pairs()["third"] == 3
    assert victim.pairs()["fourth"] == 4
    assert victim.refused[Reason.COVERED] == 0


def test_whoever_was_cut_off_gets_back_what_a_liar_withheld() -> None:
    """The liar alone had heard it, proves how far that log goes, and shows nothing of what is in it."""
    victim = settled(**AWAY)
    away = _cut_off(victim)
    confirmed = away.put("third", 3)
    rogue, _ = _rogue(victim)
    run = asks(victim, rogue)
    rogue.says(Covered(run, (("b", away.origin, 3),)), Parts(run, False, ()))
    rogue.says(Parts(run, False, (_proof(confirmed),)))
    _finish(rogue, run)
    log = victim.peer._ctx.logs.find(("b", away.origin))
    assert log is not None
    assert log.index == 3
    assert "third" not in victim.pairs()
    link = victim.link("away", epoch=away.epoch)
    link.says(Push((confirmed,)))
    victim.wait(2.0)
    assert "third" not in victim.pairs()  # an old bundle, for all that it knows
    number = _differs(victim, link)
    assert number is not None
    link.says(Parts(number, False, ()))
    ((_, cell),) = cells_in_piece(_whole(confirmed), away.origin, 3)
    name, _ = CellTree("b", 0).names_of(cell)
    for _ in range(6):
        for question in link.hears():
            if isinstance(question, Survey):
                names = tuple((b, p, name) for b, p in question.areas)
                link.says(Findings(number, victim.wall_ms, True, (), names))
            elif isinstance(question, Fetch):
                link.says(Parts(number, False, (confirmed,)))
            elif isinstance(question, Doubt):
                link.says(Verdict(number, b""))
    assert victim.pairs()["third"] == 3


def test_all_others_together_cannot_make_a_peer_drop_what_it_wrote() -> None:
    victim = settled()
    rogue, _ = _rogue(victim)
    for _ in range(3):
        for liar in (victim.honest, rogue):
            run = _differs(victim, liar)
            if run is not None:
                liar.says(Parts(run, False, ()))
                _finish(liar, run)
            victim.wait(15.0)
    assert victim.pairs()["own"] == 1


def _whole(data: bytes) -> Piece:
    bundle = parse_bundle(data)
    return whole_piece(bundle, bundle.entries(), NOBODY)


def _finish(rogue: Remote, run: int) -> None:
    """Answer whatever is asked with nothing."""
    for _ in range(20):
        for question in rogue.hears():
            if isinstance(question, Survey):
                names = tuple((bucket, prefix, b"") for bucket, prefix in question.areas)
                rogue.says(Findings(run, START_MS, True, (), names))
            elif isinstance(question, Doubt):
                rogue.says(Verdict(run, b"\x01" * 4096))
            elif isinstance(question, Heads | Dump | Fetch):
                rogue.says(Parts(run, False, ()))


def test_covered_lines_in_floods_are_bounded() -> None:
    """Invented ones, and as many as the rogue can prove, which are those of its own key."""
    victim = settled(limits=Limits(covered_lines=50, logs_per_peer=60))
    rogue, _ = _rogue(victim)
    run = asks(victim, rogue)
    for page in range(4):
        lines = tuple(
            ("b", origin_of(victim.honest.peer, Epoch(page * 1000 + n + 1)), 5) for n in range(60)
        )
        rogue.says(Covered(run, lines))
    rogue.says(Parts(run, False, ()))
    _finish(rogue, run)
    assert len(victim.peer._ctx.logs) <= 3
    run = asks(victim, rogue, 3)
    authors = [Author("rogue", wall_ms=START_MS, epoch=Epoch(n + 1)) for n in range(90)]
    rogue.says(Covered(run, tuple(("b", author.origin, 1) for author in authors)))
    rogue.says(Parts(run, False, ()))
    rogue.says(Parts(run, False, tuple(_proof(author.put("k", 1)) for author in authors)))
    _finish(rogue, run)
    victim.wait(1.0)
    assert 1 < len(victim.peer._ctx.logs) <= 63
    assert len(victim.peer._keeper.covered()) <= 50
    assert victim.serves_the_honest()


def test_whoever_asks_for_a_line_that_is_only_remembered_gets_its_proof_and_none_of_it() -> None:
    victim = settled(**AWAY)
    away = _cut_off(victim)
    victim.put("first", "over")
    victim.put("second", "over")
    for again_s in (0.0, AWAY_S):
        victim.peer._keeper.trim(victim.mono_s + again_s, 0)
    asker = victim.link("asker")
    asker.says(Want(1, 1 << 20, (("b", away.origin, 1, 2),)), Heads(1, (("b", away.origin),)))
    heard = asker.hears()
    assert [m.bundles for m in heard if isinstance(m, Delta)] == [()]
    (parts,) = (m for m in heard if isinstance(m, Parts))
    (proof,) = map(parse_piece, parts.pieces)
    assert isinstance(proof, Excerpt)
    assert (proof.header.origin, proof.header.index, proof.rows) == (away.origin, 2, ())
    assert victim.honest.hung_up is None


def _differs(victim: Victim, rogue: Remote, total: bytes = b"differs!") -> int | None:
    """The rogue says, twice, that its state differs at the same vector; the number of the run that this brings."""
    victim.peer._upkeep._grow_trees()  # as a round does
    for _ in range(2):
        rogue.says(
            StateSum(
                False, victim.peer._ctx.cut_ms(), victim.peer.digest, victim.peer.covered, total
            )
        )
    probes = [message for message in rogue.hears() if isinstance(message, Heads)]
    return probes[-1].run if probes else None


def test_one_liar_cannot_make_us_drop_what_others_hold() -> None:
    """It says "gone" of everything, as often as it likes; the honest member says nothing of the kind."""
    victim = settled()
    rogue, _ = _rogue(victim)
    for _ in range(5):
        run = _differs(victim, rogue)
        assert run is not None
        rogue.says(Parts(run, False, ()))
        _finish(rogue, run)
        victim.wait(15.0)
    assert victim.peer._ctx.counters["reconciled"] >= 1
    assert victim.pairs() == {"own": 1, "theirs": 2}
    assert victim.serves_the_honest()


def test_the_only_other_member_cannot_make_us_drop_anything_either() -> None:
    victim = settled()
    victim.honest.leaves()
    rogue, _ = _rogue(victim)
    for _ in range(5):
        run = _differs(victim, rogue)
        if run is not None:
            rogue.says(Parts(run, False, ()))
            _finish(rogue, run)
        victim.wait(15.0)
    assert victim.pairs() == {"own": 1, "theirs": 2}


def test_a_liar_cannot_bring_back_alone_what_is_covered() -> None:
    """A cell that lost, with its shadow gone: one of two other members offers it over and over."""
    victim = settled()
    rogue, _ = _rogue(victim)
    old = victim.author.put("old", "value")
    tombstone = victim.author.bundle([entry("old", at=victim.author.tick(), op=Op.DELETE)])
    victim.honest.says(Push((old, tombstone)))
    group = victim.peer.replicas["b"].group("old")
    assert isinstance(group, tuple)
    victim.peer.replicas["b"].drop("old", group)  # as if its time had come
    for attempt in range(5):
        run = _differs(victim, rogue)
        assert run is not None
        rogue.says(Parts(run, False, ()))
        for _ in range(6):
            for question in rogue.hears():
                if isinstance(question, Survey):
                    names = tuple((b, p, b"old cell") for b, p in question.areas)
                    rogue.says(Findings(run, START_MS, True, (), names))
                elif isinstance(question, Fetch):
                    rogue.says(Parts(run, False, (old,)))
                elif isinstance(question, Doubt):
                    rogue.says(Verdict(run, b""))
        victim.wait(40.0 * 2**attempt)  # it named a cell that it did not give, and rests
    assert victim.peer._ctx.counters[Reason.COVERED] >= 1
    assert "old" not in victim.pairs()
    assert victim.serves_the_honest()


def test_votes_are_bounded() -> None:
    victim = settled(limits=Limits(votes=3))
    for n in range(10):
        victim.honest.says(Push((victim.author.put(f"k{n}", n),)))
    rogue, _ = _rogue(victim)
    run = _differs(victim, rogue)
    assert run is not None
    rogue.says(Parts(run, False, ()))
    _finish(rogue, run)
    assert len(victim.peer._parts.disputes._refusals) == 3
    assert len(victim.pairs()) == 12


def test_a_verdict_with_too_many_bits_or_none() -> None:
    victim = settled()
    for bits in (b"", b"\x01" * 100_000):
        rogue, _ = _rogue(victim)
        run = _differs(victim, rogue)
        assert run is not None
        rogue.says(Parts(run, False, ()))
        for _ in range(5):
            for question in rogue.hears():
                if isinstance(question, Survey):
                    names = tuple((b, p, b"") for b, p in question.areas)
                    rogue.says(Findings(run, START_MS, True, (), names))
                elif isinstance(question, Doubt):
                    rogue.says(Verdict(run, bits))
        rogue.leaves()
    assert victim.pairs() == {"own": 1, "theirs": 2}
