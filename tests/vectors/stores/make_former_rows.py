"""How `redis.json` and `postgres.json` of a fixture were made: its store `a`, copied into real servers by the same old build.

    PYTHONPATH=CHECKOUT:. python make_former_rows.py FOLDER

Redis: every key with its type and content. PostgreSQL: every row of every table. All bytes in hex.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from gossipsync.runtime.trust import credentials_from_cluster_key, load_or_create_identity
from gossipsync.stores import SqliteStore, open_store
from tests.stores import servers
from tests.vectors.stores.make_former import cluster_key

TABLES = ("owners", "logs", "pieces", "heads")


def copied(source, target):
    for name, value in source.load_heads().items():
        target.put_head(name, value)
    lines = source.load_logs()
    for bucket, origin, index, piece in source.load_pieces():
        target.put_piece(bucket, origin, index, piece)
    for (bucket, origin), line in lines.items():
        target.put_line(bucket, origin, line.last, line.note)
    target.commit()
    target.close()


def of_redis(server):
    rows = {}
    for key in server.command("KEYS", "*"):
        kind = server.command("TYPE", key).decode()
        if kind == "hash":
            content = server.command("HGETALL", key)
            rows[key.hex()] = {field.hex(): value.hex() for field, value in content.items()}
        else:
            rows[key.hex()] = server.command("GET", key).hex()
    return rows


def of_postgres(server):
    def plain(part):
        return part.hex() if isinstance(part, bytes) else part

    return {
        table: [
            [plain(part) for part in row]
            for row in server.command(f"SELECT * FROM gossipsync_{table} ORDER BY 1, 2")
        ]
        for table in TABLES
    }


def main(folder):
    work = Path(tempfile.mkdtemp())
    shutil.copytree(folder / "a", work / "a")
    identity = load_or_create_identity(work / "a")
    credentials = credentials_from_cluster_key(cluster_key(), identity)
    whose = {"network": credentials.network_id, "peer": identity.peer_id}
    for kind, rows in (("redis", of_redis), ("postgres", of_postgres)):
        server = servers.running(kind)
        source = SqliteStore(work / "a", **whose)
        copied(source, open_store(server.url, None, **whose))
        source.close()
        text = json.dumps(rows(server), indent=0, sort_keys=True)
        (folder / f"{kind}.json").write_text(text + "\n")
    servers.stop_all()
    shutil.rmtree(work)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
