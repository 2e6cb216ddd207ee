"""What a venue reader fills in: an account that grows, and the venue's own figures beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    OrderEntry,
    OrderLeg,
    PoolEntry,
    PositionEntry,
    book_from_accounts,
)
from crossmargin.errors import InputError
from crossmargin.instruments import Instrument
from crossmargin.venues._reply import Node, plain

LegName: TypeAlias = Literal["net", "long", "short"]
CROSS = "cross"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict data."""


class Figures(_Strict, frozen=True, kw_only=True):
    """What a venue says of an account, or of one asset in it, in the venue's own digits.

    Attributes
    ----------
    unit : str
        ``USD`` or an asset.
    equity : str or None
        What the venue compares with its requirement.
    equity_before_haircuts : str or None
        Where the venue states it besides.
    wallet, unrealised, im, mm, available, margin_ratio : str or None
        As the venue writes them; None where it says nothing.
    ratio : str
        What the venue divides by what in its margin ratio.
    """

    unit: str
    equity: str | None = None
    equity_before_haircuts: str | None = None
    wallet: str | None = None
    unrealised: str | None = None
    im: str | None = None
    mm: str | None = None
    available: str | None = None
    margin_ratio: str | None = None
    ratio: str = ""


class PositionFigures(_Strict, frozen=True, kw_only=True):
    """What a venue says of one position, in its own digits.

    `liquidation_price` is None where the venue states none; several write 0 for that, which is
    no price. `margin` is what the venue counts as pledged to the position.
    """

    symbol: str
    instrument: str
    leg: LegName
    pool: str
    mark_price: str | None = None
    entry_price: str | None = None
    notional: str | None = None
    unrealised: str | None = None
    im: str | None = None
    mm: str | None = None
    margin: str | None = None
    margin_ratio: str | None = None
    liquidation_price: str | None = None


class Reported(_Strict, frozen=True, kw_only=True):
    """The venue's own figures, kept apart from the account for comparing ours with theirs.

    Attributes
    ----------
    account : Figures or None
        Of the whole account, once: a pooled figure that the venue repeats in every currency
        stands here and nowhere else.
    assets : list of Figures
        Of single assets.
    positions : list of PositionFigures
        In the order of the account's positions.
    """

    account: Figures | None = None
    assets: list[Figures] = []
    positions: list[PositionFigures] = []


class VenueReading(_Strict, frozen=True, kw_only=True):
    """An account read from a venue's replies.

    Attributes
    ----------
    venue, mode : str
        Where it is from, and how the venue margins it, in words.
    account : AccountFile
        Ours.
    reported : Reported
        The venue's own figures.
    read, ignored, notes : list of str
        What was read, what was left out and why, and what was inferred, as sentences.
    """

    venue: str
    mode: str
    account: AccountFile
    reported: Reported
    read: list[str]
    ignored: list[str]
    notes: list[str]


@dataclass(slots=True, kw_only=True)
class Part:
    """One reply: what it is, its content, and the name of where it came from."""

    kind: str
    data: object
    source: str


@dataclass(slots=True, kw_only=True)
class Held:
    """A position as a reader found it; zero quantities do not get this far.

    Attributes
    ----------
    margin : Decimal or None
        Pledged to an isolated position, without its profit; None in cross.
    margin_asset : str or None
        Where it is not the settlement asset.
    """

    symbol: str
    instrument: Instrument
    quantity: Decimal
    field: str
    entry: Decimal | None = None
    leg: LegName = "net"
    pool: str = CROSS
    leverage: Decimal | None = None
    margin: Decimal | None = None
    margin_asset: str | None = None
    figures: dict[str, str | None] = dataclasses.field(default_factory=dict)


class Draft:
    """An account while it is being read.

    Parameters
    ----------
    venue : str
        For messages.
    mode : str or None
        What the caller says of the account's mode, where the replies do not tell.
    sizes : mapping of str to Decimal
        Units per contract by the venue's symbol, as given by the caller.
    """

    def __init__(self, venue: str, mode: str | None, sizes: Mapping[str, Decimal]) -> None:
        self.venue = venue
        self.asked_mode = mode
        self.mode = ""
        self.name: str | None = None
        self.sizes = dict(sizes)
        self.pools: dict[str, PoolEntry] = {}
        self.balances: dict[tuple[str, str], Decimal] = {}
        self.held: list[Held] = []
        self.orders: list[OrderEntry] = []
        self.whole: Figures | None = None
        self.assets: list[Figures] = []
        self.read: list[str] = []
        self.ignored: list[str] = []
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        """Keep a sentence once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def ignore(self, sentence: str) -> None:
        """Keep a sentence about something left out, once."""
        if sentence not in self.ignored:
            self.ignored.append(sentence)

    def pool(self, name: str, mode: Literal["cross", "isolated", "sub_account"]) -> str:
        """Declare a pool and return its name."""
        self.pools.setdefault(name, PoolEntry(id=name, mode=mode))
        return name

    def balance(self, asset: str, amount: Decimal, where: str, pool: str = CROSS) -> None:
        """Add to a balance.

        What has a name that the account file cannot write is left out aloud when it is worth
        something, which can only understate the account, and refused when it is owed.
        """
        if not (asset.isalnum() and len(asset) <= 40):
            if amount < 0:
                raise InputError(
                    f"a debt of {plain(-amount)} {asset!r}, an asset that the account file "
                    "cannot name",
                    code="INP-063",
                    field=where,
                    hint="leave the row out if it is worth nothing",
                )
            if amount > 0:
                self.ignore(f"a balance of {plain(amount)} {asset!r}: no asset of that name")
            return
        key = (pool, asset)
        self.balances[key] = self.balances.get(key, Decimal(0)) + amount

    def hold(self, one: Held) -> None:
        """Add a position; an isolated one gets a pool of its own with what is pledged to it."""
        if one.margin is not None:
            side = "" if one.leg == "net" else f"-{one.leg}"
            one.pool = self.pool(f"isolated-{one.symbol}{side}", "isolated")
            asset = one.margin_asset or one.instrument.settlement
            self.balance(asset, one.margin, one.field, one.pool)
        for other in self.held:
            same = (other.pool, other.instrument.id, other.leg)
            if same == (one.pool, one.instrument.id, one.leg):
                raise InputError(
                    f"{one.symbol} ({one.leg}) is stated twice",
                    code="INP-062",
                    instrument=one.symbol,
                    field=one.field,
                    hint="pass each reply once",
                )
        self.held.append(one)

    def left(self, what: str, left: Decimal, row: Node, field: str) -> bool:
        """Tell whether an order has something left to fill; say it where it has not.

        Raises
        ------
        InputError
            ``INP-006`` when more is filled than was ordered.
        """
        if left < 0:
            raise InputError(
                f"{what} is filled beyond its size: {plain(left)} is left",
                code="INP-006",
                instrument=row.instrument,
                field=row.at(field),
            )
        if left == 0:
            self.ignore(f"{what}: nothing of it is left")
        return left > 0

    def order(
        self,
        name: str,
        instrument: Instrument,
        quantity: Decimal,
        price: Decimal | None,
        where: str,
        pool: str = CROSS,
    ) -> None:
        """Add an open order; quantity > 0 buys."""
        if any(order.id == name for order in self.orders):
            raise InputError(
                f"order {name!r} is stated twice",
                code="INP-062",
                instrument=instrument.id,
                field=where,
                hint="pass each reply once",
            )
        leg = OrderLeg(
            instrument=instrument.id,
            quantity=plain(quantity),
            price=None if price is None else plain(price),
        )
        self.orders.append(OrderEntry(id=name, legs=[leg], pool=pool))

    def build(self, account: str | None) -> VenueReading:
        """Put the reading together and check that it is an account we can work with.

        Raises
        ------
        InputError
            As :func:`crossmargin.book.book_from_accounts`.
        """
        name = account or self.name or self.venue
        if self.held and all(pool.startswith("isolated-") for pool, _ in self.balances):
            self.note("no reply states a balance: the account has positions only")
        rows = [key for key, amount in self.balances.items() if amount != 0]
        made = AccountFile(
            format="crossmargin-account/1",
            account=name,
            description=f"read from replies of {self.venue}: {self.mode}",
            pools=list(self.pools.values()),
            balances=[
                BalanceEntry(asset=asset, amount=plain(self.balances[pool, asset]), pool=pool)
                for pool, asset in sorted(rows or self.balances, key=lambda key: key[0] != CROSS)
            ],
            positions=[_entry(one) for one in self.held],
            orders=self.orders,
        )
        book_from_accounts([made])
        return VenueReading(
            venue=self.venue,
            mode=self.mode,
            account=made,
            reported=Reported(
                account=self.whole,
                assets=self.assets,
                positions=[_figures(one) for one in self.held],
            ),
            read=self.read,
            ignored=self.ignored,
            notes=self.notes,
        )


def _entry(one: Held) -> PositionEntry:
    if one.entry is None and one.instrument.kind in ("perpetual", "future"):
        raise InputError(
            f"the position in {one.symbol} has no entry price, and no mark price and profit to "
            "work it out from",
            code="INP-011",
            instrument=one.symbol,
            field=one.field,
            hint="pass the venue's positions reply as well",
        )
    fenced = one.margin if one.margin_asset in (None, one.instrument.settlement) else None
    if fenced is not None and fenced < 0:
        raise InputError(
            f"the margin pledged to {one.symbol} comes out as {plain(fenced)}",
            code="INP-004",
            instrument=one.symbol,
            field=one.field,
            hint="replies taken at different moments do not fit together; take them again",
        )
    return PositionEntry(
        instrument=one.instrument.id,
        quantity=plain(one.quantity),
        entry_price=None if one.entry is None else plain(one.entry),
        leg=one.leg,
        pool=one.pool,
        leverage=None if one.leverage is None else float(one.leverage),
        fenced_margin=None if fenced is None else plain(fenced),
    )


def _figures(one: Held) -> PositionFigures:
    return PositionFigures(
        symbol=one.symbol,
        instrument=one.instrument.id,
        leg=one.leg,
        pool=one.pool,
        **one.figures,
    )


def entry_from_profit(
    instrument: Instrument, quantity: Decimal, mark: Decimal, profit: Decimal
) -> Decimal | None:
    """Work the entry price out from the profit so far: the price that gives the same profit.

    Linear: ``mark − profit/q``. Inverse (q in quote currency, profit in coin):
    ``1/(profit/q + 1/mark)``. None where no positive price gives that profit.

    Source: the profit formulas of docs/files.md, solved for the entry.
    """
    if quantity == 0 or mark <= 0:
        return None
    if instrument.inverse and instrument.kind != "option":
        inverse = profit / quantity + 1 / mark
        entry = 1 / inverse if inverse > 0 else None
    else:
        entry = mark - profit / quantity
    return entry if entry is not None and entry > 0 else None


def said(node: Node, **names: str) -> dict[str, str | None]:
    """Collect figures as the venue writes them, by our names."""
    return {ours: node.said(theirs) for ours, theirs in names.items()}


def figures_of(node: Node, unit: str, ratio: str = "", **names: str) -> Figures:
    """Collect the figures of an account or an asset, by our names."""
    return msgspec.structs.replace(Figures(unit=unit, ratio=ratio), **said(node, **names))


def price_said(node: Node, name: str) -> str | None:
    """Return a price as the venue writes it; a price of 0 says that there is none."""
    return node.said(name) if node.positive(name) is not None else None
