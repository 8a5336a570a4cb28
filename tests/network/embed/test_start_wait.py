"""The first use of a peer with seeds waits until it is ready, for `start_wait` at most, by each bucket's `unready`.

Before, the first read of a fresh process found nothing: here, all that read at once from a joiner got None or KeyError.
A wait of ten minutes stands for "would hang": a call that returns has not waited.
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread

import pytest
import trio

import gossipsync
from gossipsync import Bucket, ClosedError, ConfigError, Mesh, NotReadyError
from tests.network.embed.conftest import Spawn
from tests.processes._peers import gossipsync as command

LONG_S = 600.0
SHORT_S = 0.2
RULES = {"kind": "value", "ttl": 60, "deletes": "tombstone"}


@pytest.fixture
def silent() -> Iterator[str]:
    """A seed that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def late() -> str:
    """An address at which nothing listens yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def keeper(spawn: Spawn) -> Mesh:
    mesh = spawn("keeper")
    mesh.bucket("values", history=60, ttl=600)["k"] = 1
    mesh.bucket("maps", kind="map")["k"] = {"user": 7, "cart": 1}
    mesh.bucket("sets", kind="set").elements("k").add("x")
    mesh.bucket("counters", kind="counter").counter("k").add(3)
    return mesh


def _in_batch(bucket: Bucket) -> object:
    with bucket.batch() as batch:
        return batch.get("k")


READS: dict[str, tuple[str, Callable[[Bucket], object], object]] = {
    "[]": ("values", lambda b: b["k"], 1),
    "get": ("values", lambda b: b.get("k"), 1),
    "in": ("values", lambda b: "k" in b, True),
    "len": ("values", len, 1),
    "iteration": ("values", list, ["k"]),
    "keys": ("values", lambda b: list(b.keys("k")), ["k"]),
    "items": ("values", lambda b: dict(b.items()), {"k": 1}),
    "values": ("values", lambda b: list(b.values()), [1]),
    "entry": ("values", lambda b: b.entry("k").value, 1),
    "history": ("values", lambda b: [v.value for v in b.history("k")], [1]),
    "watch": ("values", lambda b: [c.kind for c in b.watch(timeout=0)], ["present"]),
    "watch-now": ("values", lambda b: [c.kind for c in b.watch(since="now", timeout=0)], []),
    "fields": ("maps", lambda b: b.fields("k")["user"], 7),
    "counter": ("counters", lambda b: b.counter("k").value, 3),
    "elements": ("sets", lambda b: set(b.elements("k")), {"x"}),
    "batch": ("values", _in_batch, 1),
    "fetch": ("values", lambda b: b.fetch(peer="keeper"), {"k": 1}),
}


@pytest.mark.parametrize("read", READS)
def test_the_first_read_of_a_joiner_finds_what_the_mesh_has(
    read: str, spawn: Spawn, keeper: Mesh
) -> None:
    name, look, expected = READS[read]
    assert look(spawn("fresh", keeper.address, start_wait=LONG_S).bucket(name)) == expected


WRITES: dict[
    str, tuple[str, Callable[[Bucket], object], object, Callable[[Bucket], object], object]
]
WRITES = {
    "map": ("maps", lambda b: b.__setitem__("k", {"user": 8}), None, lambda b: b["k"], {"user": 8}),
    "field": (
        "maps",
        lambda b: b.fields("k").__setitem__("cart", 2),
        None,
        lambda b: b["k"],
        {"user": 7, "cart": 2},
    ),
    "del": ("values", lambda b: b.__delitem__("k"), None, list, []),
    "pop": ("values", lambda b: b.pop("k"), 1, list, []),
    "setdefault": ("values", lambda b: b.setdefault("k", 2), 1, lambda b: b["k"], 1),
    "clear": ("values", lambda b: b.clear(), None, list, []),
    "touch": ("values", lambda b: b.touch("k"), True, list, ["k"]),
    "add": ("counters", lambda b: b.counter("k").add(2), None, lambda b: b["k"], 5),
    "discard": (
        "sets",
        lambda b: b.elements("k").discard("x"),
        None,
        lambda b: list(b.elements("k")),
        [],
    ),
    "update": ("maps", lambda b: b.update(k={"user": 8}), None, lambda b: b["k"], {"user": 8}),
    # The rules of the bucket are not known before: without them this would be a value in a bucket of maps, which nobody sees.
    "put": ("maps", lambda b: b.put("l", {"user": 8}) and 0, 0, lambda b: b["l"], {"user": 8}),
}


@pytest.mark.parametrize("write", WRITES)
def test_the_first_write_of_a_joiner_sees_what_the_mesh_has(
    write: str, spawn: Spawn, keeper: Mesh
) -> None:
    name, change, outcome, look, expected = WRITES[write]
    fresh = spawn("fresh", keeper.address, start_wait=LONG_S)
    assert change(fresh.bucket(name)) == outcome
    assert fresh.close() == 0  # handed over
    assert look(keeper.bucket(name)) == expected


def test_a_put_without_a_ttl_of_its_own_gets_the_announced_one(spawn: Spawn, keeper: Mesh) -> None:
    fresh = spawn("fresh", keeper.address, start_wait=LONG_S)
    fresh.bucket("values")["l"] = 2
    assert fresh.bucket("values").entry("l").expires is not None


def test_an_addition_after_a_delete_counts(spawn: Spawn, keeper: Mesh) -> None:
    """A total names the delete that it counts from: without the delete it would not be counted."""
    keeper.bucket("counters").delete("k")
    fresh = spawn("fresh", keeper.address, start_wait=LONG_S)
    fresh.bucket("counters", kind="counter").counter("k").add(1)
    assert fresh.close() == 0
    assert keeper.bucket("counters")["k"] == 1


def test_puts_and_deletes_under_known_rules_do_not_wait(spawn: Spawn, silent: str) -> None:
    mesh = spawn("alone", silent, start_wait=LONG_S)
    bucket = mesh.bucket("b", **RULES)  # type: ignore[arg-type]
    bucket["k"] = 1
    bucket.put("l", 2)
    bucket.delete("l")
    with bucket.batch() as batch:
        batch["m"] = 3
        batch.delete("k")
    again = mesh.bucket("b", unready="empty")
    assert dict(again) == {"m": 3}


BLIND_READS = [name for name in READS if name != "fetch"]


@pytest.mark.parametrize("read", BLIND_READS)
def test_raise_raises_and_empty_serves_at_once(read: str, spawn: Spawn, silent: str) -> None:
    name, look, _ = READS[read]
    kind = {"maps": "map", "counters": "counter", "sets": "set"}.get(name, "value")
    mesh = spawn("alone", silent, start_wait=LONG_S)
    strict = mesh.bucket("strict", kind=kind, unready="raise")
    with pytest.raises(NotReadyError, match="'strict' is not ready"):
        look(strict)
    with suppress(KeyError):  # there is nothing, and no wait
        look(mesh.bucket("lax", kind=kind, unready="empty"))


def test_raise_ends_when_the_peer_is_ready(spawn: Spawn, late: str) -> None:
    mesh = spawn("early", late, start_wait=LONG_S)
    strict = mesh.bucket("values", unready="raise")
    with pytest.raises(NotReadyError):
        strict.get("k")
    with pytest.raises(NotReadyError):
        strict["k"] = 1  # by which rules?
    keeper = spawn("keeper", listen=late)
    keeper.bucket("values", kind="value")["k"] = 1
    mesh.wait_members(2, timeout=20)
    mesh.wait_synced(timeout=20)
    assert strict["k"] == 1


def test_expiry_serves_counts_once_and_warns_until_ready(
    spawn: Spawn, late: str, caplog: pytest.LogCaptureFixture
) -> None:
    mesh = spawn("early", late, start_wait=SHORT_S)
    bucket, told = mesh.bucket("values"), mesh.events()
    began_s = mesh._life.clock.now().mono_s
    assert bucket.get("k") is None
    assert mesh._life.clock.now().mono_s - began_s >= SHORT_S * 0.9
    assert "k" not in mesh.bucket("others")
    status = mesh.status()
    assert status.start_waits_expired == 1
    assert "unready" in status.warnings
    assert any(event.kind == "start-wait-expired" for event in told)
    [warning] = [r for r in caplog.records if "start-wait-expired" in r.getMessage()]
    assert warning.levelno == logging.WARNING
    assert "check that the seeds answer" in warning.getMessage()
    keeper = spawn("keeper", listen=late)
    keeper.bucket("values")["k"] = 1
    mesh.wait_members(2, timeout=20)
    mesh.wait_synced(timeout=20)
    assert bucket["k"] == 1
    assert "unready" not in mesh.status().warnings


def test_all_threads_share_one_wait(spawn: Spawn, silent: str) -> None:
    mesh = spawn("alone", silent, start_wait=SHORT_S)
    bucket = mesh.bucket("b")
    found: list[object] = []
    readers = [Thread(target=lambda: found.append(bucket.get("k", 0))) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(30)
    assert found == [0] * 8
    assert mesh.status().start_waits_expired == 1


def test_zero_does_not_wait_and_does_not_warn(spawn: Spawn, silent: str) -> None:
    mesh = spawn("alone", silent, start_wait=0)
    assert mesh.bucket("b").get("k") is None
    status = mesh.status()
    assert (status.start_waits_expired, status.warnings) == (0, ())


def test_once_ready_it_never_waits_again(spawn: Spawn, keeper: Mesh) -> None:
    mesh = spawn("fresh", keeper.address, start_wait=LONG_S)
    assert mesh.bucket("values")["k"] == 1
    keeper.close()
    assert mesh.bucket("maps", kind="map")["k"] == {"user": 7, "cart": 1}


def test_without_seeds_or_with_itself_as_seed_it_does_not_wait(spawn: Spawn, late: str) -> None:
    assert spawn("founder", start_wait=LONG_S).bucket("b").get("k") is None
    own = spawn("own", late, listen=late, start_wait=LONG_S)
    assert own.bucket("b").get("k") is None


def test_closing_ends_the_wait(spawn: Spawn, silent: str) -> None:
    mesh = spawn("alone", silent, start_wait=LONG_S)
    mesh.start()
    errors: list[BaseException] = []

    def read() -> None:
        try:
            mesh.bucket("b").get("k")
        except ClosedError as error:
            errors.append(error)

    reader = Thread(target=read)
    reader.start()
    mesh.close()
    reader.join(30)
    assert len(errors) == 1


# -- asyncio and trio ------------------------------------------------------------------------------------------


async def test_entering_waits_for_coroutines(
    settings: Callable[..., dict[str, object]], keeper: Mesh
) -> None:
    given = settings("fresh", keeper.address, start_wait=LONG_S)
    async with gossipsync.open_async(**given) as mesh:
        assert mesh.bucket("values")["k"] == 1


async def test_after_expiry_coroutines_are_served_what_there_is(
    settings: Callable[..., dict[str, object]], silent: str
) -> None:
    async with gossipsync.open_async(**settings("alone", silent, start_wait=SHORT_S)) as mesh:
        assert mesh.status().start_waits_expired == 1
        assert mesh.bucket("b").get("k") is None
        with pytest.raises(NotReadyError):
            mesh.bucket("c", unready="raise").get("k")


async def test_cancelled_while_it_waits_nothing_is_left_running(
    settings: Callable[..., dict[str, object]], silent: str
) -> None:
    def engines() -> list[Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "gossipsync"]

    before = engines()
    with trio.move_on_after(SHORT_S) as scope:
        async with gossipsync.open_async(**settings("alone", silent, start_wait=LONG_S)):
            raise AssertionError("entered without being ready")
    assert scope.cancelled_caught
    for thread in engines():
        if thread not in before:
            await trio.to_thread.run_sync(thread.join, 30)
    assert engines() == before


# -- settings and the command line -----------------------------------------------------------------------------


def test_the_settings_are_read_from_everywhere(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gossipsync.runtime.sources import load_settings

    monkeypatch.setenv("GOSSIPSYNC_START_WAIT", "250ms")
    assert load_settings(env=True).start_wait == 0.25
    assert load_settings(given={"start_wait": "0s"}, env=True).start_wait == 0
    given = {"buckets": {"b": {"unready": "raise"}}}
    assert load_settings(given=given).buckets["b"].unready == "raise"
    with pytest.raises(ConfigError, match="start_wait"):
        load_settings(given={"start_wait": -1})
    with pytest.raises(ConfigError, match="'never' is not one of 'wait', 'raise', 'empty'"):
        gossipsync.open().bucket("b", unready="never")


def test_commands_wait_for_a_peer_that_joins(spawn: Spawn, keeper: Mesh, tmp_path: object) -> None:
    spawn("fresh", keeper.address, start_wait=LONG_S, buckets={"strict": {"unready": "raise"}})
    at = ("--socket", f"{tmp_path}/fresh.sock")
    assert command("get", "values", "k", *at).stdout == "1\n"
    assert command("keys", "maps", *at).stdout == "k\n"


def test_commands_on_a_peer_that_is_not_ready(spawn: Spawn, silent: str, tmp_path: object) -> None:
    buckets = {"strict": {"unready": "raise"}, "lax": {"unready": "empty"}}
    spawn("alone", silent, start_wait=LONG_S, buckets=buckets).start()
    at = ("--socket", f"{tmp_path}/alone.sock")
    strict = command("get", "strict", "k", *at)
    assert strict.returncode == 1
    assert "error[not-ready]: bucket 'strict' is not ready" in strict.stderr
    lax = command("get", "lax", "k", *at)
    assert (lax.returncode, lax.stdout, lax.stderr) == (1, "", "")
    assert command("status", *at).returncode == 0
