"""The arguments of a control request, each taken by the type it must have.

Invariant: what an operation gets out of `Arguments` has the type it asked for; anything else is a
LocalError for the caller, before the peer is touched.
"""

from collections.abc import Mapping
from typing import NoReturn

from gossipsync.core.model.acks import ACKS_TOLD, Ack, is_ack
from gossipsync.core.model.values import decode_value
from gossipsync.errors import LocalError, RemoteError, ValueTypeError

__all__ = ["Arguments"]

_MAX_WAIT_S = 1e9


class Arguments:
    """One request's arguments; every method raises LocalError for a missing or mistyped one."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = given

    def text(self, name: str) -> str:
        """A text."""
        value = self._given.get(name)
        return value if isinstance(value, str) else self._refuse(name, "text")

    def text_or_none(self, name: str) -> str | None:
        """A text that may be left out."""
        return None if self._given.get(name) is None else self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._given.get(name)
        if not isinstance(value, list):
            self._refuse(name, "a list of texts")
        texts = tuple(part for part in value if isinstance(part, str))
        return texts if len(texts) == len(value) else self._refuse(name, "a list of texts")

    def raw(self, name: str) -> bytes:
        """A byte string."""
        value = self._given.get(name)
        return value if isinstance(value, bytes) else self._refuse(name, "a byte string")

    def raws(self, name: str) -> tuple[bytes, ...]:
        """A list of byte strings."""
        value = self._given.get(name)
        if not isinstance(value, list) or not all(isinstance(part, bytes) for part in value):
            self._refuse(name, "a list of byte strings")
        return tuple(value)

    def rows(self, name: str) -> tuple["Arguments", ...]:
        """A list of rows, each with arguments of its own."""
        value = self._given.get(name)
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            self._refuse(name, "a list of rows")
        return tuple(map(Arguments, value))

    def whole(self, name: str) -> int:
        """A whole number."""
        value = self._given.get(name)
        return value if type(value) is int else self._refuse(name, "a whole number")

    def whole_or_none(self, name: str) -> int | None:
        """A whole number that may be left out."""
        return None if self._given.get(name) is None else self.whole(name)

    def flag(self, name: str) -> bool:
        """True or false; false if left out."""
        value = self._given.get(name, False)
        return value if isinstance(value, bool) else self._refuse(name, "true or false")

    def seconds_or_none(self, name: str) -> float | None:
        """A span in seconds, or None: for ever."""
        value = self._given.get(name)
        if value is None:
            return None
        if type(value) not in {int, float} or not 0 <= value <= _MAX_WAIT_S:  # type: ignore[operator]
            self._refuse(name, "a number of seconds")
        return float(value)  # type: ignore[arg-type]

    def ack(self) -> Ack:
        """How many others must have stored a write."""
        value = self._given.get("ack", 0)
        if isinstance(value, int | str) and is_ack(value):
            return value
        return self._refuse("ack", ACKS_TOLD)

    def value(self) -> object:
        """An application value. Raises ValueTypeError for bytes that are none."""
        raw = self._given.get("value")
        if not isinstance(raw, bytes):
            self._refuse("value", "an encoded value")
        try:
            return decode_value(raw)
        except RemoteError as error:
            raise ValueTypeError("the value is not one that a bucket can hold") from error

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise LocalError(f"the argument {name!r} must be {wanted}")
