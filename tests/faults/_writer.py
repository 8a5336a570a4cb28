"""A program under write load, for tests that kill it: it says each write as soon as that is acknowledged."""

from itertools import count
from multiprocessing.connection import Connection
from threading import Thread

import gossipsync

VALUE = "v" * 200
BUCKET = "b"


def write_until_killed(config: str, name: str, said: Connection) -> None:
    """Two threads, each with one write under way: one waits for this peer's disk, one for another's."""
    said.send_bytes(b"begun -")
    bucket = gossipsync.open(config).bucket(BUCKET)

    def keep_writing(ack: int | str) -> None:
        for number in count():
            key = f"{name}-{ack}-{number}"
            bucket.put(key, VALUE, ack=ack, timeout=60)
            said.send_bytes(f"{ack} {key}".encode())

    Thread(target=keep_writing, args=("self",)).start()
    keep_writing(1)
