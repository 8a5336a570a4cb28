"""A mesh in virtual time, one peer on a stage, and the pens with which tests write bundles.

`World` joins N peers by links with latency, cuts, partitions, crashes and disks that lose what was not committed; `Stage` lets a
test speak with one peer as scripted remotes; `Author` signs bundles, honest ones and others; `expected_pairs` says, from logs
alone and in the plainest way, what a replica must show.
"""

from tests.core._world.author import Author, entry
from tests.core._world.authority import (
    EVERYTHING,
    NETWORK,
    OTHER_NETWORK,
    TOKEN_KEY,
    Authority,
    Identity,
    identity,
)
from tests.core._world.disk import Disk, DiskError
from tests.core._world.oracle import expected_pairs, facts_in, facts_of, logs_of, state_faults
from tests.core._world.stage import Remote, Stage
from tests.core._world.world import START_MS, Node, World

__all__ = [
    "EVERYTHING",
    "NETWORK",
    "OTHER_NETWORK",
    "START_MS",
    "TOKEN_KEY",
    "Author",
    "Authority",
    "Disk",
    "DiskError",
    "Identity",
    "Node",
    "Remote",
    "Stage",
    "World",
    "entry",
    "expected_pairs",
    "facts_in",
    "facts_of",
    "identity",
    "logs_of",
    "state_faults",
]
