"""Both stores behind one fixture, and the bytes they are filled with."""

import pytest

from tests.stores.places import PLACES, Place


@pytest.fixture(params=sorted(PLACES))
def place(request, tmp_path) -> Place:
    found = PLACES[request.param](tmp_path / "data")
    yield found
    found.close()
