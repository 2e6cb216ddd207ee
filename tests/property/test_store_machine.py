"""Whatever is sent, in any order, however the store is closed: the log is a list without doubles.

The model is a plain list of ids. The store runs on a SQLite file; a writer that dies is one whose
connection and lock go without its saying so.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crossmargin.accounts.store import Entry, TransferRow, open_store
from crossmargin.errors import StoreError

IDS = st.integers(1, 40)


def entry(i: int, payload: bytes = b"") -> Entry:
    moved = tuple(TransferRow(f"a{n}", "b", "USD", 10**n + i, "x") for n in range(i % 4))
    return Entry(f"id{i}", i, "k", payload or b"%d" % i, moved)


class StoreMachine(RuleBasedStateMachine):
    """A store beside the list it must be."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "ledger"
        self.log: list[int] = []
        self.store = open_store(self.path, writer="w0", create=True)
        self.reader = open_store(self.path)

    @rule(batch=st.lists(IDS, max_size=12))
    def append(self, batch: list[int]) -> None:
        done = self.store.append([entry(i) for i in batch])
        for i, ack in zip(batch, done, strict=True):
            assert ack.duplicate == (i in self.log)
            if not ack.duplicate:
                self.log.append(i)
            assert ack.seq == self.log.index(i) + 1

    @rule(batch=st.lists(IDS, max_size=4), other=IDS)
    def append_with_another_payload(self, batch: list[int], other: int) -> None:
        """An id with another payload refuses the whole call, where it is there already."""
        sent = [*(entry(i) for i in batch), entry(other), entry(other, b"another")]
        with pytest.raises(StoreError) as caught:
            self.store.append(sent)
        assert caught.value.code == "STO-008"

    @rule(batch=st.lists(IDS, max_size=4))
    def append_what_cannot_be_stored(self, batch: list[int]) -> None:
        with pytest.raises(StoreError) as caught:
            self.store.append([*(entry(i) for i in batch), Entry("", 1, "k", b"")])
        assert caught.value.code == "STO-007"

    @rule(dies=st.booleans())
    def open_again(self, dies: bool) -> None:
        if dies:
            backend = self.store._backend
            backend._connection.close()
            backend._connection = None
        self.store.close()
        self.store = open_store(self.path, writer="next")
        assert (self.store.taken_over is not None) == dies

    @rule()
    def a_second_writer(self) -> None:
        with pytest.raises(StoreError) as caught:
            open_store(self.path, writer="second")
        assert caught.value.code == "STO-005"

    @rule(first=st.integers(-2, 45), last=st.none() | st.integers(-2, 45))
    def read(self, first: int, last: int | None) -> None:
        found = [int(r.payload) for r in self.reader.read(first, last)]
        end = len(self.log) if last is None else max(0, min(last, len(self.log)))
        assert found == self.log[max(0, first - 1) : end]

    @invariant()
    def is_the_list(self) -> None:
        if hasattr(self, "store"):
            records = list(self.reader.read())
            assert [r.entry() for r in records] == [entry(i) for i in self.log]
            assert self.reader.head() == self.store.head()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            assert self.reader.verify().ok
            self.reader.close()
            self.store.close()
            shutil.rmtree(self.folder)


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStore = StoreMachine.TestCase
