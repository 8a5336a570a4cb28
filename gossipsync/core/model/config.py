"""The settings of one core peer, already validated: durations as numbers, no files, no environment."""

from __future__ import annotations

from attrs import Attribute, field, frozen

from gossipsync.core.model.ids import NetworkId
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.text import MAX_NAME_BYTES, MAX_SOFTWARE_BYTES, is_clean_text


def _check_text(_instance: object, attribute: Attribute[str], text: str) -> None:
    """Other peers refuse a hello or presence with another text, so that this one would be alone."""
    max_bytes = MAX_SOFTWARE_BYTES if attribute.name == "version" else MAX_NAME_BYTES
    if not is_clean_text(text, max_bytes, may_be_empty=attribute.name != "name"):
        raise ValueError(f"{attribute.name}: at most {max_bytes} bytes of text without controls")


@frozen
class PeerConfig:
    """What one peer is told at its start."""

    network: NetworkId
    name: str = field(validator=_check_text)
    version: str = field(default="0", validator=_check_text)
    addresses: tuple[str, ...] = ()
    """What others are told to dial ("host:port"); empty when nothing listens."""
    seeds: tuple[str, ...] = ()
    """Where to look for the mesh, as configured; the driver resolves names."""
    zone: str = field(default="", validator=_check_text)
    gossip_interval_s: float = 1.0
    fanout: int = 1
    """Partners a round."""
    max_skew_ms: int = 60_000
    horizon_ms: int = 3_600_000
    push: bool = True
    """Send fresh bundles at once, not only in exchanges."""
    probe_interval_s: float = 1.0
    """How often to look whether linked members live; what a probe waits for is a share of it."""
    round_jitter: float = 0.2
    """Share of the interval by which rounds vary, so that peers do not march in step."""
    full_mesh: int = 12
    """Up to this many members, self included, all are linked."""
    view: int | None = None
    """Links kept in a larger mesh; None: about log2 N + 2."""
    ordering: str = "mixed"
    """Order of bundles in a delta: "mixed" (small logs first, then round-robin), "depth", "breadth" or "precise" (oldest first)."""
    token_key: bytes = field(default=bytes(32), repr=False)
    """The network's key for MACs of tokens."""
    limits: Limits = Limits()
