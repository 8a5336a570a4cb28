"""This package's version, as other peers and `status` show it.

Apart from the package's own `__init__`, which imports embedding, which imports this layer.

Invariant: one version a process, from the metadata of what is installed.
"""

from functools import cache
from importlib.metadata import version

__all__ = ["own_version"]


@cache
def own_version() -> str:
    """The version of the installed gossipsync."""
    return version("gossipsync")
