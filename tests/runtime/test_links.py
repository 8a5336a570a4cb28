"""Links over streams in memory: order, reports, and remotes that do not read."""

import trio
import trio.lowlevel
from trio.testing import MockClock, memory_stream_one_way_pair, memory_stream_pair

from gossipsync.core.model.ids import LinkId
from gossipsync.runtime.links import Link


class Driver:
    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.sent_bytes = 0

    def receive(self, link: LinkId, data: bytes) -> None:
        self.received.append(data)

    def report_sent(self, link: LinkId, size_bytes: int) -> None:
        self.sent_bytes += size_bytes


def make(stream: trio.abc.Stream, queue_bytes: int = 1 << 20) -> tuple[Link, Driver]:
    driver = Driver()
    return Link(LinkId(1), stream, driver, queue_bytes=queue_bytes), driver


async def test_what_came_with_the_hello_is_received_first(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    link, driver = make(near)
    await far.send_all(b"later")
    await far.send_eof()
    assert await link.run(b"leftover") == "closed by the other end"
    assert driver.received == [b"leftover", b"later"]


async def test_sends_in_order_and_reports_what_has_left(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    link, driver = make(near)
    parts = [bytes([number]) * 50_000 for number in range(8)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, b"")
        for part in parts:
            link.send(part)
        got = b""
        while len(got) < 400_000:
            got += await far.receive_some(100_000)
        await far.aclose()
    assert got == b"".join(parts)
    assert driver.sent_bytes == 400_000
    assert link.queued_bytes == 0


async def test_hanging_up_sends_what_is_queued_and_keeps_the_first_reason(
    autojump_clock: MockClock,
) -> None:
    near, far = memory_stream_pair()
    link, _ = make(near)
    link.send(b"goodbye")
    link.hang_up("closing")
    link.hang_up("other")
    link.send(b"too late")
    assert await link.run(b"") == "closing"
    assert await far.receive_some(100) == b"goodbye"


def _blocked() -> trio.StapledStream:
    """A stream whose other end never reads, nor says anything."""
    send, blocking = memory_stream_one_way_pair()
    send.send_all_hook = trio.sleep_forever
    _, receive = memory_stream_one_way_pair()
    assert blocking is not None
    return trio.StapledStream(send, receive)


async def test_a_remote_that_does_not_read_is_given_up(autojump_clock: MockClock) -> None:
    link, driver = make(_blocked())
    link.send(b"x" * 100)
    assert await link.run(b"") == "stuck"
    assert trio.current_time() < 20
    assert driver.sent_bytes == 0


async def test_a_hang_up_does_not_wait_for_one_that_does_not_read(
    autojump_clock: MockClock,
) -> None:
    link, _ = make(_blocked())
    link.send(b"x" * 100)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, b"")
        await trio.lowlevel.checkpoint()
        link.hang_up("closing")
    assert trio.current_time() - began <= 1.01


async def test_the_queue_is_bounded(autojump_clock: MockClock) -> None:
    link, _ = make(_blocked(), queue_bytes=1000)
    for _ in range(20):
        link.send(b"x" * 1000)
    assert link.queued_bytes <= 8000
    assert await link.run(b"") == "slow"


async def test_a_broken_stream_ends_the_link(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    link, _ = make(near)
    await far.aclose()
    link.send(b"x")
    assert await link.run(b"") in {"broken", "closed by the other end"}
