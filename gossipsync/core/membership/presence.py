"""Presence: the one signed datum by which a peer is known to those it is not linked with.

A datum is canonical CBOR `[body, signature]`, the body canonical CBOR of

    [format, network, peer key, stamp, epoch, state, name, addresses, zone, version, more]

`stamp` orders a peer's data (its wall clock in ms, pushed ahead of any it has seen of itself); the newest wins. `more` is a map
for later additions; unknown keys are ignored. Its key `met` lists epochs of the same peer key that this run has heard of since
its start: proof for each of them that this run was alive after it had opened. The Ed25519 signature covers domain ‖ length of the
body (8 bytes) ‖ body. Presence lives outside logs and vectors, so that its refreshing never stirs the idle hash.

Invariant: each part of a `Presence` that was parsed is within its bounds: names and zones are clean text, addresses can be
dialled, stamps and epochs are times that a wall clock can show.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Final

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.address import check_address, is_address
from gossipsync.core.model.ids import Epoch, NetworkId, PeerId
from gossipsync.core.model.now import MAX_WALL_MS
from gossipsync.core.model.text import MAX_NAME_BYTES, MAX_SOFTWARE_BYTES, is_clean_text
from gossipsync.core.ports import Sign, Verifier

FORMAT: Final = 1
_DOMAIN: Final = b"gossipsync presence v1"
SHORT_BYTES: Final = 8
"""Bytes of a key by which peers name members to each other in passing."""
_STAMP_BYTES: Final = 8
_MAX_ADDRESSES: Final = 8
_ADDRESSES_BYTES: Final = 512
"""All addresses of our own presence together: with the longest texts beside them a datum stays below `Limits.presence_bytes`."""
_MET: Final = "met"
_MOST_MET: Final = 8
"""Epochs in `met`."""
_REMEMBERED: Final = 4096
"""Data whose parsing is remembered by their exact bytes, for each comes from several members; about 1 kB each."""


class Stance(IntEnum):
    """What a peer says of itself."""

    UP = 0
    AWAY = 1
    """Closed, and still a member."""
    LEFT = 2
    """No member any more."""


_STANCES: Final = frozenset(int(stance) for stance in Stance)


@frozen
class Presence:
    """One peer's word about itself."""

    peer: PeerId
    stamp: int
    epoch: Epoch
    stance: Stance
    name: str
    addresses: tuple[str, ...]
    zone: str
    version: str
    data: bytes
    """The datum as signed, to pass on."""
    met: tuple[Epoch, ...]
    """Other epochs of its key that this run has heard of."""
    row: bytes
    """What names this very datum in passing: the first bytes of the key, then the stamp; 16 bytes, and of one peer's the greatest is the newest."""


def _signed(body: bytes) -> bytes:
    return _DOMAIN + len(body).to_bytes(8, "big") + body


def _row(peer: bytes, stamp: int) -> bytes:
    return peer[:SHORT_BYTES] + stamp.to_bytes(_STAMP_BYTES, "big")


def make_presence(  # noqa: PLR0913 - one for each part of the datum
    *,
    network: NetworkId,
    peer: PeerId,
    stamp: int,
    epoch: Epoch,
    stance: Stance,
    name: str,
    addresses: tuple[str, ...],
    zone: str,
    version: str,
    met: tuple[Epoch, ...] = (),
    sign: Sign,
) -> Presence:
    """Our own presence, with as many of the addresses as one may have."""
    addresses = _fitting(addresses)
    parts = (
        FORMAT,
        network,
        peer,
        stamp,
        epoch,
        int(stance),
        name,
        addresses,
        zone,
        version,
        {_MET: met[-_MOST_MET:]} if met else {},
    )
    body = strict.encode(parts)
    data = strict.encode((body, sign(_signed(body))))
    return Presence(
        peer,
        stamp,
        epoch,
        stance,
        name,
        addresses,
        zone,
        version,
        data,
        met[-_MOST_MET:],
        _row(peer, stamp),
    )


@lru_cache(maxsize=_REMEMBERED)
def parse_presence(data: bytes, network: NetworkId) -> tuple[Presence, bytes, bytes]:
    """(presence, message that was signed, signature), nothing verified yet. Raises strict.MalformedError."""
    match strict.decode(data, 2):
        case (bytes(body), bytes(signature)) if len(signature) == 64:
            pass
        case _:
            raise strict.MalformedError("not a presence")
    match strict.decode(body, 3):
        case (
            int(form), bytes(signed_for), bytes(peer), int(stamp), int(epoch), int(stance),
            str(name), tuple(addresses), str(zone), str(version), Mapping() as more,
        ) if form == FORMAT and signed_for == network and len(peer) == 32:  # fmt: skip
            pass
        case _:
            raise strict.MalformedError("not a presence of this network")
    if not strict.are_ints(form, stamp, epoch, stance):
        raise strict.MalformedError("a presence's number is none")
    if not (
        is_clean_text(name, MAX_NAME_BYTES)
        and is_clean_text(zone, MAX_NAME_BYTES, may_be_empty=True)
        and is_clean_text(version, MAX_SOFTWARE_BYTES, may_be_empty=True)
    ):
        raise strict.MalformedError("a presence's name, zone or version is too long or not clean")
    _check_addresses(addresses)
    if not 0 <= stamp < MAX_WALL_MS or not 0 < epoch < 1 << 63 or stance not in _STANCES:
        raise strict.MalformedError("a presence's number is out of its bounds")
    presence = Presence(
        PeerId(peer),
        stamp,
        Epoch(epoch),
        Stance(stance),
        name,
        tuple(addresses),
        zone,
        version,
        data,
        _met_in(more),
        _row(peer, stamp),
    )
    return presence, _signed(body), signature


def _fitting(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The first of the addresses that others take, each once, up to their number and their bytes."""
    fitting: list[str] = []
    room = _ADDRESSES_BYTES
    for address in filter(is_address, dict.fromkeys(addresses)):
        room -= len(address) + 3  # with the longest head
        if room < 0 or len(fitting) == _MAX_ADDRESSES:
            break
        fitting.append(address)
    return tuple(fitting)


def _check_addresses(addresses: tuple[object, ...]) -> None:
    try:
        distinct = {check_address(address) for address in addresses}
    except ValueError as error:
        raise strict.MalformedError(f"a presence's address: {error}") from error
    if len(distinct) != len(addresses) or len(distinct) > _MAX_ADDRESSES:
        raise strict.MalformedError("a presence's addresses are too many, or one is there twice")


def _met_in(more: Mapping[object, object]) -> tuple[Epoch, ...]:
    """The epochs under `met`. Raises strict.MalformedError unless they are epochs."""
    match more.get(_MET, ()):
        case tuple(met) if len(met) <= _MOST_MET:
            epochs = [Epoch(one) for one in met if type(one) is int and 0 < one < 1 << 63]
            if len(epochs) == len(met):
                return tuple(epochs)
    raise strict.MalformedError("a presence names no epochs where it should")


def is_genuine(presence: Presence, message: bytes, signature: bytes, verifier: Verifier) -> bool:
    """Did the peer itself sign it?"""
    return verifier.verify(presence.peer, signature, message)
