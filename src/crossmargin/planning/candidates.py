"""What a hedge may be made of: instruments, what trading them costs, and how much of each.

The defaults of costs are house figures of the size that venues ask; quotes of the market are used
where it has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossmargin.book import AccountFile
from crossmargin.instruments import (
    Future,
    Instrument,
    Option,
    deribit_name,
    parse_instrument,
)
from crossmargin.market import Snapshot
from crossmargin.planning._checks import within

#: Coins whose options are inverse at Deribit.
_INVERSE = ("BTC", "ETH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Something that may be traded.

    Attributes
    ----------
    instrument : str
    cost_usd : float
        Of a unit, bought or sold: half the spread and the fee.
    fixed_usd : float
        Of any trade in it.
    buy, sell : float
        Units at most on each side.
    lot : float or None
        Smallest step; None for any quantity.
    """

    instrument: str
    cost_usd: float
    fixed_usd: float = 0.0
    buy: float = math.inf
    sell: float = math.inf
    lot: float | None = None


def unit_usd(snapshot: Snapshot, item: Instrument) -> float:
    """Return the notional of a unit at the index, US dollars; an inverse contract's is fixed."""
    if item.inverse and item.kind != "option":
        return item.contract_size
    return item.contract_size * snapshot.asset_usd(item.underlying)


def trading_costs(
    snapshot: Snapshot, instruments: Sequence[str], *, fee_rate: float = 0.0005,
    half_spread: float = 0.0005, option_fee_coins: float = 0.0003,
    lots: Mapping[str, float] | None = None,
) -> list[Candidate]:  # fmt: skip
    """Return candidates with what trading them costs, from the market's quotes where it has them.

    A unit costs half its bid–ask spread (a share of notional where the market has no quotes) and
    a fee: a share of notional, for options so many coins of each coin of underlying, at most an
    eighth of the option's value. The defaults are house figures of the size that venues ask.

    Parameters
    ----------
    snapshot : Snapshot
    instruments : sequence of str
    fee_rate, half_spread : float
        Of notional; the second for futures, spot and options without quotes.
    option_fee_coins : float
        Coins a coin of underlying.
    lots : mapping, optional
        Lot by instrument.
    """
    within(0.0, 0.1, fee_rate=fee_rate, half_spread=half_spread, option_fee_coins=option_fee_coins)
    out = []
    for name in instruments:
        item = parse_instrument(name)
        quote = snapshot.quotes.get(item.id)
        usd, size_usd = snapshot.asset_usd(item.underlying), unit_usd(snapshot, item)
        spread = half_spread * size_usd
        if quote is not None and quote.bid is not None and quote.ask is not None:
            half = 0.5 * (quote.ask - quote.bid)
            mid = 0.5 * (quote.ask + quote.bid)
            coin_quoted = item.kind == "option" and item.inverse
            spread = half * item.contract_size * usd if coin_quoted else half / mid * size_usd
            if item.kind == "option" and not coin_quoted:
                spread = half * item.contract_size
        fee = fee_rate * size_usd
        if item.kind == "option":
            fee = option_fee_coins * item.contract_size * usd
        out.append(
            Candidate(
                instrument=item.id,
                cost_usd=spread + fee,
                lot=None if lots is None else lots.get(name),
            )
        )
    return out


def market_candidates(account: AccountFile, snapshot: Snapshot) -> list[str]:
    """Name what may be traded against an account: what the market quotes, and options it can price.

    Quoted contracts on the account's underlyings that have not expired; what the account holds;
    and of each expiry that it holds options of (without any, of the two nearest 30 days) puts and
    calls at the forward and half, one and two standard deviations from it, on round strikes.
    """
    held = [parse_instrument(p.instrument) for p in account.positions]
    mine = {item.underlying for item in held}
    now = snapshot.moment_ns
    live = [i for i in held if not (isinstance(i, Future | Option) and i.expiry_ns <= now)]
    quoted = [parse_instrument(name) for name in snapshot.quotes]
    found = {
        i.id: None
        for i in [*live, *quoted]
        if i.underlying in mine
        and i.kind != "spot"
        and not (isinstance(i, Future | Option) and i.expiry_ns <= now)
    }
    for coin in sorted(mine):
        options = [i for i in live if isinstance(i, Option) and i.underlying == coin]
        slices = {e for c, e in snapshot.surfaces if c == coin and e > now}
        expiries = {o.expiry_ns for o in options} & slices
        if not expiries:
            month = now + 30 * 86_400 * 10**9
            expiries = set(sorted(slices, key=lambda e: (abs(e - month), e))[:2])
        for expiry in sorted(expiries):
            found |= dict.fromkeys(_strikes(snapshot, coin, expiry, options[:1]))
    return list(found)


def _strikes(snapshot: Snapshot, coin: str, expiry: int, like: Sequence[Option]) -> list[str]:
    """Name options about the forward, in the manner of one that is held, else inverse."""
    forward = snapshot.surfaces[coin, expiry].forward_usd
    years = (expiry - snapshot.moment_ns) / (365.0 * 86_400 * 10**9)
    spread = float(snapshot.surfaces[coin, expiry].vol(forward)) * math.sqrt(years)
    step = _round_step(forward / 80.0)
    # Coins without inverse options have theirs in USDC.
    model = like[0] if like else None
    inverse = model.inverse if model is not None else coin in _INVERSE
    out = []
    for sigmas in (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0):
        strike = round(forward * math.exp(sigmas * spread) / step) * step
        for kind in ("put", "call"):
            option = Option(
                id="?",
                underlying=coin,
                quote="USD" if inverse else "USDC",
                settlement=coin if inverse else "USDC",
                expiry_ns=expiry,
                strike=strike,
                option_type=kind,
            )
            name = deribit_name(option)
            if name is not None:
                out.append(name)
    return list(dict.fromkeys(out))


def _round_step(size: float) -> float:
    """Return the largest of 1, 2.5 and 5 times a power of ten that is not above a size."""
    power = 10.0 ** math.floor(math.log10(size))
    return max(x * power for x in (1.0, 2.5, 5.0) if x * power <= size * (1 + 1e-12))
