"""A book under any rule-set as the loop of a cascade sees it: who is due, what is held, prices.

Margins are those of the live book, which computes whom a price makes due; an account that is due is
written out and given to the liquidation room as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile, BalanceEntry, Book, CompactBook, PositionEntry
from crossmargin.errors import CascadeError, LiquidationError
from crossmargin.instruments import KIND_CODE, Instrument
from crossmargin.liquidation import MarginedAccount
from crossmargin.margin import Frame, Ruleset, frame_for
from crossmargin.margin.live import LiveBook
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


#: Accounts from which on trigger prices cost less than margining everybody at every price.
MANY = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pot:
    """Part of an account that is margined by itself.

    Attributes
    ----------
    account : int
        Whose.
    settles : str or None
        Settlement coin whose positions these are; None where all are in one pot.
    margined : MarginedAccount
        As it stands.
    """

    account: int
    settles: str | None
    margined: MarginedAccount


class BookView:
    """Accounts, prices and options of a book in a moving market.

    Parameters
    ----------
    book : CompactBook
        Regular accounts only.
    snapshot : Snapshot
        The market at the start.
    ruleset : Ruleset
        The rules of margin.
    assets : sequence of str
        Coins whose prices move, in the order of the columns of everything.
    lots : mapping of str to float, optional
        Smallest size that is closed, by instrument.

    Raises
    ------
    CascadeError
        ``CAS-001`` for accounts that cannot be edited, ``CAS-003`` for a coin without a price.
    """

    def __init__(
        self,
        book: CompactBook,
        snapshot: Snapshot,
        ruleset: Ruleset,
        assets: Sequence[str],
        lots: Mapping[str, float] | None = None,
    ) -> None:
        if book.rest is not None:
            raise CascadeError(
                "accounts with orders, pools or places do not run in a cascade",
                code="CAS-001",
                field="book",
                hint="give accounts of positions and balances alone",
            )
        missing = [name for name in assets if name not in snapshot.assets]
        if missing:
            raise CascadeError(
                f"the market has no price of {missing[0]!r}",
                code="CAS-003",
                field="assets",
                hint="one of " + ", ".join(sorted(snapshot.assets)),
            )
        self.assets, self._ruleset, self._lots = tuple(assets), ruleset, dict(lots or {})
        self.live = LiveBook(book, snapshot, ruleset, triggers=book.size >= MANY)
        self.registry, self.terms = book.registry, book.registry.terms
        names = self.registry.assets
        self._place = [names.index(a) if a in names else -1 for a in self.assets]
        used = book.instruments_used()
        self._one_of_each = _one_of_each(book, used)
        self._options = used[self.terms.kind[used] == KIND_CODE["option"]]
        total = np.bincount(
            book.position_instrument, book.position_quantity, minlength=len(self.registry)
        )
        self._held = total[self._options]
        self._column = {name: k for k, name in enumerate(self.assets)}
        self._underlying = np.array(
            [self._column.get(names[int(u)], -1) for u in self.terms.underlying[self._options]],
            dtype=np.int64,
        )
        self._frame: Frame | None = None
        self._snapshot: Snapshot | None = None

    @property
    def price(self) -> Floats:
        """Prices of the coins now, float64[J], US dollars."""
        found = self.snapshot.assets
        return np.array([found[name].price_usd for name in self.assets])

    @property
    def snapshot(self) -> Snapshot:
        """The market now."""
        if self._snapshot is None:
            self._snapshot = self.live.snapshot()
        return self._snapshot

    @property
    def frame(self) -> Frame:
        """The market now, as one unit of every contract of the book sees it."""
        if self._frame is None:
            self._frame = frame_for(self._one_of_each, self.snapshot, self._ruleset)
        return self._frame

    def move(self, mark: Floats) -> None:
        """Take new marks of the coins, float64[J]; who does not move is left alone."""
        now = self.price
        moved = {
            name: float(p) for name, p, was in zip(self.assets, mark.tolist(), now) if p != was
        }
        if moved:
            self.live.tick(moved)
            self._snapshot = self._frame = None

    def below(self) -> Ints:
        """Return accounts below maintenance margin, rising."""
        return np.flatnonzero(self.live.below)

    # ---- one account -------------------------------------------------------------------

    def pots(self, account: int) -> list[Pot]:
        """Return what of an account is margined together; nothing where nothing is held."""
        who = self._written(account, None)
        if not who.positions:
            return []
        try:
            return [Pot(account=account, settles=None, margined=self._margined(who))]
        except LiquidationError as error:
            if error.code != "LIQ-004":
                raise
        coins = sorted({self._item(p.instrument).settlement for p in who.positions})
        found = []
        for coin in coins:
            part = self._margined(self._written(account, coin))
            found.append(Pot(account=account, settles=coin, margined=part))
        return found

    def _margined(self, who: AccountFile) -> MarginedAccount:
        return MarginedAccount(who, self.snapshot, self._ruleset, lots=self._lots)

    def _written(self, account: int, settles: str | None) -> AccountFile:
        held, names = self.live.holding(account), self.registry.assets
        positions = []
        for index, (quantity, entry) in sorted(held.positions.items()):
            item = self.registry[index]
            if settles not in (None, item.settlement):
                continue
            valued = item.kind in ("option", "spot")
            positions.append(
                PositionEntry(
                    instrument=item.id,
                    quantity=quantity,
                    entry_price=None if valued else entry,
                )
            )
        return AccountFile(
            format="crossmargin-account/1",
            account=str(account),
            balances=[
                BalanceEntry(asset=names[a], amount=x)
                for a, x in sorted(held.balances.items())
                if settles in (None, names[a])
            ],
            positions=positions,
        )

    def _item(self, instrument: str) -> Instrument:
        return self.registry[self.registry.resolve(instrument)]

    def coins(self, instrument: str) -> tuple[int, float]:
        """Return the column of a contract's underlying, and coins of delta of one unit.

        A column of −1 is a coin whose price does not move here.
        """
        index = self.registry.resolve(instrument)
        name = self.registry[index].underlying
        return self._column.get(name, -1), float(self.frame.unit_delta[index])

    def is_option(self, instrument: str) -> bool:
        """Whether a contract is an option."""
        return self._item(instrument).kind == "option"

    def prices_at(self, fills: Floats) -> Frame:
        """Return contracts' prices where the coins stand at their fills, float64[J].

        Forwards keep their ratio to the index, options are priced at their own volatility.
        """
        ratio = np.ones(len(self.registry.assets))
        for place, at, now in zip(self._place, fills.tolist(), self.price.tolist()):
            if place >= 0:
                ratio[place] = at / now
        return self.frame.shocked(ratio) if (ratio != 1.0).any() else self.frame

    def trade(self, account: int, instrument: str, units: float, at: Frame, spread: float) -> float:
        """Trade for an account at the price of a frame.

        Returns what that gains against the mark, US dollars: below 0 where it slips.

        Parameters
        ----------
        account : int
            Whose.
        instrument : str
            What.
        units : float
            Signed: above 0 bought.
        at : Frame
            From :meth:`prices_at`.
        spread : float
            Share of an option's price lost on top.
        """
        index = self.registry.resolve(instrument)
        kind = self.registry[index].kind
        if kind in ("option", "spot"):
            price = float(at.unit_value[index] / self.terms.contract_size[index])
            if kind == "option":
                price *= 1.0 + (spread if units > 0 else -spread)
                self._held[self._options == index] += units
        else:
            price = float(at.view.price[index])
        size = np.array([units]), np.array([price])
        gain = float(self.frame.fill_gain(np.array([index]), *size)[0])
        self.live.fill(account, instrument, units, price)
        return gain * self._usd(self.registry[index].settlement)

    def pay(self, account: int, instrument: str, usd: float) -> None:
        """Take US dollars from the balance that a contract settles in."""
        coin = self._item(instrument).settlement
        self.live.deposit(account, coin, -usd / self._usd(coin))

    def sweep(self, pot: Pot) -> float:
        """Empty the balances of a pot that holds nothing; returns their worth, US dollars."""
        worth, names = 0.0, self.registry.assets
        for index, amount in sorted(self.live.holding(pot.account).balances.items()):
            if pot.settles in (None, names[index]):
                worth += amount * self._usd(names[index])
                self.live.deposit(pot.account, names[index], -amount)
        return worth

    def _usd(self, coin: str) -> float:
        return 1.0 if coin == "USD" else self.snapshot.asset_usd(coin)

    # ---- options and funding -------------------------------------------------------------

    @property
    def has_options(self) -> bool:
        """Whether anybody holds any."""
        return bool(self._options.size)

    def option_delta(self, at: Frame | None = None) -> Floats:
        """Return coins of delta of all options that accounts hold, float64[J]."""
        frame = self.frame if at is None else at
        coins = self._held * frame.unit_delta[self._options]
        mine = self._underlying >= 0
        return np.bincount(self._underlying[mine], coins[mine], minlength=len(self.assets)).astype(
            np.float64, copy=False
        )

    def option_gamma(self) -> Floats:
        """Return ``Γ·S²`` of all options that accounts hold, float64[J], US dollars.

        By which amount of US dollars delta grows where the price rises by 100 %, at today's rate:
        the difference over a thousandth either way.
        """
        up, down = (self.option_delta(self.prices_at(self.price * x)) for x in (1.001, 0.999))
        return np.asarray((up - down) / 0.002 * self.price, dtype=np.float64)

    def fund(self, usd_per_coin: Floats) -> None:
        """Pay funding: what one coin long of each underlying receives, float64[K]."""
        perpetual = self.terms.kind == KIND_CODE["perpetual"]
        for account in range(self.live.size):
            held = self.live.holding(account)
            for index, (quantity, _) in sorted(held.positions.items()):
                column = self._column.get(self.registry[index].underlying, -1)
                if not perpetual[index] or not 0 <= column < usd_per_coin.size:
                    continue
                coins = quantity * float(self.frame.unit_coins[index])
                usd = coins * float(usd_per_coin[column])
                if usd != 0.0:
                    self.pay(account, self.registry[index].id, -usd)

    def gross(self) -> Floats:
        """Return coins held long in linear and inverse contracts, float64[J]."""
        out, frame = np.zeros(len(self.assets)), self.frame
        book = self.live.book()
        for index, quantity in zip(
            book.position_instrument.tolist(), book.position_quantity.tolist()
        ):
            item = self.registry[index]
            column = self._column.get(item.underlying, -1)
            if item.kind in ("perpetual", "future") and column >= 0:
                out[column] += max(quantity, 0.0) * float(frame.unit_coins[index])
        return out


def _one_of_each(book: CompactBook, used: Ints) -> Book:
    """Return a book of one account that holds one unit of every contract."""
    one = replace(
        book,
        ids=["one of each"],
        owners=None,
        position_start=np.array([0, used.size], dtype=np.int64),
        position_instrument=used.astype(book.position_instrument.dtype),
        position_quantity=np.ones(used.size),
        position_entry=np.full(used.size, np.nan),
        balance_start=np.array([0, 0], dtype=np.int64),
        balance_asset=book.balance_asset[:0],
        balance_amount=book.balance_amount[:0],
        rest=None,
    )
    return one.accounts(0, 1)
