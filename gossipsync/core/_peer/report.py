"""What a peer says of itself: status, members, and the details that operators ask for. Queries only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from attrs import frozen

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context
from gossipsync.core._peer.forks import Forks
from gossipsync.core._peer.introductions import Introductions
from gossipsync.core._peer.lagging import Lag
from gossipsync.core._peer.lives import Lives
from gossipsync.core._peer.rounds import Rounds
from gossipsync.core._peer.setback import Setback
from gossipsync.core._peer.standing import Standing
from gossipsync.core.model.bundle import FROZEN
from gossipsync.core.model.ids import Epoch, epoch_of, peer_of, peer_text
from gossipsync.core.model.reasons import Reason, WarningCode

_SHRUNK_SHOWN_MS = 24 * 3_600_000
"""Age of an evicted member's last presence, in ms, up to which its absence makes a majority doubtful."""
_SPLIT_SHOWN_S = 600.0
"""Time after the return of evicted members for which `split-risk` is shown, in seconds."""
_HALF = 2
"""Evicted members that come back at once, from which on they may have been a mesh of their own: one alone yields."""
_PERCENTILES = (50, 99)
_REASONS = frozenset(map(str, Reason)) - {
    Reason.HELD
}  # to get a thing twice is no refusal of anybody


@frozen
class BucketStatus:
    """One bucket, as `status` shows it."""

    name: str
    kind: str
    keys: int
    tombstones: int
    bytes: int
    origins: int
    fingerprint: str


@frozen
class PeerStatus:
    """This peer, as `status` shows it; attributes equal the JSON keys of the command line."""

    name: str
    peer_id: str
    address: str | None
    network_id: str
    epoch: str
    state: str
    uptime_s: float
    version: str
    members: dict[str, int]
    buckets: tuple[BucketStatus, ...]
    lag_s: dict[str, float | None]
    clock_offset_ms: int | None
    traffic: dict[str, int]
    rejected: dict[str, int]
    warnings: tuple[str, ...]
    last_round_s: float | None
    """Seconds since this peer last talked with a partner."""
    has_seeds: bool
    store_failure: str | None
    """Why the store did not take the last commit, and what to do; None where it did."""
    start_waits_expired: int
    """Whether reads were served before this peer was ready, because `start_wait` was over: 0 or 1."""
    incompatible: tuple[object, ...] = ()
    """Members that speak no protocol of ours and were met of late; the driver knows them, the core does not."""


@frozen
class MemberStatus:
    """One member, as `members` shows it."""

    name: str
    peer_id: str
    address: str | None
    zone: str | None
    state: str
    epoch: str | None
    last_seen_s: float | None
    behind: int | None


class Report:
    """Answers about one peer."""

    def __init__(
        self,
        ctx: Context,
        standing: Standing,
        introductions: Introductions,
        rounds: Rounds,
        commits: Commits,
        lives: Lives,
        health: Callable[[], dict[str, int]],
        setback: Setback,
        forks: Forks,
        lag: Lag,
    ) -> None:
        self._ctx = ctx
        self._standing = standing
        self._introductions = introductions
        self._rounds = rounds
        self._commits = commits
        self._lives = lives
        self._health = health
        self._setback = setback
        self._forks = forks
        self._lag_of_lines = lag

    def status(self) -> PeerStatus:
        """Everything on one screen."""
        ctx, config = self._ctx, self._ctx.config
        states = Counter(member.state for member in ctx.members)
        return PeerStatus(
            name=config.name,
            peer_id=peer_text(ctx.peer_id),
            address=self._introductions.addresses[0] if self._introductions.addresses else None,
            network_id=config.network.hex(),
            epoch=str(epoch_of(ctx.origin)),
            state=self._standing.state,
            uptime_s=ctx.now.mono_s - ctx.started_s,
            version=config.version,
            members={
                "alive": states["alive"] + (self._standing.state != "leaving"),
                "suspect": states["suspect"],
                "down": states["down"],
                "away": states["away"],
            },
            buckets=self._buckets(),
            lag_s=self._lag(),
            clock_offset_ms=self._offset_ms(),
            traffic={
                "sent_bytes": ctx.traffic["sent_bytes"],
                "received_bytes": ctx.traffic["received_bytes"],
            },
            rejected={
                reason: count
                for reason, count in sorted(ctx.counters.items())
                if reason in _REASONS
            },
            warnings=tuple(self.warnings()),
            last_round_s=None
            if self._rounds.last_s is None
            else ctx.now.mono_s - self._rounds.last_s,
            has_seeds=bool(config.seeds),
            store_failure=self._commits.failure,
            start_waits_expired=ctx.counters["start-waits-expired"],
        )

    def _buckets(self) -> tuple[BucketStatus, ...]:
        origins = Counter(log.bucket for log in self._ctx.logs.logs())
        found = []
        for name, replica in sorted(self._ctx.replicas.items()):
            totals = replica.totals(self._ctx.now.wall_ms)
            kind = replica.rules.kind.name.lower()
            found.append(
                BucketStatus(
                    name,
                    kind,
                    len(replica),
                    totals.tombstones,
                    totals.bytes,
                    origins[name],
                    totals.fingerprint,
                )
            )
        return tuple(found)

    def _lag(self) -> dict[str, float | None]:
        lags = sorted(self._ctx.lags_s)
        return {
            f"p{share}": lags[min(len(lags) - 1, len(lags) * share // 100)] if lags else None
            for share in _PERCENTILES
        }

    def _offset_ms(self) -> int | None:
        """By how much the members' clocks, at the median, are ahead of ours; of two medians the one nearer to ours.

        So half of the members are not enough to doubt ourselves: of three peers only the one whose clock is wrong does.
        """
        offsets = sorted(
            link.offset_ms for link in self._ctx.by_peer.values() if link.offset_ms is not None
        )
        middle = offsets[(len(offsets) - 1) // 2 : len(offsets) // 2 + 1]
        return min(middle, key=abs, default=None)

    def warnings(self) -> list[WarningCode]:
        ctx = self._ctx
        offset = self._offset_ms()
        suspect = offset is not None and abs(offset) > ctx.config.max_skew_ms // 2
        found = {
            WarningCode.BEHIND: self._lag_of_lines.is_behind(is_clock_suspect=suspect),
            WarningCode.FORKED: any(
                log.fork is not None and peer_of(log.origin) == ctx.peer_id
                for log in ctx.logs.logs()
            ),
            WarningCode.CLONED: self._lives.is_cloned,
            WarningCode.RESTORED: self._lives.is_restored,
            WarningCode.CLOCK_SUSPECT: suspect,
            WarningCode.CLOCK_SET_BACK: self._setback.is_shown,
            WarningCode.STORE_FAILING: self._commits.failure is not None,
            WarningCode.BUCKET_MISMATCH: bool(ctx.mismatched),
            WarningCode.OVERLOADED: self._commits.is_outrun
            or self._commits.pending_bytes > ctx.config.limits.pending_bytes,
            WarningCode.MAJORITY_SHRUNK: self._is_majority_shrunk(),
            WarningCode.SPLIT_RISK: ctx.directory is None
            and ctx.members.returned_since(ctx.now.mono_s - _SPLIT_SHOWN_S) >= _HALF,
            WarningCode.UNREADY: ctx.is_served_unready and not self._standing.was_ready,
        }
        return [code for code, holds in found.items() if holds]

    def _is_majority_shrunk(self) -> bool:
        """Whether members were dropped from the count by absence, so that a majority of the rest is none of all.

        Both sides of a split that outlasts the horizon do so; each then has a majority of its own.
        """
        ctx = self._ctx
        if ctx.directory is not None:
            return False
        lost = ctx.members.lost_since(ctx.now.wall_ms - _SHRUNK_SHOWN_MS)
        counted = ctx.mesh_size // 2 + 1
        return lost > 0 and 2 * counted <= ctx.mesh_size + lost

    def members(self) -> tuple[MemberStatus, ...]:
        """Every member, this peer first."""
        ctx = self._ctx
        own = MemberStatus(
            ctx.config.name,
            peer_text(ctx.peer_id),
            self._introductions.addresses[0] if self._introductions.addresses else None,
            ctx.config.zone or None,
            "leaving" if self._standing.state == "leaving" else "alive",
            str(epoch_of(ctx.origin)),
            0.0,
            0,
        )
        found = [own]
        for member in sorted(ctx.members, key=lambda member: (member.name, member.peer)):
            if member.state == "left":
                continue
            presence, link = member.presence, ctx.by_peer.get(member.peer)
            heard_s = member.heard_s if link is None else max(member.heard_s, link.heard_s)
            found.append(
                MemberStatus(
                    member.name,
                    peer_text(member.peer),
                    presence.addresses[0] if presence is not None and presence.addresses else None,
                    (presence.zone or None) if presence is not None else None,
                    member.state,
                    None if presence is None else str(presence.epoch),
                    max(0.0, ctx.now.mono_s - heard_s),
                    self._commits.acked_index(member.peer),
                )
            )
        return tuple(found)

    def queues(self) -> dict[str, int]:
        """How much waits where."""
        ctx = self._ctx
        return {
            "pending_bytes": self._commits.pending_bytes,
            "unconfirmed_bytes": self._commits.backlog.size_bytes,
            "early_bytes": ctx.fetcher.early_bytes,
            "lines_behind": ctx.fetcher.lines_behind,
            "bundles_behind": ctx.fetcher.bundles_behind(),
            "link_queue_bytes": max((link.queued_bytes for link in ctx.links.values()), default=0),
            "links": len(ctx.links),
        }

    def gossip_info(self) -> dict[str, object]:
        """Vectors, heads, links and queues, as plain JSON-able values."""
        ctx = self._ctx
        return {
            "peer_id": peer_text(ctx.peer_id),
            "epoch": str(epoch_of(ctx.origin)),
            "digest": ctx.logs.lines.digest().hex(),
            "vector": [
                {
                    "bucket": line.bucket,
                    "peer_id": peer_text(peer_of(line.origin)),
                    "epoch": str(epoch_of(line.origin)),
                    "index": line.index,
                    "head": line.head.hex(),
                    "hlc": str(line.hlc),
                    "stored": self._commits.stored(line.key),
                }
                for line in sorted(ctx.logs.lines)
                if line.index < FROZEN
            ],
            "forks": [
                {
                    "bucket": proof.key[0],
                    "peer_id": peer_text(peer_of(proof.key[1])),
                    "epoch": str(epoch_of(proof.key[1])),
                    "index": proof.index,
                    "valid_to": str(proof.cut(ctx.config.max_skew_ms)),
                    "proof": proof.hash.hex(),
                }
                for proof in self._forks.proofs
            ],
            "links": [
                {
                    "peer_id": peer_text(link.peer),
                    "name": link.name,
                    "epoch": str(Epoch(link.epoch)),
                    "is_dialer": link.is_dialer,
                    "protocol": link.protocol,
                    "heard_s": ctx.now.mono_s - link.heard_s,
                    "queued_bytes": link.queued_bytes,
                    "asking_budget_bytes": ctx.fetcher.budget(link.id).size_bytes,
                    "giving_budget_bytes": link.giving.size_bytes,
                    "budget_cuts": ctx.fetcher.budget(link.id).cuts + link.giving.cuts,
                    "sent_bytes": link.sent_bytes,
                    "received_bytes": link.received_bytes,
                    "clock_offset_ms": link.offset_ms,
                    "lines_behind": len(link.goals),
                }
                for link in sorted(ctx.by_peer.values(), key=lambda link: link.peer)
            ],
            "health": self._health(),
            "queues": self.queues(),
            "drops": {
                "pushes_skipped": ctx.counters["push-skipped"],
                "answers_late": ctx.fetcher.answers_late,
                "early_dropped": ctx.fetcher.early_dropped,
                "backlogs_forgiven": ctx.counters["backlog-forgiven"],
                "covered_forgotten": ctx.counters["covered-forgotten"],
                "looks_failed": ctx.counters["looks-failed"],
                "looks_too_large": ctx.counters["look-limit"],
                "shown_late": ctx.counters["look-stale"],
                "stored_dropped": ctx.counters["stored-dropped"],
                "forks_dropped": ctx.counters["forks-dropped"],
            },
            "start_waits_expired": ctx.counters["start-waits-expired"],
            "restored_bundles": ctx.counters["restored-bundles"],
            "store_rewrites": ctx.counters["store-rewrites"],
            "restamped_entries": ctx.counters["restamped"],
            "taken_back_entries": ctx.counters["taken-back"],
            "traffic": dict(sorted(ctx.traffic.items())),
        }
