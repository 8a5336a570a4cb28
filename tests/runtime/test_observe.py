"""What happens is logged, counted and handed on, by one table, bounded and escaped."""

import gc
import logging
from typing import get_args

import attrs
import pytest

from gossipsync.core.model import events
from gossipsync.core.model.ids import Epoch, LinkId, PeerId, peer_text
from gossipsync.core.model.reasons import Reason
from gossipsync.runtime import observe
from gossipsync.runtime.observe import Observer, SeedUnresolved, escape, quoted

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
    assert message == f'link-opened link=1 peer={peer_text(PEER)} name="evil\\x1b[31m\\n"'


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


FORGERIES = {
    "b state=down": '"b state=down"',
    'b" state="down': '"b\\" state=\\"down"',
    "b\\": '"b\\\\"',
    "b\nlink-closed link=1": '"b\\nlink-closed link=1"',
    "b\u2028state=down": '"b\\u2028state=down"',
    "": '""',
    "b=c": '"b=c"',
    "b\u00a0c": '"b\\xa0c"',
    "host-1.example:7946": "host-1.example:7946",
    "Zürich": '"Zürich"',
}


@pytest.mark.parametrize(("name", "shown"), FORGERIES.items())
def test_a_name_cannot_forge_a_field_of_a_log_line(
    name: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gossipsync")
    Observer().observe(events.MemberChanged(PEER, name, "alive"))
    ((_, _, message),) = caplog.record_tuples
    assert message == f"member-changed peer={peer_text(PEER)} name={shown} state=alive"
    assert len(message.splitlines()) == 1


def test_every_text_of_every_event_is_quoted(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever fields an event has or is given later."""
    caplog.set_level(logging.DEBUG, "gossipsync")
    evil = 'x" y=1\n\x1b[2J'
    for kind in observe._TABLE:
        texts = [each.name for each in attrs.fields(kind) if each.type in (str, "str")]
        event = kind(
            **{each.name: evil if each.name in texts else None for each in attrs.fields(kind)}
        )
        caplog.clear()
        Observer().observe(event)
        ((_, _, message),) = caplog.record_tuples
        assert message.count(quoted(evil)) == len(texts)
        assert message.isprintable()
        assert "y=1" not in message.replace(quoted(evil), "")


def test_escape() -> None:
    assert escape("a\u202eb\x00\u00e9") == "a\\u202eb\\x00\u00e9"
