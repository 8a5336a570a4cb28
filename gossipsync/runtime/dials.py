"""Dialling: connections that the core asks for, side by side within bounds.

Whoever called `connect` wants to know how it ended, and the core only hears "up" or "failed"; the
expectations kept here carry the words to them.

Invariant: every address asked for is answered, by a connection handed on or by a failure with a reason.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import define

from gossipsync.core.wire.hello import HelloError
from gossipsync.runtime.tcp import HandshakeError, split_address
from gossipsync.runtime.transport import Connection, Transport

__all__ = ["DIALS_LIMIT", "Dialer", "Expectation"]

DIALS_LIMIT: Final = (
    64  # at once; the core asks for a handful, a user who calls connect in a loop for more
)


@define(eq=False)
class Expectation:
    """How dialling one address ends: `outcome` is None, then "" for up or the reason it failed."""

    address: str
    outcome: str | None = None


class Dialer:
    """Dials with one transport. `handle_up` owns the connection until it returns."""

    def __init__(
        self,
        transport: Transport,
        handle_up: Callable[[Connection, str], Awaitable[None]],
        handle_failed: Callable[[str, str], None],
    ) -> None:
        self._transport = transport
        self._handle_up = handle_up
        self._handle_failed = handle_failed
        self._running = 0
        self._expectations: list[Expectation] = []

    def expect(self, address: str) -> Expectation:
        """Follow the next dial of an address."""
        expectation = Expectation(address)
        self._expectations.append(expectation)
        return expectation

    def forget(self, expectation: Expectation) -> None:
        """Follow it no longer. Idempotent."""
        if expectation in self._expectations:
            self._expectations.remove(expectation)

    async def dial(self, address: str) -> None:
        """Dial once and stay with the connection until it ends."""
        if self._running >= DIALS_LIMIT:
            self._fail(address, "busy", "too many addresses are being dialled")
            return
        self._running += 1
        try:
            connection = await self._transport.dial(*split_address(address))
        except (HandshakeError, HelloError) as error:
            self._fail(address, error.reason.value, str(error))
            return
        finally:
            self._running -= 1
        try:
            self._settle(address, "")
            await self._handle_up(connection, address)
        finally:
            await trio.aclose_forcefully(connection.stream)

    def _fail(self, address: str, reason: str, detail: str) -> None:
        self._settle(address, detail)
        self._handle_failed(address, reason)

    def _settle(self, address: str, outcome: str) -> None:
        for expectation in self._expectations:
            if expectation.address == address and expectation.outcome is None:
                expectation.outcome = outcome
