"""Frames, requests and replies of the control socket, without a socket."""

from pathlib import Path

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model import strict
from gossipsync.errors import ConfigError
from gossipsync.runtime.control_protocol import (
    Done,
    Failed,
    Frames,
    MalformedError,
    OtherVersionError,
    Part,
    Request,
    check_socket_path,
    frame,
    parse_reply,
    parse_request,
    socket_path,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**63 - 1) | st.text() | st.binary(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
    max_leaves=8,
)


@frozen
class Settings:
    name: str = "a"
    data_dir: Path | None = None
    socket: Path | None = None


def bodies(data: bytes, limit: int = 1 << 20, step: int | None = None) -> list[bytes]:
    frames = Frames(limit)
    step = step or len(data)
    return [body for at in range(0, len(data), step) for body in frames.feed(data[at : at + step])]


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_requests_read_back(arguments: dict[str, object]) -> None:
    request = Request("put", arguments)
    [body] = bodies(request.encoded())
    assert parse_request(body) == request


@given(PLAIN)
def test_replies_read_back(value: object) -> None:
    for reply in (Done(value), Part(value), Failed("local", "why", {"seen": value})):
        [body] = bodies(reply.encoded())
        assert parse_reply(body) == reply


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_frames_may_be_cut_anywhere(step: int) -> None:
    data = frame(1) + frame("two") + frame([3])
    assert bodies(data, step=step) == [strict.encode(each) for each in (1, "two", [3])]


def test_a_frame_over_the_limit_is_refused_by_its_length_alone() -> None:
    frames = Frames(100)
    with pytest.raises(MalformedError):
        list(frames.feed((4 << 30 - 1).to_bytes(5, "big")[-4:]))
    with pytest.raises(MalformedError):
        list(Frames(100).feed(b"\x00\x00\x00\x65"))
    assert list(Frames(100).feed(b"\x00\x00\x00\x64")) == []


GARBAGE = [
    b"",
    b"\x00",
    b"GET / HTTP/1.1\r\n",
    strict.encode([1]),
    strict.encode([1, "get", []]),
    strict.encode([1, "get", {1: 2}]),
    strict.encode([1, 7, {}]),
    strict.encode([True, "get", {}]),
    strict.encode([1, "get", {}]) + b"\x00",  # trailing
    b"\x9f\x01\x63get\xa0\xff",  # indefinite
    b"\x83\x18\x01\x63get\xa0",  # not the shortest integer
    b"\x83\x01\x63get\xa2\x61a\x01\x61a\x02",  # duplicate key
    b"\xc0\x83\x01\x63get\xa0",  # a tag
    b"\x81" * 5000 + b"\x00",  # depth
]


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_no_request(body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_request(body)


def test_a_request_of_another_version_says_which() -> None:
    with pytest.raises(
        OtherVersionError, match="speaks control protocol 2, this peer speaks 1: use"
    ):
        parse_request(strict.encode([2, "get", {}, "whatever"]))


@given(st.binary(max_size=64))
def test_any_bytes_are_a_request_or_refused(body: bytes) -> None:
    for parse in (parse_request, parse_reply):
        try:
            parse(body)
        except (MalformedError, OtherVersionError):
            continue


def test_an_error_message_with_broken_text_still_crosses() -> None:
    [body] = bodies(Failed("local", "bad \udc80 key", {}).encoded())
    assert parse_reply(body) == Failed("local", "bad \\udc80 key", {})


def test_where_the_socket_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert socket_path(Settings(socket=Path("/s"), data_dir=Path("/d"))) == Path("/s")
    assert socket_path(Settings(data_dir=Path("/d"))) == Path("/d/control.sock")
    assert socket_path(Settings(name="web 1")).name == "web_1.sock"
    for name in ("../../etc/passwd", "..", "a/b", "é" * 200, "-" * 128):
        path = socket_path(Settings(name=name))
        assert path.parent == socket_path(Settings()).parent
        check_socket_path(Path("/run/user/0/gossipsync") / path.name)


def test_a_path_too_long_says_so() -> None:
    check_socket_path(Path("/" + "a" * 106))
    with pytest.raises(ConfigError, match="107"):
        check_socket_path(Path("/" + "a" * 107))
    with pytest.raises(ConfigError, match="107"):
        check_socket_path(Path("/" + "é" * 54))
