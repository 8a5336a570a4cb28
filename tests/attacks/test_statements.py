"""Words about others: forged, replayed, flooded, and what one liar can do to a member that lives."""

import pytest

from gossipsync.core.membership.presence import Presence, Stance, make_presence
from gossipsync.core.membership.statements import Claim, make_statement
from gossipsync.core.model import strict
from gossipsync.core.model.ids import Epoch, PeerId
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.liveness import Ping, Pong, Reach, Reached, Statements
from gossipsync.core.wire.messages import Credentials, Presences
from tests.attacks._marks import Victim
from tests.core._world import EVERYTHING, NETWORK, identity
from tests.core._world.stage import Remote


def _word(
    by: str, about: PeerId, bound: int, claim: Claim = Claim.DOUBT, *, signer: str | None = None
) -> bytes:
    return make_statement(
        claim,
        network=NETWORK,
        by=identity(by).peer,
        about=about,
        bound=bound,
        sign=identity(signer or by).sign,
    ).data


def _presence(victim: Victim, name: str, stamp: int) -> Presence:
    me = identity(name)
    return make_presence(
        network=NETWORK, peer=me.peer, stamp=stamp, epoch=Epoch(1), stance=Stance.UP, name=name,
        addresses=(f"{name}:1",), zone="", version="0", sign=me.sign,
    )  # fmt: skip


def _state(victim: Victim, name: str) -> str:
    (state,) = [member.state for member in victim.peer.members(victim.now) if member.name == name]
    return state


def _known(victim: Victim, rogue: Remote, *names: str) -> None:
    """Members that the victim has no link with."""
    certificates = [victim.authority.issue(identity(name).peer, EVERYTHING) for name in names]
    rogue.says(Credentials(tuple(certificates)))
    rogue.says(Presences(tuple(_presence(victim, name, victim.now.wall_ms).data for name in names)))


MALFORMED = {
    "a statement of noise": (22, (b"noise",)),
    "a statement that is a number": (22, (1,)),
    "a statement without signature": (22, (strict.encode((b"body",)),)),
    "a ping without number": (18,),
    "a ping of -1": (18, -1),
    "a ping of true": (18, True),
    "a reach of 31 bytes": (20, 1, bytes(31)),
    "reached, perhaps": (21, 1, 2),
    "a long goodbye": (23, 0),
}


@pytest.mark.parametrize("parts", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_message_closes_the_link(parts: tuple[object, ...]) -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    rogue.says_payload(strict.encode(parts))
    victim.withstood(rogue, Reason.MALFORMED)


def test_a_forged_statement_closes_the_link() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    _known(victim, rogue, "ann")
    forged = _word("honest", identity("ann").peer, victim.now.wall_ms, signer="rogue")
    rogue.says(Statements((forged,)))
    victim.withstood(rogue, Reason.SIGNATURE)
    assert _state(victim, "ann") == "alive"


def test_words_of_strangers_and_about_the_future_do_not_count() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    _known(victim, rogue, "ann")
    ann, now_ms = identity("ann").peer, victim.now.wall_ms
    rogue.says(Statements((_word("stranger", ann, now_ms),)))
    rogue.says(Statements((_word("rogue", ann, now_ms + 61_000),)))
    assert victim.counted == {Reason.NO_CREDENTIAL: 1, Reason.SKEW: 1}
    assert _state(victim, "ann") == "alive"
    assert rogue.hung_up is None


def test_one_liar_makes_nobody_down_and_a_newer_presence_ends_its_doubt() -> None:
    victim = Victim(probe_interval_s=1.0)
    rogue = victim.link("rogue")
    _known(victim, rogue, "ann")
    ann = identity("ann").peer
    victim.honest.hears()
    rogue.says(Statements((_word("rogue", ann, victim.now.wall_ms),)))
    assert _state(victim, "ann") == "suspect"
    assert victim.honest.hears(Statements), "others, and ann among them, hear of it"
    rogue.says(Presences((_presence(victim, "ann", victim.now.wall_ms + 1).data,)))
    assert _state(victim, "ann") == "alive"
    assert victim.honest.hears(Presences), "as quickly as the doubt"


def test_three_liars_against_a_link_that_answers() -> None:
    """The honest member answers our pings: whatever others say, it lives."""
    victim = Victim(probe_interval_s=1.0)
    rogue = victim.link("rogue")
    _known(victim, rogue, "r1", "r2")
    about = identity("honest").peer
    words = [_word(by, about, victim.now.wall_ms) for by in ("rogue", "r1", "r2")]
    victim.honest.hears()
    rogue.says(Statements(tuple(words)))
    for _ in range(40):
        for ping in victim.honest.hears(Ping):
            assert isinstance(ping, Ping)
            victim.honest.says(Pong(ping.number))
        for ping in rogue.hears(Ping):
            assert isinstance(ping, Ping)
            rogue.says(Pong(ping.number))
        victim.wait(0.25)
        assert _state(victim, "honest") == "alive"


def test_old_words_are_nothing_and_say_nothing() -> None:
    """Replayed after the member has shown itself: not even verified."""
    victim = Victim()
    rogue = victim.link("rogue")
    _known(victim, rogue, "ann")
    checks = victim.authority.checks
    old = _word("rogue", identity("ann").peer, victim.now.wall_ms - 1)
    rogue.says(Statements((old,) * 64))
    assert victim.authority.checks == checks
    assert _state(victim, "ann") == "alive"


def test_whoever_is_doubted_says_that_it_lives() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    bound = victim.now.wall_ms + 10_000
    victim.honest.hears()
    rogue.says(Statements((_word("rogue", victim.peer.peer_id, bound),)))
    (told,) = victim.honest.hears(Presences)
    assert isinstance(told, Presences)
    stamp = victim.peer._introductions.stamp
    assert stamp == bound + 1
    rogue.says(Statements((_word("rogue", victim.peer.peer_id, bound),)))
    assert victim.peer._introductions.stamp == stamp, "once is enough"


def test_a_flood_of_true_words_is_slowed_down() -> None:
    victim = Victim(limits=Limits(statements=8))
    rogue = victim.link("rogue")
    ann = identity("ann").peer
    _known(victim, rogue, "ann")
    checks = victim.authority.checks
    for number in range(100):
        rogue.says(Statements((_word("rogue", ann, victim.now.wall_ms + number),)))
    assert victim.authority.checks - checks == 8
    assert victim.counted == {Reason.RATE: 92}
    assert victim.serves_the_honest()
    rogue.says(Statements((bytes(9),) * 9))
    assert rogue.hung_up == Reason.OVERSIZE


def test_a_dismissal_of_who_lives_is_not_believed() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    _known(victim, rogue, "ann")
    for name in ("ann", "honest"):
        rogue.says(
            Statements((_word("rogue", identity(name).peer, victim.now.wall_ms, Claim.DISMISSAL),))
        )
        assert _state(victim, name) == "alive"
    assert victim.peer.needed_acks("all") == 3


def test_errands_are_few_and_answers_are_asked_for() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    about = identity("honest").peer
    victim.honest.hears()
    rogue.says(*[Reach(number, about) for number in range(20)])
    assert victim.counted == {Reason.LIMIT: 12}
    assert len(victim.honest.hears(Ping)) == 8
    rogue.hears()
    victim.honest.says(Pong(1))
    assert rogue.hears(Reached) == [Reached(number, True) for number in range(8)]
    rogue.says(Reach(21, identity("nobody").peer))
    assert rogue.hears(Reached) == [Reached(21, False)]
    rogue.says(Reached(5, True))
    assert victim.counted == {Reason.LIMIT: 12, Reason.UNSOLICITED: 1}


def test_nobody_is_asked_to_reach_more_at_once_than_it_takes() -> None:
    """Its answers are held up, or never come: whatever has become of the probes, there is no more to ask of it."""
    victim = Victim()
    names = [f"x{number}" for number in range(14)]
    _known(victim, victim.honest, *names)
    victim.honest.hears()
    asked = _look_for(victim, names[:12])
    assert len(asked) == 8
    victim.honest.says(*[Reached(number, True) for number in asked[:2]])
    assert len(_look_for(victim, names[12:])) == 2
    assert not victim.counted
    victim.honest.says(Reached(asked[0], True))
    assert victim.counted == {Reason.UNSOLICITED: 1}


def _look_for(victim: Victim, names: list[str]) -> list[int]:
    """Have it probe some members, whom no dial reaches; the numbers of what it asks of the honest one."""
    for name in names:
        victim.peer._probing.check(identity(name).peer)
    victim.settle()
    return [reach.number for reach in victim.honest.hears() if isinstance(reach, Reach)]
