"""Tokens: "what I have seen", small enough for a cookie.

    version 2 ‖ maker (8 bytes of its key) ‖ u64 HLC ‖ u16 n ‖ parameter ‖ bits ‖ 12 bytes MAC, in URL-safe base64 without padding

The bits are Golomb-Rice codes: the gaps between the n log names in their order, then the index reached in each log. A name has
64 bits where there is one, else 40, and is a hash. A token is satisfied when the applied head of each log named has reached its
index; what is written after a token is stamped above its HLC. The maker has all that it names. The MAC (HMAC-SHA256 under the
network's token key) keeps anybody outside the network from pushing our clock with a made-up cookie.

Golomb, "Run-length encodings" (1966); Rice and Plaunt (1971). Sorting names and coding their gaps saves the log2(n!) bits of an
order that nobody needs: BIP 158 sends sets so.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from hashlib import sha256
from itertools import accumulate
from typing import Final, NewType

from attrs import frozen

from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import NetworkId, Origin, PeerId
from gossipsync.errors import TokenError

LineName = NewType("LineName", int)
"""64 bits of a hash."""

NAME_BITS: Final = 64
SHORT_BITS: Final = 40
"""A name among others: 100 of them name 100 of 10,000 logs with a wrong one once in a million tokens."""
MAKER_BYTES: Final = 8
TOKEN_LINES: Final = 512
"""Logs in one token: what nobody's cookie has room for anyway."""
MAX_TOKEN_CHARS: Final = 16_384
"""More than `TOKEN_LINES` logs with the largest numbers take."""
_VERSION: Final = 2
_HEADER_BYTES: Final = 1 + MAKER_BYTES + 8 + 2 + 1
_MAC_BYTES: Final = 12


@frozen
class Token:
    """Logs by their names, and how far they must be here."""

    maker: bytes
    """The key of the peer that made it begins so."""
    hlc: Hlc
    """Nothing that it names is stamped above."""
    bits: int
    """Of each name, how many of its leading bits."""
    lines: tuple[tuple[int, int], ...]
    """(name, index) of each log."""

    def is_named(self, name: int, line: LineName) -> bool:
        """Does one of its names stand for this log?"""
        return line >> (NAME_BITS - self.bits) == name


def line_name(bucket: str, origin: Origin) -> LineName:
    """How a token names a log."""
    digest = sha256(b"gossipsync line v1" + bucket.encode() + b"\x00" + origin).digest()
    return LineName(int.from_bytes(digest[: NAME_BITS // 8], "big"))


def shortened(name: int, bits: int) -> int:
    """The bits of a name that every token has."""
    return name >> (bits - SHORT_BITS)


def write_token(
    maker: PeerId, hlc: Hlc, lines: Mapping[LineName, int], network: NetworkId, key: bytes
) -> str:
    """The text of a token of at most TOKEN_LINES logs, each with the index reached in it."""
    bits = _name_bits(len(lines))
    pairs = sorted((name >> (NAME_BITS - bits), index) for name, index in lines.items())
    names = [name for name, _ in pairs]
    gaps = [name - before for name, before in zip(names, [0, *names], strict=False)]
    indices = [index for _, index in pairs]
    parameter = max(0, (sum(indices) // max(1, len(indices))).bit_length() - 1)
    code = _rice(gaps, _gap_parameter(bits, len(gaps))) + _rice(indices, parameter)
    size = -(-len(code) // 8)
    body = bytes((_VERSION,)) + maker[:MAKER_BYTES] + hlc.to_bytes(8, "big")
    body += len(pairs).to_bytes(2, "big") + bytes((parameter,))
    body += int(code.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")
    return urlsafe_b64encode(body + _mac(body, network, key)).decode().rstrip("=")


def read_token(text: str, network: NetworkId, key: bytes, bound: Hlc) -> Token:
    """Raises TokenError for anything this network did not make, or whose successor would be stamped at `bound` or later."""
    if type(text) is not str or len(text) > MAX_TOKEN_CHARS:
        raise TokenError("this is not a token: pass the str that token() or a receipt gave")
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (Base64Error, ValueError) as error:
        raise TokenError(
            "this is not a token: it may have been cut or changed on its way"
        ) from error
    body, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
    if body[:1] != bytes((_VERSION,)) or len(body) < _HEADER_BYTES:
        raise TokenError(
            "this is not a token of a version known here: it may have been cut on its way"
        )
    if not hmac.compare_digest(mac, _mac(body, network, key)):
        raise TokenError(
            "this token is of another network, or was changed: drop it and go on without"
        )
    token = _parse(body)
    if token.hlc + 1 >= bound:
        raise TokenError(
            "this token is further ahead than max_skew: check the clocks of both machines"
        )
    return token


def _parse(body: bytes) -> Token:
    maker, rest = body[1 : 1 + MAKER_BYTES], body[1 + MAKER_BYTES :]
    hlc, count, parameter = Hlc(int.from_bytes(rest[:8], "big")), rest[8:10], rest[10]
    number = int.from_bytes(count, "big")
    code = "".join(f"{byte:08b}" for byte in rest[11:])
    bits = _name_bits(number)
    try:
        gaps, position = _unrice(code, 0, number, _gap_parameter(bits, number))
        indices, position = _unrice(code, position, number, parameter)
    except ValueError as error:
        raise TokenError("this token says less than it claims to: it was made wrongly") from error
    if not 0 <= len(code) - position < 8 or "1" in code[position:]:
        raise TokenError("this token is not as long as it claims to be: it was made wrongly")
    return Token(maker, hlc, bits, tuple(zip(accumulate(gaps), indices, strict=True)))


def _name_bits(count: int) -> int:
    return NAME_BITS if count == 1 else SHORT_BITS


def _gap_parameter(bits: int, count: int) -> int:
    """About log2 of the mean gap between so many names, which is what costs least."""
    return bits - count.bit_length()


def _rice(values: list[int], parameter: int) -> str:
    """Each value as a quotient in unary and a remainder of `parameter` bits."""
    parts = []
    for value in values:
        quotient, remainder = divmod(value, 1 << parameter)
        parts.append("1" * quotient + "0" + (f"{remainder:0{parameter}b}" if parameter else ""))
    return "".join(parts)


def _unrice(code: str, position: int, count: int, parameter: int) -> tuple[list[int], int]:
    """So many values from a position on, and where they end. Raises ValueError where the code ends before that."""
    values = []
    for _ in range(count):
        stop = code.index("0", position)
        end = stop + 1 + parameter
        remainder = int("0" + code[stop + 1 : end], 2)
        values.append((stop - position << parameter) + remainder)
        position = end
    return values, position


def _mac(body: bytes, network: NetworkId, key: bytes) -> bytes:
    return hmac.digest(key, b"gossipsync token v2" + network + body, "sha256")[:_MAC_BYTES]
