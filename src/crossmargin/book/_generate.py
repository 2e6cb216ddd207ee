"""Made-up books of any size, from a seed: for benchmarks, examples and tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossmargin.book._compact import CompactBook, NumberedIds, narrow
from crossmargin.book._drawn import (
    TENS,
    DrawnAccounts,
    DrawnTrades,
    Part,
    joined,
    scaled,
    significant,
)
from crossmargin.book._palette import (
    CALL,
    COIN_LINEAR,
    LINEAR,
    OPTION,
    SPREAD,
    Palette,
    palette,
)
from crossmargin.book._shape import ACCOUNT_KINDS, BookShape
from crossmargin.errors import InputError
from crossmargin.instruments import DOLLARS, Registry
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: More positions than that would not be numbered by 32 bits.
MOST_ACCOUNTS = 100_000_000

#: Accounts are drawn so many at a time, each time from a generator of its own: the first
#: accounts of a large book are the accounts of a small one.
_CHUNK = 8_192
_DIRECTIONAL, _HEDGED, _OVERLAY, _MAKER, _COIN = range(len(ACCOUNT_KINDS))

#: Trades of an account by kind, before those in one contract are added up, when there are ten
#: positions on average.
_TRADES = np.array([7.0, 4.0, 4.7, 130.0, 7.0])
#: Makers are larger than their clients.
_MAKER_SIZE = 20.0


def generate_book(
    accounts: int,
    *,
    seed: int,
    registry: Registry,
    snapshot: Snapshot,
    shape: BookShape | None = None,
    coins: Sequence[str] | None = None,
) -> CompactBook:
    """Make a book up.

    Parameters
    ----------
    accounts : int
        How many, from 1 to `MOST_ACCOUNTS`.
    seed : int
        At least 0. The same arguments give the same bytes; a larger book begins with the
        accounts of a smaller one.
    registry : Registry
        What may be held; spot contracts are not (coins are balances).
    snapshot : Snapshot
        Prices it: entries lie about the mark and balances about the loss in a stress.
    shape : BookShape, optional
        Mix of accounts, popularity, sizes and leverage.
    coins : sequence of str, optional
        Coins that may be collateral of dollar-settled contracts; default those of BTC and ETH
        that the registry has. Contracts settled in a coin are always covered in that coin.

    Returns
    -------
    CompactBook
        Over `registry`, without `rest`.

    Raises
    ------
    InputError
        ``INP-044`` for a size, seed or shape that cannot be, ``INP-045`` when the market prices
        nothing of the registry.

    Notes
    -----
    Quantities are whole lots (a power of ten of units worth at most 50 US dollars), entries have
    six significant digits, balances cents or millionths of a coin.
    """
    if not 1 <= accounts <= MOST_ACCOUNTS or seed < 0:
        raise InputError(
            f"a book of {accounts} accounts from seed {seed}",
            code="INP-044",
            field="seed" if 1 <= accounts <= MOST_ACCOUNTS else "accounts",
            hint=f"from 1 to {MOST_ACCOUNTS:,} accounts, seeds at least 0",
        )
    chosen = shape or BookShape()
    if coins is None:
        coins = [name for name in ("BTC", "ETH") if name in registry.assets]
    tables = palette(registry, snapshot, chosen, coins)
    maker = _Maker(registry, tables, chosen)
    parts = []
    for number, first in enumerate(range(0, accounts, _CHUNK)):
        rng = np.random.default_rng([seed, number])
        parts.append(maker.chunk(rng).first(min(_CHUNK, accounts - first)))
    return CompactBook(
        registry=registry,
        ids=NumberedIds(accounts),
        position_start=joined([part.held for part in parts]),
        position_instrument=np.concatenate([part.instrument for part in parts]),
        position_quantity=np.concatenate([part.quantity for part in parts]),
        position_entry=np.concatenate([part.entry for part in parts]),
        balance_start=joined([part.owned for part in parts]),
        balance_asset=np.concatenate([part.asset for part in parts]),
        balance_amount=np.concatenate([part.amount for part in parts]),
    )


class _Maker:
    """Draws accounts, a chunk at a time."""

    def __init__(self, registry: Registry, tables: Palette, shape: BookShape) -> None:
        self.registry, self.p, self.shape = registry, tables, shape
        self.n, self.assets = len(registry), len(registry.assets)
        self.lot = TENS[30 - tables.lot]
        self.dollars = np.array([name in DOLLARS for name in registry.assets], dtype=bool)
        steps = np.arange(tables.cdf.shape[0], dtype=np.float64)
        self.flat = (tables.cdf + 2.0 * steps[:, None]).ravel()
        weights = np.array(shape.weights)
        self.kind_cdf = np.cumsum(weights) / weights.sum()

    def chunk(self, rng: np.random.Generator) -> Part:
        """Draw the accounts of one chunk."""
        who = self._accounts(rng)
        trades = self._trades(rng, who)
        self._hedge_makers(who, trades)
        owner, instrument, lots = self._net(trades)
        quantity = scaled(lots, self.p.lot[instrument])
        entry = self._entries(rng, instrument)
        owned, asset, amount = self._balances(who, trades.coins, owner, instrument, quantity, entry)
        return Part(
            held=np.bincount(owner, minlength=_CHUNK),
            instrument=instrument.astype(narrow(self.n)),
            quantity=quantity,
            entry=entry,
            owned=owned,
            asset=asset.astype(narrow(self.assets)),
            amount=amount,
        )

    def _accounts(self, rng: np.random.Generator) -> DrawnAccounts:
        shape = self.shape
        kind = np.searchsorted(self.kind_cdf, rng.random(_CHUNK), side="right")
        home = np.searchsorted(self.p.home_cdf, rng.random(_CHUNK), side="right")
        # Pareto, cut off at the largest size: the inverse of its distribution function.
        last = (shape.size_min_usd / shape.size_max_usd) ** shape.size_pareto
        left = 1.0 - rng.random(_CHUNK) * (1.0 - last)
        gross = shape.size_min_usd * left ** (-1.0 / shape.size_pareto)
        gross[kind == _MAKER] *= _MAKER_SIZE
        cushion = np.exp(shape.log_cushion + shape.leverage_spread * rng.standard_normal(_CHUNK))
        return DrawnAccounts(
            kind=np.minimum(kind, len(ACCOUNT_KINDS) - 1),
            home=np.minimum(home, self.p.home_cdf.size - 1),
            gross_usd=np.minimum(gross, shape.size_max_usd),
            cushion=cushion,
            bias=np.where(rng.random(_CHUNK) < 0.55, 1.0, -1.0),
        )

    def _pick(self, what: Ints, place: Ints, u: Floats, at_home: NDArray[np.bool_]) -> Ints:
        """Draw instruments; those `at_home` on the underlying at `place`, if it has any."""
        low, high = self.p.low[what, place], self.p.high[what, place]
        at_home = at_home & (high > low)
        low, high = np.where(at_home, low, 0.0), np.where(at_home, high, 1.0)
        # Never 1 itself: that is where the weights end.
        at = np.minimum(low + u * (high - low), 1.0 - 1e-12)
        found = np.searchsorted(self.flat, at + 2.0 * what, side="right")
        picked: Ints = self.p.order[found - what * self.n]
        return picked

    def _trades(self, rng: np.random.Generator, who: DrawnAccounts) -> DrawnTrades:
        p = self.p
        mean = np.maximum(_TRADES[who.kind] * self.shape.positions / 10.0 - 1.0, 0.0)
        more = np.minimum(-np.log1p(-rng.random(_CHUNK)), 6.0) * mean
        count = 1 + np.rint(more).astype(np.int64)
        owner = np.repeat(np.arange(_CHUNK), count)
        kind, rows = who.kind[owner], owner.size
        choose, at, which, side_u, size, second = rng.random((6, rows))
        bought = (kind == _DIRECTIONAL) & (which < 0.15)
        spread = (kind == _OVERLAY) & (which < 0.5)
        what = np.full(rows, LINEAR)
        what[bought | (kind == _MAKER)] = OPTION
        what[kind == _OVERLAY] = CALL
        what[spread] = SPREAD
        what[kind == _COIN] = COIN_LINEAR
        one = self._pick(what, who.home[owner], at, choose < self.shape.home)
        side = self._sides(kind, which, side_u, who.bias[owner], p.option[one])
        usd = -np.log1p(-size) * (who.gross_usd / count)[owner]
        lots = self._lots(one, usd / p.unit_usd[one]) * side
        # A basis trade against the coin sells the contract.
        coin = p.coin[one]
        covered = (kind == _HEDGED) & (which < 0.5) & (coin >= 0)
        sold_call = (kind == _OVERLAY) & ~spread
        lots = np.where(covered, -np.abs(lots), lots)
        out = DrawnTrades([owner], [one], [lots], np.zeros((_CHUNK, self.assets)))
        with_coin = covered | (sold_call & (coin >= 0))
        bought_coins = usd / np.where(coin >= 0, p.asset_usd[coin], np.inf)
        np.add.at(out.coins, (owner[with_coin], coin[with_coin]), bought_coins[with_coin])
        self._second_legs(out, kind, spread, with_coin, second)
        return out

    def _second_legs(
        self,
        out: DrawnTrades,
        kind: Ints,
        spread: NDArray[np.bool_],
        with_coin: NDArray[np.bool_],
        u: Floats,
    ) -> None:
        """Add the other side of basis trades, covered calls and vertical spreads."""
        p = self.p
        owner, one, lots = out.owner[0], out.instrument[0], out.lots[0]
        rows = np.flatnonzero(spread & (p.neighbour[one] >= 0))
        out.add(owner[rows], p.neighbour[one[rows]], -lots[rows])
        rows = np.flatnonzero(((kind == _HEDGED) | (kind == _OVERLAY)) & ~spread & ~with_coin)
        what, first = np.full(rows.size, LINEAR), one[rows]
        other = self._pick(what, p.underlying[first], u[rows], np.ones(rows.size, dtype=bool))
        other = np.where(other == first, p.sibling[first], other)
        # Deltas are matched for contracts; a sold call is covered whole.
        per = np.where(p.option[first], p.unit_usd[first], p.delta_usd[first])
        usd = lots[rows] * self.lot[first] * per
        keep = (other >= 0) & ~p.option[other]
        size = self._lots(other, np.abs(usd) / p.unit_usd[other]) * -np.sign(lots[rows])
        out.add(owner[rows][keep], other[keep], size[keep])

    def _sides(
        self, kind: Ints, which: Floats, u: Floats, bias: Floats, option: NDArray[np.bool_]
    ) -> Ints:
        """Return +1 long, −1 short."""
        long = u < 0.5
        trend = (kind == _DIRECTIONAL) & ~option
        long = np.where(trend, (bias > 0) ^ (u > 0.85), long)
        long = np.where((kind == _DIRECTIONAL) & option, u < 0.8, long)
        long = np.where(kind == _COIN, u < 0.85, long)
        long = np.where((kind == _OVERLAY) & (which >= 0.5) & option, False, long)
        return np.where(long, 1, -1)

    def _lots(self, instrument: Ints, quantity: Floats) -> Ints:
        """Return whole lots, at least one."""
        return np.maximum(np.rint(quantity / self.lot[instrument]), 1.0).astype(np.int64)

    def _hedge_makers(self, who: DrawnAccounts, trades: DrawnTrades) -> None:
        """Sell the delta of each maker's options in the most traded contract of the segment."""
        p = self.p
        owner, one, lots = trades.owner[0], trades.instrument[0], trades.lots[0]
        mine = np.flatnonzero((who.kind[owner] == _MAKER) & p.option[one])
        owner, one = owner[mine], one[mine]
        usd = lots[mine] * self.lot[one] * p.delta_usd[one]
        segments = p.segment_asset.size
        key = owner * segments + p.segment[one]
        found, place = np.unique(key, return_inverse=True)
        delta = np.bincount(place, weights=usd, minlength=found.size)
        account, hedge = found // segments, p.segment_hedge[found % segments]
        wanted = np.rint(-delta / (p.unit_usd * self.lot)[hedge]).astype(np.int64)
        keep = (hedge >= 0) & (wanted != 0)
        trades.add(account[keep], hedge[keep], wanted[keep])

    def _net(self, trades: DrawnTrades) -> tuple[Ints, Ints, Ints]:
        """Add up the trades of each account and contract; what nets to nothing is gone."""
        key = np.concatenate(trades.owner) * self.n + np.concatenate(trades.instrument)
        # Sorted with their row behind them: numbers sort several times faster than indices.
        rows = key.size
        key, order = np.divmod(np.sort(key * rows + np.arange(rows)), rows)
        first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        # Lots are whole numbers: their sum does not depend on the order.
        lots = np.add.reduceat(np.concatenate(trades.lots)[order], first)
        keep = lots != 0
        owner, instrument = np.divmod(key[first][keep], self.n)
        return owner, instrument, lots[keep]

    def _entries(self, rng: np.random.Generator, instrument: Ints) -> Floats:
        z, u = rng.standard_normal(instrument.size), rng.random(instrument.size)
        shape, option = self.shape, self.p.option[instrument]
        spread = np.where(option, shape.entry_spread_option, shape.entry_spread)
        entry = significant(self.p.mark[instrument] * np.exp(spread * z))
        return np.where(u < shape.settled, np.nan, entry)

    def _balances(
        self,
        who: DrawnAccounts,
        coins: Floats,
        owner: Ints,
        instrument: Ints,
        quantity: Floats,
        entry: Floats,
    ) -> tuple[Ints, Ints, Floats]:
        """Give each account what covers its stress loss so many times, in what it settles in."""
        p = self.p
        segments = p.segment_asset.size
        key = owner * segments + p.segment[instrument]

        def total(values: Floats) -> Floats:
            found = np.bincount(key, weights=values, minlength=_CHUNK * segments)
            return found.astype(np.float64, copy=False).reshape(_CHUNK, segments)

        worst = np.maximum(
            -total(quantity * p.down[instrument]), -total(quantity * p.up[instrument])
        )
        gross = total(np.abs(quantity) * p.gross[instrument])
        loss = np.maximum(worst, 0.0) + self.shape.stress_gross * gross
        mark = p.mark[instrument]
        at = np.where(np.isnan(entry), mark, entry)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(p.inverse_linear[instrument], 1.0 / at - 1.0 / mark, mark - at)
        gain = np.where(p.option[instrument], p.value[instrument], gain * p.size[instrument])
        have = total(quantity * gain)
        cash = np.zeros((_CHUNK, self.assets))
        need = np.zeros((_CHUNK, self.assets))
        for segment, asset in enumerate(p.segment_asset):
            need[:, asset] += loss[:, segment] * who.cushion
            cash[:, asset] -= have[:, segment]
        cash = np.maximum(need + cash, 0.0)
        self._into_coins(who, cash)
        cash += coins
        decimals = np.where(self.dollars, 2, 6)
        cash = np.rint(cash * TENS[30 + decimals]) / TENS[30 + decimals]
        account, asset = np.nonzero(cash)
        return np.bincount(account, minlength=_CHUNK), asset, cash[account, asset]

    def _into_coins(self, who: DrawnAccounts, cash: Floats) -> None:
        """Accounts with coin collateral hold in a coin what they would hold in dollars."""
        if not self.p.coins.size:
            return
        rows = np.flatnonzero(who.kind == _COIN)
        coin = self.p.home_coin[who.home[rows]]
        for asset in np.flatnonzero(self.dollars):
            usd = cash[rows, asset] * self.p.asset_usd[asset]
            usd = np.where(np.isfinite(usd), usd, 0.0)
            cash[rows, coin] += usd / self.p.asset_usd[coin]
            cash[rows, asset] = 0.0
