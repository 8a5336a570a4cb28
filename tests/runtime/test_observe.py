"""What happens is logged, counted and handed on, by one table, bounded and escaped."""

import gc
import logging
from typing import get_args

import pytest

from gossipsync.core.model import events
from gossipsync.core.model.ids import Epoch, LinkId, PeerId, peer_text
from gossipsync.core.model.reasons import Reason
from gossipsync.runtime import observe
from gossipsync.runtime.observe import Observer, SeedUnresolved, escape

PEER = PeerId(bytes(range(32)))


def test_every_event_of_the_core_is_in_the_table() -> None:
    assert set(get_args(events.Event)) <= set(observe._TABLE)
    kinds = [kind for kind, _, _ in observe._TABLE.values()]
    assert len(set(kinds)) == len(kinds)


def test_an_event_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "gossipsync")
    observer = Observer()
    observer.observe(events.LinkOpened(LinkId(1), PEER, "evil\x1b[31m\n"))
    assert observer.tally == {"link-opened": 1}
    ((logger, level, message),) = caplog.record_tuples
    assert (logger, level) == ("gossipsync.link", logging.INFO)
    assert message == f"link-opened link=1 peer={peer_text(PEER)} name=evil\\x1b[31m\\n"


def test_readers_get_plain_fields() -> None:
    observer = Observer()
    subscription = observer.subscribe()
    observer.observe(events.Refused(LinkId(2), None, Reason.SIGNATURE, "x"))
    observer.observe(SeedUnresolved("a:1", "no such name"))
    first, second = subscription.take(), subscription.take()
    assert first is not None
    assert (first.kind, first.fields) == (
        "refused",
        {"link": 2, "peer": None, "reason": "signature", "detail": "x"},
    )
    assert first.at.tzinfo is not None
    assert second is not None
    assert second.kind == "seed-unresolved"
    assert subscription.take() is None
    assert subscription.is_empty


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    observer = Observer()
    subscription = observer.subscribe()
    for epoch in range(1030):
        observer.observe(events.EpochOpened(Epoch(epoch)))
    told, first = subscription.take(), subscription.take()
    assert told is not None
    assert (told.kind, told.fields) == ("events-dropped", {"count": 6})
    assert first is not None
    assert first.fields == {"epoch": 6}


def test_a_reader_that_is_gone_is_forgotten() -> None:
    observer = Observer()
    subscription = observer.subscribe()
    del subscription
    gc.collect()
    observer.observe(events.StoreRecovered())
    assert observer._subscriptions == []


def test_escape() -> None:
    assert escape("a\u202eb\x00\u00e9") == "a\\u202eb\\x00\u00e9"
