"""A made-up venue from a seed: accounts, deposits and one leveraged position each, as events.

For examples and benchmarks. Deposits follow a Pareto law and leverage a lognormal one (house
figures, after cascades.md "Recommended design": sizes α ≈ 1.2, leverage median ≈ 4, at most 15);
trades are against the venue's book.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping

from crossmargin.accounts import events as ev
from crossmargin.errors import InputError
from crossmargin.units import format_time


def generated_venue(
    accounts: int,
    prices: Mapping[str, float],
    *,
    seed: int,
    time_ns: int,
    fund: str = "250000",
    long_share: float = 0.65,
) -> Iterator[ev.Event]:
    """Yield the events that open a venue of linear perpetuals in USDC.

    Parameters
    ----------
    accounts : int
        How many.
    prices : mapping of str to float
        Price by instrument (``BTC_USDC-PERPETUAL``) at which everybody trades, positive.
    seed : int
        Same seed, same events.
    time_ns : int
        When.
    fund : str
        What is paid into the insurance fund ``main``, decimal text; ``"0"`` for none.
    long_share : float
        Chance of a long.

    Raises
    ------
    InputError
        ``INP-004`` for no accounts or prices.
    """
    if accounts < 1 or not prices or not all(math.isfinite(p) and p > 0 for p in prices.values()):
        raise InputError(
            "a venue needs accounts and positive prices", code="INP-004", field="accounts"
        )
    rng, time, names = random.Random(seed), format_time(time_ns), sorted(prices)
    for name in names:
        yield ev.ListContract(
            id=f"list:{name}", time=time, instrument=name, type="perpetual",
            underlying=name.partition("_")[0], quote="USDC", settlement="USDC",
            quantity_decimals=4,
        )  # fmt: skip
    if fund != "0":
        yield ev.FundPayIn(id="fund", time=time, group="main", asset="USDC", amount=fund)
    wide = len(str(accounts - 1))
    for k in range(accounts):
        account = f"a{k:0{wide}}"
        money = round(min(1e6, 1_000 * rng.paretovariate(1.2)), 2)
        name = rng.choice(names)
        size = money * min(15.0, rng.lognormvariate(math.log(4.0), 0.7)) / prices[name]
        side, long = ev.Side(account=account), rng.random() < long_share
        yield ev.OpenAccount(id=f"open:{k}", time=time, account=account)
        yield ev.Deposit(
            id=f"deposit:{k}", time=time, account=account, asset="USDC", amount=f"{money:.2f}"
        )
        if round(size, 4) > 0:
            trade = ev.Trade(
                instrument=name, quantity=f"{size:.4f}", price=f"{prices[name]:.8f}",
                buyer=side if long else None, seller=None if long else side,
            )  # fmt: skip
            yield ev.Fill(id=f"fill:{k}", time=time, trade=trade)
