"""Values cross the command line as JSON and come back as they were."""

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.cli._values import from_json, parse_value, to_json
from gossipsync.errors import ValueTypeError

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=30))))
)
KEYS = st.text() | st.sampled_from(["$bytes", "$datetime", "$float", "$$bytes", "$$$float", "$x"])
VALUES = st.recursive(
    LEAVES, lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS, part, max_size=3)
)


@given(VALUES)
def test_a_value_reads_back_as_it_was_printed(value: object) -> None:
    assert from_json(to_json(value)) == value


def test_nan_reads_back() -> None:
    assert to_json(math.nan) == '{"$float": "nan"}'
    again = from_json('{"$float": "nan"}')
    assert isinstance(again, float)
    assert math.isnan(again)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\x00\xff", '{"$bytes": "AP8="}'),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), '{"$datetime": "2026-01-02T03:04:05+00:00"}'),
        ({"$bytes": "AA=="}, '{"$$bytes": "AA=="}'),
        ({"$bytes": 1, "more": 2}, '{"$bytes": 1, "more": 2}'),
        ("é\n", '"\\u00e9\\n"'),
    ],
)
def test_how_values_are_spelled(value: object, text: str) -> None:
    assert to_json(value) == text
    assert from_json(text) == value


@pytest.mark.parametrize(
    ("text", "form", "value"),
    [
        (b"3", "guess", 3),
        (b"3", "string", "3"),
        (b"3", "bytes", b"3"),
        (b" [1, 2] ", "guess", [1, 2]),
        (b"{not json", "guess", "{not json"),
        (b"hello", "guess", "hello"),
        (b"", "guess", ""),
        (b"NaN", "guess", "NaN"),
        (b"Infinity", "guess", "Infinity"),
        (b"null", "guess", None),
        (b"\xff", "bytes", b"\xff"),
        (b'"\\u00e9"', "json", "é"),
    ],
)
def test_what_an_argument_means(text: bytes, form: str, value: object) -> None:
    assert parse_value(text, form) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (b"hello", "json"),
        (b"NaN", "json"),
        (b"\xff", "guess"),
        (b"\xff", "string"),
        (b'{"$bytes": "not base64!"}', "guess"),
        (b'{"$bytes": 1}', "guess"),
        (b'{"$datetime": "yesterday"}', "guess"),
        (b'{"$float": "1"}', "guess"),
        (b"[" * 200_000, "guess"),
    ],
)
def test_what_is_no_value(text: bytes, form: str) -> None:
    with pytest.raises(ValueTypeError):
        parse_value(text, form)  # type: ignore[arg-type]
