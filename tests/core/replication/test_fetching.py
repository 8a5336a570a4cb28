"""Fetching: everything missing is asked for, nothing of one member twice at once, and what waits is bounded."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gossipsync.core.model.bundle import Bundle, parse_bundle
from gossipsync.core.model.ids import LinkId, PeerId
from gossipsync.core.model.limits import Limits
from gossipsync.core.replication.deltas import Span, build_delta
from gossipsync.core.replication.fetching import Fetcher
from gossipsync.core.replication.logs import LogBook
from tests.core._world import NETWORK, START_MS, Author

LIMITS = Limits(span_bundles=4, wanted_lines=8, reassembly_bytes=4_000)
AUTHORS = [Author(f"author {number}", wall_ms=START_MS) for number in range(3)]
LOGS: list[list[bytes]] = [
    [author.put("k", "x" * (number % 3) * 50) for number in range(25)] for author in AUTHORS
]
KEYS = [("b", author.origin) for author in AUTHORS]


def book_of(lengths: list[int]) -> LogBook:
    book = LogBook(NETWORK)
    for log, length in zip(LOGS, lengths, strict=True):
        for data in log[:length]:
            bundle = parse_bundle(data)
            book.append(bundle, bundle.entries(), PeerId(bytes(32)))
    return book


ORDERINGS = ["mixed", "depth", "breadth", "precise"]
_LENGTHS = st.lists(st.integers(0, 25), min_size=3, max_size=3)


@given(_LENGTHS, _LENGTHS, st.integers(0, 3_000), st.sampled_from(ORDERINGS))
def test_a_delta_is_a_gap_free_prefix_at_any_budget(
    have: list[int], lack: list[int], budget: int, ordering: str
) -> None:
    book = book_of(have)
    spans = [Span(*key, first + 1, 99) for key, first in zip(KEYS, lack, strict=True)]
    delta = build_delta(book, spans, budget, ordering)
    bundles = [parse_bundle(data) for _, data in delta]
    missing = sum(max(0, length - first) for length, first in zip(have, lack, strict=True))
    assert bool(bundles) == bool(missing)
    position = dict(zip(KEYS, lack, strict=True))
    for bundle in bundles:
        key = (bundle.header.bucket, bundle.header.origin)
        position[key] += 1
        assert bundle.header.index == position[key]
    assert [origin for origin, _ in delta] == [bundle.header.origin for bundle in bundles]
    size = sum(len(data) for _, data in delta)
    assert size <= budget or len(bundles) == 1
    if len(bundles) < missing:
        assert size + max(len(data) for log in LOGS for data in log) + 200 > budget


def test_mixed_order_sends_short_logs_first() -> None:
    spans = [Span(*KEYS[0], 1, 25), Span(*KEYS[1], 25, 25), Span(*KEYS[2], 1, 25)]
    delta = build_delta(book_of([25, 25, 25]), spans, 1 << 20, "mixed")
    assert [origin for origin, _ in delta[:4]] == [
        AUTHORS[1].origin,
        AUTHORS[0].origin,
        AUTHORS[2].origin,
        AUTHORS[0].origin,
    ]


def test_precise_order_sends_what_was_sealed_first_whosever_it_is() -> None:
    early, late = (Author(f"at {wall_ms}", wall_ms=wall_ms) for wall_ms in (START_MS, START_MS + 5))
    book = LogBook(NETWORK)
    for data in [late.put("k", "x"), early.put("k", "x"), early.put("k", "x")]:
        book.append(parse_bundle(data), (), PeerId(bytes(32)))
    spans = [Span("b", late.origin, 1, 1), Span("b", early.origin, 1, 2)]
    delta = build_delta(book, spans, 1 << 20, "precise")
    assert [origin for origin, _ in delta] == [early.origin, early.origin, late.origin]


class Members:
    """Members that hold prefixes of logs and answer in any order, in part, or never."""

    def __init__(self, holds: list[list[int]], rng: random.Random) -> None:
        self.rng = rng
        self.books = {LinkId(n): book_of(lengths) for n, lengths in enumerate(holds)}
        self.mine = LogBook(NETWORK)
        self.fetcher = Fetcher(self.mine, LIMITS)
        self.asked: dict[int, tuple[LinkId, list[Span]]] = {}
        self.now_s = 0.0

    def compare(self) -> None:
        for link, book in self.books.items():
            for line in book.lines:
                self.fetcher.note(link, line.key, line.index)

    def ask(self) -> None:
        for link, number, spans in self.fetcher.plan(self.now_s):
            assert len(spans) <= LIMITS.wanted_lines
            self.asked[number] = (link, spans)
        open_spans = [span for _, spans in self.asked.values() for span in spans]
        wanted = [(s.key, index) for s in open_spans for index in range(s.first, s.last + 1)]
        assert len(wanted) == len(set(wanted)), "a bundle asked for twice at once"
        for link in self.books:
            assert sum(asked == link for asked, _ in self.asked.values()) <= 2

    def answer(self) -> None:
        number = self.rng.choice(list(self.asked))
        link, spans = self.asked.pop(number)
        delta = build_delta(self.books[link], spans, self.rng.choice((1, 500, 9_999)), "mixed")
        size_bytes = sum(len(data) for _, data in delta)
        assert self.fetcher.answered(link, number, size_bytes, self.now_s) == spans
        for _, data in delta:
            self.take(link, parse_bundle(data))

    def take(self, link: LinkId, bundle: Bundle) -> None:
        key = (bundle.header.bucket, bundle.header.origin)
        if bundle.header.index > self.mine.index(key) + 1:
            self.fetcher.keep_early(link, key, bundle.header.index, bundle.encode())
            assert self.fetcher.early_bytes <= LIMITS.reassembly_bytes
            return
        if bundle.header.index <= self.mine.index(key):
            return
        self.mine.append(bundle, bundle.entries(), PeerId(bytes(32)))
        self.fetcher.moved(key)
        early = self.fetcher.take_early(key)
        if early is not None:
            self.take(early[0], parse_bundle(early[1]))

    def lose(self) -> None:
        link = self.rng.choice(list(self.books))
        self.fetcher.drop_link(link)
        self.asked = {n: asked for n, asked in self.asked.items() if asked[0] != link}
        for line in self.books[link].lines:
            self.fetcher.note(link, line.key, line.index)


@settings(max_examples=60)
@given(st.lists(_LENGTHS, min_size=1, max_size=4), st.integers(0, 1 << 16))
def test_all_that_members_have_arrives_and_nothing_is_asked_twice_at_once(
    holds: list[list[int]], seed: int
) -> None:
    rng = random.Random(seed)
    members = Members(holds, rng)
    members.compare()
    for _ in range(600):
        members.ask()
        if rng.random() < 0.05:
            members.lose()
        elif members.asked:
            members.answer()
        elif members.fetcher.lines_behind == 0:
            break
    expected = [max(lengths[n] for lengths in holds) for n in range(3)]
    assert [members.mine.index(key) for key in KEYS] == expected
    assert members.fetcher.early_bytes == 0
    assert members.fetcher._early == {}
    assert members.fetcher._claims == dict.fromkeys(members.fetcher._claims, 0)
    assert members.fetcher.next_deadline() is None


def test_a_long_log_is_shared_among_members() -> None:
    members = Members([[25, 0, 0]] * 3, random.Random(1))
    members.compare()
    members.ask()
    assert {link for link, _ in members.asked.values()} == {0, 1, 2}
    assert sorted(span[2:] for _, spans in members.asked.values() for span in spans) == [
        (1, 4),
        (5, 8),
        (9, 12),
    ]


def test_what_is_not_answered_in_time_is_asked_of_another() -> None:
    members = Members([[3, 0, 0], [3, 0, 0]], random.Random(1))
    members.compare()
    members.ask()
    ((first, _),) = members.asked.values()
    members.now_s = LIMITS.wanted_span_s
    assert members.fetcher.next_deadline() == LIMITS.wanted_span_s
    assert members.fetcher.expire(members.now_s, lambda link: 0.0) == [first]
    members.fetcher.drop_link(first)
    members.asked.clear()
    members.ask()
    assert [link for link, _ in members.asked.values()] == [1 - first]
