"""Bundles: entries signed together; the unit of signature, transfer and atomicity.

On the wire a bundle is canonical CBOR `[header, signature, body]`, three byte strings. The header is canonical CBOR of

    [format, network, bucket, announcement, peer key, epoch, index, previous, count, root, log_hlc, control_version, encoding]

where `previous` is the SHA-256 of the previous header in this log (32 zero bytes before the first), `root` the RFC 9162 Merkle
root over the entries' stubs, `log_hlc` the newest stamp so far in the log (monotone), and `encoding` 0: the body is the
canonical CBOR array of the entries. The signature is Ed25519 (RFC 8032) over `signed_bytes(header)`. A header is
named by its SHA-256, without signature. Received bytes are kept and relayed as they came.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.bucket import Announcement, check_bucket_name, parse_announcement
from gossipsync.core.model.entry import MAX_INT, MIN_TIME, Entry, decode_body
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import Epoch, NetworkId, Origin, PeerId, origin_of

FORMAT: Final = 1
MAX_INDEX: Final = 1 << 39
"""Indexes are below it: 17 years of 1,000 bundles a second."""
MAX_PLACE: Final = 1 << 40
"""Places in a log are below it, 5 bytes in a store's keys: from MAX_INDEX on those of bundles whose number another branch has."""
FROZEN: Final = MAX_PLACE
"""The index of a line that has forked: beyond all others, so that whoever knows of the fork is ahead."""
NO_PREVIOUS: Final = bytes(32)
_DOMAIN: Final = b"gossipsync bundle v1"


@frozen
class Header:
    """What a signature covers."""

    network: NetworkId
    bucket: str
    announcement: Announcement
    origin: Origin
    index: int
    previous: bytes
    count: int
    root: bytes
    log_hlc: Hlc
    data: bytes
    """The exact bytes that were signed."""
    hash: bytes
    """SHA-256 of `data`."""


@frozen
class Bundle:
    """A header with its signature and the entries."""

    header: Header
    signature: bytes
    body: bytes

    def encode(self) -> bytes:
        """The bytes as received."""
        return strict.encode((self.header.data, self.signature, self.body))

    def entries(self) -> list[Entry]:
        """What the body holds, decoded. Raises strict.MalformedError."""
        return decode_body(self.body, self.header.count)


def signed_bytes(header: bytes) -> bytes:
    """What is signed: domain ‖ length of the header (8 bytes, big-endian) ‖ header."""
    return _DOMAIN + len(header).to_bytes(8, "big") + header


def build_header(
    *,
    network: NetworkId,
    bucket: str,
    announcement: Announcement,
    peer: PeerId,
    epoch: Epoch,
    index: int,
    previous: bytes,
    count: int,
    root: bytes,
    log_hlc: Hlc,
) -> Header:
    """A header of our own, ready to sign."""
    parts = (
        FORMAT,
        network,
        bucket,
        announcement.parts(),
        peer,
        epoch,
        index,
        previous,
        count,
        root,
        log_hlc,
        0,
        0,
    )
    data = strict.encode(parts)
    origin = origin_of(peer, epoch)
    return Header(
        network,
        bucket,
        announcement,
        origin,
        index,
        previous,
        count,
        root,
        log_hlc,
        data,
        sha256(data).digest(),
    )


def parse_header(data: bytes) -> Header:
    """Raises strict.MalformedError unless `data` is a header of this format."""
    match strict.decode(data):
        case (
            int(form), bytes(network), bucket, announced, bytes(peer), int(epoch), int(index), bytes(previous),
            int(count), bytes(root), int(log_hlc), int(control), int(encoding),
        ) if form == FORMAT and strict.are_ints(
            form, epoch, index, count, log_hlc, control, encoding
        ):  # fmt: skip
            pass
        case _:
            raise strict.MalformedError("not a bundle header of format 1")
    lengths_fine = len(network) == len(peer) == len(previous) == len(root) == 32
    numbers_fine = (
        0 < epoch < MAX_INT
        and 0 < index < MAX_INDEX
        and 0 < count < MAX_INT
        and MIN_TIME <= log_hlc < MAX_INT
    )
    if not lengths_fine or not numbers_fine or control != 0 or encoding != 0:
        raise strict.MalformedError("a header part is out of its bounds")
    try:
        check_bucket_name(bucket)
    except ValueError as error:
        raise strict.MalformedError(str(error)) from error
    return Header(
        NetworkId(network),
        str(bucket),
        parse_announcement(announced),
        origin_of(PeerId(peer), Epoch(epoch)),
        index,
        previous,
        count,
        root,
        Hlc(log_hlc),
        data,
        sha256(data).digest(),
    )


def parse_bundle(data: bytes) -> Bundle:
    """A bundle's outer shape and its header, nothing verified and its entries not decoded. Raises strict.MalformedError."""
    match strict.decode(data, 2):
        case (bytes(header), bytes(signature), bytes(body)) if len(signature) == 64:
            pass
        case _:
            raise strict.MalformedError("not a bundle")
    return Bundle(parse_header(header), signature, body)
