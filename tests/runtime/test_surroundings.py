"""Unusual surroundings: no metadata, no home folder, no working folder. Each works, or is a ConfigError that names the fault."""

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import gossipsync
from gossipsync.errors import ConfigError
from gossipsync.runtime.sources import load_settings
from gossipsync.runtime.trust import keygen
from gossipsync.runtime.version import VERSION

_VENDORED = """
import sys
sys.path[:0] = sys.argv[1:3]
import gossipsync
assert gossipsync.__file__.startswith(sys.argv[1]), gossipsync.__file__
with gossipsync.open(cluster_key=sys.argv[3]) as mesh:
    mesh.bucket("b")["k"] = 1
    print(mesh.status().version, gossipsync.__version__)
"""


def test_a_copy_without_metadata_runs(tmp_path: Path) -> None:
    app, others = tmp_path / "app", tmp_path / "others"
    shutil.copytree(Path(gossipsync.__file__).parent, app / "gossipsync")
    others.mkdir()
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if "gossipsync" not in each.name:
            (others / each.name).symlink_to(each)
    command = [sys.executable, "-I", "-S", "-c", _VENDORED, str(app), str(others), keygen()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{VERSION} {VERSION}\n"), done.stderr


@pytest.fixture
def gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that was deleted, as a release folder is by the next deploy."""
    folder = tmp_path / "release"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    yield tmp_path
    os.chdir(tmp_path)


def test_a_deleted_working_folder_hinders_only_relative_paths(gone: Path) -> None:
    for given in ({}, {"data_dir": gone / "data"}):
        with gossipsync.open(**given) as mesh:  # type: ignore[arg-type]
            mesh.bucket("b")["k"] = 1
    with pytest.raises(ConfigError, match=r"data_dir in the keywords: 'data' is relative.*is gone"):
        gossipsync.open(data_dir="data")
    with pytest.raises(ConfigError, match=r"the settings file: 'gossipsync.toml' is relative"):
        gossipsync.open("gossipsync.toml")
    config = gone / "gossipsync.toml"
    config.write_text('data_dir = "there"\n')
    assert load_settings(config).data_dir == gone / "there"


def test_no_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> object:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for given in ({"data_dir": "~/data"}, {"socket": "~/s.sock"}, {"cluster_key_file": "~/key"}):
        with pytest.raises(ConfigError, match="set HOME, or write the whole path"):
            load_settings(None, given)
    with pytest.raises(ConfigError, match=r"the settings file: .*set HOME"):
        load_settings("~/gossipsync.toml")
    assert load_settings(None, {"data_dir": tmp_path}).data_dir == tmp_path
