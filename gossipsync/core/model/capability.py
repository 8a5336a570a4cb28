"""What a peer's certificate lets it do, and when.

A capability is a value: the certificate authority signs it into the certificate, everybody who reads
the certificate gets the same value. It takes the time as an argument, so that an old bundle can be
judged by the time it was written and a link by the time it is opened.

Invariant: `allows` depends on the capability and the bucket's name alone.
"""

from fnmatch import fnmatchcase

from attrs import field, frozen

__all__ = ["MAX_GLOBS", "MAX_GLOB_BYTES", "Capability"]

MAX_GLOBS = 64  # a certificate travels with every first bundle; it must stay small
MAX_GLOB_BYTES = 128


def _check_globs(_instance: object, _attribute: object, globs: tuple[str, ...]) -> None:
    if len(globs) > MAX_GLOBS:
        raise ValueError(f"at most {MAX_GLOBS} bucket patterns, not {len(globs)}")
    for glob in globs:
        if not 0 < len(glob.encode()) <= MAX_GLOB_BYTES:
            raise ValueError(f"a bucket pattern has 1 to {MAX_GLOB_BYTES} bytes")


@frozen
class Capability:
    """The rights in one certificate: which buckets, reading or writing, from when until when.

    `not_before_ms` and `not_after_ms` are wall-clock milliseconds since 1970, both inclusive.
    """

    globs: tuple[str, ...] = field(validator=_check_globs)
    may_write: bool
    not_before_ms: int
    not_after_ms: int

    def allows(self, bucket: str) -> bool:
        """Whether the bucket is among those this capability names (fnmatch patterns, case counts)."""
        return any(fnmatchcase(bucket, glob) for glob in self.globs)

    def is_valid_at(self, wall_ms: int) -> bool:
        """Whether the time lies within the certificate's validity."""
        return self.not_before_ms <= wall_ms <= self.not_after_ms
