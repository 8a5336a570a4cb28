"""The sans-IO core: no clock, entropy, socket, file, thread or log line of its own."""

from gossipsync.core._peer import (
    BucketStatus,
    Cargo,
    LinkPeer,
    MemberStatus,
    Peer,
    PeerStatus,
    Place,
    Sight,
    Version,
    Written,
    outline_of,
)
from gossipsync.core.model.bucket import BucketRules, Deletes, Kind
from gossipsync.core.model.config import PeerConfig
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.now import Now
from gossipsync.core.replication.changes import ChangeLog
from gossipsync.core.replication.draft import NO_EXPIRY, Draft
from gossipsync.core.replication.replica import Replica
from gossipsync.core.replication.three_way import merge_changes
from gossipsync.core.replication.tokens import Token
from gossipsync.core.replication.views import Provenance
from gossipsync.core.wire.looking import Aspect

__all__ = [
    "NO_EXPIRY",
    "Aspect",
    "BucketRules",
    "BucketStatus",
    "Cargo",
    "ChangeLog",
    "Deletes",
    "Draft",
    "Kind",
    "Limits",
    "LinkPeer",
    "MemberStatus",
    "Now",
    "Peer",
    "PeerConfig",
    "PeerStatus",
    "Place",
    "Provenance",
    "Replica",
    "Sight",
    "Token",
    "Version",
    "Written",
    "merge_changes",
    "outline_of",
]
