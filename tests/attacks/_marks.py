"""What must hold after any attack: the law that every test of this folder ends with."""

from __future__ import annotations

from collections import Counter

from gossipsync.core.model.reasons import SENDERS_FAULT, Reason
from gossipsync.core.wire.messages import Push
from tests.core._world import Author, Remote, Stage, entry


class Victim(Stage):
    """A peer under attack, with an honest member beside it and some state to protect."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.honest = self.link("honest")
        self.author = Author("honest", wall_ms=self.wall_ms)
        self.put("own", 1)
        self.honest.says(Push((self.author.put("theirs", 2),)))
        self._before = self._state()
        self._counted = self.refused

    def _state(self) -> tuple[object, ...]:
        ctx = self.peer._ctx
        return (
            self.peer.digest,
            self.pairs(),
            ctx.clock.last,
            len(self.disk.rows),
            set(ctx.replicas),
        )

    @property
    def counted(self) -> Counter[str]:
        """Refusals since the attack began."""
        return self.refused - self._counted

    def is_unmoved(self) -> bool:
        """Nothing was merged, stored or remembered, and no clock moved."""
        return self._state() == self._before

    def serves_the_honest(self) -> bool:
        """A fresh bundle of the honest member still arrives over its link, which nobody closed."""
        self.honest.says(Push((self.author.put("after", "the attack"),)))
        return self.honest.hung_up is None and self.pairs()["after"] == "the attack"

    def withstood(self, rogue: Remote, reason: Reason) -> None:
        """Refused by that name alone, the link closed exactly where the sender must be at fault, all else as before."""
        assert set(self.counted) == {reason}
        assert rogue.hung_up == (reason if reason in SENDERS_FAULT else None)
        assert self.is_unmoved()
        assert self.serves_the_honest()


def one_entry(author: Author, key: str = "own", value: object = "stolen") -> list[bytes]:
    """An entry that would win."""
    author.pass_time(1000)
    return [entry(key, value, at=author.tick())]
