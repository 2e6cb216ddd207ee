"""Scores that rank holders for auto-deleveraging: named formulas over columns of candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import LiquidationError

Floats = NDArray[np.float64]

#: What a denominator is held to at least, where a rule states one.
FLOOR = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Holders of the other side of a contract, by row.

    Columns that a score does not read may be left out; it says so when it needs one.

    Attributes
    ----------
    contracts : tuple of int
        Signed, all of one sign.
    entry, bankruptcy : float64[n]
        Prices. No price ruins a short of an inverse contract that has more coins than it owes:
        its bankruptcy price is below 0, where the reciprocal says so.
    mark : float
        Mark price of the contract, as the rule wants it (Hyperliquid: the previous one).
    unit : float
        Coins per contract; US dollars for an inverse one.
    inverse : bool
        Whether the contract is settled in its coin.
    wallet, profit, mm : float64[n]
        Of the whole account: balance, unrealised profit, maintenance requirement.
    """

    contracts: tuple[int, ...]
    mark: float
    entry: Floats | None = None
    bankruptcy: Floats | None = None
    unit: float = 1.0
    inverse: bool = False
    wallet: Floats | None = None
    profit: Floats | None = None
    mm: Floats | None = None

    def __post_init__(self) -> None:
        signs = {(q > 0) - (q < 0) for q in self.contracts} - {0}
        if len(signs) > 1:
            raise LiquidationError(
                "candidates hold both sides of the contract", code="LIQ-001", field="contracts"
            )
        if not self.mark > 0:
            raise LiquidationError("the mark is not positive", code="LIQ-001", field="mark")
        for name in ("entry", "bankruptcy", "wallet", "profit", "mm"):
            column = getattr(self, name)
            if column is not None and np.shape(column) != (len(self.contracts),):
                raise LiquidationError(
                    f"{name} has another length than the candidates", code="LIQ-001", field=name
                )

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.contracts)

    @property
    def side(self) -> int:
        """1 where they are long, −1 short, 0 where nobody holds anything."""
        return next(((q > 0) - (q < 0) for q in self.contracts if q), 0)

    def column(self, name: str) -> Floats:
        """Return a column that is needed.

        Raises
        ------
        LiquidationError
            ``LIQ-008`` when it was not given.
        """
        found = getattr(self, name)
        if found is None:
            raise LiquidationError(
                f"the ranking needs the column {name!r} of every candidate",
                code="LIQ-008",
                field=name,
            )
        return np.asarray(found, dtype=np.float64)

    def value(self, price: Floats | float) -> Floats:
        """Return signed values at a price: ``q·P``, or ``−q/P`` of inverse contracts."""
        q = np.array(self.contracts, dtype=np.float64) * self.unit
        return np.asarray(-q / price if self.inverse else q * price, dtype=np.float64)

    def unit_value(self, price: Floats | float) -> Floats:
        """Return the signed value of one contract at a price, also of holders of none."""
        side = float(self.side or 1) * self.unit
        each = np.broadcast_to(np.asarray(price, dtype=np.float64), (self.size,))
        return np.asarray(-side / each if self.inverse else side * each, dtype=np.float64)

    def profit_at(self, price: float) -> Floats:
        """Return profit against entry at a price, settlement asset."""
        return self.value(price) - self.value(self.column("entry"))


def profit_leverage(profit_rel: Floats, leverage: Floats) -> Floats:
    """Return ``PnL%·L`` of winners and ``PnL%/L`` of losers.

    Source: requirements row B09; BitMEX and Bybit (cascades.md §3.1, published). The row: 20 %
    at 8× 1.6, 10 % at 20× 2.0, 30 % at 2× 0.6, −5 % at 10× −0.005. Who has no leverage at all is
    closed last: after every other loser, or with those that have no profit (house).
    """
    gain = np.asarray(profit_rel, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(gain > 0, gain * leverage, gain / leverage)
    return np.where(gain == 0.0, 0.0, score)


def _profit_times_leverage(c: Candidates) -> Floats:
    """Score ``PnL%·L_eff``, ``L_eff = |MV|/(MV − BV)``, ``PnL% = (MV − EV)/|EV|``.

    A holder whose bankruptcy price is already passed has no leverage and comes first.
    """
    mv, ev = c.unit_value(c.mark), c.unit_value(c.column("entry"))
    bv = c.unit_value(c.column("bankruptcy"))
    gain = (mv - ev) / np.abs(ev)
    with np.errstate(divide="ignore", invalid="ignore"):
        leverage = np.where(mv > bv, np.abs(mv) / (mv - bv), np.inf)
    return profit_leverage(gain, leverage)


def _account_profit_times_margin_ratio(c: Candidates) -> Floats:
    """Score ``max(0, U)/max(1, W) · MM/(W + U)``, the ratio 0 where ``W + U`` is not above 0.

    Source: Binance (cascades.md §3.1); account-level figures, so that cross margin matters.
    """
    w, u, mm = c.column("wallet"), c.column("profit"), c.column("mm")
    gain = np.maximum(0.0, u) / np.maximum(1.0, w)
    balance = w + u
    ratio = np.divide(mm, balance, where=balance > 0, out=np.zeros_like(mm))
    return np.asarray(gain * ratio, dtype=np.float64)


def _account_leverage(c: Candidates) -> Floats:
    """Return notional over account value, the latter at least 1e-8."""
    notional = np.abs(c.value(c.mark))
    return notional / np.maximum(c.column("wallet") + c.column("profit"), FLOOR)


def _price_ratio_times_leverage(c: Candidates) -> Floats:
    """Score ``(mark/entry)·(notional/account value)``, as the venue's page prints it.

    For shorts mark/entry falls as profit rises: taken literally here. Source: Hyperliquid,
    trading/auto-deleveraging (venues.md §5, published).
    """
    return np.asarray(c.mark / c.column("entry") * _account_leverage(c), dtype=np.float64)


def _profit_share_times_leverage(c: Candidates) -> Floats:
    """Score ``(notional/account value)·(max(PnL, 0)/entry notional)``, floors 1e-8.

    Source: a decompiled reading of Hyperliquid (cascades.md §3.1); it does not order as the
    printed rule does.
    """
    entry = c.column("entry")
    notional = np.maximum(np.abs(c.value(entry)), FLOOR)
    gain = np.maximum(c.profit_at(c.mark), 0.0) / notional
    return np.asarray(_account_leverage(c) * gain, dtype=np.float64)


def _roi_by_margin_ratio(c: Candidates) -> Floats:
    """Score ``PnL%/ratio`` of winners, ``PnL%·ratio`` of losers, ratio = equity/MM.

    Source: OKX by a third party (venues.md §2, secondary).
    """
    mv, ev = c.unit_value(c.mark), c.unit_value(c.column("entry"))
    gain = (mv - ev) / np.abs(ev)
    equity = np.maximum(c.column("wallet") + c.column("profit"), FLOOR)
    ratio = equity / np.maximum(c.column("mm"), FLOOR)
    return np.where(gain > 0, gain / ratio, gain * ratio)


Score = Literal[
    "profit-times-leverage",
    "account-profit-times-margin-ratio",
    "price-ratio-times-leverage",
    "profit-share-times-leverage",
    "roi-by-margin-ratio",
]
SCORES: dict[Score, Callable[[Candidates], Floats]] = {
    "profit-times-leverage": _profit_times_leverage,
    "account-profit-times-margin-ratio": _account_profit_times_margin_ratio,
    "price-ratio-times-leverage": _price_ratio_times_leverage,
    "profit-share-times-leverage": _profit_share_times_leverage,
    "roi-by-margin-ratio": _roi_by_margin_ratio,
}
assert set(SCORES) == set(get_args(Score))


def adl_score(name: Score, candidates: Candidates) -> Floats:
    """Return the score of every candidate: the highest is closed first.

    Raises
    ------
    LiquidationError
        ``LIQ-008`` a column is missing.
    """
    return SCORES[name](candidates)


def lights(
    score: Floats, contracts: Sequence[int] | None = None, *, steps: int = 5
) -> NDArray[np.int64]:
    """Return queue lights, 1 to `steps`: all are lit on those who are closed first.

    The quantile of a holder is that of the last of its contracts, ranked: BitMEX's table of six
    longs (What is Auto-Deleveraging, read 2026-11-23, published). Without contracts every holder
    counts as one, as Binance does (``rank/users``, cascades.md §3.1). Ties stand in the order of
    the rows.

    Parameters
    ----------
    score : float64[n]
        The highest first.
    contracts : sequence of int, optional
        Sizes, of any sign.
    steps : int
        How many lights.
    """
    order = np.argsort(-np.asarray(score), kind="stable").tolist()
    sizes = [1] * len(order) if contracts is None else [abs(q) for q in contracts]
    whole, passed = sum(sizes), 0
    lit = np.zeros(len(order), dtype=np.int64)
    for row in order:
        passed += sizes[row]
        lit[row] = steps + 1 - max(1, -(-steps * passed // max(whole, 1)))
    return lit
