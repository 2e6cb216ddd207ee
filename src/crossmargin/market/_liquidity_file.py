"""The market file's optional sections ``liquidity`` and ``depth``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from crossmargin.errors import InputError, MarketDataError
from crossmargin.instruments import parse_instrument
from crossmargin.market.depth import OrderBook
from crossmargin.market.liquidity import LIQUIDITY_FIGURES, Liquidity

Moment = Callable[[str | None, str], int]


class LiquidityEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Liquidity of an underlying as a whole, or of one instrument: exactly one is named.

    Sizes are coins of the underlying; volatility a decimal per day; the half-spread a fraction.
    """

    underlying: str | None = None
    instrument: str | None = None
    adv_coins: float | None = None
    sigma_daily: float | None = None
    open_interest_coins: float | None = None
    half_spread: float | None = None
    as_of: str | None = None
    source: str = ""


class DepthEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Order book of one instrument: [price, coins] by level, best first."""

    instrument: str
    bids: list[tuple[float, float]] = []
    asks: list[tuple[float, float]] = []
    as_of: str | None = None
    source: str = ""


def _twice(what: str, field: str) -> MarketDataError:
    return MarketDataError(f"{what} appears twice", code="MKT-011", field=field)


def _instrument_id(name: str, field: str) -> str:
    try:
        return parse_instrument(name).id
    except InputError as error:
        raise error.located(field=field) from None


def read_liquidity(
    entries: Sequence[LiquidityEntry], moment: Moment, source: str
) -> dict[str, Liquidity]:
    """Check entries and key them by underlying or canonical instrument id.

    Raises
    ------
    MarketDataError
        ``MKT-041`` a figure no market has, ``MKT-011`` an entry twice or from the future.
    InputError
        ``INP-001`` unknown instrument, ``INP-003`` not exactly one name.
    """
    out: dict[str, Liquidity] = {}
    for row, entry in enumerate(entries):
        field = f"liquidity[{row}]"
        if (entry.underlying is None) == (entry.instrument is None):
            raise InputError(
                "an entry of liquidity names either an underlying or an instrument",
                code="INP-003",
                field=field,
            )
        if entry.instrument is not None:
            name = _instrument_id(entry.instrument, f"{field}.instrument")
        else:
            name = str(entry.underlying)
            if not name.isalnum():
                raise InputError(f"{name!r} is not an asset", code="INP-003", field=field)
        if name in out:
            raise _twice(f"liquidity of {name}", field)
        try:
            out[name] = Liquidity(
                **{figure: getattr(entry, figure) for figure in LIQUIDITY_FIGURES},
                time_ns=moment(entry.as_of, f"{field}.as_of"),
                source=entry.source or source,
            )
        except MarketDataError as error:
            if error.code == "MKT-041":
                error.message = f"the liquidity of {name}: {error.message}"
                error.field = f"{field}.{error.field}"
            raise
    return out


def read_depth(entries: Sequence[DepthEntry], moment: Moment, source: str) -> dict[str, OrderBook]:
    """Check order books and key them by canonical instrument id; errors as `read_liquidity`."""
    out: dict[str, OrderBook] = {}
    for row, entry in enumerate(entries):
        field = f"depth[{row}]"
        name = _instrument_id(entry.instrument, f"{field}.instrument")
        if name in out:
            raise _twice(f"the book of {name}", field)
        time_ns = moment(entry.as_of, f"{field}.as_of")
        try:
            out[name] = OrderBook(
                bids=tuple(entry.bids),
                asks=tuple(entry.asks),
                time_ns=time_ns,
                source=entry.source or source,
            )
        except MarketDataError as error:
            error.field = field if error.field is None else f"{field}.{error.field}"
            raise error.located(instrument=name) from None
    return out


def write_liquidity(
    table: Mapping[str, Liquidity],
    stamp: Callable[[int], str | None],
    named: Callable[[str], str],
) -> list[LiquidityEntry]:
    """Write liquidity back as entries, sorted by name."""
    return [
        LiquidityEntry(
            # Names of instruments have a separator, names of assets have none.
            underlying=name if name.isalnum() else None,
            instrument=None if name.isalnum() else name,
            **{figure: getattr(found, figure) for figure in LIQUIDITY_FIGURES},
            as_of=stamp(found.time_ns),
            source=named(found.source),
        )
        for name, found in sorted(table.items())
    ]


def write_depth(
    table: Mapping[str, OrderBook],
    stamp: Callable[[int], str | None],
    named: Callable[[str], str],
) -> list[DepthEntry]:
    """Write order books back as entries, sorted by name."""
    return [
        DepthEntry(
            instrument=name,
            bids=list(book.bids),
            asks=list(book.asks),
            as_of=stamp(book.time_ns),
            source=named(book.source),
        )
        for name, book in sorted(table.items())
    ]
