"""Member names: the one member that an operator's word stands for.

A mistyped name must reach no member at all, because the commands that take one also give members up for good. So a name matches
exactly, the beginning of a peer id counts from `ID_PREFIX_CHARS` characters on, and a word that fits two members is refused with both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from gossipsync.errors import LocalError

__all__ = ["ID_PREFIX_CHARS", "member_called"]

ID_PREFIX_CHARS: Final = 8
"""Shortest beginning of a peer id that names a member: 40 bits, so an accidental match is out of the question."""

_SHOWN_CHARS: Final = 12
_SHOWN_AT_MOST: Final = 8
"""Candidates that a refusal lists: members choose their own names, so there can be any number."""

T = TypeVar("T")


def member_called(word: str, members: Iterable[tuple[str, str, T]]) -> T:
    """The member, of (name, peer id in text, member), with exactly this name, or with a peer id that begins so.

    Raises LocalError where no member or more than one fits; a name that is also the beginning of another member's id fits both.
    """
    is_prefix = len(word) >= ID_PREFIX_CHARS
    found = [
        member
        for member in members
        if member[0] == word or (is_prefix and member[1].startswith(word.lower()))
    ]
    if len(found) == 1:
        return found[0][2]
    if found:
        listed = ", ".join(
            f"{name!r} {text[:_SHOWN_CHARS]}" for name, text, _ in found[:_SHOWN_AT_MOST]
        )
        more = f" and {len(found) - _SHOWN_AT_MOST} more" if len(found) > _SHOWN_AT_MOST else ""
        raise LocalError(
            f"{word!r} fits {len(found)} members: {listed}{more}; "
            "name one by the beginning of its peer id, as `gossipsync members` shows it"
        )
    raise LocalError(
        f"no member is called {word!r}; names match exactly, and a peer id by at least its first "
        f"{ID_PREFIX_CHARS} characters: see `gossipsync members`"
    )
