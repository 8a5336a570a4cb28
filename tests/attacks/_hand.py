"""The hand of a member with valid credentials that signs what no honest peer would: any part of a datum replaced.

The bytes are made here from the layout in docs/protocol.md, not by the code under test.
"""

from __future__ import annotations

from collections.abc import Callable

from gossipsync.core.model import strict

Sign = Callable[[bytes], bytes]


def _datum(domain: bytes, parts: object, sign: Sign) -> bytes:
    body = strict.encode(parts)
    return strict.encode((body, sign(domain + len(body).to_bytes(8, "big") + body)))


def signed_presence(
    network: bytes, peer: bytes, sign: Sign, /, *, stamp: int, **parts: object
) -> bytes:
    """A presence datum that verifies; `parts` replace what an honest peer would have said."""
    usual: dict[str, object] = {
        "format": 1,
        "network": network,
        "peer": peer,
        "stamp": stamp,
        "epoch": stamp << 15,
        "stance": 0,
        "name": "hostile",
        "addresses": (),
        "zone": "",
        "version": "1",
        "more": {},
    }
    assert not parts.keys() - usual.keys(), "no such part of a presence"
    return _datum(b"gossipsync presence v1", tuple((usual | parts).values()), sign)


def signed_statement(
    network: bytes, by: bytes, sign: Sign, /, *, about: bytes, bound: int, **parts: object
) -> bytes:
    """A statement that verifies."""
    usual: dict[str, object] = {
        "format": 1,
        "network": network,
        "claim": 1,
        "by": by,
        "about": about,
        "bound": bound,
    }
    assert not parts.keys() - usual.keys(), "no such part of a statement"
    return _datum(b"gossipsync statement v1", tuple((usual | parts).values()), sign)


ADDRESSES = {
    "no port": "host",
    "a port in letters": "host:notaport",
    "nothing": "",
    "a colon": ":",
    "an open bracket": "[::1",
    "no host": ":7946",
    "a port too large": "a:99999",
    "a port of many digits": "a:" + "9" * 40,
    "a negative port": "a:-1",
    "port 0": "host:0",
    "a leading zero": "host:01",
    "full-width digits": "host:１２",
    "full-width host": "１２:12",
    "Arabic digits": "host:١٢",
    "a superscript digit": "host:²",
    "too long": ".".join(["a" * 63] * 4) + "a" * 6 + ":1",
    "a huge label": "a" * 64 + ":1",
    "an empty label": "a..b:1",
    "a NUL": "a\0b:1",
    "a NUL behind": "a:1\0",
    "a line break": "a:1\n",
    "white space": " a:1",
    "a space within": "a b:1",
    "a leading minus": "-a:1",
    "a bidi mark": "\u202ea:1",
    "a zero-width space": "a\u200b:1",
    "a private code point": "\ue000:1",
    "a name that idna refuses": "ⅷ\u00ad.\u3002:1",
    "a bare IPv6 address": "::1:7946",
    "a zone of nothing": "[fe80::1%]:1",
    "a zone with a slash": "[fe80::1%../x]:1",
    "two zones": "[fe80::1%a%b]:1",
    "an IPv4 address in brackets": "[127.0.0.1]:1",
    "half an IPv4 address": "127.1:1",
    "a number as a host": "2130706433:1",
    "an IPv4 address out of range": "256.0.0.1:1",
    "a path": "/tmp/socket:1",
    "a URL": "http://host:1",
    "a name and password": "user:password@host:1",
    "a terminal escape": "\x1b[2J:1",
}
"""Addresses that are none, by what is wrong with them."""
