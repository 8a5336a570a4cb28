"""Every failure ends with one line that names a code and a next step, and a promised exit code."""

import pytest

from gossipsync import errors
from gossipsync.cli._failures import (
    Exit,
    NoPeerError,
    UnhealthyError,
    exit_code,
    failure_line,
)
from gossipsync.runtime.control_protocol import AbsentKeyError, Failed

CLASSES = [getattr(errors, name) for name in errors.__all__ if name != "GossipsyncError"]


def _raised(
    cls: type[errors.GossipsyncError], message: str = "it failed"
) -> errors.GossipsyncError:
    if cls is errors.AckTimeoutError:
        return errors.AckTimeoutError(message, acked_by=("p",), needed=2)
    return cls(message)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_exit_codes(cls: type[errors.GossipsyncError]) -> None:
    expected = Exit.TIMED_OUT if issubclass(cls, errors.WaitTimeoutError) else Exit.ERROR
    assert exit_code(_raised(cls)) == expected


def test_exit_codes_of_our_own() -> None:
    assert exit_code(NoPeerError("x")) == 3
    assert exit_code(UnhealthyError("x")) == 4


@pytest.mark.parametrize("cls", [*CLASSES, NoPeerError, UnhealthyError, AbsentKeyError])
def test_every_code_has_a_next_step(cls: type[errors.GossipsyncError]) -> None:
    if cls is errors.LocalError:  # its messages are written where the facts are
        return
    line = failure_line(cls.code, "it failed")
    assert line.startswith(f"error[{cls.code}]: it failed; ")


def test_a_message_with_a_next_step_keeps_it() -> None:
    assert failure_line("config", "port in use; choose another") == (
        "error[config]: port in use; choose another"
    )


@pytest.mark.parametrize("message", ["two\nlines", "esc\x1b[31m", "bidi\u202e", "tail.\n"])
def test_the_line_is_one_printable_line(message: str) -> None:
    assert failure_line("local", message).isprintable()


@pytest.mark.parametrize("cls", [*CLASSES, AbsentKeyError], ids=lambda cls: cls.__name__)
def test_errors_cross_the_socket(cls: type[errors.GossipsyncError]) -> None:
    error = Failed.of(_raised(cls, "why")).error()
    assert type(error) is cls
    assert str(error) == "why"


def test_an_ack_timeout_says_who_confirmed() -> None:
    error = Failed.of(errors.AckTimeoutError("x", acked_by=("a", "b"), needed=3)).error()
    assert isinstance(error, errors.AckTimeoutError)
    assert (error.acked_by, error.needed) == (("a", "b"), 3)


def test_an_error_of_a_later_version_is_not_lost() -> None:
    error = Failed("quantum", "it decohered", {}).error()
    assert isinstance(error, errors.InternalError)
    assert "quantum" in str(error)
    assert "it decohered" in str(error)
