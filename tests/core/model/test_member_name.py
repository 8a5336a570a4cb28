"""Member names: a word reaches the one member that it names, or none."""

from __future__ import annotations

import pytest

from gossipsync.core.model.member_name import ID_PREFIX_CHARS, member_called
from gossipsync.errors import LocalError

ROWS = [
    ("web-1", "aaaaaaaabbbb", 1),
    ("web-2", "aaaaaaaacccc", 2),
    ("db", "dddddddd0000", 3),
    ("twin", "eeeeeeee0000", 4),
    ("twin", "ffffffff0000", 5),
    ("dddddddd", "gggggggg0000", 6),
]


@pytest.mark.parametrize(
    ("word", "member"),
    [("web-1", 1), ("aaaaaaaab", 1), ("AAAAAAAAC", 2), ("eeeeeeee", 4), ("dddddddd0", 3)],
)
def test_an_exact_name_or_a_long_beginning_of_an_id(word: str, member: int) -> None:
    assert member_called(word, ROWS) == member


@pytest.mark.parametrize(
    "word", ["", "a", "d", "aaaaaaa", "web", "web-", "WEB-1", "e" * 7, "zzzzzzzz"]
)
def test_a_mistyped_word_reaches_no_member(word: str) -> None:
    with pytest.raises(LocalError, match=f"first {ID_PREFIX_CHARS} characters"):
        member_called(word, ROWS)


@pytest.mark.parametrize(
    ("word", "listed"),
    [
        ("aaaaaaaa", ["'web-1' aaaaaaaabbbb", "'web-2' aaaaaaaacccc"]),
        ("twin", ["eeeeeeee0000", "ffffffff0000"]),
        (
            "dddddddd",
            ["'db'", "'dddddddd'"],
        ),  # a member that took the beginning of another's id for its name
    ],
)
def test_an_ambiguous_word_is_refused_with_its_candidates(word: str, listed: list[str]) -> None:
    with pytest.raises(LocalError) as error:
        member_called(word, ROWS)
    assert all(text in str(error.value) for text in listed)


def test_a_refusal_lists_a_bounded_number() -> None:
    with pytest.raises(LocalError, match="and 992 more") as error:
        member_called("n", [("n", f"{number:012}", number) for number in range(1000)])
    assert len(str(error.value)) < 500
