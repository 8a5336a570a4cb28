"""The identity file: made once, whole, for its owner alone."""

import threading
from pathlib import Path

import pytest

from gossipsync.errors import ConfigError
from gossipsync.runtime.trust import Identity, load_or_create_identity


def test_it_is_made_once_with_mode_0600(tmp_path: Path) -> None:
    first = load_or_create_identity(tmp_path)
    assert load_or_create_identity(tmp_path) == first
    assert (tmp_path / "identity.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["identity.key"]


def test_many_at_once_get_one_identity(tmp_path: Path) -> None:
    found: list[Identity] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        found.append(load_or_create_identity(tmp_path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({identity.peer_id for identity in found}) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_or_create_identity(tmp_path)
    (tmp_path / "identity.key").chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_or_create_identity(tmp_path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"x" * 100_000])
def test_a_damaged_file_is_told_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"identity\.key"):
        load_or_create_identity(tmp_path)
    assert path.read_bytes() == content


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_or_create_identity(tmp_path / "absent")


def test_the_private_key_does_not_show() -> None:
    identity = Identity.generate()
    assert "private" not in repr(identity).lower()
