"""What a holder watches: distance to liquidation in price and in σ, and time from funding alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from crossmargin.analytics.frontier import runway
from crossmargin.analytics.frontier_types import Runway
from crossmargin.analytics.profile import PriceProfile
from crossmargin.errors import InputError
from crossmargin.instruments import Option, parse_instrument
from crossmargin.margin import CarriedAccount
from crossmargin.market import Snapshot
from crossmargin.units import NS_PER_DAY

#: Days to expiry of the option whose volatility stands for a coin's.
_TENOR_DAYS = 30.0
_DAYS_A_YEAR = 365.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far one coin may move, all else unmoved, before equity meets the maintenance margin.

    Attributes
    ----------
    underlying : str
        The coin.
    price_now_usd : float
        Today.
    low, high : float
        Range looked at, as moves: −0.5 and 0.5.
    down, up : float or None
        Moves at which the line is met; None where it is not within the range; 0 when it is
        crossed today.
    sigma_day : float or None
        Standard deviation of a day's move; None where the market has no option on the coin.
    """

    underlying: str
    price_now_usd: float
    low: float
    high: float
    down: float | None
    up: float | None
    sigma_day: float | None

    def days_moves(self, move: float | None) -> float | None:
        """Return a move in days' standard deviations of the logarithm."""
        if move is None or self.sigma_day is None:
            return None
        return abs(math.log1p(move)) / self.sigma_day


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchGauges:
    """The gauges of an account: one distance a coin, and what funding does."""

    distances: tuple[Distance, ...]
    runway: Runway


def watch_gauges(
    profiles: Sequence[PriceProfile], account: CarriedAccount, snapshot: Snapshot
) -> WatchGauges:
    """Read the gauges off profiles that were worked out already.

    Source: requirements row B06. Crossings are interpolated between the points of a profile;
    σ is a volatility at the money and nearest to 30 days, over √365 (house).

    Parameters
    ----------
    profiles : sequence of PriceProfile
        Equity and requirement over each coin's price, summed over pots.
    account : CarriedAccount
        For funding.
    snapshot : Snapshot
        For volatilities.
    """
    return WatchGauges(
        distances=tuple(_distance(profile, snapshot) for profile in profiles),
        runway=runway(account),
    )


def _distance(profile: PriceProfile, snapshot: Snapshot) -> Distance:
    now = profile.price_now_usd
    moves = [price / now - 1.0 for price in profile.price_usd]
    excess = [have - need for have, need in zip(profile.equity_usd, profile.mm_usd)]
    below = [k for k, move in enumerate(moves) if move <= 0.0]
    above = [k for k, move in enumerate(moves) if move >= 0.0]
    return Distance(
        underlying=profile.underlying,
        price_now_usd=now,
        low=moves[0],
        high=moves[-1],
        down=_crossing(moves, excess, below[::-1]),
        up=_crossing(moves, excess, above),
        sigma_day=daily_sigma(snapshot, profile.underlying),
    )


def _crossing(moves: list[float], excess: list[float], way: list[int]) -> float | None:
    """Walk from today outwards and return the first move at which the excess is 0."""
    for k, (near, far) in enumerate(pairwise(way)):
        if excess[near] < 0.0:
            return 0.0 if k == 0 else moves[near]
        if excess[far] < 0.0:
            share = excess[near] / (excess[near] - excess[far])
            return moves[near] + share * (moves[far] - moves[near])
    return None


def daily_sigma(snapshot: Snapshot, coin: str) -> float | None:
    """Return a day's standard deviation, from options nearest to 30 days and to the money.

    A fitted smile of the coin comes first, at the money; else the volatility of one option.
    """
    smiles = {
        abs((expiry_ns - snapshot.moment_ns) / NS_PER_DAY - _TENOR_DAYS): smile
        for (name, expiry_ns), smile in snapshot.surfaces.items()
        if name == coin and expiry_ns > snapshot.moment_ns
    }
    vol = smiles[min(smiles)].atm_vol if smiles else _nearest_vol(snapshot, coin)
    return None if vol is None else vol / math.sqrt(_DAYS_A_YEAR)


def _nearest_vol(snapshot: Snapshot, coin: str) -> float | None:
    """Return the volatility of the option nearest to 30 days, then to the money."""
    spot = snapshot.assets.get(coin)
    best: tuple[float, float] | None = None
    vol: float | None = None
    for name, quote in snapshot.quotes.items():
        if spot is None or quote.vol is None or not name.startswith(coin):
            continue
        try:
            item = parse_instrument(name)
        except InputError:
            continue
        if not isinstance(item, Option) or item.underlying != coin:
            continue
        days = (item.expiry_ns - snapshot.moment_ns) / NS_PER_DAY
        far = (abs(days - _TENOR_DAYS), abs(math.log(item.strike / spot.price_usd)))
        if days > 0 and (best is None or far < best):
            best, vol = far, quote.vol
    return vol
