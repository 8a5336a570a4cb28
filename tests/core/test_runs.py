"""Whom a peer asks for states, in which order."""

from gossipsync.core._peer.runs import Need, Needs
from gossipsync.core.model.ids import LinkId


def link(number: int) -> LinkId:
    return LinkId(number)


def turns(needs: Needs) -> list[tuple[int, Need]]:
    found = []
    while (turn := needs.next()) is not None:
        found.append((int(turn[0]), turn[1]))
    return found


def test_what_honest_peers_wrote_comes_before_what_forked() -> None:
    needs = Needs()
    needs.add(link(1), Need.FORK)
    needs.add(link(2), Need.FORK)
    needs.add(link(3), Need.PROBE)
    needs.add(link(1), Need.PROBE)
    assert turns(needs) == [(3, Need.PROBE), (1, Need.PROBE), (1, Need.FORK), (2, Need.FORK)]


def test_what_forked_does_not_wait_for_ever() -> None:
    needs = Needs()
    needs.add(link(1), Need.FORK)
    taken = []
    for number in range(20):
        needs.add(link(2 + number), Need.PROBE)
        needs.add(link(2 + number), Need.FORK)
        turn = needs.next()
        assert turn is not None
        taken.append(turn[1] is Need.FORK)
    assert 1 <= sum(taken) <= 3
    assert taken.index(True) == 8


def test_who_compares_whole_states_compares_branches_too() -> None:
    needs = Needs()
    for number in (1, 2):
        needs.add(link(number), Need.FORK)
    needs.begun(link(1), Need.REPAIR)
    needs.begun(link(2), Need.PROBE)
    assert turns(needs) == [(2, Need.FORK)]


def test_who_is_gone_is_asked_nothing() -> None:
    needs = Needs()
    needs.add(link(1), Need.FORK)
    needs.add(link(1), Need.FULL)
    needs.add(link(2), Need.FORK)
    needs.drop(link(2))
    needs.drop(link(1))
    assert turns(needs) == []
