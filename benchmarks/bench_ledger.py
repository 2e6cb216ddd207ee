"""The ledger as its user has it: events posted durably, replayed, and a statement of a long log.

*Posted* is everything `Journal.post` does: the event is checked and applied in memory, and what it
moves is stored in one synchronised commit a batch. *Replayed* opens a log without its snapshot:
each entry is held to the chain, applied again, and its transfers compared with those stored. The
rival of both is the same fold without a store: what the file and the chain cost is the ratio.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.bench_store import Prepared, prepared
from benchmarks.harness import Measure, Scale, Series, number, report, timed
from crossmargin.accounts import State, apply, events
from crossmargin.accounts.events import Event
from crossmargin.accounts.generated import generated_venue
from crossmargin.accounts.journal import Journal, open_journal
from crossmargin.accounts.kept_statement import kept_statement
from crossmargin.accounts.store import open_store
from crossmargin.units import format_time

START_NS = 1_770_000_000_000_000_000
BATCH = 100
#: Events of the generated venue that open 1,000 accounts come first and are not timed.
ACCOUNTS = 1_000
PRICES = {"BTC_USDC-PERPETUAL": 78_000.0, "ETH_USDC-PERPETUAL": 2_600.0}
GROWTH = {"tiny": (100, 300), "quick": (10_000, 100_000),
          "full": (10_000, 100_000, 1_000_000)}  # fmt: skip


def opening() -> list[Event]:
    """Return the events that open a venue, and its marks."""
    made = list(generated_venue(ACCOUNTS, PRICES, seed=5, time_ns=START_NS))
    marks = {name: f"{price:.2f}" for name, price in PRICES.items()}
    return [*made, events.Mark(id="marks", time=format_time(START_NS), prices=marks)]


def trades(first: int) -> Iterator[Event]:
    """Yield fills between two of the accounts, each with its fees, without end."""
    names = sorted(PRICES)
    for i in itertools.count(first):
        name = names[i % len(names)]
        buyer = events.Side(account=f"a{i % ACCOUNTS:03d}", fee="0.004")
        seller = events.Side(account=f"a{(i * 7 + 1) % ACCOUNTS:03d}", fee="0.002")
        if buyer.account == seller.account:
            continue
        trade = events.Trade(
            instrument=name,
            quantity=f"{0.0001 * (1 + i % 9):.4f}",
            price=f"{PRICES[name] * (1 + 0.0001 * (i % 50 - 25)):.2f}",
            buyer=buyer,
            seller=seller,
        )
        yield events.Fill(id=f"t{i}", time=format_time(START_NS + 1_000_000 * i), trade=trade)


class Posting:
    """Posts new fills to a journal in batches."""

    def __init__(self, journal: Journal, count: int) -> None:
        self._journal, self._source, self._count = journal, trades(1), count
        self._made: list[Event] = []

    def prepare(self) -> None:
        """Make the events of the next call."""
        self._made = list(itertools.islice(self._source, self._count))

    def __call__(self) -> None:
        for start in range(0, len(self._made), BATCH):
            self._journal.post(self._made[start : start + BATCH])


class Folding:
    """Applies the same events to a state in memory."""

    def __init__(self, count: int) -> None:
        self.state, self._source, self._count = State(), trades(1), count
        for event in opening():
            apply(self.state, event)
        self._made: list[Event] = []

    def prepare(self) -> None:
        """Make the events of the next call."""
        self._made = list(itertools.islice(self._source, self._count))

    def __call__(self) -> None:
        for event in self._made:
            apply(self.state, event)


def run(scale: Scale) -> list[Measure]:
    """Measure posting, replay and statements."""
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as folder:
        return [posting(scale, Path(folder)), *growth(scale, Path(folder))]


def posting(scale: Scale, folder: Path) -> Measure:
    """Events a second through the journal, beside the fold alone."""
    count = 200 if scale.name == "tiny" else 4_000
    place = folder / "posted"
    open_store(place, writer="bench", create=True).close()
    with open_journal(place, writer="bench") as journal:
        journal.post(opening())
        cases: dict[str, Prepared] = {"journal": Posting(journal, count), "fold": Folding(count)}
        times = prepared(cases, scale)
        same = journal.state.digest()
    fold = cases["fold"]
    assert isinstance(fold, Folding)
    if same != fold.state.digest():
        raise AssertionError("the journal and the fold have come to different states")
    ours, alone = times["journal"], times["fold"]
    return replace(
        report(
            f"ledger: fills posted durably through the journal, {BATCH} a commit",
            count / ours.median,
            "/s",
            f"checked, applied, hashed and stored; the fold alone {number(count / alone.median)}/s "
            f"({ours.over(alone)} times the time); same state in the end",
            low=count / ours.high,
            high=count / ours.low,
            better="higher",
        ),
        steady=ours.steady,
    )


def growth(scale: Scale, folder: Path) -> list[Measure]:
    """Replay, opening from the snapshot and an account's statement, as the log grows."""
    place, source, sizes = folder / "grown", trades(1), []
    taken: dict[str, list[float]] = {"replay": [], "open from its snapshot": [], "state": []}
    once = replace(scale, repeats=1)
    open_store(place, writer="bench", create=True).close()
    for size in GROWTH[scale.name]:
        with open_journal(place, writer="bench") as journal:
            if journal.state.count == 0:
                journal.post(opening())
            while journal.state.count < size:
                left = size - journal.state.count
                journal.post(list(itertools.islice(source, min(10_000, left))))
        sizes.append(float(size))
        taken["replay"].append(timed(lambda: replayed(place), once).low)
        # Opening for writing leaves a snapshot behind where the replay was long.
        with open_journal(place, writer="bench"):
            pass
        taken["open from its snapshot"].append(timed(lambda: opened(place), once).low)
        taken["state"].append(timed(lambda: stated(place), once).low)
    names = {"replay": "replay", "open from its snapshot": "open from its snapshot",
             "state": "make an account's statement"}  # fmt: skip
    return [line(names[key], tuple(sizes), tuple(found)) for key, found in taken.items()]


def replayed(place: Path) -> None:
    """Fold the whole log, as where there is no snapshot."""
    with open_journal(place, cached=False):
        pass


def opened(place: Path) -> None:
    """Open the log as a user does, with the snapshot that was left behind."""
    with open_journal(place):
        pass


def stated(place: Path) -> None:
    """Make the statement of one account."""
    with open_journal(place) as journal:
        kept_statement(journal.state, "a007", journal.records())


def line(what: str, sizes: tuple[float, ...], seconds: tuple[float, ...]) -> Measure:
    """One line of growth, and its slope."""
    series = Series(
        "Ledger: time against events", what, "events of the log", "seconds", sizes, seconds, 1.0
    )
    return report(
        f"growth of the ledger's time to {what}: slope",
        series.slope,
        "",
        f"{sizes[0]:,.0f} to {sizes[-1]:,.0f} events; at the end {number(seconds[-1])} s, "
        f"{number(sizes[-1] / seconds[-1])} events/s",
        series=(series,),
    )
