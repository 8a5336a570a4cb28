"""The exception tree is the one the contract promises."""

import pickle
import re

import pytest

from gossipsync import errors

LOCAL = {"LocalError", "GossipsyncError"}
TREE: dict[str, set[str]] = {
    "AckTimeoutError": {"WaitTimeoutError", "GossipsyncError", "TimeoutError"},
    "BucketKindError": LOCAL,
    "ClosedError": LOCAL,
    "ConfigError": LOCAL | {"ValueError"},
    "CursorError": LOCAL,
    "EndedKeyError": LOCAL,
    "GossipsyncError": set(),
    "HandOverError": {"GossipsyncError"},
    "InternalError": {"GossipsyncError"},
    "KeyTooLongError": LOCAL | {"ValueError"},
    "LocalError": {"GossipsyncError"},
    "NotPermittedError": LOCAL,
    "NotReadyError": LOCAL,
    "OverloadedError": LOCAL,
    "RemoteError": {"GossipsyncError"},
    "StoreCorruptError": {"StoreError", "GossipsyncError"},
    "StoreError": {"GossipsyncError"},
    "StoreFullError": {"StoreError", "GossipsyncError"},
    "StoreLockedError": {"StoreError", "GossipsyncError"},
    "TokenError": LOCAL,
    "TransportError": {"GossipsyncError"},
    "ValueTooLargeError": LOCAL | {"ValueError"},
    "ValueTypeError": LOCAL | {"TypeError"},
    "WaitTimeoutError": {"GossipsyncError", "TimeoutError"},
}
CLASSES = [getattr(errors, name) for name in errors.__all__]


def test_the_tree_is_complete() -> None:
    assert {
        name: {base.__name__ for base in getattr(errors, name).__mro__[1:]}
        - {"Exception", "BaseException", "OSError", "object"}
        for name in errors.__all__
    } == TREE


def test_codes_are_stable_names_and_tell_the_classes_apart() -> None:
    codes = [vars(cls)["code"] for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_docstrings_say_state_and_next_step(cls: type[errors.GossipsyncError]) -> None:
    text = cls.__doc__ or ""
    if cls is not errors.GossipsyncError:
        assert all(word in text for word in ("Fault:", "State:", "Next:"))


def test_an_ack_timeout_carries_who_confirmed_across_processes() -> None:
    raised = errors.AckTimeoutError("1 of 2", acked_by=("a",), needed=2)
    for error in (raised, pickle.loads(pickle.dumps(raised))):
        assert (str(error), error.acked_by, error.needed) == ("1 of 2", ("a",), 2)


def test_a_wait_timeout_is_a_timeout() -> None:
    with pytest.raises(TimeoutError, match="not synced"):
        raise errors.WaitTimeoutError("not synced")
