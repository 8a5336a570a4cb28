"""Short texts that a peer chooses and others show: names of peers, zones, buckets and software.

The refused characters are fixed here, not taken from a Unicode table, because peers of all versions must agree on them.

Invariant: a text that passed `is_clean_text` contains nothing that a terminal, a log line or a page acts on.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MAX_NAME_BYTES", "MAX_SOFTWARE_BYTES", "is_clean_text"]

MAX_NAME_BYTES: Final = 128
"""A peer's name, a zone, a bucket's name."""
MAX_SOFTWARE_BYTES: Final = 64
"""What a peer says that it runs."""

# Controls, line and paragraph separators, marks that change the writing direction, byte order marks, lone surrogates.
_REFUSED: Final = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ud800-\\udfff]"
)


def is_clean_text(text: object, max_bytes: int, *, may_be_empty: bool = False) -> bool:
    """Whether it is text of at most so many bytes of UTF-8, without the refused characters."""
    if type(text) is not str or len(text) > max_bytes:
        return False
    if _REFUSED.search(text) is not None or len(text.encode()) > max_bytes:
        return False
    return may_be_empty or text != ""
