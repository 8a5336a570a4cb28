"""What is taken out of logs and when; and that nothing which could still be needed is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model.bundle import parse_bundle
from gossipsync.core.model.entry import Op
from gossipsync.core.model.ids import Origin, PeerId
from gossipsync.core.model.limits import Limits
from gossipsync.core.replication.admission import Admission, Admitted, AdmittedPiece
from gossipsync.core.replication.cells import cells_in
from gossipsync.core.replication.keeping import Keeper
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.logs import Log, LogBook
from gossipsync.core.replication.pieces import (
    ROWS,
    cells_in_piece,
    encode_piece,
    header_only,
    is_whole,
    pruned,
    whole_piece,
)
from gossipsync.core.replication.replica import Replica
from tests.core._world import EVERYTHING, NETWORK, START_MS, Author, Authority, Disk, entry

HORIZON_MS = 8_000_000
GRACE_MS = HORIZON_MS + 120_000
TRIM_S = 60.0


class Shop:
    """A keeper with one bucket, and authors whose bundles it takes in."""

    def __init__(self, **limits: object) -> None:
        self.logs = LogBook(NETWORK)
        self.disk = Disk()
        self.replicas: dict[str, Replica] = {}
        self.stored: dict[LineKey, int] = {}
        self.author = Author("other", wall_ms=START_MS)
        self.us = Author("self", wall_ms=START_MS)
        self.keeper = Keeper(
            self.us.identity.peer,
            self.logs,
            self.disk,
            self.replicas,
            Limits(**({"trim_after_s": TRIM_S} | limits)),  # type: ignore[arg-type]
            HORIZON_MS,
            self.stored,
        )
        self.replica = self.replicas["b"] = Replica(
            "b",
            self.author.announcement,
            change_limit=1000,
            grace_ms=GRACE_MS,
            recover=lambda _, origin, index: cells_in_piece(
                self.log(origin).pieces[index], origin, index
            ),
            sender=lambda *_: PeerId(bytes(32)),
        )

    def takes(self, data: bytes) -> Log:
        bundle = parse_bundle(data)
        header, entries = bundle.header, bundle.entries()
        self.replica.apply(entries, header.origin, header.index)
        return self.keeper.append(Admitted(bundle, entries, data), PeerId(bytes(32)))

    def put(self, *keys: str, by: Author | None = None, size: int = 40) -> Log:
        author = by or self.author
        rows = [entry(key, "x" * size, at=author.tick()) for key in keys]
        return self.takes(author.bundle(rows))

    def log(self, origin: Origin | None = None) -> Log:
        found = self.logs.find(("b", origin or self.author.origin))
        assert found is not None
        return found

    def rows(self, log: Log) -> dict[int, int]:
        """Rows left of each bundle of which anything is."""
        return {index: len(piece[ROWS]) for index, piece in sorted(log.pieces.items())}

    def check(self) -> None:
        """The store holds what memory does, all of it genuine, and from it the state can be made again."""
        self.disk.commit()
        kept = {
            (*log.key, index): encode_piece(piece)
            for log in self.logs.logs()
            for index, piece in log.pieces.items()
        }
        assert {row[:3]: row[3] for row in self.disk.rows} == kept
        gate = Admission(
            NETWORK, Limits(), Authority(), LogBook(NETWORK), lambda _: EVERYTHING, 60_000
        )
        found = {}
        for data in kept.values():
            part = gate.admit_piece(data, None, PeerId(bytes(32)))
            assert isinstance(part, AdmittedPiece)
            for key, cell in part.cells:
                if (held := self.replica.holds(key, cell)) is not None:
                    found[key, cell[1]] = held
        state = {
            (key, cell[1]): cell
            for key, group in self.replica._cells.items()
            for cell in cells_in(group)
        }
        assert found == state
        for log in self.logs.logs():
            assert all(
                is_whole(log.pieces.get(index)) for index in range(log.whole_from, log.index + 1)
            )
            assert log.index == 0 or log.index in log.pieces


def test_what_has_lost_stays_for_a_while_and_then_goes() -> None:
    shop = Shop()
    shop.put("a", "b")
    log = shop.put("a")
    shop.keeper.trim(10.0, 0)
    shop.keeper.trim(10.0 + TRIM_S - 1, 0)
    assert shop.rows(log) == {1: 2, 2: 1}
    assert log.whole_from == 1
    shop.keeper.trim(10.0 + TRIM_S, 0)
    assert shop.rows(log) == {1: 1, 2: 1}
    assert log.whole_from == 2
    shop.check()


def test_a_bundle_of_which_nothing_is_left_goes_wholly_but_for_the_end_of_its_line() -> None:
    shop = Shop()
    shop.put("a")
    log = shop.put("a")
    shop.put("a", by=Author("third", wall_ms=START_MS + 5))
    shop.keeper.trim(0.0, 0)
    shop.keeper.trim(TRIM_S, 0)
    assert shop.rows(log) == {2: 0}  # a header, as the line's proof
    shop.check()
    shop.put("c")  # the log goes on, and its former end is proof of nothing any more
    assert shop.rows(log) == {3: 1}
    shop.check()


def test_what_everybody_has_goes_at_once() -> None:
    shop = Shop()
    shop.put("a")
    log = shop.put("a")
    shop.keeper.trim(0.0, shop.logs.lines.seq - 1)
    assert shop.rows(log) == {1: 1, 2: 1}
    shop.keeper.trim(0.1, shop.logs.lines.seq)
    assert shop.rows(log) == {2: 1}
    shop.check()


def test_a_line_that_moved_since_everybody_was_equal_keeps_its_waste() -> None:
    shop = Shop()
    shop.put("a")
    log = shop.put("a")
    stable = shop.logs.lines.seq
    shop.put("z")
    shop.keeper.trim(0.0, stable)
    assert shop.rows(log) == {1: 1, 2: 1, 3: 1}


def test_beyond_the_limit_of_waste_the_oldest_goes_at_once() -> None:
    shop = Shop(log_waste_bytes=20_000)
    for _ in range(30):
        log = shop.put("a", size=1000)
    shop.keeper.trim(0.0, 0)
    left = sorted(shop.rows(log))
    assert 18 <= len(left) - 1 <= 20  # 20,000 bytes of waste and the winner
    assert left == list(range(left[0], 31))
    shop.check()


def test_a_small_loss_of_a_large_bundle_waits_three_times_as_long() -> None:
    shop = Shop()
    shop.put(*"abcdefghij")
    log = shop.put("a")
    for moment in (0.0, TRIM_S, 3 * TRIM_S - 1):
        shop.keeper.trim(moment, 0)
        assert shop.rows(log) == {1: 10, 2: 1}
    shop.keeper.trim(3 * TRIM_S, 0)
    assert shop.rows(log) == {1: 9, 2: 1}
    shop.check()


def test_a_small_loss_that_grows_waits_no_longer() -> None:
    shop = Shop()
    shop.put(*"abcdefghij")
    log = shop.put("a")
    shop.keeper.trim(0.0, 0)
    shop.keeper.trim(TRIM_S, 0)
    shop.put("b", "c")
    shop.keeper.trim(TRIM_S + 1, 0)  # three of ten now
    assert shop.rows(log)[1] == 10
    shop.keeper.trim(2 * TRIM_S, 0)
    assert shop.rows(log)[1] == 7
    shop.check()


def test_nothing_of_ours_goes_before_it_is_committed() -> None:
    shop = Shop(log_waste_bytes=1)
    shop.put("a", by=shop.us)
    log = shop.put("a", by=shop.us)
    assert shop.replica.losses
    for moment in (0.0, TRIM_S, 10 * TRIM_S):
        shop.keeper.trim(moment, shop.logs.lines.seq)
        shop.keeper.settle((*log.key, 1))
        assert shop.rows(log) == {1: 1, 2: 1}
    shop.stored[log.key] = 1
    shop.keeper.settle((*log.key, 1))
    assert shop.rows(log) == {2: 1}
    shop.check()


def test_a_value_that_expired_goes_and_its_shadow_stays() -> None:
    shop = Shop()
    data = shop.author.bundle(
        [entry("a", "x" * 400, at=shop.author.tick(), expires=START_MS + 5_000)]
    )
    log = shop.takes(data)
    assert shop.replica.sweep(START_MS + 6_000)
    for rounds in (0, 1, 3):
        shop.keeper.trim(6.0 + rounds * TRIM_S, 0)
    assert shop.rows(log) == {1: 1}
    assert len(log.encoded(1)) < len(data) - 300
    shop.check()


# -- late losers -------------------------------------------------------------------------------------------------------


def _late_loser(shop: Shop, by: Author) -> Log:
    """A tombstone is about to be forgotten when an entry that it beats comes at last."""
    deleter = Author("third", wall_ms=START_MS + 1000)
    shop.takes(deleter.bundle([entry("a", at=deleter.tick(), op=Op.DELETE)]))
    return shop.put("a", by=by)


def test_an_old_entry_that_loses_late_is_out_before_its_tombstone_is_forgotten() -> None:
    shop = Shop()
    log = _late_loser(shop, shop.author)
    wall_ms = START_MS + 2_000 + GRACE_MS
    assert shop.replica.has_ended(wall_ms)
    assert shop.keeper.clear_old(shop.replica, 1.0, wall_ms)
    assert shop.rows(log) == {1: 0}
    shop.replica.forget(wall_ms)
    assert shop.replica.group("a") is None
    shop.keeper.trim(2.0, 0)
    shop.keeper.trim(2.0 + TRIM_S, 0)
    assert all(not piece[ROWS] for log in shop.logs.logs() for piece in log.pieces.values())
    shop.check()


def test_a_tombstone_is_not_forgotten_while_what_it_beat_is_ours_and_uncommitted() -> None:
    shop = Shop()
    log = _late_loser(shop, shop.us)
    wall_ms = START_MS + 2_000 + GRACE_MS
    assert not shop.keeper.clear_old(shop.replica, 1.0, wall_ms)
    shop.keeper.trim(1.0, 0)  # must not make it forget that one was urgent
    assert not shop.keeper.clear_old(shop.replica, 1.0, wall_ms)
    shop.stored[log.key] = 1
    assert shop.keeper.clear_old(shop.replica, 2.0, wall_ms)
    assert shop.rows(log) == {1: 0}


def test_young_losers_are_in_nobodys_way() -> None:
    shop = Shop()
    log = _late_loser(shop, shop.author)
    assert shop.keeper.clear_old(shop.replica, 1.0, START_MS + HORIZON_MS // 2 - 1)
    assert shop.rows(log) == {1: 1}


@pytest.mark.parametrize("trim_after_s", [1.0, 60.0, 1e6])
def test_young_losers_are_out_within_half_a_horizon_whatever_the_setting(
    trim_after_s: float,
) -> None:
    shop = Shop(trim_after_s=trim_after_s)
    shop.put(*"abcdefghij")
    log = shop.put("a")
    moment = 0.0
    while moment <= HORIZON_MS / 2000:
        shop.keeper.trim(moment, 0)
        moment += 10.0
    assert shop.rows(log)[1] == 9


# -- lines of ended epochs ---------------------------------------------------------------------------------------------


def _ended(shop: Shop, number: int, *keys: str) -> Log:
    author = Author("other", wall_ms=START_MS + number)
    log = shop.put(*(keys or (f"k{number}",)), by=author)
    shop.keeper.cover(log)
    return log


def test_a_covered_line_leaves_the_digest_and_is_remembered() -> None:
    shop = Shop()
    empty = shop.logs.lines.digest(), shop.keeper.covered_sum()
    log = _ended(shop, 1)
    assert shop.logs.lines.digest() == empty[0]
    assert shop.keeper.covered_sum() != empty[1]
    assert shop.keeper.covered() == [log]
    shop.disk.commit()
    line = shop.disk.logs[log.key]
    assert (line.last, line.note) == (1, log.note())
    assert shop.rows(log) == {1: 1}  # what is in the state stays, with its proof
    shop.check()


def test_a_line_that_goes_on_is_opened_again() -> None:
    shop = Shop()
    log = shop.put("a")
    before = shop.logs.lines.digest(), shop.keeper.covered_sum()
    shop.keeper.cover(log)
    shop.keeper.reopen(log)
    assert (shop.logs.lines.digest(), shop.keeper.covered_sum()) == before
    shop.disk.commit()
    assert shop.disk.logs[log.key].note is None
    shop.keeper.cover(log)
    shop.put("b")  # its next bundle opens it, too
    assert not log.is_covered
    assert shop.keeper.covered() == []
    assert shop.keeper.covered_sum() == before[1]
    assert log.index == 2
    shop.check()


def test_beyond_the_limit_the_oldest_line_without_cells_is_forgotten() -> None:
    shop = Shop(covered_lines=4)
    first = _ended(shop, 0, "held")
    others = [_ended(shop, number, "k") for number in range(1, 4)]
    shop.keeper.trim(0.0, 0)
    shop.keeper.trim(TRIM_S, 0)  # each wrote the same key, so only the last is left of these
    assert [shop.rows(log) for log in others] == [{1: 0}, {1: 0}, {1: 1}]
    last = _ended(shop, 4, "another")
    assert len(shop.keeper.covered()) == 4
    assert others[0] not in shop.keeper.covered()
    assert first in shop.keeper.covered()
    assert last in shop.keeper.covered()
    shop.disk.commit()
    assert others[0].key not in shop.disk.logs
    assert len(shop.disk.logs) == len(shop.logs) == 4
    shop.check()


def test_whoever_opens_many_epochs_displaces_nobody_elses_lines() -> None:
    """Its own key can have signed them all, so that each is proven."""
    shop = Shop(covered_lines=8)
    honest = []
    for name in ("other", "another", "third"):
        honest.append(shop.put("k", by=Author(name, wall_ms=START_MS)))
        shop.keeper.cover(honest[-1])
    for number in range(50):
        log = shop.put("k", by=Author("flood", wall_ms=START_MS + 1 + number))
        shop.keeper.cover(log)
        shop.keeper.trim(0.0, 0)
        shop.keeper.trim(TRIM_S, 0)
    remembered = {log.key for log in shop.keeper.covered()}
    assert len(remembered) == 8
    assert {log.key for log in honest} <= remembered
    assert log.key in remembered
    assert shop.keeper.covered_forgotten == 45
    shop.check()


def test_the_proof_of_a_line_stays_when_it_is_covered() -> None:
    """Of what it said nothing is left, before or after."""
    shop = Shop()
    log = shop.put("a")
    other = shop.put("b")
    shop.keeper.cover(other)
    shop.put("a", "b", by=Author("third", wall_ms=START_MS + 5))
    shop.keeper.trim(0.0, 0)
    shop.keeper.trim(TRIM_S, 0)
    shop.keeper.cover(log)
    assert shop.rows(log)[log.index] == shop.rows(other)[other.index] == 0
    shop.check()


def test_equal_memories_have_equal_sums_in_any_order() -> None:
    first, second = Shop(), Shop()
    for number in (1, 2, 3):
        _ended(first, number)
    for number in (3, 1, 2):
        _ended(second, number)
    assert first.keeper.covered_sum() == second.keeper.covered_sum() != bytes(8)


def test_proofs_of_lines_come_by_themselves() -> None:
    """A line is raised to a proven header; the header that proved it before goes."""
    author = Author("other", wall_ms=START_MS)
    bundles = [parse_bundle(author.bundle([entry("a", n, at=author.tick())])) for n in range(3)]
    shop = Shop()
    for bundle in bundles[1:]:
        log = shop.keeper.raise_to(bundle.header, bundle.signature, PeerId(bytes(32)))
    assert (log.index, log.whole_from, shop.rows(log)) == (3, 4, {3: 0})
    assert log.pieces[3] == header_only(whole_piece(bundles[2], (), PeerId(bytes(32))))
    shop.check()


# -- laws --------------------------------------------------------------------------------------------------------------

_steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "delete", "ours", "trim", "stable", "commit", "end"]),
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True),
        st.sampled_from([0.0, 1.0, TRIM_S, 4 * TRIM_S]),
    ),
    max_size=25,
)


@given(_steps)
def test_whatever_is_trimmed_the_state_can_be_made_again_and_proven(
    steps: list[tuple[str, list[str], float]],
) -> None:
    shop = Shop(log_waste_bytes=3_000)
    now_s = 0.0
    for what, keys, passed_s in steps:
        now_s += passed_s
        shop.author.pass_time(int(passed_s * 1000))
        shop.us.pass_time(int(passed_s * 1000))
        ours = ("b", shop.us.origin)
        if what == "put":
            shop.put(*keys)
        elif what == "delete":
            tick = shop.author.tick
            shop.takes(shop.author.bundle([entry(k, at=tick(), op=Op.DELETE) for k in keys]))
        elif what == "ours":
            shop.put(*keys, by=shop.us)
        elif what == "trim":
            shop.keeper.trim(now_s, 0)
        elif what == "stable":
            shop.keeper.trim(now_s, shop.logs.lines.seq)
        elif what == "commit":
            shop.stored[ours] = shop.logs.index(ours)
        else:
            wall_ms = START_MS + int(now_s * 1000) + GRACE_MS
            if shop.replica.has_ended(wall_ms) and shop.keeper.clear_old(
                shop.replica, now_s, wall_ms
            ):
                shop.replica.forget(wall_ms)
        shop.check()
        uncommitted = shop.logs.find(ours)
        if uncommitted is not None:
            last = shop.stored.get(ours, 0)
            assert all(
                is_whole(uncommitted.pieces.get(n)) for n in range(last + 1, uncommitted.index + 1)
            )


def test_nothing_that_lost_is_left_when_all_is_due() -> None:
    shop = Shop()
    for number in range(40):
        shop.put(*[f"k{(number * step) % 7}" for step in (1, 2, 3)][: number % 3 + 1])
    shop.keeper.trim(0.0, 0)
    shop.keeper.trim(TRIM_S, 0)
    shop.keeper.trim(4 * TRIM_S, 0)
    log = shop.log()
    for index, piece in log.pieces.items():
        assert pruned(piece, log.origin, index, shop.replica.holds) in (piece, None)
    assert sum(shop.rows(log).values()) == len(shop.replica)
    shop.check()
