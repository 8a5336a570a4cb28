"""Stable codes: why something was refused, and what an operator is warned of. Each refusal has a counter of its code."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why bytes, a bundle or a message were refused."""

    MALFORMED = "malformed"
    OVERSIZE = "oversize"
    NETWORK = "network"
    RIGHTS = "rights"
    NO_CREDENTIAL = "no-credential"
    KEY = "key"
    RATE = "rate"
    HELD = "held"
    COVERED = "covered"
    GAP = "gap"
    SIGNATURE = "signature"
    CHAIN = "chain"
    FORK = "fork"
    MERKLE = "merkle"
    SKEW = "skew"
    STALE = "stale"
    UNSOLICITED = "unsolicited"
    LIMIT = "limit"
    CREDENTIAL = "credential"


SENDERS_FAULT = frozenset(
    {
        Reason.MALFORMED,
        Reason.OVERSIZE,
        Reason.NETWORK,
        Reason.SIGNATURE,
        Reason.MERKLE,
        Reason.KEY,
        Reason.CREDENTIAL,
    }
)
"""Faults that the sender alone can have made: an honest relay verifies before it passes on."""


class WarningCode(StrEnum):
    """What `status` warns of."""

    BEHIND = "behind"
    FORKED = "forked"
    CLONED = "cloned"
    RESTORED = "restored"
    CLOCK_SUSPECT = "clock-suspect"
    CLOCK_SET_BACK = "clock-set-back"
    STORE_FAILING = "store-failing"
    BUCKET_MISMATCH = "bucket-mismatch"
    OVERLOADED = "overloaded"
    MAJORITY_SHRUNK = "majority-shrunk"
    SPLIT_RISK = "split-risk"
    UNREADY = "unready"
    INCOMPATIBLE = "incompatible"
