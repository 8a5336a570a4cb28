"""A crowd: one process that is many peers of one mesh, and does what it is told (see `_obeying`).

All its peers are engines in one trio loop. A thread for each, as `gossipsync.open` makes, would have them wait for one another
at Python's lock, which peers on machines of their own do not.

Invariant: it ends when its standard input does, and its peers with it.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread
from typing import Any

import trio

from _bench._obeying import obey
from gossipsync.core import Replica
from gossipsync.embed._start import build_engine
from gossipsync.embed._waiting import wait
from gossipsync.runtime.clock import SystemClock
from gossipsync.runtime.engine import Engine
from gossipsync.runtime.observe import Subscription
from gossipsync.runtime.sources import load_settings
from gossipsync.runtime.waiters import Waiter

_BUCKET = "crowd"


class Crowd:
    """What a crowd can be told; each method's return value is the answer."""

    def __init__(self) -> None:
        self._engines: list[Engine] = []
        self._news: list[Subscription] = []
        self._replicas: list[Replica] = []
        self._lags_ms: list[float] = []
        self._is_up = Event()
        Thread(target=trio.run, args=(self._run,), daemon=True).start()
        self._is_up.wait()

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._is_up.set()
            await trio.sleep_forever()

    def open(self, names: Sequence[str], cluster_key: str, seeds: Sequence[str]) -> str:
        """Become these peers too, with stores in memory; the last one's address."""
        settings = {"cluster_key": cluster_key, "listen": "127.0.0.1:0", "seeds": list(seeds)}
        for name in names:
            engine = build_engine(load_settings(None, {"name": name, **settings}), SystemClock())
            self._news.append(engine.observer.subscribe())
            trio.from_thread.run(self._nursery.start, engine.run, trio_token=self._token)
            with engine.lock:
                self._replicas.append(engine.peer.open_bucket(_BUCKET, engine.now()))
            self._engines.append(engine)
        return self._engines[-1].addresses[0]

    def settle(self, members: int, within_s: float) -> float:
        """Wait until all know so many members and lack nothing that is known; the moment, on the machine's monotonic clock."""
        self._await(lambda engine: engine.count_alive() >= members, within_s)
        self._await(lambda engine: engine.peer.is_synced(), within_s)
        return time.monotonic()

    def _await(self, is_met: Callable[[Engine], bool], within_s: float) -> None:
        deadline_s = time.monotonic() + within_s
        for engine in self._engines:
            left_s = max(0.0, deadline_s - time.monotonic())
            if not wait(engine, partial(is_met, engine), left_s):
                raise TimeoutError(engine.settings.name)

    def see(self, name: str, state: str, within_s: float) -> None:
        """Wait until all see a member in a state."""
        self._await(lambda engine: _sees(engine, name, state), within_s)

    def usage(self) -> dict[str, float]:
        """What this process has used so far, and of which size its peers' views are."""
        infos = list(map(_info, self._engines))
        links = [len(info["links"]) for info in infos]
        return {
            "cpu_s": time.process_time(),
            "monotonic_s": time.monotonic(),
            "sent_bytes": sum(info["traffic"].get("sent_bytes", 0) for info in infos),
            "links": sum(links),
            "links_most": max(links, default=0),
            "resident_mb": _resident_mb(),
        }

    def news(self) -> list[tuple[str, str, str, float]]:
        """Who has seen whom in which state since this was last asked, and when, by the machine's wall clock."""
        told = []
        for engine, news in zip(self._engines, self._news, strict=True):
            while (event := news.take()) is not None:
                if event.kind == "member-changed":
                    about, state = str(event.fields["name"]), str(event.fields["state"])
                    told.append((engine.settings.name, about, state, event.at.timestamp()))
        return told

    def expect(self, key: str) -> None:
        """From now on note how old the value of a key is when it arrives, at each peer."""
        for engine, replica in zip(self._engines, self._replicas, strict=True):
            with engine.lock:
                engine.waiters.add(
                    Waiter(_arrival(replica, key, self._lags_ms), lambda: None, _BUCKET)
                )

    def write(self, key: str) -> None:
        """The first peer writes the present moment."""
        engine = self._engines[0]
        with engine.lock:
            draft = engine.peer.draft(_BUCKET, engine.now())
            draft.put(key, time.monotonic_ns())
            engine.peer.commit_draft(draft, engine.now())
            engine.wake()

    def lags_ms(self) -> list[float]:
        """How old each expected value was when it arrived, so far."""
        return self._lags_ms

    def have(self, key: str, within_s: float) -> None:
        """Wait until all have a key."""
        self._await(lambda engine: _has(engine.peer.replicas[_BUCKET], key), within_s)

    def stall(self, span_s: float) -> None:
        """Block the loop of all these peers, as a call into a library may."""
        self._token.run_sync_soon(time.sleep, span_s)

    def stalls(self) -> int:
        """How often these peers have noticed that their loop stood still."""
        return sum(_info(engine)["health"]["stalls"] for engine in self._engines)

    def states(self) -> list[dict[str, int]]:
        """How many members each peer sees in which state."""
        told = []
        for engine in self._engines:
            with engine.lock:
                members = engine.peer.members(engine.now())
            told.append(dict(Counter(member.state for member in members)))
        return told

    def close(self) -> None:
        """End all, without a word to the others."""
        self._token.run_sync_soon(self._nursery.cancel_scope.cancel)


def _info(engine: Engine) -> dict[str, Any]:
    with engine.lock:
        return engine.peer.gossip_info(engine.now())


def _sees(engine: Engine, name: str, state: str) -> bool:
    members = engine.peer.members(engine.now())
    return any(member.name == name and member.state == state for member in members)


def _has(replica: Replica, key: str) -> bool:
    return replica.has(key, time.time_ns() // 1_000_000)


def _arrival(replica: Replica, key: str, lags_ms: list[float]) -> Callable[[], bool]:
    def has_come() -> bool:
        if not _has(replica, key):
            return False
        written_ns = replica.read(key, time.time_ns() // 1_000_000)
        assert isinstance(written_ns, int)
        lags_ms.append((time.monotonic_ns() - written_ns) / 1e6)
        return True

    return has_come


def _resident_mb() -> float:
    with open("/proc/self/status") as lines:
        fields = dict(line.split(":", 1) for line in lines)
    return int(fields["VmRSS"].split()[0]) / 1000


if __name__ == "__main__":
    crowd = Crowd()
    obey(crowd)
    crowd.close()
