"""Tokens: "what I have seen", small enough for a cookie.

    version 1 ‖ n × (12 bytes that name a log ‖ 8 bytes HLC) ‖ 12 bytes MAC, in URL-safe base64 without padding

A token is satisfied when the applied head of each log named has reached the HLC. The MAC (HMAC-SHA256 under the network's
token key) keeps anybody outside the network from pushing our clock with a made-up cookie.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, NewType

from attrs import frozen

from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import NetworkId, Origin
from gossipsync.errors import TokenError

LineId = NewType("LineId", bytes)

_VERSION: Final = b"\x01"
_LINE_BYTES: Final = 12
_PART_BYTES: Final = _LINE_BYTES + 8
_MAC_BYTES: Final = 12
MAX_TOKEN_CHARS: Final = 16_384
"""About 600 logs; nobody needs to decode more than this for a cookie."""


@frozen
class Token:
    """Logs by their names with the stamps that their heads must have reached."""

    parts: tuple[tuple[LineId, Hlc], ...]


def line_id(bucket: str, origin: Origin) -> LineId:
    """How a token names a log."""
    return LineId(
        sha256(b"gossipsync line v1" + bucket.encode() + b"\x00" + origin).digest()[:_LINE_BYTES]
    )


def write_token(parts: Iterable[tuple[LineId, Hlc]], network: NetworkId, key: bytes) -> str:
    """The text of a token."""
    body = _VERSION + b"".join(line + hlc.to_bytes(8, "big") for line, hlc in parts)
    return urlsafe_b64encode(body + _mac(body, network, key)).decode().rstrip("=")


def read_token(text: str, network: NetworkId, key: bytes, newest: Hlc) -> Token:
    """Raises TokenError for anything this network did not make, or that is stamped after `newest`."""
    if type(text) is not str or len(text) > MAX_TOKEN_CHARS:
        raise TokenError("this is not a token: pass the str that token() or a receipt gave")
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (Base64Error, ValueError) as error:
        raise TokenError(
            "this is not a token: it may have been cut or changed on its way"
        ) from error
    body, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
    if body[:1] != _VERSION or (len(body) - 1) % _PART_BYTES:
        raise TokenError(
            "this is not a token of a version known here: it may have been cut on its way"
        )
    if not hmac.compare_digest(mac, _mac(body, network, key)):
        raise TokenError(
            "this token is of another network, or was changed: drop it and go on without"
        )
    parts = []
    for start in range(1, len(body), _PART_BYTES):
        hlc = Hlc(int.from_bytes(body[start + _LINE_BYTES : start + _PART_BYTES], "big"))
        if hlc > newest:
            raise TokenError(
                "this token is further ahead than max_skew: check the clocks of both machines"
            )
        parts.append((LineId(body[start : start + _LINE_BYTES]), hlc))
    return Token(tuple(parts))


def _mac(body: bytes, network: NetworkId, key: bytes) -> bytes:
    return hmac.digest(key, b"gossipsync token v1" + network + body, "sha256")[:_MAC_BYTES]
