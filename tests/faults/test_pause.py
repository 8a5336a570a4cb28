"""A machine that stands still and goes on, as a paused VM does: seen as down, and back without loss."""

import json
import signal
import time

from tests.faults._waits import await_state
from tests.processes.conftest import MakePeer

PAUSE_S = 10.0


def test_a_peer_that_stood_still(make_peer: MakePeer) -> None:
    a = make_peer("a", gossip_interval=0.2).start()
    b, c = (make_peer(name, seed=a, gossip_interval=0.2).start() for name in ("b", "c"))
    for peer in (a, b, c):
        peer.ok("wait", "--members", "3", "--synced", "--timeout", "15")
    c.ok("put", "bucket", "before", "1", "--ack", "all")
    assert c.process is not None
    c.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    written = a.ok("put", "bucket", "meanwhile", "2", "--ack", "1", "-o", "json")
    for peer in (a, b):
        await_state(peer, "c", "down")
    assert a.run("put", "bucket", "all", "3", "--ack", "all", "--timeout", "0.2").returncode == 5
    for peer in (a, b):
        assert peer.json("status")["members"]["alive"] == 2  # type: ignore[index]
        assert peer.run("status", "--check").returncode == 0
    time.sleep(max(0.0, began + PAUSE_S - time.monotonic()))
    c.process.send_signal(signal.SIGCONT)
    c.ok("wait", "--token", json.loads(written)["token"], "--timeout", "15")
    for peer in (a, b, c):
        peer.ok("wait", "--members", "3", "--synced", "--timeout", "15")
    c.ok("put", "bucket", "after", "4", "--ack", "all", "--timeout", "15")
    for peer in (a, b, c):
        assert [
            peer.ok("get", "bucket", key) for key in ("before", "meanwhile", "all", "after")
        ] == [f"{number}\n" for number in (1, 2, 3, 4)]
        assert peer.json("status")["warnings"] == []
        assert peer.json("status")["state"] == "ready"
