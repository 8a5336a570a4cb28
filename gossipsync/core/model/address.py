"""Peer addresses: the one form of "host:port" that settings, hellos, presence data and dials share.

An address is ASCII text of at most 261 bytes, `host ":" port`. The port is a decimal number without leading zeros, at most
65535. The host is one of

- a name (RFC 1123, with "_" allowed because container names have it): at most 253 bytes, labels of 1 to 63 letters, digits,
  "-" and "_" that neither begin nor end with "-", one dot at the end allowed; the last label is not all digits
- an IPv4 address in dotted decimal (four numbers without leading zeros)
- an IPv6 address in brackets (RFC 4291), with a zone of 1 to 15 letters, digits, ".", "_" and "-" after "%" if need be; a zone
  names a network interface of the peer that dials

Invariant: an address that passed `check_address` can be handed to a dialler, which finds a peer there or does not; it never
raises for the form.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

__all__ = ["MAX_ADDRESS_BYTES", "check_address", "is_address", "join_address", "split_address"]

MAX_ADDRESS_BYTES: Final = 261
"""253 of a DNS name, a dot, a colon, five digits, and one to spare."""
_MAX_NAME_BYTES: Final = 253
_MAX_PORT: Final = 65535

_ADDRESS: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+)):(0|[1-9][0-9]{0,4})", re.ASCII)
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
_NUMERIC: Final = re.compile(r"(?:.*\.)?[0-9]+\.?", re.ASCII)
_ZONE: Final = re.compile(r"[A-Za-z0-9._-]{1,15}", re.ASCII)


def split_address(address: str) -> tuple[str, int]:
    """(host without brackets, port) of an address; port 0 is allowed, for listeners. Raises ValueError."""
    found = _ADDRESS.fullmatch(address) if len(address) <= MAX_ADDRESS_BYTES else None
    if found is None:
        if address.count(":") > 1 and "[" not in address:
            host, _, tail = address.rpartition(":")
            raise ValueError(f"an IPv6 address takes brackets: {_quoted(f'[{host}]:{tail}')}")
        raise ValueError(f"not host:port: {_quoted(address)}")
    literal, name, digits = found.groups()
    port = int(digits)
    is_host = _is_ipv6(literal) if name is None else _is_name(name)
    if not is_host or port > _MAX_PORT:
        raise ValueError(f"not host:port: {_quoted(address)}")
    return name or literal, port


def check_address(address: object) -> str:
    """The address, if it is one that a peer can be dialled at. Raises ValueError."""
    if type(address) is not str:
        raise ValueError("an address is text")
    if split_address(address)[1] == 0:
        raise ValueError(f"an address without a port to dial: {_quoted(address)}")
    return address


def is_address(address: object) -> bool:
    """Whether a peer can be dialled at it."""
    try:
        check_address(address)
    except ValueError:
        return False
    return True


def join_address(host: str, port: int) -> str:
    """host:port, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_ipv6(literal: str) -> bool:
    host, percent, zone = literal.partition("%")
    if percent and _ZONE.fullmatch(zone) is None:
        return False
    return _parses(IPv6Address, host)


def _is_name(host: str) -> bool:
    if _NUMERIC.fullmatch(host):
        return _parses(IPv4Address, host)
    return len(host.rstrip(".")) <= _MAX_NAME_BYTES and _NAME.fullmatch(host) is not None


def _parses(kind: type[IPv4Address | IPv6Address], host: str) -> bool:
    try:
        kind(host)
    except ValueError:
        return False
    return True


def _quoted(address: str) -> str:
    """The beginning of the text in printable ASCII, for messages."""
    return ascii(address if len(address) <= 64 else f"{address[:64]}…")
