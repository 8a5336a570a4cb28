"""Lives: two processes with one key, and stores that are older than what was told from them."""

from __future__ import annotations

from gossipsync.core import Deletes, Kind
from gossipsync.core.model.events import Cloned, LinkOpened, Restored
from gossipsync.core.model.limits import Limits
from tests.core._world import Disk, Node, World, logs_of

_DIALS_A_MINUTE = 15
"""Of one that waits, to three members together: each every 15 s at most, and one more at the window's edge."""


def warnings_of(node: Node) -> set[str]:
    return set(node.up.status(node.now).warnings) & {"cloned", "restored"}


def clone_of(world: World, original: Node) -> Node:
    """A copy of a machine, its disk and its key at this moment, not started yet."""
    clone = world.add()
    clone.name, clone.address = original.name, f"clone of {original.name}:1"
    clone.disk = original.disk.after_crash()
    clone.settings = clone.settings | {"addresses": (clone.address,)}
    return clone


def cloned_world(members: int = 4) -> tuple[World, Node, Node]:
    world = World(members)
    world.run(3)
    original = world.nodes[-1]
    original.put("first", 1)
    world.run(1)
    clone = clone_of(world, original)
    world.start(clone)
    return world, original, clone


def test_both_clones_say_so_and_nobody_else_does() -> None:
    world, original, clone = cloned_world()
    for node in (original, clone):
        assert world.run_until(lambda node=node: "cloned" in warnings_of(node), 20.0)
    world.run(60)
    for node in (original, clone):
        assert "cloned" in warnings_of(node)
        assert sum(isinstance(event, Cloned) for event in node.events) == 1
    for node in world.nodes[:3]:
        assert node.up.status(node.now).warnings == ()


def test_a_clone_that_has_no_links_loses_none_of_its_writes() -> None:
    world, original, clone = cloned_world()
    world.run(5)
    original.put("by the original", 1)
    clone.put("by the clone", 2)
    world.run(30)
    assert "by the clone" in world.nodes[0].pairs()
    assert "by the original" in original.pairs()
    assert not original.up._ctx.by_peer  # the newer life has them
    world.crash(clone)
    everything = {"first": 1, "by the original": 1, "by the clone": 2}
    assert world.run_until(lambda: all(node.pairs() == everything for node in world.running), 120.0)
    world.run(120)
    assert warnings_of(original) == set()
    assert not any(log.fork for log in logs_of(original.up).values())


def test_the_older_clone_keeps_its_writes_over_a_restart() -> None:
    world, original, clone = cloned_world()
    world.run(5)
    original.put("by the original", 1)
    world.run(5)
    world.crash(original)
    world.crash(clone)
    world.start(original)
    assert world.run_until(lambda: "by the original" in world.nodes[0].pairs(), 60.0)


def opened(node: Node) -> int:
    return sum(isinstance(event, LinkOpened) for event in node.events)


def test_a_clone_that_waits_does_not_flap() -> None:
    world, original, clone = cloned_world()
    world.run(30)
    before, others_before = opened(original), opened(clone)
    world.run(60)
    assert 3 <= opened(original) - before <= _DIALS_A_MINUTE
    assert opened(clone) == others_before  # the newer one's links stand


def test_clones_in_a_mesh_where_not_everybody_is_linked() -> None:
    world = World(6, full_mesh=3)
    world.run(20)
    original = world.nodes[-1]
    original.put("first", 1)
    world.run(5)
    clone = clone_of(world, original)
    world.start(clone)
    for node in (original, clone):
        assert world.run_until(lambda node=node: "cloned" in warnings_of(node), 120.0)


def test_a_plain_restart_is_neither_a_clone_nor_a_restored_copy() -> None:
    world = World(3)
    world.run(3)
    node = world.nodes[2]
    for skew_ms in (0, -20_000, 20_000, 0):
        node.put("k", skew_ms)
        world.run(1)
        world.crash(node)
        node.skew_ms = skew_ms
        world.start(node)
        world.run(30)
        assert warnings_of(node) == set()
    assert not any(isinstance(event, (Cloned, Restored)) for event in node.events)


def test_a_memory_store_that_starts_anew_has_forgotten_nothing_that_it_promised() -> None:
    world = World(3)
    world.run(3)
    node = world.nodes[2]
    node.put("k", 1)
    world.run(1)
    world.crash(node)
    node.disk = Disk()
    world.start(node)
    assert world.run_until(lambda: node.pairs() == {"k": 1}, 20.0)
    world.run(10)
    assert warnings_of(node) == set()


def test_an_older_copy_of_the_store_is_named_until_it_was_seen() -> None:
    world = World(3)
    world.run(3)
    node = world.nodes[2]
    node.put("kept", 1)
    world.run(1)
    copy = node.disk.after_crash()
    node.put("forgotten", 1)
    world.run(1)
    world.crash(node)
    node.disk = copy
    world.start(node)
    assert world.run_until(lambda: "forgotten" in node.pairs(), 20.0)
    assert warnings_of(node) == {"restored"}
    assert node.up.gossip_info(node.now)["restored_bundles"] == 1
    world.run(599)
    assert warnings_of(node) == {"restored"}
    world.run(30)
    assert warnings_of(node) == set()
    assert sum(isinstance(event, Restored) for event in node.events) == 1


def test_a_copy_from_before_whole_lives_that_have_long_ended() -> None:
    """Their lines have left the digest, their bundles were trimmed: what they wrote comes back cell by cell."""
    world = World(3, horizon_ms=60_000)
    world.run(3)
    node = world.nodes[2]
    node.put("kept", 1)
    world.run(1)
    copy = node.disk.after_crash()
    for life in range(3):
        world.crash(node)
        world.start(node)
        node.put(f"life {life}", 1)
        world.run(10)
    world.run(120)
    world.crash(node)
    node.disk = copy
    world.start(node)
    assert world.run_until(lambda: len(node.pairs()) == 4, 60.0)
    world.run(2)
    assert warnings_of(node) == {"restored"}


def restored_behind(world: World, node: Node, copy: Disk) -> None:
    """The old copy starts on a machine whose clock is behind, and is not linked to anybody at first."""
    world.crash(node)
    node.disk = copy
    node.skew_ms = -30_000
    world.split(world.nodes[:2], [node])
    world.start(node)


def test_what_was_written_before_the_first_exchange_is_not_beaten_by_our_own_forgotten_past() -> (
    None
):
    for has_disk in (True, False):
        world = World(3)
        world.run(3)
        node, other = world.nodes[2], world.nodes[0]
        node.put("first", 1)
        world.run(1)
        copy = node.disk.after_crash() if has_disk else Disk()
        world.run(5)
        for key in ("put", "deleted before", "deleted after", "theirs"):
            node.put(key, "past")
        node.write("b", lambda draft: draft.delete("deleted before"))
        world.run(1)
        other.put("theirs", "by another")
        world.run(1)
        restored_behind(world, node, copy)
        node.put("put", "present")
        node.put("deleted before", "present")
        node.put("theirs", "present")
        node.write("b", lambda draft: draft.delete("deleted after"))
        world.run(2)
        world.heal()
        world.run(20)
        expected = {
            "first": 1,
            "put": "present",
            "deleted before": "present",
            "theirs": "by another",
        }
        assert [each.pairs() for each in world.nodes] == [expected] * 3
        assert node.up.gossip_info(node.now)["restamped_entries"] == 3
        node.put("put", "later")
        world.run(2)
        assert other.pairs()["put"] == "later"


def test_fields_and_totals_written_before_the_first_exchange() -> None:
    world = World(3)
    world.run(3)
    node = world.nodes[2]
    for each in world.nodes:
        each.up.open_bucket("maps", each.now, kind=Kind.MAP)
        each.up.open_bucket("counts", each.now, kind=Kind.COUNTER)
    node.write("maps", lambda draft: draft.put("k", {"x": 1, "y": 1}))
    node.write("counts", lambda draft: draft.add("n", 1))
    world.run(1)
    copy = node.disk.after_crash()
    world.run(5)
    node.write("maps", lambda draft: draft.set_field("k", "x", "past"))
    node.write("maps", lambda draft: draft.set_field("k", "y", "past"))
    node.write("counts", lambda draft: draft.add("n", 10))
    world.run(1)
    restored_behind(world, node, copy)
    node.write("maps", lambda draft: draft.set_field("k", "x", "present"))
    node.write("counts", lambda draft: draft.add("n", 100))
    world.run(2)
    world.heal()
    world.run(20)
    for each in world.nodes:
        assert each.pairs("maps") == {"k": {"x": "present", "y": "past"}}
        assert each.up.replicas["counts"].counter("n", each.now.wall_ms) == 111
    assert node.up.gossip_info(node.now)["restamped_entries"] == 1


def test_what_was_written_after_a_delete_is_not_ended_when_that_is_written_again() -> None:
    world = World(3)
    world.run(3)
    node = world.nodes[2]
    for each in world.nodes:
        each.up.open_bucket("maps", each.now, kind=Kind.MAP)
    node.put("k", "old")
    node.write("maps", lambda draft: draft.put("k", {"x": 1}))
    node.write("maps", lambda draft: draft.put("expired", {"x": 1}, ttl_ms=20_000))
    world.run(1)
    copy = node.disk.after_crash()
    world.run(5)
    node.put("k", "past")
    node.write("maps", lambda draft: draft.set_field("k", "x", "past"))
    node.write("maps", lambda draft: draft.put("expired", {"x": "past", "z": 4}, ttl_ms=600_000))
    world.run(60)
    restored_behind(world, node, copy)
    for bucket in ("b", "maps"):
        node.write(bucket, lambda draft: draft.delete("k"))
    world.run(1)
    node.put("k", "present")
    node.write("maps", lambda draft: draft.put("k", {"y": 2}))
    node.write("maps", lambda draft: draft.put("expired", {"y": 2}, ttl_ms=600_000))
    world.run(2)
    world.heal()
    world.run(20)
    for each in world.nodes:
        assert each.pairs() == {"k": "present"}
        assert each.pairs("maps") == {"k": {"y": 2}, "expired": {"y": 2}}


def test_a_final_delete_of_our_own_past_stands() -> None:
    world = World(3)
    world.run(3)
    node = world.nodes[2]
    for each in world.nodes:
        each.up.open_bucket("s", each.now, deletes=Deletes.FINAL, ttl_ms=600_000)
    node.put("session", "user", "s")
    world.run(1)
    copy = node.disk.after_crash()
    world.run(1)
    node.write("s", lambda draft: draft.delete("session"))
    world.run(1)
    restored_behind(world, node, copy)
    node.put("session", "stolen", "s")
    world.run(2)
    world.heal()
    world.run(20)
    assert [each.pairs("s") for each in world.nodes] == [{}] * 3
    assert node.up.gossip_info(node.now)["restamped_entries"] == 0


def test_early_writes_are_kept_in_sight_within_their_limit() -> None:
    world = World(2, limits=Limits(early_bytes=3000))
    world.run(3)
    node = world.nodes[1]
    node.put("kept", 1)
    world.run(1)
    copy = node.disk.after_crash()
    for number in range(20):
        node.put(f"k{number}", "past")
    world.run(1)
    world.crash(node)
    node.disk, node.skew_ms = copy, -30_000
    world.split(world.nodes[:1], [node])
    world.start(node)
    for number in range(20):
        node.put(f"k{number}", "present")
    world.heal()
    world.run(20)
    held = node.pairs()
    kept = node.up.gossip_info(node.now)["restamped_entries"]
    assert isinstance(kept, int)
    assert 8 <= kept < 12
    assert [held[f"k{number}"] for number in range(20)] == [
        "present" if number >= 20 - kept else "past" for number in range(20)
    ]
    assert world.nodes[0].pairs() == held


def test_a_copy_from_before_the_first_write() -> None:
    """No line of ours tells how far we were; that our store was in touch once, and in which epoch, does."""
    world = World(3)
    world.run(3)
    node = world.nodes[2]
    copy = node.disk.after_crash()
    world.crash(node)
    world.start(node)
    node.put("lost with the disk", 1)
    world.run(1)
    world.crash(node)
    node.disk = copy
    world.start(node)
    assert world.run_until(lambda: len(node.pairs()) == 1, 20.0)
    world.run(1)
    assert warnings_of(node) == {"restored"}
    assert sum(isinstance(event, Restored) for event in node.events) == 1


def put_everywhere(world: World, node: Node, value: str) -> None:
    """One write of every kind that an early write may meet: a value, a field and an element."""
    for each in world.running:
        each.up.open_bucket("maps", each.now, kind=Kind.MAP)
        each.up.open_bucket("sets", each.now, kind=Kind.SET)
    node.put("put", value)
    node.put("deleted", value)
    node.write("maps", lambda draft: draft.put("k", {"x": value}))
    node.write("sets", lambda draft: draft.add_element("k", "element"))


def test_early_writes_of_a_clone_with_a_slow_clock_yield_to_the_original_that_goes_on() -> None:
    """Deletes as well as puts. The original wrote after the image, which the clone could not know."""
    world = World(3)
    world.run(3)
    original = world.nodes[2]
    original.put("first", 1)
    put_everywhere(world, original, "old")
    world.run(1)
    clone = clone_of(world, original)
    clone.skew_ms = -10_000
    put_everywhere(world, original, "original")
    world.run(0.1)
    world.start(clone)
    clone.put("put", "clone")
    clone.write("b", lambda draft: draft.delete("deleted"))
    clone.write("maps", lambda draft: draft.delete("k"))
    clone.write("sets", lambda draft: draft.discard_element("k", "element"))
    world.run(30)
    for each in world.nodes[:2]:
        assert each.pairs() == {"first": 1, "put": "original", "deleted": "original"}
        assert each.pairs("maps") == {"k": {"x": "original"}}
        assert each.pairs("sets") == {"k": frozenset({"element"})}
    assert clone.up.gossip_info(clone.now)["restamped_entries"] == 0
    for node in (original, clone):
        assert "cloned" in warnings_of(node)


def test_an_early_write_that_is_written_again_beats_its_past_and_nothing_newer() -> None:
    """A third member wrote between our past and now, and is not here when the past comes back."""
    world = World(3)
    world.run(3)
    node, _, other = world.nodes[2], world.nodes[0], world.nodes[1]
    node.put("first", 1)
    world.run(1)
    copy = node.disk.after_crash()
    world.run(5)
    for key in ("put", "deleted"):
        node.put(key, "past")
    world.run(1)
    world.split([world.nodes[0], node], [other])
    for key in ("put", "deleted"):
        other.put(key, "newer")
    world.run(1)
    world.nodes[0].put("first", 2)  # after which whoever sees it stamps later than all of these
    world.run(1)
    world.crash(node)
    node.disk, node.skew_ms = copy, -30_000
    world.start(node)
    node.put("put", "present")
    node.write("b", lambda draft: draft.delete("deleted"))
    world.run(20)
    assert node.pairs() == {"first": 2, "put": "present"}
    assert node.up.gossip_info(node.now)["restamped_entries"] == 2
    world.heal()
    world.run(30)
    for each in world.nodes:
        assert each.pairs() == {"first": 2, "put": "newer", "deleted": "newer"}


def test_a_delete_of_a_clone_stays_beaten_when_a_later_run_of_it_meets_the_newer_write_again() -> (
    None
):
    world, original, clone = cloned_world()
    original.put("k", "old")
    world.run(2)
    clone.write("b", lambda draft: draft.delete("k"))
    world.run(1)
    world.crash(clone)
    original.put("k", "newer")
    world.run(2)
    clone.skew_ms = -20_000
    world.start(clone)
    world.run(30)
    for each in (*world.nodes[:3], clone):
        assert each.pairs()["k"] == "newer"


def test_a_life_proves_that_it_goes_on_by_naming_the_other() -> None:
    """Within two intervals, whatever the clocks say: the clone's own is a minute ahead of the original's."""
    world = World(4)
    world.run(3)
    original = world.nodes[-1]
    original.put("first", 1)
    world.run(1)
    clone = clone_of(world, original)
    clone.skew_ms = 50_000
    world.start(clone)
    assert world.run_until(lambda: "cloned" in warnings_of(clone), 3.0)
    assert world.run_until(lambda: "cloned" in warnings_of(original), 3.0)
