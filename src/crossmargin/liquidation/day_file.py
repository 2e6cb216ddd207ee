"""A venue's day from a file of events: marks make the driver look, all else is posted as it is.

Source: the events are those of ``docs/models/ledger.md``; the driver is
:mod:`crossmargin.liquidation.day` (house).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crossmargin.accounts import Applied, BadLine, Refused, read_events
from crossmargin.accounts import events as ev
from crossmargin.accounts.replay import time_of
from crossmargin.errors import CrossmarginError
from crossmargin.liquidation.day import Tick, VenueDay

Events = str | Path | Iterable[ev.Event]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRun:
    """What a file of events came to.

    Attributes
    ----------
    posted, before : int
        Events of the file that were applied, and those that had been applied before.
    refused : tuple of (int, CrossmarginError)
        Place in the file (from 1) and reason, of what was refused or is no event.
    ticks : tuple of Tick
        What the driver did at each mark.
    """

    posted: int
    before: int
    refused: tuple[tuple[int, CrossmarginError], ...]
    ticks: tuple[Tick, ...]


def run_day(day: VenueDay, events: Events, *, coins: Mapping[str, str] | None = None) -> DayRun:
    """Run a whole day: post each event, and after each mark let the rules look at every account.

    Marks of one moment are one mark: the driver looks when time goes on. A file that is run a
    second time on the same ledger changes nothing: its events are there, and nobody is looked at.

    Parameters
    ----------
    day : VenueDay
        On its ledger; at flat rates.
    events : str, Path or iterable of Event
        A file as of :func:`crossmargin.accounts.read_events`, or events.
    coins : mapping of str to str, optional
        By coin the instrument whose mark is its price; needed where something is settled or held
        in coins.

    Raises
    ------
    InputError
        ``INP-005`` when the file cannot be read.
    LiquidationError
        ``LIQ-010`` a mark before the last; as :meth:`VenueDay.mark`.
    """
    posted = before = 0
    refused = list[tuple[int, CrossmarginError]]()
    ticks = list[Tick]()
    prices, due = dict[str, str](), -1
    named = {instrument: coin for coin, instrument in (coins or {}).items()}
    for number, event in _numbered(events):
        if isinstance(event, BadLine):
            refused.append((number, event.error))
            continue
        if due >= 0 and time_of(event) != due:
            ticks.append(day.mark(due, coins=prices))
            due = -1
        (outcome,) = day.post([event])
        if isinstance(outcome, Refused):
            refused.append((number, outcome.error))
            continue
        if not isinstance(outcome, Applied):
            before += 1
            continue
        posted += 1
        if isinstance(event, ev.Mark):
            due = time_of(event)
            prices |= {named[name]: text for name, text in event.prices.items() if name in named}
    if due >= 0:
        ticks.append(day.mark(due, coins=prices))
    return DayRun(posted=posted, before=before, refused=tuple(refused), ticks=tuple(ticks))


def _numbered(events: Events) -> Iterator[tuple[int, ev.Event | BadLine]]:
    if isinstance(events, str | Path):
        yield from read_events(events)
    else:
        yield from enumerate(events, 1)
