"""The peer: a state machine composed of replication, membership and wire."""

from gossipsync.core._peer.answering import Place
from gossipsync.core._peer.carrying import Cargo
from gossipsync.core._peer.links import LinkPeer
from gossipsync.core._peer.looking import Sight, outline_of
from gossipsync.core._peer.peer import Peer
from gossipsync.core._peer.report import BucketStatus, MemberStatus, PeerStatus
from gossipsync.core._peer.versions import Version
from gossipsync.core._peer.writing import Written

__all__ = [
    "BucketStatus",
    "Cargo",
    "LinkPeer",
    "MemberStatus",
    "Peer",
    "PeerStatus",
    "Place",
    "Sight",
    "Version",
    "Written",
    "outline_of",
]
