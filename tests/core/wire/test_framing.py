"""Frames: cut anywhere, refused by their length, in linear time."""

import pytest

from gossipsync.core.wire.framing import FrameReader, FrameTooLargeError, frame


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_payloads_come_out_whole_however_they_are_cut(step: int) -> None:
    payloads = [b"", b"a", b"bc" * 40, b"\x00" * 99]
    stream = b"".join(map(frame, payloads))
    reader = FrameReader(100)
    found = []
    for start in range(0, len(stream), step):
        reader.feed(stream[start : start + step])
        found += list(reader)
    assert found == payloads
    assert reader.buffered == 0


def test_a_length_over_the_limit_is_refused_before_its_payload() -> None:
    reader = FrameReader(100)
    reader.feed(b"\xff\xff\xff\xff")
    with pytest.raises(FrameTooLargeError):
        next(iter(reader))
    assert reader.buffered == 4


def test_the_limit_is_inclusive_and_may_be_raised() -> None:
    reader = FrameReader(3)
    reader.feed(frame(b"abc") + frame(b"abcd"))
    frames = iter(reader)
    assert next(frames) == b"abc"
    reader.limit = 4
    assert next(frames) == b"abcd"


def test_the_rest_is_handed_over_raw() -> None:
    reader = FrameReader(3)
    reader.feed(frame(b"abc") + b"\xff\xff")
    assert reader.next_payload() == b"abc"
    assert reader.take_rest() == b"\xff\xff"
    assert reader.buffered == 0


def test_many_small_frames_in_one_feed_do_not_copy_the_rest_each_time() -> None:
    count = 200_000
    reader = FrameReader(10)
    reader.feed(frame(b"x") * count)  # quadratic copying would be 100 GB
    assert sum(1 for _ in reader) == count
