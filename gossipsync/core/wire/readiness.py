"""Readiness: the message by which a peer tells what its state is worth as evidence. The first one over a link, number 17."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.stage import Stage

_STAGES: Final = {int(stage): stage for stage in Stage}


@frozen
class Readiness:
    """The stage of my state; sent when a link opens, and again whenever the stage rises."""

    stage: Stage


def read_readiness(parts: tuple[object, ...]) -> Readiness:
    """Raises strict.MalformedError for anything but a stage that is known here."""
    match parts:
        case (17, int(stage)) if type(stage) is int and stage in _STAGES:
            return Readiness(_STAGES[stage])
        case _:
            raise strict.MalformedError("not a stage known here")
