"""Dialling: connections that the core asks for, side by side within bounds.

Whoever called `connect` wants to know how it ended, and the core only hears "up" or "failed"; the
expectations kept here carry the words to them.

Invariant: every address asked for is answered, by a connection handed on or by a failure with a reason.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import define

from gossipsync.core.model.address import check_address, split_address
from gossipsync.core.wire.hello import HelloError
from gossipsync.runtime.faults import EFFECTS_FAILED, INTERNAL, Faults
from gossipsync.runtime.tcp import HandshakeError
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
        faults: Faults,
    ) -> None:
        self._transport = transport
        self._handle_up = handle_up
        self._handle_failed = handle_failed
        self._faults = faults
        self._dialling: set[str] = set()
        self._linked: Counter[str] = Counter()
        self._expectations: list[Expectation] = []

    def follow(self, expectation: Expectation) -> bool:
        """Settle it when its address is up or has failed; False where nobody is dialling that."""
        if self._linked[expectation.address]:
            expectation.outcome = ""
            return True
        self._expectations.append(expectation)
        return expectation.address in self._dialling

    def start(self, nursery: trio.Nursery, address: str) -> None:
        """Dial once in the background, and stay with the connection until it ends."""
        if address in self._dialling or len(self._dialling) >= DIALS_LIMIT:
            nursery.start_soon(self._refuse, address)
        else:
            self._dialling.add(address)
            nursery.start_soon(self._dial, address)

    async def _refuse(self, address: str) -> None:
        self._fail(address, "busy", "too many dials at once")

    async def _dial(self, address: str) -> None:
        try:
            check_address(address)
            connection = await self._transport.dial(*split_address(address))
        except (HandshakeError, HelloError) as error:
            self._fail(address, error.reason.value, str(error))
            return
        except Exception as error:  # noqa: BLE001 - a dial that raises is a dial that failed
            self._faults.note(error, "a dial", EFFECTS_FAILED)
            self._fail(address, INTERNAL, f"{type(error).__name__}: {error}")
            return
        finally:
            self._dialling.discard(address)
        self._linked[address] += 1
        try:
            self._settle(address, "")
            await self._handle_up(connection, address)
        finally:
            self._linked[address] -= 1
            self._linked += Counter()  # drops what is at zero
            await trio.aclose_forcefully(connection.stream)

    def _fail(self, address: str, reason: str, detail: str) -> None:
        self._settle(address, detail)
        self._handle_failed(address, reason)

    def _settle(self, address: str, outcome: str) -> None:
        for expectation in [each for each in self._expectations if each.address == address]:
            expectation.outcome = outcome
            self._expectations.remove(expectation)
