"""Model of joining from sources of which some are false: no crypto, no wire, one joiner, one question a tick.

Members hold entries below a vector. An honest member answers a question with a page of its entries, quickly or slowly. A false one
does one of these: nothing; pages that it has shown; new entries of its own for ever; a complete answer that leaves entries out; it
hangs up. Every answer is an entry that its writer signed, so a false member can withhold and not invent.

The rules under test: one run at a time takes a snapshot of its source's vector; pages may come from any member; the run completes,
and moves the joiner's vector to the snapshot, only after the source itself has compared everything. A source that brought nothing
rests, twice as long each time, and is asked after all others. A run that another member waits behind ends after TURN ticks.

Invariants: (safe) whatever the joiner's vector covers after a run with an honest source is here; a run cut short moves nothing.
(live) with one honest source the joiner completes a run with it within `bound(members)` ticks.

    python sims/sources_model.py [SEEDS] [--without rest|turn|source]

Without any one of the rules an invariant breaks: `rest` (false sources are not moved back), `turn` (runs are not cut), `source` (a run
completes when the pages have come, though the source has compared nothing).
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field

PATIENCE, BARREN, TURN, REST, LONGEST_REST = 10, 30, 60, 30, 960
PAGE, SLOW = 20, 5
RULES = frozenset({"rest", "turn", "source"})
LIES = ("silent", "repeats", "writes", "leaves out", "hangs up")


@dataclass
class Member:
    """A source: honest where `lie` is None; each answer takes `slow` ticks."""

    number: int
    lie: str | None
    slow: int
    entries: list[int]
    failures: int = 0
    rests_until: int = -1
    turn: int = 0

    def page(self, held: set[int], tick: int) -> list[int] | None:
        """An answer: entries that the asker lacks; None for none. An honest last page is empty."""
        match self.lie:
            case "silent" | "hangs up":
                return None
            case "repeats":
                return self.entries[:PAGE]
            case "writes":
                return [-1000 * tick - self.number - 1]
            case "leaves out":
                return []
            case _:
                return [entry for entry in self.entries if entry not in held][:PAGE]


@dataclass
class Joiner:
    """The state that is built up, over all runs."""

    held: set[int] = field(default_factory=set)
    vector: int = 0
    """Entries 1 … vector are covered."""
    completed: list[Member] = field(default_factory=list)


@dataclass
class World:
    """One joiner and its sources."""

    members: list[Member]
    rng: random.Random
    rules: frozenset[str]
    joiner: Joiner = field(default_factory=Joiner)
    tick: int = 0

    def chosen(self) -> Member:
        """The source of the next run: those that rest last, then the one that has waited longest."""

        def order(member: Member) -> tuple[int, int]:
            rests = max(0, member.rests_until - self.tick) if "rest" in self.rules else 0
            # Without rests the member that is asked first answers first, and is needed again first.
            return rests, member.turn if "rest" in self.rules else member.number

        return min(self.members, key=order)

    def run(self) -> None:
        """One run with one source, and pages from others beside it."""
        source = self.chosen()
        source.turn = self.tick
        began = useful = self.tick
        brought, last = 0, source.entries[-1]
        others = [one for one in self.members if one is not source and one.rests_until <= self.tick]
        for other in self.rng.sample(others, min(3, len(others))):
            self.take(other.page(self.joiner.held, self.tick) or [])
        while True:
            if source.lie == "hangs up":
                self.tick += 1
                return self.failed(source, brought)
            page = source.page(self.joiner.held, self.tick)
            self.tick += PATIENCE if page is None else source.slow
            if page is None:
                return self.failed(source, brought)
            came = self.take(page)
            brought += came
            useful = self.tick if came else useful
            missing = [entry for entry in source.entries if entry not in self.joiner.held]
            is_compared = not page and (source.lie is not None or not missing)
            if "source" not in self.rules and not missing[PAGE:]:
                is_compared = True  # "enough has come": nothing was compared with the source
            if is_compared:
                # A source that leaves entries out proves no line: the vector stays.
                if source.lie is None:
                    self.joiner.vector = max(self.joiner.vector, last)
                    self.joiner.completed.append(source)
                else:
                    self.failed(source, brought)
                return None
            if not came:
                return self.failed(source, brought)
            if "turn" in self.rules and (self.tick - began > TURN or self.tick - useful > BARREN):
                return None
            if self.tick - began > 40 * TURN:
                return None  # the model has seen enough of this run

    def take(self, page: list[int]) -> int:
        fresh = set(page) - self.joiner.held
        self.joiner.held |= fresh
        return len(fresh)

    def failed(self, source: Member, brought: int) -> None:
        if not brought:
            source.failures += 1
            rest = min(LONGEST_REST, REST * 2 ** (source.failures - 1))
            source.rests_until = self.tick + rest


def bound(members: list[Member]) -> int:
    """Ticks in which one honest source has surely had its turns: each member before it costs a turn, once for each of its own."""
    honest = [member for member in members if member.lie is None]
    work = max(len(member.entries) * member.slow // PAGE for member in honest)
    turns = 1 + work // TURN
    return (turns + 1) * (TURN + BARREN) * len(members) + work + 2 * TURN


def world(seed: int, rules: frozenset[str] = RULES) -> World:
    """Two to eight members, one of them honest at least, in any order."""
    rng = random.Random(seed)
    total = rng.randrange(1, 600)
    count = rng.randrange(2, 9)
    honest = rng.randrange(1, count)
    members = []
    for number in range(count):
        lie = None if number < honest else rng.choice(LIES)
        members.append(Member(number, lie, rng.randrange(1, SLOW + 1), list(range(1, total + 1))))
    rng.shuffle(members)
    for number, member in enumerate(members):
        member.number = number
    return World(members, rng, rules)


def violations(seed: int, rules: frozenset[str] = RULES) -> list[str]:
    """What went wrong in one world."""
    it = world(seed, rules)
    limit = bound(it.members)
    while not it.joiner.completed and it.tick <= limit:
        before = it.joiner.vector
        it.run()
        if it.joiner.vector > before and not it.joiner.completed:
            return [f"seed {seed}: the vector moved without a completed run"]
    found = []
    if not set(range(1, it.joiner.vector + 1)) <= it.joiner.held:
        found.append(f"seed {seed}: the vector covers entries that are not here")
    if not it.joiner.completed:
        found.append(f"seed {seed}: no run was completed in {limit} ticks")
    return found


def main(arguments: list[str]) -> int:
    """Run so many seeds; 1 if an invariant broke."""
    rules = RULES
    if "--without" in arguments:
        at = arguments.index("--without")
        rules = RULES - {arguments[at + 1]}
        del arguments[at : at + 2]
    seeds = int(arguments[0]) if arguments else 1000
    found = [line for seed in range(seeds) for line in violations(seed, rules)]
    print("\n".join(found[:10]))
    print(f"{len(found)} violations in {seeds} seeds")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
