"""One account carried to other markets: how far it stands from its liquidation line there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile, book_from_accounts
from crossmargin.errors import CrossmarginError, MarginError
from crossmargin.instruments import DOLLARS, KIND_CODE
from crossmargin.margin._frame import Frame
from crossmargin.margin._standing import pot_names
from crossmargin.margin.engine import equity, fenced_margins, frame_for, requirement
from crossmargin.margin.evaluation import Evaluation
from crossmargin.margin.liquidation_price import excess_in, moving_assets
from crossmargin.margin.ruleset import Ruleset
from crossmargin.margin.state_changes import LEAST_VOL
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]

#: All coins, or the options on all coins.
EVERY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingFlow:
    """What funding moves at today's rates and marks.

    Attributes
    ----------
    usd_per_hour : float64[pots]
        Received (+) or paid (−) by each pot, US dollars.
    without_rate : tuple of str
        Perpetuals held whose rate the market does not have; they are left out of the sum.
    """

    usd_per_hour: Floats
    without_rate: tuple[str, ...]


class CarriedAccount:
    """An account under its rules, to be valued in markets that have moved.

    Everything is revalued (marks, forwards, coin collateral, inverse legs) and brackets are
    chosen again; margin pledged to isolated positions stays as pledged today.

    Parameters
    ----------
    account, snapshot, ruleset
        The account today.
    """

    def __init__(self, account: AccountFile, snapshot: Snapshot, ruleset: Ruleset) -> None:
        try:
            frame = frame_for(book_from_accounts([account]), snapshot, ruleset)
            initial = requirement(frame, orders=bool(frame.book.leg_order.size), levels=("im",))
        except CrossmarginError as error:
            raise error.located(account=account.account) from None
        self._frame = frame
        self._fences = fenced_margins(frame, initial)
        self._option = frame.terms.kind == KIND_CODE["option"]
        self._driver = frame.follow[frame.terms.underlying]
        self.evaluations = 0

    @property
    def pots(self) -> tuple[str, ...]:
        """Names of the pots, in the order of every result."""
        return pot_names(self._frame)

    @property
    def coins(self) -> list[str]:
        """Coins whose price moves the account, coin collateral included."""
        return [self._frame.book.registry.assets[asset] for asset in moving_assets(self._frame)]

    @property
    def option_coins(self) -> list[str]:
        """Coins on which the account holds options."""
        held = self._frame.book.position_instrument
        mine = np.unique(self._driver[held[self._option[held]]])
        return [self._frame.book.registry.assets[asset] for asset in mine]

    def price_usd(self, coin: str) -> float:
        """Today's index price."""
        return float(self._frame.view.asset_usd[self._asset(coin)])

    def excess(
        self, log_prices: Mapping[str, float], log_vols: Mapping[str, float] | None = None
    ) -> Floats:
        """Return equity less the liquidation line of every pot, US dollars.

        Parameters
        ----------
        log_prices : mapping of str to float
            Logarithm of the move of each coin; ``"*"`` moves every coin that is no dollar.
            What follows a coin under the rule-set moves with it; moves of one coin add up.
        log_vols : mapping of str to float, optional
            Logarithm of the factor on the volatility of each coin's options, or of all (``"*"``).

        Raises
        ------
        MarginError
            ``MRG-001`` for a coin that the account does not have.
        CrossmarginError
            Where the rule-set has no figure for that market.
        """
        return excess_in(self.moved(log_prices, log_vols), self._fences)

    def moved(
        self,
        log_prices: Mapping[str, float],
        log_vols: Mapping[str, float] | None = None,
        own: Mapping[str, float] | None = None,
    ) -> Frame:
        """Return the account in the market that has moved; parameters as for :meth:`excess`.

        Parameters
        ----------
        own : mapping of str to float, optional
            Logarithm of a further move of one asset by itself, whatever it follows: a stablecoin
            that leaves its peg. One that the account does not have moves nothing.
        """
        frame = self._frame
        self.evaluations += 1
        moved = np.zeros(len(frame.book.registry.assets))
        for coin, step in log_prices.items():
            moved[self._moved(coin)] += step
        for name, step in (own or {}).items():
            if name in frame.book.registry.assets:
                moved[frame.book.registry.assets.index(name)] += step
        there = frame.shocked(np.exp(moved))
        shift = np.zeros(self._option.size)
        for coin, step in (log_vols or {}).items():
            hit = self._option if coin == EVERY else self._driver == self._asset(coin)
            shift[self._option & hit] += step
        if shift.any():
            vol = there.view.vol
            changed = np.maximum(vol * np.exp(shift), LEAST_VOL)
            changed = np.where(self._option & ~there.view.settled, changed, vol)
            there = there.in_market(replace(there.view, vol=changed))
        return there

    def evaluation(self, there: Frame) -> Evaluation:
        """Evaluate the account where it has been carried; pledged margin stays as pledged."""
        need = requirement(there)
        orders = bool(there.book.leg_order.size)
        with_orders = requirement(there, orders=True) if orders else need
        have = equity(there, with_orders, self._fences)
        return Evaluation(frame=there, need=need, need_orders=with_orders, have=have)

    def excess_of(self, there: Frame) -> Floats:
        """Return equity less the liquidation line of every pot where it has been carried."""
        return excess_in(there, self._fences)

    @property
    def frame(self) -> Frame:
        """The account today."""
        return self._frame

    @property
    def drivers(self) -> dict[str, str]:
        """Coin whose moves each asset takes, by asset; dollars are left out."""
        names = self._frame.book.registry.assets
        return {
            name: names[int(self._frame.follow[asset])]
            for asset, name in enumerate(names)
            if name not in DOLLARS
        }

    def funding(self) -> FundingFlow:
        """Return what funding moves an hour at today's rates, prices and volumes.

        Source: requirements row A18 (payment = q·mark·rate); rates are of eight hours.
        """
        frame = self._frame
        book, view, terms = frame.book, frame.view, frame.terms
        flow = np.zeros(len(self.pots))
        held = book.position_instrument
        perpetual = terms.kind[held] == KIND_CODE["perpetual"]
        rate = view.funding_rate_8h[held] / 8.0
        missing = perpetual & np.isnan(rate)
        counted = np.flatnonzero(perpetual & ~missing)
        notional = frame.notional(held, book.position_quantity) * np.sign(book.position_quantity)
        pot = frame.arrangement.position_pot[counted]
        cash = (notional * rate * frame.position_rate)[counted] * frame.pot_usd[pot]
        np.subtract.at(flow, pot, cash)
        names = {book.registry[int(i)].id for i in held[missing]}
        return FundingFlow(usd_per_hour=flow, without_rate=tuple(sorted(names)))

    def _asset(self, coin: str) -> int:
        assets = self._frame.book.registry.assets
        if coin not in assets:
            raise MarginError(
                f"the account has no exposure to {coin}",
                code="MRG-001",
                field="factor",
                hint=f"it has {', '.join(sorted(assets))}",
            )
        return int(self._frame.follow[assets.index(coin)])

    def _moved(self, coin: str) -> NDArray[np.bool_]:
        assets = self._frame.book.registry.assets
        if coin == EVERY:
            return np.array([name not in DOLLARS for name in assets])
        return np.asarray(self._frame.follow == self._asset(coin))
