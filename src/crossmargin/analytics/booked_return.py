"""Return on margin of an account, from what its ledger booked and what it had to hold meanwhile.

Source: requirements A12 (return on margin = P&L / time-weighted margin).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from crossmargin.accounts.history import margin_history
from crossmargin.accounts.pnl_report import LedgerPnl
from crossmargin.analytics.capital_ratios import MarginReturn, return_on_margin
from crossmargin.errors import MarginError
from crossmargin.margin import Ruleset
from crossmargin.market import Snapshot

if TYPE_CHECKING:
    from crossmargin.accounts.store import Record


def return_on_booked_margin(
    made: LedgerPnl, records: Iterable[Record], snapshot: Snapshot, ruleset: Ruleset
) -> MarginReturn:
    """Divide what was booked by the time-weighted initial margin at the account's marks.

    Transfers are no profit. Margin is that of all the account's pots, from each mark to the next;
    the period begins at the first mark in it.

    Parameters
    ----------
    made : LedgerPnl
        What was booked, and when the period began and ended.
    records : iterable of Record
        The whole log.
    snapshot, ruleset
        Market that is moved to the marks, and rules.

    Raises
    ------
    MarginError
        ``MRG-025`` without a mark inside the period, or no margin over it, or for profit in an
        asset that the last market does not price.
    """
    priceless = [one.asset for one in made.assets if one.usd is None and _earned(one.causes)]
    if priceless:
        raise MarginError(
            f"profit in {priceless[0]} has no price in US dollars", code="MRG-025",
            account=made.account, field="market", hint="give a last market that prices it",
        )  # fmt: skip
    points = margin_history(records, made.account, snapshot, ruleset)
    # Of several marks at one moment the last one stands.
    margins = {p.time_ns: p.im for p in points if made.start_ns <= p.time_ns < made.end_ns}
    if not margins:
        raise MarginError(
            "nothing was marked between the markets: there is no margin to divide by",
            code="MRG-025",
            account=made.account,
            field="marks",
        )
    pnl = sum(_earned(one.causes) * (one.usd or 0.0) for one in made.assets)
    return return_on_margin(pnl, list(margins), list(margins.values()), made.end_ns)


def _earned(causes: dict[str, float]) -> float:
    return sum(x for cause, x in causes.items() if cause != "transfers")
