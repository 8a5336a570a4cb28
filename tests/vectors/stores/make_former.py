"""How the stores in this folder were made, by builds that had store format 2. Kept for its provenance.

    PYTHONPATH=CHECKOUT python make_former.py FOLDER        CHECKOUT: of the commit that names the fixture

Two peers of one mesh write values, maps, sets, counters and final deletes, overwrite and delete some of them so that logs
are trimmed to excerpts, and one is restarted so that the line of its first epoch is covered. The data folders of both, what
both showed at the end, and the moment go to FOLDER; `rows` of the first store as the servers' stores keep them go beside it.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import gossipsync

SECRET = bytes(range(32))


def cluster_key():
    import base64
    from hashlib import sha256

    check = sha256(b"gossipsync cluster key checksum v1" + SECRET).digest()[:3]
    return "gsk1-" + base64.b32encode(SECRET + check).decode().lower()


BUCKETS = {
    "flags": {},
    "carts": {"kind": "map"},
    "roles": {"kind": "set"},
    "hits": {"kind": "counter"},
    "sessions": {"deletes": "final", "ttl": 7 * 86400},
}


def open_peer(folder, name, seeds=()):
    mesh = gossipsync.open(
        data_dir=folder, name=name, cluster_key=cluster_key(), listen="127.0.0.1:0",
        seeds=list(seeds), gossip_interval=0.2,
    )  # fmt: skip
    mesh.start()
    return mesh, {bucket: mesh.bucket(bucket, **rules) for bucket, rules in BUCKETS.items()}


def plain(value):
    return sorted(value) if isinstance(value, frozenset) else value


def shown(buckets):
    return {
        name: {key: plain(bucket[key]) for key in sorted(bucket)}
        for name, bucket in buckets.items()
    }


def write(buckets, who):
    for number in range(12):
        buckets["flags"][f"{who}-{number}"] = {"on": number % 2 == 0, "note": "x" * (number * 9)}
        buckets["sessions"][f"{who}-{number}"] = {"user": number, "token": f"{who}{number}" * 12}
    for number in range(4):
        buckets["carts"][f"cart-{number}"] = {who: number, "note": f"by {who}", "blob": b"b" * 40}
        buckets["roles"].elements(f"role-{number}").add(who)
        buckets["hits"].counter(f"page-{number}").add(number + 1)


def overwrite(buckets, who):
    for number in range(0, 12, 3):
        buckets["flags"][f"{who}-{number}"] = f"overwritten by {who}"
    del buckets["flags"][f"{who}-1"]
    buckets["sessions"].delete(f"{who}-2")
    del buckets["carts"]["cart-3"]
    buckets["roles"].elements("role-2").discard(who)
    buckets["hits"].counter("page-1").add(100)


def until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise SystemExit("it did not come true within a minute")


def main(target):
    work = Path(tempfile.mkdtemp())
    a, of_a = open_peer(work / "a", "a")
    b, of_b = open_peer(work / "b", "b", [a.address])
    until(lambda: len(a.members()) == 2)
    write(of_a, "a")
    write(of_b, "b")
    until(lambda: shown(of_a) == shown(of_b))
    b.close()
    b, of_b = open_peer(work / "b", "b", [a.address])
    until(lambda: len(of_b["flags"]) == 24 and a.status().members["alive"] == 2)
    overwrite(of_b, "b")
    overwrite(of_a, "a")
    of_b["flags"]["late"] = "x" * 100
    until(lambda: shown(of_a) == shown(of_b))
    time.sleep(20)  # for trimming, and for the line of b's first epoch to be covered
    expected = shown(of_a)
    assert expected == shown(of_b)
    a.close()
    b.close()
    now_ms = int(time.time() * 1000)
    for name in "ab":
        (target / name).mkdir(parents=True)
        for file in ("journal.db", "identity.key"):
            shutil.copy(work / name / file, target / name / file)
    shutil.rmtree(work)
    text = {"now_ms": now_ms, "shown": encoded(expected)}
    (target / "shown.json").write_text(json.dumps(text, indent=1, sort_keys=True) + "\n")


def encoded(value):
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, dict):
        return {key: encoded(part) for key, part in value.items()}
    return [encoded(part) for part in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main(Path(sys.argv[1]))
