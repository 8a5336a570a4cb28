"""Any sequence of calls, crashes and restarts against the simplest model of a store."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.stores.places import LOGS, PLACES, shown

HEADS = st.sampled_from(["presence", "state", "völlig"])


class StoreMachine(RuleBasedStateMachine):
    kind: str

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="gossipsync-test-"))
        self.place = PLACES[self.kind](self.folder / "data")
        self.committed = ([], {})
        self.waiting = ([], {})

    @rule(log=st.sampled_from(LOGS), bundle=st.binary(max_size=6000))
    def append(self, log, bundle):
        appended = Counter(row[:2] for row in self.committed[0] + self.waiting[0])
        row = (*log, appended[log] + 1, bundle)
        self.place.store.append(*row)
        self.waiting[0].append(row)

    @rule(name=HEADS, value=st.none() | st.binary(max_size=40))
    def put_head(self, name, value):
        self.place.store.put_head(name, value)
        self.waiting[1][name] = value

    @rule()
    def commit(self):
        self.place.store.commit()
        heads = self.committed[1] | self.waiting[1]
        self.committed = (
            self.committed[0] + self.waiting[0],
            {name: value for name, value in heads.items() if value is not None},
        )
        self.waiting = ([], {})

    @rule()
    def restart(self):
        self.place.reopen()
        self._forget()

    @rule()
    def crash(self):
        self.place.crash()
        self._forget()

    def _forget(self):
        self.waiting = ([], {})
        if not self.place.survives:
            self.committed = ([], {})

    @invariant()
    def shows_what_was_committed(self):
        assert shown(self.place.store) == self.committed

    def teardown(self):
        self.place.close()
        shutil.rmtree(self.folder)


class MemoryMachine(StoreMachine):
    kind = "memory"


class SqliteMachine(StoreMachine):
    kind = "sqlite"


TestMemory = MemoryMachine.TestCase
TestSqlite = SqliteMachine.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=30)
TestSqlite.settings = settings(max_examples=60, stateful_step_count=30)
