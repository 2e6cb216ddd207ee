"""Collateral by location: what stands where, what of it counts, and health if a place stops.

Source: requirements B19 (counted value by asset and bridge haircut, fresh proof; health if a
chain stops). What counts is decided by the rule-set's collateral section.
"""

from __future__ import annotations

import msgspec

from crossmargin.analytics.what_if import side_of
from crossmargin.analytics.what_if_types import Side
from crossmargin.book import AccountFile, account_without_location, book_from_accounts
from crossmargin.margin import Ruleset, evaluate, make_statement
from crossmargin.market import Snapshot


class LocationLine(msgspec.Struct, frozen=True, kw_only=True):
    """One location, US dollars.

    Attributes
    ----------
    location : str
        Venue or chain; empty for balances that name none.
    value_usd : float
        Of what counts there, before haircuts.
    counted_usd : float
        After haircuts and bridge, at the initial level.
    uncounted_usd : float
        Value of what does not count: pending, or with a proof that is missing or too old.
    share : float or None
        Part of all that counts; None where nothing does.
    assets : list of str
        What stands there, with the status of what does not count.
    without : Side or None
        The account if the location stops; None where balances name no location.
    """

    location: str
    value_usd: float
    counted_usd: float
    uncounted_usd: float
    share: float | None
    assets: list[str]
    without: Side | None


def collateral_by_location(
    account: AccountFile, snapshot: Snapshot, ruleset: Ruleset
) -> list[LocationLine]:
    """List an account's collateral by where it is, the largest first.

    Parameters
    ----------
    account, snapshot, ruleset
        The account today.
    """
    made = make_statement(account, snapshot, ruleset, solve=False)
    places: dict[str, list[int]] = {}
    for row, line in enumerate(made.balances):
        places.setdefault(line.location or "", []).append(row)
    total = sum(line.collateral_usd for line in made.balances)
    found = []
    for place, rows in places.items():
        lines = [made.balances[row] for row in rows]
        counted = sum(line.collateral_usd for line in lines)
        without = None
        if place:
            gone = account_without_location(account, place)
            without = side_of(evaluate(book_from_accounts([gone]), snapshot, ruleset))
        found.append(
            LocationLine(
                location=place,
                value_usd=sum(line.value_usd for line in lines),
                counted_usd=counted,
                uncounted_usd=sum(line.amount * line.price_usd for line in lines if line.status),
                share=counted / total if total else None,
                assets=[
                    line.asset + (f" ({line.status})" if line.status else "") for line in lines
                ],
                without=without,
            )
        )
    return sorted(found, key=lambda line: (-line.counted_usd, line.location))
