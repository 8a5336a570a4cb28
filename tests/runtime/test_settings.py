"""Settings: where they come from, which one wins, and what each mistake is told."""

import os
import warnings
from datetime import timedelta
from pathlib import Path

import pytest

import gossipsync
from gossipsync.core import Deletes, Kind
from gossipsync.errors import ConfigError
from gossipsync.runtime.readers import parse_duration
from gossipsync.runtime.settings import BucketSettings
from gossipsync.runtime.sources import load_settings
from gossipsync.runtime.trust import keygen

KEY = keygen()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("GOSSIPSYNC_"):
            monkeypatch.delenv(name)


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "gossipsync.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


# -- precedence ------------------------------------------------------------------------------------


def test_keyword_before_environment_before_file_before_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, 'name = "file"\nzone = "file"\nfanout = 2\n')
    monkeypatch.setenv("GOSSIPSYNC_NAME", "environment")
    monkeypatch.setenv("GOSSIPSYNC_ZONE", "environment")
    settings = load_settings(path, {"name": "keyword"}, env=True)
    assert (settings.name, settings.zone, settings.fanout) == ("keyword", "environment", 2)
    assert settings.gossip_interval == 1.0
    assert settings.config == path


def test_the_environment_counts_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOSSIPSYNC_ZONE", "z")
    assert load_settings().zone == ""
    assert load_settings(env=True).zone == "z"


def test_a_keyword_of_none_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "file"\n')
    assert load_settings(path, {"name": None, "data_dir": None}).name == "file"


def test_everything_in_the_environment_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CLUSTER_KEY": KEY,
        "SEEDS": "a:1, b:2,,",
        "FANOUT": "3",
        "MAX_SKEW": "2m",
        "HORIZON": "90",
        "DATA_DIR": "here",
    }.items():
        monkeypatch.setenv(f"GOSSIPSYNC_{name}", value)
    settings = load_settings(env=True)
    assert settings.seeds == ("a:1", "b:2")
    assert (settings.fanout, settings.max_skew, settings.horizon) == (3, 120.0, 90.0)
    assert settings.data_dir == Path.cwd() / "here"


def test_relative_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    path = write(tmp_path, 'data_dir = "data"\nsocket = "/run/x.sock"\n')
    settings = load_settings(path)
    assert settings.data_dir == tmp_path / "data"
    assert settings.socket == Path("/run/x.sock")


def test_bucket_tables(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[buckets.sessions]\nkind = "map"\nttl = "30m"\ndeletes = "final"\n[buckets.flags]\n',
    )
    buckets = load_settings(path).buckets
    assert buckets["sessions"] == BucketSettings(Kind.MAP, 1800.0, Deletes.FINAL)
    assert buckets["flags"] == BucketSettings()


def test_defaults_are_a_lone_peer_in_memory() -> None:
    settings = load_settings()
    assert settings.is_lone
    assert settings.store_kind == "memory"
    assert not settings.has_control_socket
    assert load_settings(given={"data_dir": "x"}).store_kind == "sqlite"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (1, 1.0),
        (0.5, 0.5),
        (timedelta(minutes=2), 120.0),
        ("20ms", 0.02),
        ("30s", 30.0),
        ("10m", 600.0),
        ("1h", 3600.0),
        ("7d", 604800.0),
        ("1.5", 1.5),
    ],
)
def test_durations(given: object, seconds: float) -> None:
    assert parse_duration(given) == seconds


@pytest.mark.parametrize(
    "given",
    [0, -1, True, None, "", "1w", "-1s", "1 s m", "1e3", float("nan"), float("inf"), 10**400],
)
def test_what_is_no_duration(given: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(given)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"naem": "x"}, "unknown setting 'naem' in the keywords; did you mean name"),
        ({"history": 3}, "unknown setting 'history'"),
        ({"zzz": 3}, "unknown setting 'zzz' in the keywords; known are ack_timeout, advertise"),
        ({"name": ""}, "name in the keywords: 1 to 128 bytes"),
        ({"name": "a\nb"}, "printable"),
        ({"name": 3}, "text is needed, not int"),
        ({"fanout": 0}, "fanout in the keywords: a whole number"),
        ({"fanout": True}, "whole number"),
        ({"fanout": 1.5}, "whole number"),
        ({"max_skew": "soon"}, "max_skew in the keywords: a duration"),
        ({"placement": "host"}, "placement in the keywords: 'host' is not one of 'process'"),
        ({"placement": "agent"}, "'agent' is not one of"),
        ({"store": "redis"}, "'redis' is not one of 'memory', 'sqlite'"),
        ({"store": "sqlite"}, "needs a data_dir"),
        ({"store": "mysql://me:hunter2@x"}, "this kind of address is none of redis://"),
        ({"store": "redis://me:hunter2@x"}, "needs a data_dir too, to keep the peer's key in"),
        ({"store": 7}, "7 is not one of"),
        ({"seeds": ["a:1"]}, "seeds without a key"),
        ({"listen": "127.0.0.1:0"}, "listen without a key"),
        ({"advertise": "a:1"}, "advertise without a key"),
        ({"seeds": "a:1", "listen": "b:1"}, "seeds and listen without a key"),
        ({"cluster_key": KEY, "seeds": ["a"]}, "not host:port"),
        ({"cluster_key": KEY, "seeds": ["a:0"]}, "names no port"),
        ({"cluster_key": KEY, "seeds": [7]}, "text is needed"),
        ({"cluster_key": KEY, "seeds": 7}, "list of"),
        ({"cluster_key": KEY, "listen": "::1:80"}, "takes brackets"),
        ({"cluster_key": KEY, "listen": "a:99999"}, "not host:port"),
        ({"cluster_key": KEY, "advertise": "0.0.0.0:1"}, "no address that others can dial"),
        ({"cluster_key": KEY, "credentials": "x"}, "cluster_key and credentials are set together"),
        ({"cluster_key": KEY, "cluster_key_file": "x"}, "set together"),
        ({"cluster_key": "hunter2"}, "starts with gsk1-"),
        ({"cluster_key": KEY[:-1]}, "cluster key"),
        ({"cluster_key": 7}, "the key as text"),
        ({"cluster_key_file": "/nonexistent/key"}, "does not exist; make one with"),
        ({"data_dir": 7}, "a path is needed"),
        ({"buckets": 7}, "a table for each bucket"),
        ({"buckets": {"b": 7}}, "buckets.b in the keywords: a table is needed"),
        ({"buckets": {"b": {"knd": "map"}}}, "did you mean kind"),
        ({"buckets": {"b": {"histories": 3}}}, "unknown setting 'histories' in buckets.b"),
        (
            {"buckets": {"b": {"kind": "maps"}}},
            "buckets.b.kind in the keywords: 'maps' is not one of",
        ),
        ({"buckets": {"b": {"deletes": "never"}}}, "'never' is not one of 'tombstone', 'final'"),
        ({"buckets": {"b": {"deletes": "final"}}}, "needs a ttl"),
        ({"buckets": {"": {}}}, "1–128 bytes"),
    ],
)
def test_bad_settings(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gossipsync.open(**given)
    assert message in str(caught.value)
    with pytest.raises(ConfigError):
        gossipsync.open_async(**given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is not TOML"),
        ('nmae = "x"', "did you mean name"),
        ("seeds = 3", "list of"),
        ("buckets = 3", "[buckets.NAME]"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        gossipsync.open(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://me:hunter2@x:1/2", "unix:///s", "postgresql://me:hunter2@x/d"]
)
def test_a_store_on_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    path = write(tmp_path, f'store = "{url}"\ndata_dir = "d"\n')
    monkeypatch.setenv("GOSSIPSYNC_STORE", url)
    for settings in (
        load_settings(path),
        load_settings(given={"data_dir": tmp_path}, env=True),
        load_settings(given={"data_dir": tmp_path, "store": url}),
    ):
        assert settings.store == settings.store_kind == url
        assert "hunter2" not in repr(settings)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.toml"):
        gossipsync.open(tmp_path / "absent.toml")


def test_an_unknown_name_in_the_environment_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOSSIPSYNC_SEED", "a:1")
    monkeypatch.setenv("GOSSIPSYNC_CONFIG", "x")
    with pytest.warns(UserWarning, match="GOSSIPSYNC_SEED.* did you mean GOSSIPSYNC_SEEDS"):
        gossipsync.open(env=True)


def test_a_wrong_value_in_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOSSIPSYNC_FANOUT", "two")
    with pytest.raises(ConfigError, match="fanout in the environment: a whole number"):
        gossipsync.open(env=True)


def test_a_key_in_a_file_that_others_may_read_warns(tmp_path: Path) -> None:
    text = f'cluster_key = "{KEY}"\n'
    with pytest.warns(UserWarning, match="chmod 600") as caught:
        gossipsync.open(write(tmp_path, text, 0o644))
    assert KEY not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gossipsync.open(write(tmp_path, text, 0o600))


def test_a_password_in_a_file_that_others_may_read_warns(tmp_path: Path) -> None:
    text = 'store = "redis://me:hunter2@x"\ndata_dir = "d"\n'
    with pytest.warns(UserWarning, match="store's password .*chmod 600") as caught:
        load_settings(write(tmp_path, text, 0o644))
    assert "hunter2" not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_settings(write(tmp_path, text, 0o600))
        load_settings(write(tmp_path, 'store = "redis://x"\ndata_dir = "d"\n', 0o644))


def test_a_key_file_must_be_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod"):
        gossipsync.open(cluster_key_file=path)
    path.chmod(0o600)
    assert load_settings(given={"cluster_key_file": path}).cluster_key == KEY
    path.write_text("nonsense")
    with pytest.raises(ConfigError, match="gsk1-"):
        gossipsync.open(cluster_key_file=path)


def test_no_secret_shows() -> None:
    assert KEY not in repr(load_settings(given={"cluster_key": KEY}))
    with pytest.raises(ConfigError) as caught:
        gossipsync.open(cluster_key=KEY[:-1] + ("b" if KEY[-1] == "a" else "a"))
    assert KEY[:-2] not in str(caught.value)
