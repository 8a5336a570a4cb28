"""Protocol numbers: the range that a build speaks, and the number that two builds agree on.

Every HELLO states the lowest and the highest protocol of its sender; a link uses the greatest number that
both ends speak. Protocol 1 stated one number and negotiated nothing, so it is read as the range 1 to 1.

Invariant: the agreed number depends on the two ranges alone, so both ends find the same one.
"""

from typing import Final

from attrs import frozen

__all__ = ["OWN_PROTOCOLS", "PROTOCOL_VERSION", "Protocols"]

PROTOCOL_VERSION: Final = 2
"""The highest protocol of this build. Raise it with every change of a byte that is signed, hashed or sent."""
_LOWEST: Final = 2
"""Protocol 1 is not spoken: two forms of a bundle's body went under that number."""
MAX_PROTOCOL: Final = 65_535


@frozen
class Protocols:
    """All protocols from `lowest` to `highest`."""

    lowest: int
    highest: int

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.lowest <= self.highest <= MAX_PROTOCOL:
            raise ValueError(f"no range of protocols: {self.lowest} to {self.highest}")

    def __str__(self) -> str:
        return (
            str(self.lowest) if self.lowest == self.highest else f"{self.lowest} to {self.highest}"
        )

    def agreed(self, other: "Protocols") -> int | None:
        """The greatest protocol in both ranges; None where there is none."""
        highest = min(self.highest, other.highest)
        return highest if highest >= max(self.lowest, other.lowest) else None

    def mismatch(self, who: str, theirs: "Protocols") -> str:
        """One sentence: both ranges, and the end that has to be upgraded."""
        noun = "protocol" if theirs.lowest == theirs.highest else "protocols"
        older = "upgrade it" if theirs.highest < self.lowest else "upgrade this one"
        return f"{who} speaks {noun} {theirs}, this build speaks {self}: {older}"


OWN_PROTOCOLS: Final = Protocols(_LOWEST, PROTOCOL_VERSION)
