"""What a rule-set holds against the books of a test, day by day, through the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    Book,
    PositionEntry,
    book_from_accounts,
)
from crossmargin.errors import CrossmarginError
from crossmargin.instruments import Instrument, Option, Perpetual, Registry
from crossmargin.margin import Ruleset, evaluate_book
from crossmargin.market import AssetPrice, Forward, InstrumentQuote, Snapshot
from crossmargin.units import NS_PER_SECOND, parse_time
from crossmargin.validation._result import Floats
from crossmargin.validation.history import MarketHistory
from crossmargin.validation.portfolios import Leg, Portfolio
from crossmargin.validation.surface import YEAR, HeldShape

_DAY_NS = 86_400 * NS_PER_SECOND

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesetPath:
    """Margin of several books under one rule-set.

    Attributes
    ----------
    cover : float64[P, D]
        What stands against the loss of positions and collateral together, US dollars: the
        requirement plus what haircuts keep out of the equity. NaN where it was not asked for or
        could not be computed.
    refusals : dict of int to str
        By book: why the rules do not cover it.
    """

    cover: Floats
    refusals: dict[int, str]


def ruleset_path(
    books: Sequence[Portfolio],
    history: MarketHistory,
    ruleset: Ruleset,
    shape: HeldShape,
    days: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
    *,
    level: Literal["im", "mm"] = "im",
    dollar: str = "USDC",
    progress: Progress | None = None,
) -> RulesetPath:
    """Evaluate books on each day of a history under a rule-set.

    An account holds the positions at their marks and its collateral. Were it to hold exactly
    enough cash besides, its equity after haircuts would be the requirement R and its equity at
    market R + H, where H is what haircuts take off: so R + H is what the loss of positions and
    collateral together must not exceed. Cash itself needs no haircut and drops out.

    Parameters
    ----------
    books : sequence of Portfolio
        Static books.
    history : MarketHistory
        Daily market.
    ruleset : Ruleset
        The rules.
    shape : HeldShape
        Of the volatility proxy.
    days : bool[P, D]
        Days on which each book is asked for.
    level : {"im", "mm"}
        Which requirement.
    dollar : str
        Settlement of linear contracts, taken at one US dollar.
    progress : callable, optional
        Told days done and days in all.

    Returns
    -------
    RulesetPath
        A book that the rules refuse on its first day is left out with the reason.
    """
    count = len(history.days)
    cover = np.full((len(books), count), np.nan)
    refusals: dict[int, str] = {}
    wanted = np.flatnonzero(days.any(axis=0))
    worlds = [_World(book, history, dollar) for book in books]
    for done, day in enumerate(wanted.tolist()):
        rows = [p for p in np.flatnonzero(days[:, day]).tolist() if p not in refusals]
        if rows:
            made, failed = _one_day([worlds[p] for p in rows], history, day, ruleset, shape, level)
            for place, p in enumerate(rows):
                if place in failed:
                    refusals[p] = str(failed[place])
                else:
                    cover[p, day] = made[place]
        if progress is not None:
            progress(done + 1, wanted.size)
    for p in refusals:
        cover[p] = np.nan
    return RulesetPath(cover=cover, refusals=refusals)


class _World:
    """One book, ready to be written down on any day."""

    def __init__(self, book: Portfolio, history: MarketHistory, dollar: str) -> None:
        self.book, self.dollar = book, dollar
        self.columns = [history.column(leg.symbol) for leg in book.legs]
        self.index = [history.column(leg.asset) for leg in book.legs]
        self.pledged = [history.column(one.asset) for one in book.collateral]

    def instruments(self, history: MarketHistory, day: int, now: int) -> list[Instrument]:
        out: list[Instrument] = []
        for leg, column in zip(self.book.legs, self.index, strict=True):
            out.append(_instrument(leg, float(history.price[day, column]), now, self.dollar))
        return out

    def account(self, history: MarketHistory, day: int, items: Sequence[Instrument]) -> AccountFile:
        positions = [
            PositionEntry(
                instrument=item.id,
                quantity=leg.usd / float(history.price[day, column]),
                entry_price="mark" if leg.kind == "perpetual" else None,
            )
            for leg, column, item in zip(self.book.legs, self.columns, items, strict=True)
        ]
        balances = [
            BalanceEntry(asset=one.asset, amount=one.usd / float(history.price[day, column]))
            for one, column in zip(self.book.collateral, self.pledged, strict=True)
        ]
        return AccountFile(
            format="crossmargin-account/1",
            account=self.book.name,
            balances=balances,
            positions=positions,
        )


def _instrument(leg: Leg, index: float, now: int, dollar: str) -> Instrument:
    if leg.kind == "perpetual":
        # The index and the perpetual's own price are two contracts of the test.
        name = f"{leg.asset}_{dollar}-PERPETUAL"
        if leg.price == "perpetual":
            name += "@own"
        return Perpetual(id=name, underlying=leg.asset, quote=dollar, settlement=dollar)
    strike = float(f"{leg.strike * index:.12g}")
    return Option(
        id=f"{leg.asset}_{dollar}-{leg.days}d-{leg.strike:g}-{leg.kind}",
        expiry_ns=now + leg.days * _DAY_NS,
        strike=strike,
        option_type=leg.kind,
        underlying=leg.asset,
        quote=dollar,
        settlement=dollar,
    )


def _one_day(
    worlds: Sequence[_World],
    history: MarketHistory,
    day: int,
    ruleset: Ruleset,
    shape: HeldShape,
    level: str,
) -> tuple[Floats, dict[int, CrossmarginError]]:
    now = parse_time(f"{history.days[day]}T00:00:00Z", field="date") + _DAY_NS
    registry = Registry()
    accounts = []
    for world in worlds:
        items = world.instruments(history, day, now)
        for item in items:
            registry.add(item)
        accounts.append(world.account(history, day, items))
    book = book_from_accounts(accounts, registry)
    snapshot = _snapshot(worlds, history, day, now, registry, shape)
    made = evaluate_book(_without_names(book), snapshot, ruleset)
    need = made.im if level == "im" else made.mm
    kept_out = made.equity - made.equity_im if level == "im" else np.zeros(need.size)
    return need + kept_out, dict(made.failures)


def _without_names(book: Book) -> Book:
    return replace(book, owners=list(book.account_ids))


def _snapshot(
    worlds: Sequence[_World],
    history: MarketHistory,
    day: int,
    now: int,
    registry: Registry,
    shape: HeldShape,
) -> Snapshot:
    source = history.source
    assets: dict[str, AssetPrice] = {}
    quotes: dict[str, InstrumentQuote] = {}
    forwards: dict[tuple[str, int], Forward] = {}
    dollars = {world.dollar for world in worlds}
    for dollar in sorted(dollars):
        assets[dollar] = AssetPrice(price_usd=1.0, time_ns=now, source=source)
    for world in worlds:
        for one, column in zip(world.book.collateral, world.pledged, strict=True):
            assets[one.asset] = AssetPrice(
                price_usd=float(history.price[day, column]), time_ns=now, source=source
            )
        for leg, own, index in zip(world.book.legs, world.columns, world.index, strict=True):
            spot = float(history.price[day, index])
            item = _instrument(leg, spot, now, world.dollar)
            assets[leg.asset] = AssetPrice(price_usd=spot, time_ns=now, source=source)
            if not isinstance(item, Option):
                quotes[item.id] = InstrumentQuote(
                    price_mark=float(history.price[day, own]),
                    funding_rate_8h=0.0,
                    time_ns=now,
                    source=source,
                )
                continue
            years = leg.days / YEAR
            vol = shape.vol(history.vol[day, index], np.log(item.strike / spot), years)
            quotes[item.id] = InstrumentQuote(vol=float(vol), time_ns=now, source=source)
            forwards[leg.asset, item.expiry_ns] = Forward(
                price_usd=spot, rate=0.0, time_ns=now, source=source
            )
    return Snapshot(as_of_ns=now, assets=assets, quotes=quotes, forwards=forwards, source=source)
