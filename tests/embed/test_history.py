"""`history(key)` and `bucket(history=…)`, for threads and coroutines."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import gossipsync


def test_history_of_a_key() -> None:
    with gossipsync.open() as mesh:
        flags = mesh.bucket("flags", history=60)
        began = datetime.now(UTC) - timedelta(seconds=1)
        flags["k"] = {"a": 1}
        flags["k"] = 2
        del flags["k"]
        flags["other"] = 1
        first, second, third = flags.history("k")
        assert (first.kind, first.value, first.field) == ("put", {"a": 1}, None)
        assert (second.kind, second.value) == ("put", 2)
        assert (third.kind, third.value) == ("delete", None)
        assert first.origin == first.sender == mesh.peer_id
        assert began < first.at <= second.at <= third.at < datetime.now(UTC) + timedelta(seconds=1)
        assert first.hlc < second.hlc < third.hlc
        assert first.expires is None
        flags.put("k", 3, ttl=60)
        last = flags.history("k")[-1]
        assert last.expires is not None
        assert flags.history("nothing") == []
        with pytest.raises(gossipsync.BucketKindError, match="history"):
            mesh.bucket("flags", history=61)
        with pytest.raises(gossipsync.ConfigError, match="history"):
            mesh.bucket("bad", history="long")  # type: ignore[arg-type]


async def test_history_in_coroutines_and_from_settings(tmp_path: Path) -> None:
    config = tmp_path / "gossipsync.toml"
    config.write_text('data_dir = "data"\n[buckets.b]\nhistory = "1h"\n')
    for count in (2, 4):
        async with gossipsync.open_async(config) as mesh:
            bucket = mesh.bucket("b")
            bucket["k"] = 1
            bucket["k"] = 2
            assert [version.value for version in bucket.history("k")] == [1, 2] * (count // 2)
            assert mesh.bucket("b", history=timedelta(hours=1)) is bucket
