"""What a cascade did: paths of the market, layers of loss, what was closed of every position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeResult:
    """One run of :func:`crossmargin.cascade.simulate`: T steps, J assets, K contracts, A accounts.

    Row 0 of what has T + 1 rows is the state before anything. Money is in US dollars.

    Attributes
    ----------
    times_ns : int64[T + 1]
        Moments, ns UTC.
    price, exogenous : float64[T + 1, J]
        Marks, and what prices would have been without anybody's sales.
    depth : float64[T + 1, K]
        Notional that would move the price by 100 % if impact were linear.
    open_interest : float64[T + 1, K]
        Coins held long, which equal those held short, the absorber's included.
    funding_rate : float64[T + 1, K]
        Of the step that ended.
    leverage : float64[T + 1]
        Gross notional of all accounts over their equity, haircuts left aside.
    rounds : int64[T]
        Liquidation rounds.
    breached : int64[T]
        Accounts newly below the line.
    liquidated : int64[T]
        Accounts of which something was closed by force for the first time.
    sold, bought : float64[T, K]
        Notional closed by force in the market: of longs, of shorts.
    adl : float64[T, K]
        Notional closed against holders of the other side.
    fund, backstop, absorber : float64[T + 1]
        What the insurance fund has, what the backstop has won or lost, and what whoever stands
        against the accounts is worth at the marks.
    bad_debt : float64[T]
        Loss that no layer bore.
    socialised, adl_loss : float64[T]
        Loss against the marks that everybody, and that holders closed against, bore; holders may
        gain (below 0) where their rule closes them at an older mark.
    fees : float64[T]
        Liquidation fees, paid into the fund.
    external : float64[T + 1]
        Money that came in (+) or went out through behaviour.
    first_step : int32[A]
        Step of the first forced closing, from 0; −1 where there was none.
    closed, adl_closed : float64[N]
        Share of each starting position closed by force, and against a bankrupt one.
    equity : float64[A]
        At the end, haircuts taken.
    quantity : float64[N]
        At the end, coins.
    adl_forgone : float64[A]
        What the mark would have given holders on top of the price at which they were closed.
    evaluations : int
        Margins computed, of single accounts: what the lazy bound did not save.
    conservation : float
        Largest relative error of any law of conservation over the run.
    seed : int
        As given.
    parameters : mapping
        Plain data that makes the run again, with population and market.
    """

    times_ns: Ints
    price: Floats
    exogenous: Floats
    depth: Floats
    open_interest: Floats
    funding_rate: Floats
    leverage: Floats
    rounds: Ints
    breached: Ints
    liquidated: Ints
    sold: Floats
    bought: Floats
    adl: Floats
    fund: Floats
    backstop: Floats
    absorber: Floats
    bad_debt: Floats
    socialised: Floats
    adl_loss: Floats
    fees: Floats
    external: Floats
    first_step: Int32
    closed: Floats
    adl_closed: Floats
    equity: Floats
    quantity: Floats
    adl_forgone: Floats
    evaluations: int
    conservation: float
    seed: int
    parameters: Mapping[str, Any]

    @property
    def steps(self) -> int:
        """Number of steps, T."""
        return int(self.rounds.size)

    @property
    def drop(self) -> Floats:
        """Lowest mark of each asset over its first, less 1, float64[J]: at most 0."""
        return np.asarray(self.price.min(axis=0) / self.price[0] - 1.0, dtype=np.float64)

    @property
    def amplification(self) -> Floats:
        """Move of each asset to the end over its exogenous move, float64[J]; NaN without one."""
        whole = self.price[-1] / self.price[0] - 1.0
        alone = self.exogenous[-1] / self.exogenous[0] - 1.0
        empty = np.full(whole.size, np.nan)
        return np.asarray(np.divide(whole, alone, out=empty, where=alone != 0.0), np.float64)

    @property
    def liquidated_usd(self) -> float:
        """Notional closed by force in the market, both sides."""
        return float(self.sold.sum() + self.bought.sum())

    @property
    def adl_share(self) -> float:
        """Notional closed against holders over all that was closed by force; 0 without any."""
        adl = float(self.adl.sum())
        whole = self.liquidated_usd + adl
        return adl / whole if whole else 0.0

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Accounts of which anything was closed by force, bool[A]."""
        return np.asarray(self.first_step >= 0, dtype=np.bool_)
