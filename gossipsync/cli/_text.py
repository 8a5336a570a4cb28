"""Text from other peers, made safe to show.

Names, keys and values are whatever a peer signed: terminal escapes, line breaks, marks that reverse the
reading order. Shown raw, they could forge a line of output or reprogram the reader's terminal.

Invariant: what `shown` returns is one line of printable characters.
"""

import json
from datetime import UTC, datetime

__all__ = ["json_text", "shown", "time_text"]

_MS_PER_S = 1000
_LAST_MS = 253_402_300_799_000  # the year 9999: a peer may sign an expiry beyond it


def shown(text: object) -> str:
    """The text with everything unprintable written as an escape sequence."""
    raw = str(text)
    # str.isprintable refuses exactly what must not reach a terminal: control and format characters
    # (bidirectional marks among them), line separators, surrogates, private and unassigned code points.
    if raw.isprintable():
        return raw
    from gossipsync.runtime.observe import escape

    return escape(raw)


def json_text(obj: object, *, indent: int | None = None) -> str:
    """JSON of plain values in printable ASCII. Raises ValueError for NaN and infinities."""
    text = json.dumps(obj, ensure_ascii=True, allow_nan=False, indent=indent)
    return text.replace("\x7f", "\\u007f")  # the one control character that json leaves alone


def time_text(wall_ms: object) -> str:
    """A moment in ISO 8601, in UTC, with milliseconds; the last that ISO 8601 can write, for all later ones."""
    assert isinstance(wall_ms, int)
    return datetime.fromtimestamp(min(wall_ms, _LAST_MS) / _MS_PER_S, UTC).isoformat(
        timespec="milliseconds"
    )
