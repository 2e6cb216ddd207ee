"""The expiry cliff: what the account needs once its expiring legs are gone.

Options that hedge others disappear at expiry, and what they covered must be margined alone.
Which price they settle at decides how much, so the requirement is looked up over settlement
prices, at the moment of expiry, with the index and every forward standing at that price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossmargin.book import AccountFile, book_from_accounts
from crossmargin.errors import CrossmarginError
from crossmargin.instruments import NO_EXPIRY_NS
from crossmargin.margin import Evaluation, Ruleset, evaluate, requirement
from crossmargin.market import Snapshot
from crossmargin.units import format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryCliff:
    """The cliff at one expiry, in US dollars.

    Attributes
    ----------
    expiry : str
        ISO-8601 UTC.
    underlying : str
        Coin whose settlement price is looked over.
    legs : list of str
        Legs that will be gone.
    im_before : float
        Initial margin at the moment of valuation, all legs alive.
    im_after_unmoved : float
        Once they are gone, at today's price.
    im_after_worst : float
        The largest over settlement prices.
    worst_price_usd : float
        Settlement price that gives it.
    price_usd, im_after : list of float
        The whole curve.
    """

    expiry: str
    underlying: str
    legs: list[str]
    im_before: float
    im_after_unmoved: float
    im_after_worst: float
    worst_price_usd: float
    price_usd: list[float]
    im_after: list[float]


def expiry_cliff(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    *,
    reach: float = 0.20,
    points: int = 81,
) -> ExpiryCliff | None:
    """Find the largest initial margin over settlement prices once the next legs have expired.

    Parameters
    ----------
    account : AccountFile
        The account.
    snapshot : Snapshot
        The market, valued at the moment of interest (``snapshot.at(...)``).
    ruleset : Ruleset
        The rules.
    reach : float
        Settlement prices range over ±reach of today's index.
    points : int
        Settlement prices looked at; odd, so that today's is among them.

    Returns
    -------
    ExpiryCliff or None
        None when no leg expires. When legs on several coins expire together all of them are
        gone, and the coin whose settlement price hurts most is shown.
    """
    book = book_from_accounts([account])
    terms = book.registry.terms
    expiries = terms.expiry_ns[book.position_instrument]
    alive = expiries[(expiries != NO_EXPIRY_NS) & (expiries > snapshot.moment_ns)]
    if not alive.size:
        return None
    expiry = int(alive.min())
    gone = expiries == expiry
    before = evaluate(book, snapshot, ruleset)
    after = evaluate(book, snapshot.at(expiry), ruleset)
    legs = [book.registry[int(i)].id for i in book.position_instrument[gone]]
    coins = sorted({book.registry[int(i)].underlying for i in book.position_instrument[gone]})
    found = []
    for coin in coins:
        prices, margins = _curve(after, coin, reach, points)
        if not margins:
            continue
        worst = int(np.argmax(margins))
        found.append(
            ExpiryCliff(
                expiry=format_time(expiry),
                underlying=coin,
                legs=legs,
                im_before=before.im_usd,
                im_after_unmoved=after.im_usd,
                im_after_worst=margins[worst],
                worst_price_usd=prices[worst],
                price_usd=prices,
                im_after=margins,
            )
        )
    return max(found, key=lambda cliff: cliff.im_after_worst, default=None)


def _curve(
    after: Evaluation, coin: str, reach: float, points: int
) -> tuple[list[float], list[float]]:
    """Compute the initial margin once the legs are gone, over prices of one coin."""
    frame = after.frame
    asset = frame.book.registry.assets.index(coin)
    moves, now = frame.follow == asset, float(frame.view.asset_usd[asset])
    prices, margins = [], []
    for ratio in np.linspace(1.0 - reach, 1.0 + reach, points):
        there = frame.shocked(np.where(moves, ratio, 1.0))
        try:
            need = requirement(there, orders=bool(frame.book.leg_order.size), levels=("im",))
        except CrossmarginError:
            continue
        prices.append(now * float(ratio))
        margins.append(float(need.im @ there.pot_usd))
    return prices, margins
