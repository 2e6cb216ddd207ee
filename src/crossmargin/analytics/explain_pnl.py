r"""Why an account's worth changed between two marks: Greeks, coins, and what was done to it.

What was held at the first mark is revalued at the second, and every position's change is split by
a Taylor expansion at the first,

.. math:: \delta\,dF + \tfrac12\gamma\,dF^2 + \text{vega}\,d\sigma + \theta\,dt + \text{residual},

in its settlement asset, at that asset's price at the second mark. What was worth coins then gains
by the change of their price (`coins`). What the account has now beyond that (trades, funding,
fees, deposits) is `changed`: two statements do not say which; a ledger does
(``crossmargin ledger pnl``). The parts add up to the change exactly, as floats do.

Source: the expansion is common practice, as in :mod:`crossmargin.accounts.greeks_pnl` (held to it
by a test); the order of the parts, and prices of settlement assets at the second mark, are house.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.explain import Moment
from crossmargin.analytics.venues_plan import VenueAccount
from crossmargin.analytics.venues_pool import entered
from crossmargin.book import LEGS, book_from_accounts
from crossmargin.errors import MarginError
from crossmargin.instruments import Option
from crossmargin.margin import CarriedAccount, Frame, frame_for
from crossmargin.pricing import black76_greeks, black76_inverse_greeks
from crossmargin.units import NS_PER_DAY

Floats = NDArray[np.float64]

_NS_PER_YEAR = 365 * NS_PER_DAY
_NS_PER_HOUR = NS_PER_DAY / 24


class PnlLine(msgspec.Struct, frozen=True, kw_only=True):
    """One position, US dollars at the second mark's prices.

    Attributes
    ----------
    instrument, leg : str
    quantity : float
    forward_then, forward_now : float
        What its value depends on: its own mark, or the forward of an option's expiry.
    vol_then, vol_now : float or None
        Decimals; None for what has none.
    delta, gamma, vega, theta, residual : float
        The parts.
    total : float
        Their sum: change of its value in its settlement asset.
    """

    instrument: str
    leg: str
    quantity: float
    forward_then: float
    forward_now: float
    vol_then: float | None
    vol_now: float | None
    delta: float
    gamma: float
    vega: float
    theta: float
    residual: float
    total: float


class PnlExplained(msgspec.Struct, frozen=True, kw_only=True):
    """Change of what an account is worth before haircuts, US dollars.

    Attributes
    ----------
    account : str
    hours : float
        Between the marks.
    worth_then, worth_now : float
        Balances, profit and options at their marks.
    lines : list of PnlLine
        Positions of the first mark.
    delta, gamma, vega, theta, residual : float
        Sums over the lines.
    coins : dict of str to float
        By asset: what was worth so many of it, at the change of its price.
    changed : float
        What the account has now and had not: trades, funding, fees, transfers.
    funding_estimate : float
        What funding would have moved at the first mark's rates, a part of `changed` where it was
        booked; not a part of the sum.
    without_rate : list of str
        Perpetuals without a rate there; not in the estimate.
    """

    account: str
    hours: float
    worth_then: float
    worth_now: float
    lines: list[PnlLine]
    delta: float
    gamma: float
    vega: float
    theta: float
    residual: float
    coins: dict[str, float]
    changed: float
    funding_estimate: float
    without_rate: list[str]

    @property
    def total(self) -> float:
        """Change of the worth."""
        return self.worth_now - self.worth_then


def explain_pnl(then: Moment, now: Moment) -> PnlExplained:
    """Say where the change of an account's worth came from.

    Parameters
    ----------
    then, now : Moment
        The account beside the market of each mark; what is held then must have a price now. The
        rule-set says which contracts are known, and changes no figure.

    Raises
    ------
    MarginError
        ``MRG-025`` for a second mark before the first.
    CrossmarginError
        Where a market has no price for what is held.
    """
    span = now.market.moment_ns - then.market.moment_ns
    if span < 0:
        raise _backwards()
    held = entered(
        VenueAccount(venue="then", account=then.account, ruleset=then.ruleset), then.market
    )
    book = book_from_accounts([held])
    first = frame_for(book, then.market, then.ruleset)
    second = frame_for(book, now.market, then.ruleset)
    worth_then, worth_held = _worth(first), _worth(second)
    worth_now = _worth(frame_for(book_from_accounts([now.account]), now.market, now.ruleset))
    lines = [_line(first, second, row, span) for row in range(book.position_quantity.size)]
    flow = CarriedAccount(held, then.market, then.ruleset).funding()
    sums = {
        name: math.fsum(getattr(line, name) for line in lines)
        for name in ("delta", "gamma", "vega", "theta", "residual")
    }
    return PnlExplained(
        account=now.account.account,
        hours=span / _NS_PER_HOUR,
        worth_then=worth_then,
        worth_now=worth_now,
        lines=lines,
        coins=_coins(first, second),
        changed=worth_now - worth_held,
        funding_estimate=float(flow.usd_per_hour.sum()) * span / _NS_PER_HOUR,
        without_rate=list(flow.without_rate),
        **sums,
    )


def _backwards() -> MarginError:
    return MarginError(
        "the second mark is before the first", code="MRG-025", field="market_now",
        hint="give the earlier market first",
    )  # fmt: skip


def _worth(frame: Frame) -> float:
    by = _by_asset(frame)
    return math.fsum((by * np.nan_to_num(frame.view.asset_usd)).tolist())


def _by_asset(frame: Frame) -> Floats:
    """Balances, profit and option values by asset, in units of the asset."""
    book = frame.book
    profit, value = frame.position_values()
    settle = frame.terms.settlement[book.position_instrument]
    size = len(book.registry.assets)
    own = np.bincount(settle, profit + value, minlength=size)
    return np.asarray(own + np.bincount(book.balance_asset, book.balance_amount, minlength=size))


def _coins(first: Frame, second: Frame) -> dict[str, float]:
    by = _by_asset(first)
    found = {}
    for row in np.flatnonzero(by).tolist():
        gain = float(by[row] * (second.view.asset_usd[row] - first.view.asset_usd[row]))
        found[first.book.registry.assets[row]] = gain
    return dict(sorted(found.items()))


def _line(first: Frame, second: Frame, row: int, span: int) -> PnlLine:
    book = first.book
    index = int(book.position_instrument[row])
    item, quantity = book.registry[index], float(book.position_quantity[row])
    usd = float(second.view.asset_usd[first.terms.settlement[index]])
    values = [frame.position_values() for frame in (first, second)]
    change = float(sum(v[row] for v in values[1]) - sum(v[row] for v in values[0]))
    forward = [float(frame.view.price[index]) for frame in (first, second)]
    vols = [float(frame.view.vol[index]) for frame in (first, second)]
    move, years = forward[1] - forward[0], float(first.view.years[index])
    parts = {"delta": 0.0, "gamma": 0.0, "vega": 0.0, "theta": 0.0}
    units = quantity * item.contract_size
    if isinstance(item, Option):
        terms = (forward[0], item.strike, years, vols[0], item.is_call)
        if item.inverse:
            # In coin: dc/dF = δ/F and d²c/dF² = γ/F − δ/F², with the net transaction delta δ.
            coin = black76_inverse_greeks(*terms)
            delta = float(coin.delta) / forward[0]
            gamma = float(coin.gamma) / forward[0] - float(coin.delta) / forward[0] ** 2
            vega, theta = float(coin.vega), float(coin.theta)
        else:
            usual = black76_greeks(*terms)
            delta, gamma = float(usual.delta), float(usual.gamma)
            vega, theta = float(usual.vega), float(usual.theta)
        parts = {
            "delta": units * delta * move,
            "gamma": 0.5 * units * gamma * move * move,
            "vega": units * vega * (vols[1] - vols[0]),
            "theta": units * theta * span / _NS_PER_YEAR,
        }
        if second.view.settled[index]:
            # Nothing is left of its volatility: the payoff is what it was worth.
            parts["vega"] = 0.0
    elif item.inverse:
        parts["delta"] = units / forward[0] ** 2 * move
        parts["gamma"] = -units / forward[0] ** 3 * move * move
    else:
        parts["delta"] = change
    in_usd = {name: part * usd for name, part in parts.items()}
    return PnlLine(
        instrument=item.id,
        leg=LEGS[int(book.position_leg[row])],
        quantity=quantity,
        forward_then=forward[0],
        forward_now=forward[1],
        vol_then=vols[0] if isinstance(item, Option) else None,
        vol_now=vols[1] if isinstance(item, Option) and math.isfinite(vols[1]) else None,
        residual=change * usd - math.fsum(in_usd.values()),
        total=change * usd,
        **in_usd,
    )
