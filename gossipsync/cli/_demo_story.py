"""What the demo shows, step by step: each says what it does, does it, and checks what it has said.

The steps are what an operator would do with `gossipsync run`, `put`, `get` and `kill -9`.

Invariant: a claim is printed only after it was checked on every peer it speaks of.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gossipsync.cli._demo_peers import DemoFailedError, DemoPeer
from gossipsync.cli._demo_view import Narrator, PeerRow
from gossipsync.cli._screens import size

__all__ = ["Story"]

_BUCKET: Final = "sessions"
_SESSIONS: Final = 300
_MISSED: Final = 20
_FULL_SHARE: Final = 0.34
"""Who missed a fifteenth may receive this share of the first full copy: handshakes and gossip weigh too."""
_REDRAW_EVERY: Final = 20


class Story:
    """Three peers, as three instances of a web service would embed them."""

    def __init__(self, folder: Path, voice: Narrator, deadline_s: float) -> None:
        self._voice = voice
        self._deadline_s = deadline_s
        self._key_file = folder / "cluster.key"
        self._one, self._two, self._three = self._peers = tuple(
            DemoPeer(folder, name, self._key_file) for name in ("web-1", "web-2", "web-3")
        )
        self._first_bytes = 0

    def tell(self) -> None:
        """The whole story. Raises DemoFailedError at the first claim that does not hold."""
        self._start_three()
        self._share_sessions()
        self._kill_one()
        self._write_meanwhile()
        self._bring_back()
        self._say_goodbye()

    def end_peers(self) -> None:
        """End every process that still runs, whatever happened before."""
        for peer in self._peers:
            peer.kill()

    # -- the steps -------------------------------------------------------------------------------------------

    def _start_three(self) -> None:
        from gossipsync.runtime.trust import keygen

        self._voice.step(
            "Starting three peers on loopback. They share one cluster key; every link is mutual TLS 1.3."
        )
        with os.fdopen(
            os.open(self._key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
        ) as file:
            file.write(keygen() + "\n")
        self._one.start(())
        self._one.await_ready(self._deadline_s)
        for peer in (self._two, self._three):
            peer.start((self._one.address,))
        for peer in (self._two, self._three):
            peer.await_ready(self._deadline_s)
        for peer in self._peers:
            peer.ask("wait", waits_s=self._left_s, members=3, timeout_s=self._left_s)
            self._voice.say(
                f"{peer.name}: process {peer.pid} listens on {peer.address} and sees 3 members"
            )
        self._show()

    def _share_sessions(self) -> None:
        self._voice.step(f"Writing {_SESSIONS} sessions on web-1, reading them on web-2 and web-3.")
        for number in range(_SESSIONS):
            self._one.put(_BUCKET, f"s{number:03}", _session(number), ack=0)
            if number % _REDRAW_EVERY == 0:
                self._voice.redraw(self._rows)
        last = self._one.put(_BUCKET, "sid-demo", {"user": "you", "cart": 1}, ack="all")
        self._await_token(last, (self._two, self._three))
        self._check_equal(_SESSIONS + 1, self._peers)
        expected = self._one.get(_BUCKET, "sid-demo")
        for peer in (self._two, self._three):
            self._check(peer.get(_BUCKET, "sid-demo") == expected, f"{peer.name} reads the session")
        self._first_bytes = _received(self._three)
        self._voice.say(f"gossipsync get sessions sid-demo   on web-3: {expected}")
        self._voice.say("All three hold the same sessions: equal fingerprints.")

    def _kill_one(self) -> None:
        self._voice.step(f"kill -9 {self._three.pid}: web-3 is gone, without a goodbye.")
        self._three.kill()
        self._show()

    def _write_meanwhile(self) -> None:
        self._voice.step(
            f"Meanwhile: {_MISSED} new sessions on web-1, and one user logs out on web-2."
        )
        token = ""
        for number in range(_MISSED):
            token = self._one.put(_BUCKET, f"new{number:02}", _session(number))
        self._two.ask("del", waits_s=self._left_s, bucket=_BUCKET, key="s007", ack=1)
        self._await_token(token, (self._two,))
        self._check_equal(_SESSIONS + _MISSED, (self._one, self._two))
        self._voice.say("web-1 and web-2 go on as before.")

    def _bring_back(self) -> None:
        self._voice.step("Starting web-3 again, with the same data folder.")
        tokens = [str(peer.ask("token")["token"]) for peer in (self._one, self._two)]
        self._three.start((self._one.address, self._two.address))
        self._three.await_ready(self._deadline_s)
        for token in tokens:
            self._await_token(token, (self._three,))
        self._check_equal(_SESSIONS + _MISSED, self._peers)
        self._check(self._three.get(_BUCKET, "s007") is None, "web-3 knows of the logout")
        again = _received(self._three)
        self._check(
            again < self._first_bytes * _FULL_SHARE,
            f"web-3 receives only what it missed, not {again} bytes of {self._first_bytes}",
        )
        self._voice.say(
            "Its own journal gave web-3 what it had; the others sent only what it had missed:"
        )
        self._voice.say(f"{size(again)} received now, {size(self._first_bytes)} the first time.")
        self._voice.say("The user who logged out stays logged out.")

    def _say_goodbye(self) -> None:
        self._voice.step("Ending the peers with SIGTERM.")
        for peer in self._peers:
            self._check(peer.stop(), f"{peer.name} ends cleanly")
        self._show()

    # -- what the steps share --------------------------------------------------------------------------------

    @property
    def _left_s(self) -> float:
        return max(0.1, self._deadline_s - time.monotonic())

    def _await_token(self, token: str, peers: Sequence[DemoPeer]) -> None:
        for peer in peers:
            peer.ask("wait", waits_s=self._left_s, token=token, timeout_s=self._left_s)

    def _check_equal(self, count: int, peers: Sequence[DemoPeer]) -> None:
        self._show()
        seen = {_sessions(peer.status()) for peer in peers}
        self._check(len(seen) == 1, f"all peers agree, not {sorted(map(str, seen))}")
        self._check(seen.pop()[0] == count, f"there are {count} sessions")

    def _check(self, holds: bool, claim: str) -> None:
        if not holds:
            raise DemoFailedError(f"it is not so that {claim}")

    def _show(self) -> None:
        self._voice.show(self._rows())

    def _rows(self) -> list[PeerRow]:
        return [_row(peer) for peer in self._peers]


def _session(number: int) -> dict[str, object]:
    return {
        "user": number,
        "cart": [number % 7, number % 11],
        "csrf": f"{number:064x}",
        "theme": "dark",
    }


def _sessions(status: dict[str, object]) -> tuple[object, object]:
    """Number and fingerprint of the sessions."""
    buckets = status["buckets"]
    assert isinstance(buckets, list)
    for bucket in buckets:
        if bucket["name"] == _BUCKET:
            return bucket["keys"], bucket["fingerprint"]
    return 0, None


def _received(peer: DemoPeer) -> int:
    traffic = peer.status()["traffic"]
    assert isinstance(traffic, dict)
    return int(traffic["received_bytes"])


def _row(peer: DemoPeer) -> PeerRow:
    if not peer.is_running:
        return (peer.name, "not running", None, None, None, None, None)
    status = peer.status()
    members, traffic = status["members"], status["traffic"]
    assert isinstance(members, dict)
    assert isinstance(traffic, dict)
    keys, fingerprint = _sessions(status)
    shown = None if fingerprint is None else str(fingerprint)[:12]
    process = f"pid {peer.pid}"
    return (
        peer.name,
        process,
        status["state"],
        members["alive"],
        keys,
        shown,
        traffic["received_bytes"],
    )
