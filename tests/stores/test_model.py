"""Any sequence of calls, crashes and restarts against the simplest model of a store."""

import copy
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gossipsync.core.ports import StoredLog
from tests.stores.places import LOGS, PLACES, RemotePlace, SimulatedPlace, shown

HEADS = st.sampled_from(["presence", "state", "völlig"])
A_LOG = st.sampled_from(LOGS[:3])
INDEXES = st.integers(1, 12)
PIECES = st.binary(max_size=6000)
NOTES = st.none() | st.binary(max_size=128)


class Image:
    """What a store holds."""

    def __init__(self):
        self.logs = {}
        self.pieces = {}
        self.heads = {}

    def last(self, log):
        return self.logs[log].last if log in self.logs else 0


class StoreMachine(RuleBasedStateMachine):
    place_type: type

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="gossipsync-test-"))
        self.place = self.place_type(self.folder / "data")
        self.committed = Image()
        self.buffered = Image()

    @rule(log=A_LOG, bundle=PIECES)
    def append(self, log, bundle):
        index = self.buffered.last(log) + 1
        self.place.store.append(*log, index, bundle)
        note = self.buffered.logs[log].note if log in self.buffered.logs else None
        self.buffered.logs[log] = StoredLog(index, note)
        self.buffered.pieces[*log, index] = bundle

    @rule(log=A_LOG, index=INDEXES, piece=PIECES)
    def put_piece(self, log, index, piece):
        self.place.store.put_piece(*log, index, piece)
        self.buffered.logs.setdefault(log, StoredLog(0, None))
        self.buffered.pieces[*log, index] = piece

    @rule(log=A_LOG, index=INDEXES)
    def remove_piece(self, log, index):
        self.place.store.put_piece(*log, index, None)
        self.buffered.pieces.pop((*log, index), None)

    @rule(log=A_LOG, steps=st.integers(0, 3), note=NOTES)
    def put_line(self, log, steps, note):
        last = self.buffered.last(log) + steps
        self.place.store.put_line(*log, last, note)
        self.buffered.logs[log] = StoredLog(last, note)

    @rule(log=A_LOG)
    def drop_log(self, log):
        self.place.store.drop_log(*log)
        self.buffered.logs.pop(log, None)
        for name in [name for name in self.buffered.pieces if name[:2] == log]:
            del self.buffered.pieces[name]

    @rule(name=HEADS, value=st.none() | st.binary(max_size=40))
    def put_head(self, name, value):
        self.place.store.put_head(name, value)
        if value is None:
            self.buffered.heads.pop(name, None)
        else:
            self.buffered.heads[name] = value

    @rule()
    def commit(self):
        self.place.store.commit()
        self.committed = copy.deepcopy(self.buffered)

    @precondition(lambda self: hasattr(self.place, "fail_a_commit"))
    @rule()
    def fail_a_commit(self):
        self.place.fail_a_commit()
        if isinstance(self.place, RemotePlace):
            self.buffered.heads["presence"] = b"x"

    @rule()
    def restart(self):
        self.place.reopen()
        self._forget()

    @rule()
    def crash(self):
        self.place.crash()
        self._forget()

    def _forget(self):
        if not self.place.survives:
            self.committed = Image()
        self.buffered = copy.deepcopy(self.committed)

    @invariant()
    def shows_what_was_committed(self):
        pieces = sorted((*name, piece) for name, piece in self.committed.pieces.items())
        assert shown(self.place.store) == (pieces, self.committed.heads)
        assert self.place.store.load_logs() == self.committed.logs

    @invariant()
    def loads_each_log_in_order(self):
        indexes = {}
        for *log, index, _ in self.place.store.load_pieces():
            assert indexes.get(tuple(log), 0) < index
            indexes[tuple(log)] = index

    def teardown(self):
        self.place.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def machine(place_type, examples=80):
    case = type(place_type.__name__, (StoreMachine,), {"place_type": place_type}).TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=30)
    return case


TestMemory = machine(PLACES["memory"])
TestSqlite = machine(PLACES["sqlite"])
TestPage = machine(PLACES["page"], 25)
TestRedis = machine(PLACES["redis"], 25)
TestPostgres = machine(PLACES["postgres"], 25)
TestSimulated = machine(SimulatedPlace)
