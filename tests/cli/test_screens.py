"""Tables and screens: what other peers chose is shown as text, and what is unhealthy is told apart."""

import io
import re

import pytest
from rich.console import Console, RenderableType

from gossipsync.cli._mesh import UNHEALTHY_WARNINGS, _complaints
from gossipsync.cli._screens import gossip_screen, member_table, size, span, status_screen
from tests.cli.test_text import NASTY

EVIL = "".join(NASTY) + "[bold red]markup[/] :smile: [link=http://x]y[/link]"


def rendered(what: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="truecolor", width=4000).print(what)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


def status(**changes: object) -> dict[str, object]:
    return {
        "name": EVIL,
        "peer_id": "p" * 52,
        "address": EVIL,
        "state": "ready",
        "uptime_s": 3.0,
        "version": EVIL,
        "members": {"alive": 1, EVIL: 2},
        "buckets": [
            {
                "name": EVIL,
                "kind": "map",
                "keys": 1,
                "tombstones": 0,
                "bytes": 10,
                "origins": 1,
                "fingerprint": "f" * 64,
            }
        ],
        "lag_s": {"p50": None, "p99": 0.2},
        "last_round_s": None,
        "clock_offset_ms": None,
        "traffic": {"sent_bytes": 0, "received_bytes": 5_000_000},
        "rejected": {EVIL: 1},
        "warnings": [EVIL],
        "has_seeds": False,
        "store_failure": None,
        "start_waits_expired": 0,
    } | changes


MEMBER = {
    "name": EVIL,
    "peer_id": EVIL,
    "address": EVIL,
    "zone": EVIL,
    "state": EVIL,
    "last_seen_s": 1,
    "behind": None,
}
INFO = {
    "peer_id": "p",
    "digest": EVIL,
    "queues": {EVIL: EVIL},
    "members": [MEMBER],
    "links": [
        {
            "name": EVIL,
            "peer_id": EVIL,
            "heard_s": 1,
            "queued_bytes": 1,
            "sent_bytes": 1,
            "received_bytes": 1,
            "lines_behind": EVIL,
        }
    ],
    "vector": [
        {"bucket": EVIL, "peer_id": EVIL, "epoch": EVIL, "index": 1, "stored": 1, "head": EVIL}
    ],
}


@pytest.mark.parametrize(
    "screen",
    [status_screen(status()), member_table([MEMBER]), gossip_screen(INFO)],
    ids=["status", "members", "gossipinfo"],
)
def test_nothing_that_peers_chose_is_interpreted(screen: RenderableType) -> None:
    text = rendered(screen)
    assert all(line.isprintable() for line in text.split("\n"))
    assert "[bold red]markup[/] :smile: [link=http://x]y[/link]" in text
    assert not [line for line in text.split("\n") if line.strip().startswith("ready name=forged")]


@pytest.mark.parametrize(
    ("changes", "complaints"),
    [
        ({"warnings": []}, []),
        ({"warnings": [], "state": "alone"}, []),
        ({"warnings": [], "state": "alone", "has_seeds": True}, ["alone though it has seeds"]),
        ({"warnings": [], "state": "joining"}, ["joining"]),
        ({"warnings": [], "state": "leaving"}, ["leaving"]),
        ({"warnings": ["bucket-mismatch", "overloaded", "split-risk"]}, []),
        ({"warnings": ["forked"], "state": "joining"}, ["joining", "warned forked"]),
        ({"warnings": [], "members": {"alive": 1, "suspect": 3, "down": 9, "away": 1}}, []),
        *(({"warnings": [code]}, [f"warned {code}"]) for code in sorted(UNHEALTHY_WARNINGS)),
    ],
)
def test_what_makes_a_peer_unhealthy(changes: dict[str, object], complaints: list[str]) -> None:
    assert _complaints(status(**changes)) == complaints


def test_sizes_and_spans() -> None:
    assert [size(n) for n in (0, 999, 1000, 99_949, 123_456, 10**7, 10**10, None)] == [
        *("0 B", "999 B", "1.0 kB", "99.9 kB", "123 kB", "10.0 MB", "10.0 GB", "–"),
    ]
    assert [span(s) for s in (0.0004, 0.25, 3, 119, 600, 7200, 200_000, None)] == [
        *("0 ms", "250 ms", "3 s", "119 s", "10 min", "2 h", "2 d", "–"),
    ]


def test_peers_without_a_common_protocol_are_named_up_to_a_screenful() -> None:
    rows = [
        {"detail": f"the peer at \x1b[2Jh{n} speaks protocol 1, this build speaks 2: upgrade it"}
        for n in range(11)
    ]
    text = rendered(status_screen(status(incompatible=rows)))
    assert text.count("refused    the peer at") == 8
    assert "and 3 more" in text
    assert "\x1b" not in text
    assert "refused" not in rendered(status_screen(status()))
