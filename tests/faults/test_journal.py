"""A journal that is torn, altered or somebody else's: recovered where that is true, else refused with its name."""

import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

from gossipsync.stores import _rows
from tests.processes._peers import PeerProcess
from tests.processes.conftest import MakePeer

KEYS = [f"k{number}" for number in range(10)]


def journal(peer: PeerProcess) -> Path:
    return peer.folder / "data" / "journal.db"


def pair(make_peer: MakePeer) -> tuple[PeerProcess, PeerProcess]:
    """Two peers with the same ten acknowledged writes of the second."""
    a = make_peer("a", gossip_interval=0.2).start()
    b = make_peer("b", seed=a, gossip_interval=0.2).start()
    b.ok("wait", "--members", "2", "--synced", "--timeout", "15")
    for key in KEYS:
        b.ok("put", "bucket", key, f"value of {key}", "--ack", "1")
    return a, b


def check_whole(a: PeerProcess, b: PeerProcess, *warnings: str) -> None:
    """Both have all of it, and go on together."""
    b.ok("wait", "--members", "2", "--synced", "--timeout", "15")
    for peer in (a, b):
        peer.ok("put", "bucket", f"after {peer.name}", "1", "--ack", "1", "--timeout", "15")
    b.ok("wait", "--synced", "--timeout", "15")
    assert a.bucket("bucket")["keys"] == len(KEYS) + 2
    assert a.bucket("bucket")["fingerprint"] == b.bucket("bucket")["fingerprint"]
    assert b.json("status")["warnings"] == list(warnings)


def complaint(peer: PeerProcess) -> str:
    """What a peer says that refuses to start."""
    assert peer.start(is_ready=False).await_end() == 1
    return [line for line in peer.log.splitlines() if line.startswith("error[")][-1]


def test_the_torn_tail_of_a_commit_that_was_under_way_is_dropped(make_peer: MakePeer) -> None:
    lone = make_peer("lone").start()
    for key in KEYS:
        lone.ok("put", "bucket", key, "1")
    lone.kill()
    wal = journal(lone).with_name("journal.db-wal")
    with wal.open("ab") as file:
        file.write(wal.read_bytes()[-3000:])
    lone.start()
    assert lone.ok("keys", "bucket").split() == KEYS
    assert lone.json("status")["warnings"] == []
    lone.ok("put", "bucket", "after", "1")


def test_a_lost_tail_comes_back_from_the_mesh(make_peer: MakePeer) -> None:
    """The disk forgot what it had promised to keep; the mesh has a second copy, and the peer says so."""
    a, b = pair(make_peer)
    b.kill()
    wal = journal(b).with_name("journal.db-wal")
    with wal.open("ab") as file:
        file.truncate(wal.stat().st_size // 2)
    b.start()
    check_whole(a, b, "restored")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"value of k5") + 3] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def forge(path: Path) -> None:
    """Somebody who knows the format: the checksum is right, the signature is not."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT id, piece FROM pieces").fetchall()
        [(row_id, piece)] = [row for row in rows if b"value of k5" in row[1]]
        forged = piece.replace(b"value of k5", b"value of k7")
        checksum = _rows._piece_checksum(row_id, forged)
        connection.execute(
            "UPDATE pieces SET piece = ?, checksum = ? WHERE id = ?", (forged, checksum, row_id)
        )
    connection.close()


DAMAGES: dict[str, Callable[[Path], None]] = {
    " does not verify": flip,
    "malformed": truncate,
    " is not valid (merkle": forge,
}


def test_damage_is_named_left_alone_and_healed_by_the_mesh(make_peer: MakePeer) -> None:
    a, b = pair(make_peer)
    for number, (what, damage) in enumerate(DAMAGES.items()):
        assert b.stop(signal.SIGTERM)[0] == 0
        damage(journal(b))
        before = journal(b).read_bytes()
        line = complaint(b)
        assert line.startswith("error[store-corrupt]: ")
        for words in (str(journal(b)), what, "aside", "start again", "the mesh gives back"):
            assert words in line
        assert journal(b).read_bytes() == before
        journal(b).rename(b.folder / f"aside{number}")
        b.start()
        check_whole(a, b)


def test_the_journal_of_another_peer_or_network(make_peer: MakePeer) -> None:
    a, b = pair(make_peer)
    stranger = make_peer("x", key="theirs")
    stranger.configure()
    (stranger.folder / "data").mkdir(mode=0o700)
    for peer in (a, b):
        assert peer.stop(signal.SIGTERM)[0] == 0
    shutil.copy(b.folder / "data" / "identity.key", stranger.folder / "data")
    for peer, word in ((a, "peer"), (stranger, "network")):
        shutil.copy(journal(b), journal(peer))
        line = complaint(peer)
        assert line.startswith(f"error[store]: {journal(peer)} belongs to {word} ")
        assert "or another data_dir" in line
        assert journal(peer).read_bytes() == journal(b).read_bytes()
