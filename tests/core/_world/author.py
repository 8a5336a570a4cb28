"""Authors sign bundles by hand: the next one of a log, or one that is wrong in exactly one part."""

from __future__ import annotations

from hashlib import sha256

from gossipsync.core.model import strict
from gossipsync.core.model.bucket import Announcement, BucketRules
from gossipsync.core.model.bundle import FORMAT, NO_PREVIOUS, signed_bytes
from gossipsync.core.model.entry import Field, Op, encode_body, encode_entry, leaf_hash
from gossipsync.core.model.hlc import Hlc, hlc_at
from gossipsync.core.model.ids import Epoch, NetworkId, Origin, new_epoch, origin_of
from gossipsync.core.model.values import encode_value
from gossipsync.core.replication.merkle import merkle_root
from tests.core._world.authority import NETWORK, Identity, identity

HEADER_PARTS = (
    *("form", "network", "bucket", "announcement", "peer", "epoch", "index", "previous"),
    *("count", "root", "log_hlc", "control", "encoding"),
)


def entry(
    key: str,
    value: object = None,
    *,
    at: int,
    field: Field = None,
    op: Op = Op.SET,
    expires: int | None = None,
) -> bytes:
    """The bytes of an entry; `at` is a full stamp."""
    data = encode_value(value) if op is Op.SET else None
    return encode_entry(key, field, op, Hlc(at), expires, data)


def stub(data: bytes) -> bytes:
    """The stub of any entry, found without the code under test: a long value is replaced by its hash."""
    value = strict.decode(data, 2)[5]  # type: ignore[index]
    if value is None or len(value) <= 32:
        return data
    return data[: -len(value)] + sha256(value).digest()


class Author:
    """One origin's hand. `bundle()` continues the log of a bucket; `wrong()` does not move it."""

    def __init__(
        self,
        name: str = "rogue",
        *,
        wall_ms: int,
        epoch: Epoch | None = None,
        network: NetworkId = NETWORK,
    ) -> None:
        self.identity: Identity = identity(name)
        self.network = network
        self.epoch = new_epoch(wall_ms, 1) if epoch is None else epoch
        self.origin: Origin = origin_of(self.identity.peer, self.epoch)
        self.announcement = Announcement(BucketRules(), hlc_at(wall_ms))
        self._clock = hlc_at(wall_ms)
        self._heads: dict[str, tuple[int, bytes]] = {}

    def tick(self) -> Hlc:
        self._clock = Hlc(self._clock + 1)
        return self._clock

    def pass_time(self, span_ms: int) -> None:
        """Later stamps are later by so much."""
        self._clock = Hlc(self._clock + (span_ms << 16))

    def put(self, key: str, value: object, bucket: str = "b", **parts: object) -> bytes:
        """The next bundle, with one value in it."""
        return self.bundle([entry(key, value, at=self.tick())], bucket, **parts)

    def bundle(self, entries: list[bytes], bucket: str = "b", **parts: object) -> bytes:
        """The next bundle of a log, any part of it replaced."""
        data, header = self._sealed(entries, bucket, parts)
        index, _ = self._heads.get(bucket, (0, NO_PREVIOUS))
        self._heads[bucket] = (index + 1, sha256(header).digest())
        return data

    def wrong(self, entries: list[bytes], bucket: str = "b", **parts: object) -> bytes:
        """A bundle that is not to be the next."""
        return self._sealed(entries, bucket, parts)[0]

    def _sealed(
        self, entries: list[bytes], bucket: str, parts: dict[str, object]
    ) -> tuple[bytes, bytes]:
        index, head = self._heads.get(bucket, (0, NO_PREVIOUS))
        usual = {
            "form": FORMAT,
            "network": self.network,
            "bucket": bucket,
            "announcement": self.announcement.parts(),
            "peer": self.identity.peer,
            "epoch": self.epoch,
            "index": index + 1,
            "previous": head,
            "count": len(entries),
            "root": None,
            "log_hlc": self._clock,
            "control": 0,
            "encoding": 0,
        }
        body = parts.pop("body", None)
        signature = parts.pop("signature", None)
        signer = parts.pop("signer", self.identity)
        assert isinstance(signer, Identity)
        assert not parts.keys() - usual.keys(), "no such part of a header"
        if "root" not in parts:
            usual["root"] = merkle_root([leaf_hash(stub(data)) for data in entries])
        header = strict.encode([(usual | parts)[part] for part in HEADER_PARTS])
        if signature is None:
            signature = signer.sign(signed_bytes(header))
        if body is None:
            body = encode_body(entries)
        return strict.encode([header, signature, body]), header
