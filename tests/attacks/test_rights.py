"""Rights: buckets outside a capability, reading members that write, certificates out of their time, no certificate at all."""

import pytest

from gossipsync.core.model.capability import Capability
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.messages import Credentials, Push
from gossipsync.errors import NotPermittedError, StoreCorruptError
from tests.attacks._marks import Victim, one_entry
from tests.core._world import EVERYTHING, START_MS, Author, Stage, entry

_DAY_MS = 86_400_000


def capability(
    *globs: str, may_write: bool = True, since_ms: int = 0, until_ms: int = 1 << 60
) -> Capability:
    return Capability(globs, may_write=may_write, not_before_ms=since_ms, not_after_ms=until_ms)


@pytest.mark.parametrize(
    "rights",
    [
        capability("other", "c*"),
        capability("B"),
        capability("b", may_write=False),
        capability("b", until_ms=START_MS - 1),
        capability("b", since_ms=START_MS + _DAY_MS),
    ],
    ids=["another bucket", "another case", "may only read", "expired", "not yet valid"],
)
def test_a_write_that_the_certificate_does_not_allow(rights: Capability) -> None:
    victim, author = Victim(), Author("rogue", wall_ms=START_MS)
    rogue = victim.link("rogue", capability=rights)
    rogue.says(Push((author.wrong(one_entry(author)),)))
    victim.withstood(rogue, Reason.RIGHTS)


def test_a_relay_of_what_its_origin_may_not_write_is_not_blamed() -> None:
    victim, author = Victim(), Author("rogue", wall_ms=START_MS)
    victim.honest.says(
        Credentials((victim.authority.issue(author.identity.peer, capability("c")),))
    )
    victim.honest.says(Push((author.wrong(one_entry(author)),)))
    victim.withstood(victim.honest, Reason.RIGHTS)


def test_the_same_author_writes_where_it_may() -> None:
    victim, author = Victim(), Author("rogue", wall_ms=START_MS)
    rogue = victim.link("rogue", capability=capability("c*"))
    rogue.says(Push((author.put("k", 1, "b"), author.put("k", 1, "cats"))))
    assert victim.counted == {Reason.RIGHTS: 1}
    assert victim.pairs("cats") == {"k": 1}


def test_nobody_widens_rights_by_an_older_certificate() -> None:
    victim, author = Victim(), Author("rogue", wall_ms=START_MS)
    rogue = victim.link("rogue", capability=capability("c", until_ms=START_MS + 2 * _DAY_MS))
    wide = victim.authority.issue(
        author.identity.peer, capability("*", until_ms=START_MS + _DAY_MS)
    )
    rogue.says(Credentials((wide,)))
    rogue.says(Push((author.wrong(one_entry(author)),)))
    victim.withstood(rogue, Reason.RIGHTS)


def test_a_certificate_of_another_network_opens_nothing() -> None:
    victim = Victim()
    rogue = victim.link("rogue", credential=b"issued by somebody else")
    assert rogue.hung_up == Reason.CREDENTIAL
    rogue.says(Push((Author("rogue", wall_ms=START_MS).put("k", 1),)))
    assert victim.counted == {Reason.CREDENTIAL: 1}
    assert victim.is_unmoved()
    assert victim.serves_the_honest()


def test_our_own_writes_meet_our_own_rights() -> None:
    stage = Stage(capability=capability("mine"))
    stage.put("k", 1, "mine")
    with pytest.raises(NotPermittedError):
        stage.put("k", 1, "theirs")
    assert stage.pairs("theirs") == {}
    assert stage.pairs("mine") == {"k": 1}


def test_what_was_written_before_a_renewal_stays_valid() -> None:
    """A renewed certificate begins later than what its holder wrote under the former one."""
    stage = Stage()
    author = Author("writer", wall_ms=START_MS)
    writer = stage.link("writer", capability=capability("b", until_ms=START_MS + _DAY_MS))
    bundle = author.put("k", 1)
    writer.says(Push((bundle,)))
    renewed = stage.authority.issue(
        author.identity.peer,
        capability("b", since_ms=START_MS + _DAY_MS // 2, until_ms=START_MS + 9 * _DAY_MS),
    )
    writer.says(Credentials((renewed,)))

    again = Stage(authority=stage.authority, disk=stage.disk.after_crash(), mono_s=60.0)
    assert again.pairs() == {"k": 1}


def test_a_renewal_that_narrows_rights_does_not_lock_us_out_of_our_own_store() -> None:
    stage = Stage()
    author = Author("writer", wall_ms=START_MS)
    writer = stage.link("writer", capability=capability("b", until_ms=START_MS + _DAY_MS))
    writer.says(Push((author.put("k", 1),)))
    narrow = stage.authority.issue(
        author.identity.peer, capability("c", until_ms=START_MS + 9 * _DAY_MS)
    )
    writer.says(Credentials((narrow,)))

    again = Stage(authority=stage.authority, disk=stage.disk.after_crash(), mono_s=60.0)
    assert again.pairs() == {"k": 1}
    writer = again.link("writer", capability=EVERYTHING)
    assert writer.hung_up is None


def test_a_forged_bundle_in_our_store_is_not_loaded() -> None:

    stage = Stage()
    stage.put("k", 1)
    bucket, origin, index, data = stage.disk.rows[0]
    for position in (100, len(data) - 1):
        disk = stage.disk.after_crash()
        flipped = bytearray(data)
        flipped[position] ^= 1
        disk.rows[0] = (bucket, origin, index, bytes(flipped))
        with pytest.raises(StoreCorruptError, match=r"the disk: bundle 1 .*move it aside"):
            Stage(authority=stage.authority, disk=disk)


def test_a_reader_hears_and_is_not_heard() -> None:
    victim, author = Victim(), Author("reader", wall_ms=START_MS)
    reader = victim.link("reader", capability=capability("*", may_write=False)).compares()
    victim.put("k", 1)
    assert len(reader.hears(Push)) == 1
    reader.says(Push((author.wrong([entry("k", 2, at=author.tick())]),)))
    assert victim.pairs()["k"] == 1
    assert victim.counted == {Reason.RIGHTS: 1}
