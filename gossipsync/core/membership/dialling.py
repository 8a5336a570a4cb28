"""Dialling: which addresses to try, when, and when again.

Up to `full_mesh` members all are linked; beyond, a random view of about log2 N + 2. Failures back off exponentially with
jitter, never for good: after any partition the mesh finds itself again with no operator.
"""

from __future__ import annotations

from math import ceil, log2
from typing import Final

from attrs import define, field

from gossipsync.core.model.ids import PeerId
from gossipsync.core.ports import Rng

FIRST_RETRY_S: Final = 0.25
LAST_RETRY_S: Final = 15.0
"""The longest pause: how long a healed partition may go unnoticed."""
_VIEW_EXTRA: Final = 2


def view_size(members: int, full_mesh: int) -> int:
    """How many links a peer wants in a mesh of `members`, itself included."""
    others = members - 1
    return others if members <= full_mesh else min(others, ceil(log2(members)) + _VIEW_EXTRA)


@define
class _Address:
    pause_s: float = FIRST_RETRY_S
    not_before_s: float = 0.0
    is_dialling: bool = False
    peer: PeerId | None = None
    """Who answered there last."""
    expected: PeerId | None = None
    """Whom the dial under way is meant for."""
    is_self: bool = False
    was_tried: bool = False
    """Whether a dial of it has ended."""
    is_wanted: bool = True
    """Was it last dialled for a link that is to stay?"""


@define
class Dialler:
    """What is known of each address."""

    _rng: Rng
    _addresses: dict[str, _Address] = field(factory=dict)
    dialling: int = 0
    """Dials under way."""

    def may_dial(self, address: str, now_s: float) -> bool:
        """Is it time to try this address?"""
        known = self._addresses.get(address)
        return known is None or not (
            known.is_dialling or known.is_self or known.not_before_s > now_s
        )

    def was_tried(self, address: str) -> bool:
        """Whether a dial of this address has ended, either way."""
        known = self._addresses.get(address)
        return known is not None and known.was_tried

    def who(self, address: str) -> PeerId | None:
        """Who answered there last."""
        known = self._addresses.get(address)
        return None if known is None else known.peer

    def expected(self, address: str) -> PeerId | None:
        """Whom the last dial of this address was meant for, where known."""
        known = self._addresses.get(address)
        return None if known is None else known.expected

    def started(self, address: str, peer: PeerId | None, *, is_wanted: bool) -> None:
        """A dial is under way to whom we expect there, for a link that is to stay or for one exchange."""
        known = self._addresses.setdefault(address, _Address())
        self.dialling += not known.is_dialling
        known.is_dialling = True
        known.expected = peer
        known.is_wanted = is_wanted

    def is_dialling(self, address: str) -> bool:
        """Is this address being dialled?"""
        known = self._addresses.get(address)
        return known is not None and known.is_dialling

    def is_wanted(self, address: str) -> bool:
        """Is a link to this address to stay?"""
        known = self._addresses.get(address)
        return known is None or known.is_wanted

    def succeeded(self, address: str, peer: PeerId, now_s: float) -> None:
        """Somebody answered: the next try, should the link break, begins with a short pause."""
        self._ended(address)
        is_wanted = self.is_wanted(address)
        self._addresses[address] = _Address(
            not_before_s=now_s + FIRST_RETRY_S, peer=peer, was_tried=True, is_wanted=is_wanted
        )

    def failed(self, address: str, now_s: float, *, is_self: bool = False) -> None:
        """Nobody answered, or somebody who is of no use."""
        known = self._ended(address)
        known.is_self = is_self
        known.not_before_s = now_s + known.pause_s * (0.5 + self._rng.random())
        known.pause_s = min(LAST_RETRY_S, known.pause_s * 2)

    def _ended(self, address: str) -> _Address:
        known = self._addresses.setdefault(address, _Address())
        self.dialling -= known.is_dialling
        known.is_dialling, known.was_tried = False, True
        return known

    def is_self(self, address: str) -> bool:
        """Whether this peer itself answered there."""
        known = self._addresses.get(address)
        return known is not None and known.is_self

    def hurry(self, address: str) -> None:
        """Let an address be dialled at once, however recently it failed."""
        known = self._addresses.get(address)
        if known is not None:
            known.not_before_s = 0.0

    def hold_off(self, address: str, until_s: float) -> None:
        """Leave an address alone for a while."""
        known = self._addresses.setdefault(address, _Address())
        known.not_before_s = max(known.not_before_s, until_s)

    def forget_except(self, addresses: set[str]) -> None:
        """Drop what is known of addresses that nobody names any more."""
        self._addresses = {
            address: known
            for address, known in self._addresses.items()
            if address in addresses or known.is_dialling
        }
