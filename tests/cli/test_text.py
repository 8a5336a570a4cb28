"""What a peer wrote is shown as one printable line, and JSON is printable ASCII."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.cli._text import json_text, shown

NASTY = [
    "\x1b[2Jgone",  # clears the screen
    "a\nready name=forged",  # forges a line
    "user\u202egnp.exe",  # reverses the reading order
    "\u2066isolated\u2069",
    "zero\u200bwidth",
    "del\x7f",
    "csi\x9b31m",  # an 8-bit control sequence
    "\u2028line",
    "lone\udc80surrogate",
    "\r\bback",
]


@pytest.mark.parametrize("text", NASTY)
def test_nothing_unprintable_is_shown(text: str) -> None:
    assert shown(text).isprintable()
    assert shown(text) != text


@given(st.text())
def test_shown_text_is_always_printable(text: str) -> None:
    assert shown(text).isprintable()


@given(st.text().filter(str.isprintable))
def test_printable_text_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text


@given(
    st.recursive(
        st.none() | st.text(), lambda part: st.lists(part) | st.dictionaries(st.text(), part)
    )
)
def test_json_is_printable_ascii_and_reads_back(obj: object) -> None:
    text = json_text(obj)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == obj
