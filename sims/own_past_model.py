"""Model of early writes: when a peer's write may be written again over another write of the same key (`core/_peer/early.py`).

`own_past_model.py SEEDS [RULE,RULE|all|none]`. One register, written by several lives of one peer (restarts from old stores,
copies that run at once, clocks that are wrong or stepped) and by one other peer; two members that links reach or not. No crypto, no
wire, no logs: a write knows the writes that its writer had seen. Stamps are hybrid logical clocks of one tick a step. Each rule can be
left out, to see which invariant needs it. `claims` has one gap, which `clock` closes: a copy of a store that held early
writes knows these without any member.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

RULES = {
    "claims": "only over writes that members had when a write of this life first left it: these cannot know it",
    "clock": "only over writes that are older by the members' clocks",
    "beside": "never over writes of a life that says that it goes on, and it gets time to say so",
    "least": "the new stamp is the least that beats the past, not one of now",
}
KEYS = 12
PATIENCE = 6
"""Steps from the first contact for which another life is given time to show itself."""


@dataclass(frozen=True)
class Write:
    """One write, or the same one again under another stamp."""

    stamp: int
    life: int
    number: int
    key: int
    knew: frozenset[int]
    over: Write | None = None
    """The write whose place it has taken."""

    @property
    def rank(self) -> tuple[int, int, int]:
        return (self.stamp, self.life, self.number)


@dataclass
class Life:
    """One run. Life 0 is the other peer; it has no past."""

    number: int
    skew: int
    is_up: bool = True
    seen: set[Write] = field(default_factory=set)
    early: list[Write] = field(default_factory=list)
    claims: set[Write] | None = None
    met_at: int | None = None
    beside: set[int] = field(default_factory=set)
    last: int = 0


@dataclass
class Member:
    """A member: what it has, and which lives it has heard to know which others."""

    seen: set[Write] = field(default_factory=set)
    heard: set[int] = field(default_factory=set)
    words: set[tuple[int, int]] = field(default_factory=set)
    """(life, another that it has heard of)."""


class World:
    """One seed."""

    def __init__(self, seed: int, rules: Collection[str]) -> None:
        self.random, self.rules, self.now = random.Random(seed), rules, 1000
        self.members = [Member(), Member()]
        self.lives = [Life(0, 0), Life(1, 0)]
        self.stores: list[set[Write]] = [set()]
        self.cut: set[tuple[int, int]] = set()
        self.whole_since = self.now
        self.numbers = 0
        self.faults: Counter[str] = Counter()
        self.restated: list[Write] = []

    # -- what peers do ---------------------------------------------------------------------------------------

    @staticmethod
    def of(key: int, writes: Collection[Write]) -> list[Write]:
        return [write for write in writes if write.key == key]

    def stamp(self, life: Life) -> int:
        newest = max((write.stamp for write in life.seen), default=0)
        life.last = max(life.last + 1, newest + 1, self.now + life.skew)
        return life.last

    def write(self, life: Life) -> None:
        self.numbers += 1
        knew = frozenset(write.number for write in life.seen)
        write = Write(
            self.stamp(life), life.number, self.numbers, self.random.randrange(KEYS), knew
        )
        life.seen.add(write)
        if life.number and life.met_at is None:
            life.early.append(write)

    def meet(self, life: Life, member: Member) -> None:
        """One exchange: both have the same afterwards; before it, what the member has cannot know this life's first words."""
        if life.claims is None:
            life.claims = {write for write in member.seen if write.life} | life.seen
        if life.number:
            for other in member.heard - {life.number, 0}:
                member.words.add((life.number, other))
            life.beside |= {one for one, other in member.words if other == life.number}
            member.heard.add(life.number)
        member.seen |= life.seen
        life.seen |= member.seen
        if life.met_at is None:
            life.met_at = self.now

    def settle(self, life: Life) -> None:
        """Write again the early writes that have lost to a past."""
        if life.met_at is None or self.now - life.met_at < PATIENCE * ("beside" in self.rules):
            return
        for write in life.early:
            winner = max(self.of(write.key, life.seen), key=lambda one: one.rank)
            if winner.rank <= write.rank or winner.life in (0, life.number):
                continue
            if self.may_replace(life, write, winner):
                self.restate(life, write, winner)
        life.early.clear()

    def may_replace(self, life: Life, write: Write, past: Write) -> bool:
        rules = self.rules
        return not (
            ("claims" in rules and past not in (life.claims or ()))
            or ("beside" in rules and past.life in life.beside)
            or ("clock" in rules and past.stamp > write.stamp - life.skew)
        )

    def restate(self, life: Life, write: Write, past: Write) -> None:
        stamp = past.stamp + 1 if "least" in self.rules else self.stamp(life)
        life.last = max(life.last, stamp)
        again = Write(stamp, life.number, write.number, write.key, write.knew, past)
        life.seen.add(again)
        self.restated.append(again)
        self.judge(life, again, past)

    # -- faults ----------------------------------------------------------------------------------------------

    def start(self, store: set[Write]) -> None:
        life = Life(len(self.lives), self.random.choice((0, -1, -5, -30, -30, 3)))
        life.seen = set(store)
        self.lives.append(life)
        if self.random.random() < 0.7:  # alone at first: what it writes is early
            self.cut |= {(life.number, 0), (life.number, 1)}

    def strike(self) -> None:
        draw, ours = self.random.random(), [life for life in self.lives[1:] if life.is_up]
        if draw < 0.25 and ours:
            self.stores.append(set(self.random.choice(ours).seen))  # an image
        elif draw < 0.45 and ours:
            self.random.choice(ours).is_up = False
        elif draw < 0.7 and len(ours) < 3:
            self.start(
                self.random.choice(self.stores[-4:])
            )  # a restart of an old store, or a clone of one that runs
        elif draw < 0.8 and ours:
            life = self.random.choice(ours)
            if life.met_at is None:
                life.skew += self.random.choice((-10, 10))
        else:
            self.cut = {
                (life.number, member)
                for life in self.lives
                for member in (0, 1)
                if self.random.random() < 0.3
            }
            if self.random.random() < 0.6:
                self.cut = set()
            self.whole_since = self.now

    def step(self) -> None:
        self.now += 1
        if self.random.random() < 0.25:
            self.strike()
        for life in self.lives:
            if not life.is_up:
                continue
            if self.random.random() < 0.3:
                self.write(life)
            for number, member in enumerate(self.members):
                if (life.number, number) not in self.cut and self.random.random() < 0.5:
                    self.meet(life, member)
            self.settle(life)
        if not self.cut and self.random.random() < 0.5:  # members compare, too
            first, second = self.members
            for name in ("seen", "heard", "words"):
                both = getattr(first, name) | getattr(second, name)
                setattr(first, name, set(both))
                setattr(second, name, both)

    # -- invariants ------------------------------------------------------------------------------------------

    def judge(self, life: Life, again: Write, past: Write) -> None:
        if again.number in past.knew:
            self.faults["a write that knew it is beaten"] += 1
        everywhere = {write for each in self.lives for write in each.seen}
        for other in self.of(past.key, everywhere):
            # Of equal stamps a hash decides, as between any two writes at once.
            is_between = again.stamp > other.stamp and other.rank > past.rank
            if is_between and other.life != life.number and other.over is None:
                self.faults["beats more than the past"] += 1
        writer = self.lives[past.life]
        if writer.is_up and not self.cut and self.now - self.whole_since > 2 * PATIENCE:
            self.faults["beats a live copy that could speak"] += 1


def run(seed: int, rules: Collection[str], steps: int = 160) -> Counter[str]:
    """The faults of one world."""
    world = World(seed, rules)
    for _ in range(steps):
        world.step()
    world.faults["written again"] = len(world.restated)
    return world.faults


def main(arguments: list[str]) -> int:
    """Run seeds; 1 if an invariant broke."""
    chosen = arguments[1] if len(arguments) > 1 else "all"
    rules = list(RULES) if chosen == "all" else [] if chosen == "none" else chosen.split(",")
    total: Counter[str] = Counter()
    for seed in range(int(arguments[0])):
        total += run(seed, rules)
    sys.stdout.write(f"{dict(total)}\n")
    return 1 if set(total) - {"written again"} else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
