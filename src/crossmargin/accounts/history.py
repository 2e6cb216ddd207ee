"""An account's equity against its requirement over time, with what happened to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from crossmargin.accounts.events import Event, Mark
from crossmargin.accounts.project import margin_lines, registry_of
from crossmargin.accounts.replay import Refused, apply
from crossmargin.accounts.state import State
from crossmargin.errors import CrossmarginError, LedgerError
from crossmargin.instruments import DOLLARS
from crossmargin.margin import Ruleset
from crossmargin.market import MovedMarket, Snapshot

if TYPE_CHECKING:
    from crossmargin.accounts.store import Record

#: Points of a history at most.
MOST = 300


@dataclass(slots=True, kw_only=True)
class HistoryPoint:
    """One mark.

    Attributes
    ----------
    time_ns : int
        When.
    equity, im, mm : float
        Sums over the account's pots, US dollars.
    events : list of str
        Kinds of events since the last point that moved the account's money or contracts.
    """

    time_ns: int
    equity: float
    im: float
    mm: float
    events: list[str] = field(default_factory=list)


def margin_history(
    records: Iterable[Record],
    account: str,
    snapshot: Snapshot,
    ruleset: Ruleset,
    *,
    most: int = MOST,
) -> list[HistoryPoint]:
    """Replay a ledger and margin an account at its marks.

    The given market is carried to each mark: the coin of every marked perpetual or future moves so
    that the contract stands at its mark, with all that follows the coin; volatilities and the
    moment of valuation stay (see :class:`~crossmargin.market.MovedMarket`).

    Parameters
    ----------
    records : iterable of Record
        The whole log, in order.
    account : str
        Whose.
    snapshot, ruleset
        Market that is moved, and rules.
    most : int
        Points at most; marks between are passed over, the last is kept.

    Raises
    ------
    LedgerError
        ``LED-002`` for an account that is not in the log, ``LED-010`` when nothing was marked.
    CrossmarginError
        What the margin room refuses, at the last mark.
    """
    entries = list(records)
    marks = [k for k, record in enumerate(entries) if record.kind == "mark"]
    step = max(1, -(-len(marks) // max(most, 1)))
    wanted = set(marks[::-1][::step])
    state, found, since = State(), list[HistoryPoint](), list[str]()
    last = marks[-1] if marks else -1
    decode = msgspec.json.Decoder(Event).decode
    start = f"{account}/"
    for k, record in enumerate(entries):
        event = decode(record.payload)
        outcome = apply(state, event)
        if isinstance(outcome, Refused):
            raise outcome.error
        if any(t[0].startswith(start) or t[1].startswith(start) for t in record.transfers):
            since.append(record.kind)
        if k in wanted and isinstance(event, Mark) and account in state.accounts:
            try:
                point = _point(state, account, record.time_ns, snapshot, ruleset)
            except CrossmarginError:
                if k == last:
                    raise
                continue
            point.events, since = since, []
            found.append(point)
    state.trader(account)
    if not found:
        raise LedgerError(
            "nothing was marked while the account was there",
            code="LED-010",
            account=account,
            field="marks",
            hint="post mark events: without prices there is no equity to draw",
        )
    return found


def _point(
    state: State, account: str, time_ns: int, snapshot: Snapshot, ruleset: Ruleset
) -> HistoryPoint:
    world = MovedMarket(snapshot, registry_of(state)).at(_coins(state, snapshot))
    equity = im = mm = 0.0
    for line in margin_lines(state, account, world, ruleset).values():
        usd = line.numeraire_usd
        equity += line.equity_mm * usd
        im += line.im * usd
        mm += line.mm * usd
    return HistoryPoint(time_ns=time_ns, equity=equity, im=im, mm=mm)


def _coins(state: State, snapshot: Snapshot) -> dict[str, float]:
    """Return the price of each coin at which its first marked contract stands at its mark."""
    found: dict[str, float] = {}
    for name, contract in sorted(state.contracts.items()):
        coin = contract.underlying
        quote = snapshot.quotes.get(name)
        priced = coin in snapshot.assets and coin not in DOLLARS and coin not in found
        linear = contract.kind in ("perpetual", "future") and contract.mark is not None
        if not (priced and linear) or contract.mark is None:
            continue
        now = snapshot.assets[coin].price_usd
        mark = None if quote is None else quote.price_mark
        # The basis is kept as a ratio, so the coin moves by what the contract moves.
        found[coin] = contract.mark / 10**18 * (now / float(mark) if mark else 1.0)
    return found
