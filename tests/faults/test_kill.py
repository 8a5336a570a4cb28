"""SIGKILL under write load, again and again: what was acknowledged is on the disks that said so, and in the mesh."""

import multiprocessing
import random
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

import gossipsync
from tests.faults import _writer
from tests.processes._peers import DEADLINE_S, PeerProcess
from tests.processes.conftest import MakePeer

MESHES = 4
LIVES = 25  # of each of two writers a mesh: 200 kills, and a last one in which all of a mesh die at once
MOST_ACKS = 3  # that a life is allowed before it is killed; each adds to what later lives load

# Forked from a process that has imported the package: starting an interpreter takes longer than most of the lives.
_START = multiprocessing.get_context("forkserver")
_START.set_forkserver_preload(
    [
        "gossipsync.embed._start",
        "gossipsync.runtime.host",
        "gossipsync.runtime.control",
        _writer.__name__,
    ]
)

_UNKNOWN = 255
"""What multiprocessing says of a child where its fork server did not tell how it ended; none that ends by itself says this."""


class Writer:
    """One peer that writes and is killed, and all that it was told to be acknowledged."""

    def __init__(self, peer: PeerProcess, seed: int) -> None:
        self.peer = peer.configure()
        self.acked: dict[str, set[str]] = {"begun": set(), "self": set(), "1": set()}
        self._choose = random.Random(seed)
        self._lives = 0

    @contextmanager
    def living(self) -> Iterator[tuple[multiprocessing.process.BaseProcess, Connection]]:
        """One life, ended by SIGKILL; all that it has said is heard."""
        self._lives += 1
        said, says = _START.Pipe(duplex=False)
        name = f"{self.peer.name}-{self._lives}"
        process = _START.Process(
            target=_writer.write_until_killed, args=(str(self.peer.config), name, says), daemon=True
        )
        process.start()
        says.close()
        try:
            yield process, said
        finally:
            process.kill()
            process.join(DEADLINE_S)
            exit_code = process.exitcode
            self.hear(said, "none", 1)
            process.close()
            said.close()
        assert exit_code in (-signal.SIGKILL, _UNKNOWN), "it has ended by itself"

    def hear(self, said: Connection, level: str, count: int) -> None:
        """Until so many writes of a level are acknowledged; a killed writer has no more to say than is in the pipe."""
        try:
            while count:
                assert said.poll(DEADLINE_S), "the writer has stopped writing"
                ack, key = said.recv_bytes().decode().split()
                self.acked[ack].add(key)
                count -= ack == level
        except EOFError:
            pass

    def live_and_die_often(self) -> None:
        for _ in range(LIVES):
            with self.living() as (_, said):
                # After "begun" alone it is killed while it opens its store, or joins.
                level = self._choose.choice(["begun", "self", "1", "1"])
                self.hear(
                    said, level, 1 if level == "begun" else self._choose.randint(1, MOST_ACKS)
                )


def keys_on_disk(peer: PeerProcess) -> set[str]:
    """What a peer has without anybody's aid."""
    with gossipsync.open(peer.config, seeds=[]) as mesh:
        return set(mesh.bucket(_writer.BUCKET))


def test_what_was_acknowledged_is_there_after_two_hundred_kills(make_peer: MakePeer) -> None:
    meshes: list[tuple[PeerProcess, list[Writer]]] = []
    for number in range(MESHES):
        anchor = make_peer(f"anchor{number}", gossip_interval=0.2).start()
        peers = [
            make_peer(f"{name}{number}", seed=anchor, gossip_interval=0.2) for name in ("w", "x")
        ]
        meshes.append((anchor, [Writer(peer, seed) for seed, peer in enumerate(peers)]))
    with ThreadPoolExecutor(2 * MESHES) as pool:
        together(pool.submit(each.live_and_die_often) for _, pair in meshes for each in pair)
        together(pool.submit(die_together, anchor, pair) for anchor, pair in meshes)
    for anchor, pair in meshes:
        check(anchor, pair)


def together(futures: Iterable) -> None:
    for future in list(futures):
        future.result()


def die_together(anchor: PeerProcess, pair: list[Writer]) -> None:
    """All copies of the newest writes end at once: an ack must not have counted one that was still on its way."""
    with ExitStack() as stack:
        lives = [(each, *stack.enter_context(each.living())) for each in pair]
        for each, _, said in lives:
            each.hear(said, "1", MOST_ACKS)
        for _, process, _ in lives:
            process.kill()
        anchor.kill()


def check(anchor: PeerProcess, pair: list[Writer]) -> None:
    disks = {peer.name: keys_on_disk(peer) for peer in (anchor, *(each.peer for each in pair))}
    everything = set()
    for each in pair:
        own = disks[each.peer.name]
        assert each.acked["self"] | each.acked["1"] <= own
        assert min(len(each.acked["self"]), len(each.acked["1"])) >= LIVES // 2
        for key in each.acked["1"]:
            assert sum(key in disk for disk in disks.values()) >= 2, key
        everything |= each.acked["self"] | each.acked["1"]

    anchor.start()
    for each in pair:
        each.peer.settings["seeds"] = [anchor.address]
        each.peer.start()
    peers = [anchor, *(each.peer for each in pair)]
    for peer in peers:
        peer.ok("wait", "--members", "3", "--synced", "--timeout", "20")
    assert len({peer.bucket(_writer.BUCKET)["fingerprint"] for peer in peers}) == 1
    assert everything <= set(anchor.ok("keys", _writer.BUCKET).split())
