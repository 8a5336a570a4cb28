"""This package's version, as other peers and `status` show it, and as the build reads it.

Written here and nowhere else, so that a copy without its metadata (vendored, frozen, zipped) still knows it. Apart from the package's own
`__init__`, which imports embedding, which imports this layer.
"""

from typing import Final

__all__ = ["VERSION"]

VERSION: Final = "0.1.0"
