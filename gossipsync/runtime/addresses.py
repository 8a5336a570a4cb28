"""What to bind is not what others dial: from bound addresses to advertised ones.

Invariant: each advertised address is one that others take (see core.model.address), and never "every interface".
"""

import socket
from typing import Final

from gossipsync.core.model.address import is_address, join_address, split_address

__all__ = ["advertised"]

_WILDCARDS: Final = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}  # noqa: S104 - compared, not bound
# Documentation addresses (RFC 5737, RFC 3849): asking for a route to them sends nothing.
_ELSEWHERE: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


def advertised(advertise: str | None, bound: tuple[str, ...]) -> tuple[str, ...]:
    """What others are told to dial: `advertise` with the bound port for port 0, else what is bound."""
    if not bound:
        return ()
    if advertise is not None:
        host, port = split_address(advertise)
        return (join_address(host, port or split_address(bound[0])[1]),)
    named = [_reachable(*split_address(address)) for address in filter(is_address, bound)]
    # The machine's own name may be no name that others can look up.
    return tuple(filter(is_address, dict.fromkeys(named)))


def _reachable(host: str, port: int) -> str:
    """The same address with this machine's own where it says every interface."""
    family = _WILDCARDS.get(host)
    if family is None:
        return join_address(host, port)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_ELSEWHERE[family], 9))
            return join_address(probe.getsockname()[0], port)
    except OSError:
        return join_address(socket.gethostname(), port)  # no route anywhere: leave it to DNS
