"""Flow Gossip in the paper's own setting: what a limited message does to staleness, with and without flow control.

After van Renesse, Dumitriu, Gough, Thomas, "Efficient Reconciliation and Flow Control for Anti-Entropy Protocols" (LADIS 2008).
Independent of gossipsync: participants own keys and overwrite them; only the newest value of a key counts, so a later update
makes an earlier one needless; a message carries so many deltas and no more. Three ways to choose them:

- precise: any key on which the two differ, oldest writes first;
- newest: any key on which the two differ, newest writes first (which a log without gaps cannot do);
- depth: of each participant in the order of versions, whoever has most to give first (scuttle-depth);
- breadth: of each participant in the order of versions, one of each in turn (scuttle-breadth).

The rate of updates is low, then too high from round 15 to 75, then low again. With flow control each participant has a rate of its
own: a message that overflows cuts it, one that does not adds to it, and partners meet half way.

    python sims/flow_model.py
"""

from __future__ import annotations

import argparse
from bisect import bisect_right

import numpy as np

ORDERS = ("precise", "newest", "depth", "breadth")
_EXACT = ("precise", "newest")
OVERLOAD = (15, 75)
END = 135
CUT, MORE, WAY = 0.75, 0.01, 0.5


class Mesh:
    """What every participant holds of everybody's keys."""

    def __init__(self, size: int, keys: int, room: int, order: str, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.size, self.keys, self.room, self.order = size, keys, room, order
        self.versions = np.zeros((size, size, keys), dtype=np.int32)
        """versions[p, r, k]: which version of r's key k participant p holds."""
        self.next = np.zeros(size, dtype=np.int32)
        self.times: list[list[int]] = [[0] for _ in range(size)]
        """When each version of each participant was written."""
        self.history: list[list[list[int]]] = [[[] for _ in range(keys)] for _ in range(size)]
        """The versions that each key had."""
        self.rates = np.full(size, 0.5)
        self.allowances = np.zeros(size)
        self.updates = 0

    def write(self, participant: int, now: int) -> None:
        """One more version of a random key."""
        self.next[participant] += 1
        key = self.rng.integers(self.keys)
        self.versions[participant, participant, key] = self.next[participant]
        self.times[participant].append(now)
        self.history[participant][key].append(int(self.next[participant]))
        self.updates += 1

    def send(self, source: int, target: int) -> bool:
        """One message; True if not all fitted."""
        theirs = self.versions[target]
        if self.order in _EXACT:
            lacking = self.versions[source] > theirs
        else:
            lacking = self.versions[source] > theirs.max(axis=1)[:, None]
        owners, keys = np.nonzero(lacking)
        if not len(owners):
            return False
        chosen = self._chosen(owners, self.versions[source][owners, keys])[: self.room]
        theirs[owners[chosen], keys[chosen]] = self.versions[source][owners[chosen], keys[chosen]]
        return len(owners) > self.room

    def _chosen(self, owners: np.ndarray, versions: np.ndarray) -> np.ndarray:
        if self.order in _EXACT:
            written = np.array([self.times[o][v] for o, v in zip(owners, versions, strict=True)])
            first = written if self.order == "precise" else -written
            return np.lexsort((self.rng.random(len(owners)), first))
        luck = self.rng.random(self.size)[owners]
        by_owner = np.lexsort((versions, owners))
        first = np.searchsorted(owners[by_owner], owners[by_owner])
        ranks = np.empty(len(owners), dtype=np.int64)
        ranks[by_owner] = np.arange(len(owners)) - first
        if self.order == "breadth":
            return np.lexsort((luck, ranks))
        counts = np.bincount(owners, minlength=self.size)[owners]
        return np.lexsort((ranks, luck, -counts))

    def round(self, now: int, wanted: float, *, is_controlled: bool) -> None:
        """Everybody writes, then everybody gossips with somebody."""
        rates = np.minimum(wanted, self.rates) if is_controlled else np.full(self.size, wanted)
        self.allowances += rates
        for participant in range(self.size):
            while self.allowances[participant] >= 1:
                self.allowances[participant] -= 1
                self.write(participant, now)
        for one in self.rng.permutation(self.size):
            other = (one + 1 + self.rng.integers(self.size - 1)) % self.size
            is_full = self.send(one, other) | self.send(other, one)
            if is_controlled:
                self._adapt(one, other, is_full=is_full)

    def _adapt(self, one: int, other: int, *, is_full: bool) -> None:
        pair = self.rates[[one, other]]
        pair = WAY * pair + (1 - WAY) * pair.mean()
        self.rates[[one, other]] = pair * CUT if is_full else pair + MORE

    def stale(self, now: int) -> tuple[float, int]:
        """The share of held values that are out of date, and the age of the oldest update that anybody lacks."""
        newest = self.versions[np.arange(self.size), np.arange(self.size)]
        is_stale = self.versions < newest
        least = self.versions.min(axis=0)
        oldest = now
        for owner, key in zip(*np.nonzero(is_stale.any(axis=0)), strict=True):
            versions = self.history[owner][key]
            missed = versions[bisect_right(versions, least[owner, key])]
            oldest = min(oldest, self.times[owner][missed])
        return float(is_stale.mean()), now - oldest


def run(given: argparse.Namespace, order: str, *, is_controlled: bool) -> dict[str, float]:
    """One run of all three phases."""
    mesh = Mesh(given.participants, given.keys, given.room, order, given.seed)
    capacity = given.room * 2 / given.participants
    seen: dict[str, float] = {}
    for now in range(1, END + 1):
        is_over = OVERLOAD[0] <= now < OVERLOAD[1]
        wanted = capacity * (given.over if is_over else given.under)
        mesh.round(now, wanted, is_controlled=is_controlled)
        if now in (OVERLOAD[0] - 1, (OVERLOAD[0] + OVERLOAD[1]) // 2, OVERLOAD[1] - 1, END):
            share, age = mesh.stale(now)
            seen |= {f"share@{now}": share, f"age@{now}": age}
    return seen | {"updates": mesh.updates}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--participants", type=int, default=48)
    parser.add_argument("--keys", type=int, default=64)
    parser.add_argument("--room", type=int, default=48, help="deltas a message")
    parser.add_argument("--under", type=float, default=0.3, help="of what messages could carry")
    parser.add_argument("--over", type=float, default=1.5, help="of what messages could carry")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    moments = (OVERLOAD[0] - 1, (OVERLOAD[0] + OVERLOAD[1]) // 2, OVERLOAD[1] - 1, END)
    print("stale values in %, and the age of the oldest update missing anywhere, at round")
    print(f"{'order':>8} {'control':>8} {'updates':>8} " + "".join(f"{m:>14}" for m in moments))
    for is_controlled in (False, True):
        for order in ORDERS:
            seen = run(given, order, is_controlled=is_controlled)
            cells = (
                f"{100 * seen[f'share@{m}']:.1f} % {seen[f'age@{m}']:>3.0f} s" for m in moments
            )
            print(
                f"{order:>8} {'yes' if is_controlled else 'no':>8} {seen['updates']:>8.0f} "
                + "".join(f"{cell:>14}" for cell in cells)
            )


if __name__ == "__main__":
    main()
