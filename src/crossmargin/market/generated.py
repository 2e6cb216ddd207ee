"""A market made up from a few figures: any number of instruments, no recorded price.

Benchmarks, examples and tests need a market as wide as a venue's: perpetuals, dated futures and
option chains on ten underlyings. It is drawn from ``generated_market.toml`` and a seed, so the
package carries a page of figures instead of a recording.

Volatilities are SSVI slices: with ``theta = vol_atm² T`` and ``phi(theta) = eta / sqrt(theta (1 +
theta))`` the total variance is ``theta/2 (1 + rho phi k + sqrt((phi k + rho)² + 1 − rho²))``.
Source: Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces" (Quantitative Finance 14,
2014), equations 4.1 and 4.5 with gamma = 1/2, free of static arbitrage for
``eta (1 + |rho|) ≤ 2`` (published). The figures themselves are the house's.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np

from crossmargin.errors import InputError
from crossmargin.instruments import (
    Future,
    Instrument,
    Kind,
    Option,
    Perpetual,
    Registry,
    Spot,
    ccxt_symbol,
    deribit_name,
)
from crossmargin.instruments import expiry_ns_from_date as eight_o_clock
from crossmargin.market._generated_table import (
    GeneratedTable,
    GeneratedUnderlying,
    generated_table,
)
from crossmargin.market.liquidity import Liquidity
from crossmargin.market.snapshot import AssetPrice, Forward, InstrumentQuote, Snapshot
from crossmargin.market.svi import SviSlice
from crossmargin.stats import generator
from crossmargin.units import NS_PER_SECOND, parse_time, year_fraction

#: How linear or inverse a generated market is.
VenueKind = Literal["inverse", "linear", "mixed"]

_DAYS_A_YEAR = 365.0
#: What a strike, as a multiple of a power of ten, may be a multiple of: 70,000 and 72,500, not
#: 71,837.
_STEPS = (1.0, 2.0, 2.5, 5.0)
_DIGITS = 10


def generated_underlyings() -> list[str]:
    """Return the underlyings that a generated market may have, most traded first."""
    return [one.asset for one in generated_table().underlyings]


def generated_market(
    *,
    seed: int = 0,
    venue_kind: VenueKind = "mixed",
    underlyings: Sequence[str] | None = None,
    instruments: int = 1_500,
    kinds: Collection[Kind] = ("perpetual", "future", "option"),
    dollar: str = "USDC",
) -> tuple[Registry, Snapshot]:
    """Make a market up: its instruments and one moment's prices.

    Parameters
    ----------
    seed : int
        Moves prices, volatilities and basis a little about the figures of the file.
    venue_kind : {"mixed", "inverse", "linear"}
        ``"inverse"``: contracts settled in the coin itself; ``"linear"``: settled in `dollar`;
        ``"mixed"``: linear, and inverse too on the coins that the file marks (BTC and ETH).
    underlyings : sequence of str, optional
        Some of :func:`generated_underlyings`; default all.
    instruments : int
        About how many there are. Option chains take what perpetuals and futures leave, at least
        three strikes for each expiry.
    kinds : collection of str
        What is listed, of ``"spot"``, ``"perpetual"``, ``"future"`` and ``"option"``. Spot is
        against `dollar`.
    dollar : {"USDC", "USDT"}
        Quote and settlement of linear contracts.

    Returns
    -------
    Registry
        By underlying, then settlement, then kind, expiry and strike.
    Snapshot
        Prices of all assets and instruments of the registry. The same arguments give the same
        snapshot.

    Raises
    ------
    InputError
        ``INP-047`` for an underlying, dollar or kind that the file does not have.

    Notes
    -----
    Rule-sets cover what their venue trades. Of the shipped ones ``deribit-pm`` takes BTC and ETH
    (any `venue_kind`), ``derive-pm2`` takes all; `dydx-v4` and `hyperliquid` take linear
    perpetuals.
    """
    table = generated_table()
    chosen = _chosen(table, underlyings)
    _require(dollar in table.dollars, f"{dollar!r} is not a dollar of it", table.dollars, "dollar")
    known = ("spot", "perpetual", "future", "option")
    for kind in kinds:
        _require(kind in known, f"{kind!r} is not a kind of instrument", known, "kinds")
    _require(
        venue_kind in ("inverse", "linear", "mixed"),
        f"{venue_kind!r} is no venue_kind",
        ("inverse", "linear", "mixed"),
        "venue_kind",
    )
    draw = _Draw(table, chosen, generator(seed))
    listing = _Listing(table, venue_kind, frozenset(kinds), dollar)
    registry = listing.registry(draw, instruments)
    return registry, draw.snapshot(registry, dollar, seed)


def _require(true: bool, says: str, known: Collection[str], field: str) -> None:
    if not true:
        raise InputError(
            f"the generated market: {says}",
            code="INP-047",
            field=field,
            hint="choose among " + ", ".join(known),
        )


def _chosen(table: GeneratedTable, names: Sequence[str] | None) -> list[GeneratedUnderlying]:
    known = {one.asset: one for one in table.underlyings}
    if names is None:
        return list(known.values())
    for name in names:
        _require(name in known, f"{name!r} is not an underlying of it", known, "underlyings")
    return [known[name] for name in dict.fromkeys(names)]


def _round(value: float) -> float:
    """Keep ten significant digits: what is written to a file is what was computed."""
    return float(f"{value:.{_DIGITS}g}")


class _Draw:
    """The prices: drawn once for all underlyings of the file, so that a choice moves none."""

    def __init__(
        self, table: GeneratedTable, chosen: list[GeneratedUnderlying], rng: np.random.Generator
    ) -> None:
        self.table, self.chosen = table, chosen
        self.as_of_ns = parse_time(table.calendar.as_of, field="calendar.as_of")
        noise = table.noise
        self.price: dict[str, float] = {}
        self.vols: dict[str, tuple[float, float]] = {}
        self.basis: dict[str, float] = {}
        self.tilt: dict[str, float] = {}
        self.funding: dict[str, float] = {}
        for one in table.underlyings:
            z = rng.standard_normal(5)
            self.price[one.asset] = _round(one.price_usd * math.exp(noise.price * z[0]))
            scale = math.exp(noise.vol * z[1])
            self.vols[one.asset] = (one.vol_short * scale, one.vol_long * scale)
            self.basis[one.asset] = _round(one.basis + noise.basis * z[2])
            self.tilt[one.asset] = noise.perpetual * z[3]
            self.funding[one.asset] = _round(noise.funding_8h * (1.0 + z[4]))

    def expiry(self, days: int) -> int:
        """Return 08:00 UTC so many days after the day of the market, ns."""
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
            seconds=self.as_of_ns // NS_PER_SECOND
        )
        return eight_o_clock((moment + timedelta(days=days)).date())

    def years(self, days: int) -> float:
        """Return the time to an expiry, ACT/365."""
        return year_fraction(self.as_of_ns, self.expiry(days))

    def forward(self, asset: str, days: int) -> float:
        """Return the forward, USD."""
        return _round(self.price[asset] * math.exp(self.basis[asset] * self.years(days)))

    def vol(self, asset: str, days: int) -> float:
        """Return the volatility at the money: short and long meet exponentially."""
        short, long = self.vols[asset]
        faded = math.exp(-self.years(days) / self.table.shape.vol_decay_years)
        return long + (short - long) * faded

    def smile(self, asset: str, days: int) -> SviSlice:
        """Return the SSVI slice of an expiry as raw SVI."""
        rho, eta = self.table.shape.rho, self.table.shape.eta
        years = self.years(days)
        theta = self.vol(asset, days) ** 2 * years
        phi = eta / math.sqrt(theta * (1.0 + theta))
        wide = self.table.shape.strike_width * math.sqrt(theta)
        root = math.sqrt(1.0 - rho * rho)
        return SviSlice(
            a=_round(0.5 * theta * (1.0 - rho * rho)),
            b=_round(0.5 * theta * phi),
            rho=rho,
            m=_round(-rho / phi),
            sigma=_round(root / phi),
            forward_usd=self.forward(asset, days),
            years=years,
            k_min=_round(-wide),
            k_max=_round(wide),
        )

    def snapshot(self, registry: Registry, dollar: str, seed: int) -> Snapshot:
        """Return the prices of what the registry lists."""
        source = f"generated market, seed {seed}"
        calendar = self.table.calendar
        days = sorted({*calendar.expiry_days, *calendar.future_days})
        assets = {name: self.price[name] for name in (one.asset for one in self.chosen)}
        assets |= self.table.dollars
        quotes = {}
        for item in registry:
            if item.kind != "perpetual":
                continue
            usd = 1.0 if item.quote == "USD" else assets[item.quote]
            mark = self.price[item.underlying] * (1.0 + self.tilt[item.underlying]) / usd
            quotes[item.id] = InstrumentQuote(
                price_mark=_round(mark),
                funding_rate_8h=self.funding[item.underlying],
                time_ns=self.as_of_ns,
                source=source,
            )
        keys = [(one.asset, self.expiry(day), day) for one in self.chosen for day in days]
        return Snapshot(
            as_of_ns=self.as_of_ns,
            assets={
                name: AssetPrice(price_usd=price, time_ns=self.as_of_ns, source=source)
                for name, price in assets.items()
            },
            forwards={
                (name, expiry): Forward(
                    price_usd=self.forward(name, day),
                    rate=self.basis[name],
                    time_ns=self.as_of_ns,
                    source=source,
                )
                for name, expiry, day in keys
            },
            surfaces={(name, expiry): self.smile(name, day) for name, expiry, day in keys},
            quotes=quotes,
            liquidity={
                one.asset: Liquidity(
                    adv_coins=_round(one.adv_usd / self.price[one.asset]),
                    sigma_daily=_round(self.vols[one.asset][0] / math.sqrt(_DAYS_A_YEAR)),
                    open_interest_coins=_round(one.open_interest_usd / self.price[one.asset]),
                    half_spread=one.half_spread,
                    time_ns=self.as_of_ns,
                    source=source,
                )
                for one in self.chosen
            },
            source=source,
        )


class _Listing:
    """What is listed."""

    def __init__(
        self, table: GeneratedTable, venue_kind: VenueKind, kinds: frozenset[Kind], dollar: str
    ) -> None:
        self.table, self.venue_kind, self.kinds, self.dollar = table, venue_kind, kinds, dollar

    def _terms(self, one: GeneratedUnderlying) -> list[tuple[str, str]]:
        """Return quote and settlement of each family of contracts on an underlying."""
        inverse, linear = ("USD", one.asset), (self.dollar, self.dollar)
        if self.venue_kind == "mixed":
            return [inverse, linear] if one.inverse else [linear]
        return [inverse] if self.venue_kind == "inverse" else [linear]

    def registry(self, draw: _Draw, size: int) -> Registry:
        """List about `size` instruments."""
        families = [(one, terms) for one in draw.chosen for terms in self._terms(one)]
        futures = len(self.table.calendar.future_days) if "future" in self.kinds else 0
        other = ("spot" in self.kinds) + ("perpetual" in self.kinds) + futures
        room = max(0, size - other * len(families))
        parts = sum(one.options for one, _ in families)
        out = Registry()
        for one, (quote, settlement) in families:
            base: dict[str, Any] = {
                "id": "?",
                "underlying": one.asset,
                "quote": quote,
                "settlement": settlement,
            }
            if "spot" in self.kinds and settlement != one.asset:
                out.add(_named(Spot(**base)))
            if "perpetual" in self.kinds:
                out.add(_named(Perpetual(**base)))
            for day in self.table.calendar.future_days if futures else ():
                out.add(_named(Future(**base, expiry_ns=draw.expiry(day))))
            if "option" not in self.kinds:
                continue
            dates = self.table.calendar.expiry_days
            strikes = max(3, round(room * one.options / parts / (2 * len(dates))))
            for day in dates:
                for strike in _strikes(draw, one.asset, day, strikes):
                    for right in ("call", "put"):
                        option = Option(
                            **base,
                            expiry_ns=draw.expiry(day),
                            strike=strike,
                            option_type=right,
                        )
                        out.add(_named(option))
        for one in draw.chosen:
            out.asset(one.asset)
        out.asset(self.dollar)
        return out


def _named(draft: Instrument) -> Instrument:
    return replace(draft, id=deribit_name(draft) or ccxt_symbol(draft))


def _strikes(draw: _Draw, asset: str, days: int, count: int) -> list[float]:
    """Return strikes about the forward: even in log-moneyness, on a round step, all different."""
    forward = draw.forward(asset, days)
    wide = draw.table.shape.strike_width * draw.vol(asset, days) * math.sqrt(draw.years(days))
    at = forward * np.exp(np.linspace(-wide, wide, count))
    step = _step(float(min(np.diff(at).min(), at[0])))
    return [_round(math.floor(k / step + 0.5) * step) for k in at.tolist()]


def _step(gap: float) -> float:
    """Return the largest round step that is not above a gap."""
    power = 10.0 ** math.floor(math.log10(gap))
    return max(one for one in _STEPS if one * power <= gap * (1.0 + 1e-9)) * power
