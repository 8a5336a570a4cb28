"""All stores behind one fixture, and the servers that some of them need."""

import pytest

from gossipsync.stores import _remote
from tests.stores import servers
from tests.stores.places import PLACES, Place, RemotePlace


@pytest.fixture(scope="session", autouse=True)
def _servers_end():
    yield
    servers.stop_all()


@pytest.fixture(params=sorted(PLACES))
def place(request, tmp_path) -> Place:
    found = PLACES[request.param](tmp_path / "data")
    yield found
    found.close()


@pytest.fixture(params=sorted(servers.KINDS))
def remote(request, tmp_path) -> RemotePlace:
    found = PLACES[request.param](tmp_path / "data")
    yield found
    found.close()


@pytest.fixture
def impatient(monkeypatch):
    """What another store holds is refused at once."""
    monkeypatch.setattr(_remote, "LOCK_PAUSES_S", ())
