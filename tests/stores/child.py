"""What the tests run in processes of their own: `python child.py WHAT FOLDER`. Says on stdout how far it got."""

import faulthandler
import gc
import itertools
import os
import resource
import signal
import sys
import threading
from pathlib import Path

from gossipsync.core.model.ids import NetworkId, Origin, PeerId
from gossipsync.errors import GossipsyncError
from gossipsync.stores import SqliteStore, _journal_file

ORIGIN = Origin(b"o" * 40)


def open_here(folder: str) -> SqliteStore:
    return SqliteStore(folder, network=NetworkId(b"n" * 32), peer=PeerId(b"p" * 32))


def say(*words: object) -> None:
    print(*words, flush=True)


def bundle(index: int, size: int) -> bytes:
    return (b"%d " % index) * (size // len(b"%d " % index))


def hold(folder: str) -> None:
    """Keep the folder until stdin ends."""
    store = open_here(folder)
    say(os.getpid())
    sys.stdin.read()
    store.close()


def commit_for_ever(folder: str) -> None:
    """Say each bundle's index once it is committed; 64 KiB each, so that checkpoints are hit too."""
    store = open_here(folder)
    indexes = [index for _, _, index, _ in store.load_pieces()]
    for index in itertools.count(len(indexes) + 1):
        store.append("b", ORIGIN, index, bundle(index, 65536))
        store.put_head("last", b"%d" % index)
        store.commit()
        say(index)


def commit_large_for_ever(folder: str) -> None:
    """The same with 300 kB each and a checkpoint after every 64 pages, so that most kills hit one."""
    _journal_file._CHECKPOINT_PAGES = 64  # type: ignore[misc]
    store = open_here(folder)
    indexes = [index for _, _, index, _ in store.load_pieces()]
    for index in itertools.count(len(indexes) + 1):
        store.append("b", ORIGIN, index, bundle(index, 300_000))
        store.commit()
        say(index)


def fork(folder: str) -> None:
    """The child tries all that it must not do, ends like any process, and the parent goes on."""
    store = open_here(folder)
    store.append("b", ORIGIN, 1, b"one")
    store.commit()
    store.append("b", ORIGIN, 2, b"two")
    child = os.fork()
    if child == 0:
        for use in (store.commit, store.load_heads, lambda: store.append("b", ORIGIN, 3, b"")):
            complain(use)
        store.close()
        complain(lambda: open_here(folder))
        del store, use
        gc.collect()
        sys.exit(7)
    _, status = os.waitpid(child, 0)
    say("child ended", os.waitstatus_to_exitcode(status))
    say("wal", Path(folder, "journal.db-wal").stat().st_size > 0)
    complain(lambda: open_here(folder))
    store.commit()
    store.close()
    store = open_here(folder)
    say(*[index for _, _, index, _ in store.load_pieces()])
    store.close()


def fork_and_outlive(folder: str) -> None:
    """The child lives until stdin ends, longer than its parent; then it looks at the file itself, and ends."""
    store = open_here(folder)
    store.append("b", ORIGIN, 1, bundle(1, 65536))
    store.commit()
    if os.fork() == 0:
        say(os.getppid())
        sys.stdin.read()
        complain(lambda: open_here(folder))
    else:
        signal.pause()


def fork_and_close(folder: str) -> None:
    """The same, but the parent ends as it should."""
    store = open_here(folder)
    store.append("b", ORIGIN, 1, bundle(1, 65536))
    store.commit()
    if os.fork() == 0:
        sys.stdin.read()
    else:
        store.close()
        say("closed")
        os._exit(0)


def fork_often_while_committing(folder: str) -> None:
    """Each child opens a store of its own, while threads of this process open, commit and close."""
    is_over = threading.Event()

    def commit_on(part: int) -> None:
        indexes = itertools.count(1)
        while not is_over.is_set():
            store = open_here(f"{folder}/parent{part}")
            for index in itertools.islice(indexes, 20):
                store.append("b", ORIGIN, index, b"parent's")
                store.commit()
            store.close()

    threads = [threading.Thread(target=commit_on, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    for number in range(150):
        child = os.fork()
        if child == 0:
            # SQLite waits for ever for a lock whose holder is no thread of this process.
            faulthandler.dump_traceback_later(30, exit=True)
            store = open_here(f"{folder}/child{number}")
            store.append("b", ORIGIN, 1, b"child's")
            store.commit()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            say("child", number, "ended by", status)
            break
    is_over.set()
    for thread in threads:
        thread.join()


def outgrow(folder: str) -> None:
    """Hit a limit on the size of files, lift it, try again."""
    store = open_here(folder)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    overfill(store)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    store.commit()
    say(*[index for _, _, index, _ in store.load_pieces()])
    store.close()


def overfill(store: SqliteStore) -> None:
    for index in range(1, 40):
        store.append("b", ORIGIN, index, bundle(index, 40_000))
        if complain(store.commit):
            complain(store.commit)
            store.append("b", ORIGIN, index + 1, b"meanwhile")
            break


def fill_disk(folder: str) -> None:
    """On a disk of 1 MiB: fill it, make room, try again."""
    ballast = Path(folder, "ballast")
    ballast.write_bytes(bytes(400_000))
    store = open_here(folder)
    overfill(store)
    ballast.unlink()
    store.commit()
    say(*[index for _, _, index, _ in store.load_pieces()])
    store.close()


def complain(use) -> bool:
    try:
        use()
    except GossipsyncError as error:
        say(type(error).__name__, error)
        return True
    return False


if __name__ == "__main__":
    what, where = sys.argv[1:]
    {
        f.__name__: f
        for f in (
            *(hold, commit_for_ever, commit_large_for_ever, outgrow, fill_disk),
            *(fork, fork_and_close, fork_and_outlive, fork_often_while_committing),
        )
    }[what](where)
