"""Data folders on file systems that have no hard links, as FAT, some network mounts and some FUSE mounts."""

import errno
import os
import threading
from pathlib import Path

import pytest

import gossipsync
from gossipsync.errors import ConfigError
from gossipsync.runtime.trust import Identity, load_or_create_identity
from gossipsync.runtime.trust._files import create_file

ERRORS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@pytest.fixture(params=ERRORS, ids=errno.errorcode.get)
def without_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("without_links")
def test_a_key_is_made_once_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    first = load_or_create_identity(tmp_path)
    assert load_or_create_identity(tmp_path) == first
    assert not create_file(tmp_path / "identity.key", b"another")
    assert load_or_create_identity(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == ["identity.key"]
    assert (tmp_path / "identity.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("without_links")
def test_many_at_once_get_one_key(tmp_path: Path) -> None:
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        found: list[Identity] = []
        gate = threading.Barrier(8)

        def start(
            folder: Path = folder, found: list[Identity] = found, gate: threading.Barrier = gate
        ) -> None:
            gate.wait()
            found.append(load_or_create_identity(folder))

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len({identity.peer_id for identity in found}) == 1
        assert [path.name for path in folder.iterdir()] == ["identity.key"]


@pytest.mark.usefixtures("without_links")
def test_a_lock_that_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".identity.key.lock").touch(mode=0o600)
    load_or_create_identity(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["identity.key"]


@pytest.mark.usefixtures("without_links")
def test_a_mesh_starts_and_finds_its_data_again(tmp_path: Path) -> None:
    with gossipsync.open(data_dir=tmp_path) as mesh:
        mesh.bucket("b").put("k", 1, ack="self", timeout=20)
        peer = mesh.peer_id
    with gossipsync.open(data_dir=tmp_path) as mesh:
        assert mesh.peer_id == peer
        assert dict(mesh.bucket("b")) == {"k": 1}


def test_another_error_of_link_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(ConfigError, match="Read-only file system"):
        load_or_create_identity(tmp_path)
    assert list(tmp_path.iterdir()) == []
