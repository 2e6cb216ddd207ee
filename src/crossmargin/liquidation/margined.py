"""An account under any rule-set, asked by the margin engine at every size of its legs.

The account is priced once; every question is the same frame with other numbers. Closing at the
mark moves a position's profit and value into the balance of its settlement asset, where haircuts
and debts see it; costs are taken from there too.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile, BalanceEntry, book_from_accounts
from crossmargin.errors import InputError, LiquidationError, RulesetError
from crossmargin.liquidation.account import Brackets, Leg, Line, Standing
from crossmargin.liquidation.auction import NetMargin
from crossmargin.margin import (
    Frame,
    Requirement,
    Ruleset,
    equity,
    frame_for,
    requirement,
    tier_tables,
)
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]


class MarginedAccount:
    """One pot of an account under a rule-set, as an :class:`Account`.

    Parameters
    ----------
    account : AccountFile
        What it holds.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules.
    pool : str
        Which pool is liquidated.
    lots : mapping of str to float, optional
        By instrument; where none is given any size may be closed.

    Raises
    ------
    LiquidationError
        ``LIQ-004`` a pot whose margin is fenced by position, or a pool that holds several pots.
    """

    def __init__(
        self,
        account: AccountFile,
        snapshot: Snapshot,
        ruleset: Ruleset,
        *,
        pool: str = "cross",
        lots: Mapping[str, float] | None = None,
    ) -> None:
        plain = book_from_accounts([account])
        assets = {
            plain.registry[i].settlement
            for i, p in zip(plain.position_instrument.tolist(), plain.position_pool.tolist())
            if plain.pool_names[p] == pool
        }
        held = {
            row.asset
            for row in account.balances
            if row.pool == pool and row.location is None and not row.pending
        }
        missing = sorted(assets - held)
        rows = [BalanceEntry(asset=asset, amount=1.0, pool=pool) for asset in missing]
        changed = msgspec.structs.replace(account, balances=[*account.balances, *rows])
        self.frame = _empty_last(
            frame_for(book_from_accounts([changed]), snapshot, ruleset), len(rows)
        )
        self.pot = self._pot(pool)
        a = self.frame.arrangement
        self.rows = np.flatnonzero(a.position_pot == self.pot)
        self._lots = dict(lots or {})
        self._take(self.frame)
        self._cash = np.array([self._cash_row(int(row), pool) for row in self.rows], dtype=np.int64)

    def _pot(self, pool: str) -> int:
        a, book = self.frame.arrangement, self.frame.book
        if (a.pot_position >= 0).any():
            raise LiquidationError(
                f"rule-set {self.frame.ruleset.id!r} fences every position: its margin is its own",
                code="LIQ-004",
                account=book.account_ids[0],
                hint="liquidate each position as a LinearAccount of its fenced margin",
            )
        mine = [p for p in range(a.pots) if book.pool_names[int(a.pot_pool[p])] == pool]
        held = [p for p in mine if (a.position_pot == p).any()]
        found = held or mine
        if len(found) != 1:
            what = "several pots" if found else "no pot"
            raise LiquidationError(
                f"the pool {pool!r} has {what} under rule-set {self.frame.ruleset.id!r}",
                code="LIQ-004",
                account=book.account_ids[0],
                field="pool",
                hint="liquidate the positions of one settlement coin at a time",
            )
        return found[0]

    def _cash_row(self, row: int, pool: str) -> int:
        """Find the balance at the venue that a position settles into."""
        frame = self.frame
        book = frame.book
        name = book.registry[int(book.position_instrument[row])].settlement
        asset = book.registry.asset(name)
        same = (book.balance_asset == asset) & (frame.arrangement.balance_pot == self.pot)
        here = same & (book.balance_location < 0) & ~book.balance_pending
        return int(np.flatnonzero(here)[-1])

    def shocked(self, asset: str, move: float) -> MarginedAccount:
        """Return the account in a market where one asset has moved, with all that follows it.

        Parameters
        ----------
        asset : str
            Underlying or collateral coin.
        move : float
            Fraction of its price, above −1.

        Raises
        ------
        LiquidationError
            ``LIQ-001`` an asset that the account has nothing to do with.
        """
        names = self.frame.book.registry.assets
        if asset not in names:
            raise LiquidationError(
                f"nothing in the account follows {asset!r}", code="LIQ-001", field="asset"
            )
        follow = self.frame.follow
        ratio = np.where(follow == follow[names.index(asset)], 1.0 + move, 1.0)
        other = copy.copy(self)
        other.__dict__.pop("legs", None)
        other._take(self.frame.shocked(ratio))
        return other

    def _take(self, frame: Frame) -> None:
        """Stand in this frame: what positions are worth in it."""
        self.frame = frame
        profit, value = frame.position_values()
        self._worth, self._profit = profit + value, profit

    @property
    def has_orders(self) -> bool:
        """Whether any order rests."""
        return bool(self.frame.book.leg_order.size)

    @property
    def line(self) -> Line:
        """Where the rule-set puts liquidation, in US dollars."""
        factor, amount = self.frame.ruleset.liquidation_line
        return Line(factor, amount)

    @cached_property
    def legs(self) -> tuple[Leg, ...]:
        """Positions of the pot."""
        frame, book = self.frame, self.frame.book
        found = []
        for row in self.rows.tolist():
            index = int(book.position_instrument[row])
            item = book.registry[index]
            asset_usd = float(frame.position_rate[row] * frame.pot_usd[self.pot])
            one = frame.notional(np.array([index]), np.ones(1))
            underlying = int(frame.terms.underlying[index])
            spot = float(frame.asset_usd_or_one[underlying])
            valued = item.kind in ("option", "spot")
            unit = float(frame.unit_value[index]) if valued else float(frame.view.price[index])
            found.append(
                Leg(
                    name=item.id,
                    underlying=book.registry.assets[int(frame.follow[underlying])],
                    quantity=float(book.position_quantity[row]),
                    mark=unit * asset_usd if item.kind == "option" else unit,
                    unit_usd=float(one[0]) * asset_usd,
                    delta_usd=float(frame.unit_delta[index]) * spot,
                    point_usd=1.0 if item.kind == "option" else math.nan,
                    lot=self._lots.get(item.id, 0.0),
                    inverse=item.inverse and item.kind != "option",
                    profit_usd=float(self._profit[row]) * asset_usd,
                )
            )
        return tuple(found)

    @cached_property
    def brackets(self) -> tuple[Brackets, ...] | None:
        """Brackets that the rule-set has for each leg; None where it has none for any.

        A leg that is charged otherwise counts as one in the lowest bracket. Which brackets serve
        an instrument is :func:`crossmargin.margin.tier_tables`' to say.
        """
        found = [_brackets_of(self.frame.ruleset, leg.name) for leg in self.legs]
        if not any(found):
            return None
        return tuple(Brackets((0.0,), (1.0,)) if one is None else one for one in found)

    def standing(self, quantity: Floats, cost: Floats, *, orders: bool = False) -> Standing:
        """Return equity and maintenance requirement of the pot; see :class:`Account`."""
        frame, need = self.evaluated(quantity, cost, orders=orders)
        usd = float(frame.pot_usd[self.pot])
        have = equity(frame, need)
        return Standing(float(have.mm[self.pot]) * usd, float(need.mm[self.pot]) * usd)

    def evaluated(
        self, quantity: Floats, cost: Floats, *, orders: bool = False
    ) -> tuple[Frame, Requirement]:
        """Return the frame at these sizes and its maintenance requirement."""
        base = self.frame.book
        held = base.position_quantity.copy()
        amount = base.balance_amount.copy()
        left = np.divide(
            quantity, held[self.rows], where=held[self.rows] != 0, out=np.zeros_like(quantity)
        )
        released = self._worth[self.rows] * (1.0 - left)
        usd = self.frame.position_rate[self.rows] * self.frame.pot_usd[self.pot]
        np.add.at(amount, self._cash, released - cost / usd)
        held[self.rows] = quantity
        frame = self.frame.with_book(replace(base, position_quantity=held, balance_amount=amount))
        counted = orders and self.has_orders and "mm" in frame.ruleset.data.orders.levels
        return frame, requirement(frame, orders=counted, levels=("mm",))

    def net_margin(self) -> NetMargin:
        """Return margin and value net, as an auction of the account is decided on.

        MM is equity that counts at the maintenance level less the requirement, MtM the market
        value of everything before haircuts; both in US dollars (derive-v2.md §1).
        """
        held = self.frame.book.position_quantity[self.rows]
        frame, need = self.evaluated(held, np.zeros(held.size))
        have, usd = equity(frame, need), float(frame.pot_usd[self.pot])
        value = have.balances + have.unrealised + have.option_value
        net = float(have.mm[self.pot] - need.mm[self.pot])
        return NetMargin(net * usd, float(value[self.pot]) * usd)

    def weights(self, quantity: Floats) -> Floats:
        """Return what each leg adds to the requirement through netting; hedges weigh nothing."""
        _, need = self.evaluated(quantity, np.zeros(quantity.size))
        return np.maximum(need.share_mm[self.rows], 0.0)


def _brackets_of(ruleset: Ruleset, instrument: str) -> Brackets | None:
    """Return the brackets of one instrument; None where no component charges it by notional."""
    try:
        tables = tier_tables(ruleset, instrument)
    except (RulesetError, InputError):
        return None
    table = next((table for table in tables if table.brackets), None)
    if table is None:
        return None
    floors = tuple(bracket.floor_usd for bracket in table.brackets)
    # Only the floors are asked for: what a leg requires is the margin engine's to say.
    rates = tuple(min(max(bracket.mm, 1e-9), 1.0) for bracket in table.brackets)
    return Brackets(floors, rates, marginal=table.scheme == "marginal")


def _empty_last(frame: Frame, count: int) -> Frame:
    """Set the balances that were added for cash to arrive in back to nothing."""
    if not count:
        return frame
    amount = frame.book.balance_amount.copy()
    amount[amount.size - count :] = 0.0
    return frame.with_book(replace(frame.book, balance_amount=amount))
