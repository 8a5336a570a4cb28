"""Commits: one at a time, tried again after a failure, without ever spinning; acknowledgements from members' own words."""

from gossipsync.core.model.events import StoreFailed, StoreRecovered
from gossipsync.core.wire.messages import Push, Stored
from tests.core._world import START_MS, Author, Stage


def test_what_comes_during_a_commit_goes_with_the_next() -> None:
    stage = Stage()
    stage.holds_commits = True
    stage.put("a", 1)
    stage.put("b", 2)
    stage.wait(0.02)
    stage.put("c", 3)
    assert len(stage._tickets) == 1
    stage.finish_commit()
    assert [row[2] for row in stage.disk.rows] == [1]
    stage.finish_commit()
    assert stage.pairs() == {"a": 1, "b": 2, "c": 3}
    assert not stage._tickets


def test_a_failed_commit_is_tried_again_and_tells_of_it() -> None:
    stage = Stage()
    remote = stage.link("other").compares()
    stage.disk.is_failing = True
    stage.put("k", 1)
    stage.wait(3.5)
    assert remote.hears(Push) == []
    assert [type(event) for event in stage.events].count(StoreFailed) == 1
    assert "store-failing" in stage.peer.status(stage.now).warnings
    stage.disk.is_failing = False
    stage.wait(1.5)
    assert len(remote.hears(Push)) == 1
    assert [type(event) for event in stage.events].count(StoreRecovered) == 1
    assert [row[2] for row in stage.disk.rows] == [1]


def test_a_second_try_under_way_leaves_no_deadline_behind() -> None:
    """Or the driver would spin for as long as the disk takes."""
    stage = Stage()
    stage.disk.is_failing = True
    stage.put("k", 1)
    stage.holds_commits = True
    stage.wait(1.5)
    assert len(stage._tickets) == 1
    due = stage.peer.next_deadline()
    assert due is not None
    assert due > stage.mono_s


def test_a_member_is_told_what_we_stored_of_its_own_and_only_then() -> None:
    stage = Stage()
    author = Author("writer", wall_ms=START_MS)
    writer, other = stage.link("writer", epoch=author.epoch), stage.link("other")
    stage.holds_commits = True
    writer.says(Push((author.put("k", 1),)))
    assert writer.hears(Stored) == []
    stage.finish_commit()
    assert [told.lines for told in writer.hears(Stored)] == [(("b", author.origin, 1),)]
    assert other.hears(Stored) == []
    writer.leaves()
    again = stage.link("writer", epoch=author.epoch)
    assert again.hears(Stored) == []  # the greeting, which link() leaves out, said so


def test_acks_count_members_that_said_so_on_their_own_link() -> None:
    stage = Stage()
    a, b = stage.link("a"), stage.link("b")
    stage.put("k", 1)
    stage.peer.open_bucket("b", stage.now)
    draft = stage.peer.draft("b", stage.now)
    draft.put("k", 2)
    written = stage.peer.commit_draft(draft, stage.now)
    assert not stage.peer.is_stored(written)
    stage.settle()
    assert stage.peer.is_stored(written)
    assert stage.peer.acked_by(written) == ()
    a.says(Stored((("b", stage.peer.origin, 1),)))
    assert stage.peer.acked_by(written) == ()
    a.says(Stored((("b", stage.peer.origin, 2),)))
    assert stage.peer.acked_by(written) == (a.peer,)
    b.says(Stored((("b", stage.peer.origin, 2),)))
    a.leaves()
    assert set(stage.peer.acked_by(written)) == {a.peer, b.peer}
