"""Values between the command line and a bucket: JSON, with a spelling for what JSON lacks.

`{"$bytes": BASE64}`, `{"$datetime": ISO 8601}` and `{"$float": "nan" | "inf" | "-inf"}` stand for values
that JSON cannot say. A dict that really is of that shape gets one more `$`, so that nothing is ambiguous.

Invariant: `from_json(to_json(value)) == value` for every value a bucket can hold.
"""

import json
import math
import re
from base64 import b64decode, b64encode
from datetime import datetime
from typing import Literal

from gossipsync.cli._text import json_text
from gossipsync.errors import ValueTypeError

__all__ = ["ValueForm", "from_json", "parse_value", "spelled", "to_json", "unspelled"]

ValueForm = Literal["guess", "string", "json", "bytes"]
_SPELLED = re.compile(r"\$+(bytes|datetime|float)")
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def parse_value(text: bytes, form: ValueForm) -> object:
    """What a VALUE argument, or stdin in its place, means. Raises ValueTypeError."""
    if form == "bytes":
        return text
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise ValueTypeError(
            "the value is not UTF-8 text; pass --bytes to store it as it is"
        ) from error
    if form == "string":
        return decoded
    try:
        return from_json(decoded)
    except _NotJsonError as error:
        if form == "guess":
            return decoded
        raise ValueTypeError(
            f"the value is not JSON: {error}; --string stores it as text"
        ) from error


def from_json(text: str) -> object:
    """The value that this JSON spells. Raises ValueTypeError."""
    try:
        parsed: object = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueTypeError("the value is nested too deeply") from error
    except ValueError as error:
        raise _NotJsonError(str(error)) from error
    return unspelled(parsed)


def to_json(value: object) -> str:
    """The value as one line of ASCII JSON."""
    return json_text(spelled(value))


class _NotJsonError(ValueTypeError):
    pass


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def unspelled(obj: object) -> object:
    """The value that plain JSON values spell. Raises ValueTypeError."""
    if isinstance(obj, list):
        return [unspelled(part) for part in obj]
    if not isinstance(obj, dict):
        return obj
    if len(obj) == 1:
        [(key, content)] = obj.items()
        if _SPELLED.fullmatch(key):
            return {key[1:]: unspelled(content)} if key.startswith("$$") else _read(key, content)
    return {key: unspelled(part) for key, part in obj.items()}


def _read(kind: str, content: object) -> object:
    try:
        match kind, content:
            case "$bytes", str(text):
                return b64decode(text, validate=True)
            case "$datetime", str(text):
                return datetime.fromisoformat(text)
            case "$float", str(text) if text in _FLOATS:
                return _FLOATS[text]
            case _:
                pass
    except ValueError as error:
        raise ValueTypeError(f"cannot read {kind}: {error}") from error
    raise ValueTypeError(
        f"{kind} takes no such value; write {{'${kind}': …}} for a dict of that shape"
    )


def spelled(value: object) -> object:
    """The value as plain JSON values, ready to stand inside a larger document."""
    match value:
        case bytes():
            return {"$bytes": b64encode(value).decode()}
        case datetime():
            return {"$datetime": value.isoformat()}
        case float() if not math.isfinite(value):
            return {"$float": str(value)}
        case list():
            return [spelled(part) for part in value]
        case dict():
            plain = {key: spelled(part) for key, part in value.items()}
            if len(plain) == 1 and _SPELLED.fullmatch(next(iter(plain))):
                return {f"${key}": part for key, part in plain.items()}
            return plain
        case _:
            return value
