"""The signed archive: a bucket's pieces in one file, as their origins signed them, with these origins' certificates.

::

    magic    "gossipsync archive 2\\n"
    frame    length (4 bytes, big-endian), then one canonical CBOR array, 1 MiB at most
             [0, certificate]     whose pieces follow
             [1, piece]           a bundle as received, or an excerpt
             [2, count, sum]      the end: how many pieces, and SHA-256 of every byte before this frame

Pieces are proven by their signatures; the sum only tells a file that was cut or damaged from one that is whole. Format 1, of
development versions, is read as well: bundles there may have the former body (`core.model.former`).

Invariant: a reader holds one frame at a time, and never more than a frame may have.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final, Protocol

from gossipsync.errors import RemoteError

__all__ = ["KIND", "MAGIC", "Readable", "Writable", "read_archive", "write_archive"]

KIND: Final = b"gossipsync archive "
"""The beginning of an archive of any format."""
MAGIC: Final = KIND + b"2\n"
_FORMER_MAGIC: Final = KIND + b"1\n"
_LENGTH_BYTES: Final = 4
_MAX_FRAME_BYTES: Final = 1 << 20
_CERTIFICATE: Final = 0
_PIECE: Final = 1
_END: Final = 2
_DAMAGED: Final = "the archive is damaged: take another copy of it"

Signed = tuple[bytes, list[bytes]]
"""One peer's certificate and pieces of its logs."""


class Readable(Protocol):
    """A binary file open for reading."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...


class Writable(Protocol):
    """A binary file open for writing."""

    def write(self, data: bytes, /) -> object:
        """Write it all."""
        ...


def write_archive(file: Writable, parts: Iterable[Signed]) -> int:
    """Write an archive; how many pieces it has."""
    from gossipsync.core.model import strict

    total, count, last = sha256(), 0, b""

    def write(data: bytes) -> None:
        total.update(data)
        file.write(data)

    def write_frame(*content: object) -> None:
        body = strict.encode(content)
        write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)

    write(MAGIC)
    for certificate, pieces in parts:
        if certificate != last:
            write_frame(_CERTIFICATE, certificate)
            last = certificate
        for piece in pieces:
            write_frame(_PIECE, piece)
            count += 1
    write_frame(_END, count, total.digest())
    return count


def read_archive(file: Readable, most_bytes: int) -> Iterator[Signed]:
    """What an archive holds, up to `most_bytes` of pieces at a time, or one. Raises RemoteError once something is wrong with it."""
    certificate, pieces, size = b"", list[bytes](), 0
    for author, piece in _pieces(file):
        if pieces and (author != certificate or size + len(piece) > most_bytes):
            yield certificate, pieces
            pieces, size = [], 0
        certificate = author
        pieces.append(piece)
        size += len(piece)
    if pieces:
        yield certificate, pieces


def _pieces(file: Readable) -> Iterator[tuple[bytes, bytes]]:
    """Each piece with its author's certificate, in their order; the end of the file is looked at before this ends."""
    from gossipsync.core.model.former import current_piece

    total, count, certificate = sha256(), 0, b""
    magic = _exactly(file, len(MAGIC))
    if magic not in {MAGIC, _FORMER_MAGIC}:
        raise RemoteError(_unreadable(magic))
    total.update(magic)
    while True:
        length, body = _frame(file)
        match _content(body):
            case (int(kind), bytes(shown)) if kind == _CERTIFICATE:
                certificate = shown
            case (int(kind), bytes(piece)) if kind == _PIECE and certificate:
                count += 1
                yield certificate, current_piece(piece) if magic == _FORMER_MAGIC else piece
            case (int(kind), int(told), bytes(digest)) if (
                kind == _END and told == count and digest == total.digest() and not file.read(1)
            ):
                return
            case _:
                raise RemoteError(_DAMAGED)
        total.update(length)
        total.update(body)


def _unreadable(magic: bytes) -> str:
    number = magic.removeprefix(KIND).strip()
    if not magic.startswith(KIND) or not number.isdigit():
        return "this is no archive: name a file that gossipsync dump --archive wrote"
    return (
        f"the archive was written by a newer gossipsync (archive format {int(number)}); this build reads 1 and 2: "
        "upgrade gossipsync here to the version that wrote it"
    )


def _frame(file: Readable) -> tuple[bytes, bytes]:
    length = _exactly(file, _LENGTH_BYTES)
    size = int.from_bytes(length, "big")
    if size > _MAX_FRAME_BYTES:
        raise RemoteError(_DAMAGED)
    return length, _exactly(file, size)


def _exactly(file: Readable, size: int) -> bytes:
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    if len(data) < size:
        raise RemoteError("the archive ends too early: take another copy of it")
    return data


def _content(body: bytes) -> object:
    from gossipsync.core.model import strict

    try:
        return strict.decode(body, 2)
    except strict.MalformedError as error:
        raise RemoteError(_DAMAGED) from error
