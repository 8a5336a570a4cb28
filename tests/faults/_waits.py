"""Waiting for what `status` and `members` show, where no command waits for it."""

import json
import time
from collections.abc import Callable

from tests.processes._peers import DEADLINE_S, PeerProcess

_EVERY_S = 0.05


def await_(is_so: Callable[[], bool], what: str) -> None:
    """Until it is so; a peer is asked again and again, since nobody tells."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(_EVERY_S)


def await_state(peer: PeerProcess, member: str, state: str) -> None:
    """Until one peer sees another in a state."""
    await_(lambda: states(peer).get(member) == state, f"{peer.name} sees {member} {state}")


def states(peer: PeerProcess) -> dict[str, str]:
    rows = peer.json("members")["members"]
    assert isinstance(rows, list)
    return {row["name"]: row["state"] for row in rows}


def await_warnings(peer: PeerProcess, *codes: str) -> None:
    """Until a peer warns of exactly that."""
    await_(lambda: peer.json("status")["warnings"] == list(codes), f"{peer.name} warns of {codes}")


def put_everywhere(peers: list[PeerProcess]) -> None:
    """Each writes a key that all the others confirm, and each sees."""
    for peer in peers:
        row = peer.ok(
            *("put", "bucket", f"after {peer.name}", "1"),
            *("--ack", "all", "--timeout", "15", "-o", "json"),
        )
        await_in(peers, row)


def await_in(readers: list[PeerProcess], receipt: str) -> None:
    """Until they have what was written: a receipt as `put -o json` prints it."""
    for reader in readers:
        reader.ok("wait", "--token", json.loads(receipt)["token"], "--timeout", "15")
