"""The fixtures of tests/processes, for peers to which something happens."""

from tests.processes.conftest import folder, make_peer

__all__ = ["folder", "make_peer"]
