"""From checked option rows to forwards and fitted surfaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from crossmargin.errors import MarketDataError
from crossmargin.instruments import Option
from crossmargin.market import Forward, SviSlice
from crossmargin.market.arbitrage import butterfly_violations, calendar_violations
from crossmargin.market.fit import MIN_STRIKES, SmileQuotes, fit_surface, otm_mask, vega_weight
from crossmargin.units import format_time, year_fraction
from crossmargin.venues._report import ExpiryFit, Spread, Violation
from crossmargin.venues._rows import Kept

Key = tuple[str, int]


@dataclass(slots=True)
class Fitted:
    """Surfaces of all underlyings, how well they fit, and what was left."""

    surfaces: dict[Key, SviSlice] = field(default_factory=dict)
    fits: list[ExpiryFit] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Chain:
    """Options of one underlying, expiry and quote currency, and the forward they state."""

    key: Key
    quote: str
    forward: float
    usd_per_quote: float
    options: tuple[Kept, ...]

    def smile(self, as_of_ns: int) -> SmileQuotes:
        """Return the out-of-the-money quotes, strikes and forward in US dollars."""
        options = [k.instrument for k in self.options if isinstance(k.instrument, Option)]
        strike = np.array([o.strike for o in options])
        vol = np.array([np.nan if k.quote.vol is None else k.quote.vol for k in self.options])
        both = np.array([k.quote.bid is not None and k.quote.ask is not None for k in self.options])
        out = otm_mask(strike, [o.is_call for o in options], self.forward)
        order = np.flatnonzero(out)
        order = order[np.argsort(strike[order], kind="stable")]
        strike, vol, both = strike[order], vol[order], both[order]
        years = year_fraction(as_of_ns, self.key[1])
        # A market without any two-sided quote is weighed by vega alone.
        weight = None
        if strike.size:
            weight = vega_weight(strike, vol, self.forward, years, two_sided=both)
        return SmileQuotes(
            strike=strike * self.usd_per_quote,
            vol=vol,
            forward_usd=self.forward * self.usd_per_quote,
            years=years,
            weight=weight,
            expiry_ns=self.key[1],
        )


def chains_of(
    kept: Iterable[Kept], forwards: Mapping[Key, Forward], usd: Mapping[str, float]
) -> list[Chain]:
    """Group options by underlying, expiry and quote currency, US dollars first.

    A chain states its forward itself (median over its rows); without one it takes the future's.
    Chains whose quote currency has no price in US dollars are left out.
    """
    groups: dict[tuple[Key, str], list[Kept]] = {}
    for one in kept:
        option = one.instrument
        if isinstance(option, Option) and option.quote in usd:
            key = (option.underlying, option.expiry_ns)
            groups.setdefault((key, option.quote), []).append(one)
    chains = []
    for (key, quote), members in sorted(groups.items(), key=lambda g: (g[0][0], g[0][1] != "USD")):
        stated = [k.forward for k in members if k.forward is not None]
        if stated:
            forward = float(np.median(stated))
        elif key in forwards:
            forward = forwards[key].price_usd / usd[quote]
        else:
            continue
        chains.append(Chain(key, quote, forward, usd[quote], tuple(members)))
    return chains


def forward_spreads(chains: Iterable[Chain]) -> list[Spread]:
    """Return how far the forward differs between the options of each expiry, where it does."""
    spreads = []
    for chain in chains:
        stated = [k.forward for k in chain.options if k.forward is not None]
        if stated and min(stated) < max(stated):
            spreads.append(
                Spread(
                    what=f"{chain.key[0]} forward {format_time(chain.key[1])}",
                    low=min(stated),
                    median=chain.forward,
                    high=max(stated),
                )
            )
    return spreads


def fit_chains(chains: Iterable[Chain], as_of_ns: int) -> Fitted:
    """Fit a surface per underlying; expiries that cannot be fitted are said in the notes."""
    result = Fitted()
    smiles: dict[str, dict[int, tuple[SmileQuotes, str]]] = {}
    thin: dict[Key, str] = {}
    for chain in chains:
        name, expiry = chain.key
        if expiry in smiles.get(name, {}):
            continue
        smile = chain.smile(as_of_ns)
        count = np.unique(np.asarray(smile.strike)).size
        if count < MIN_STRIKES:
            thin[chain.key] = (
                f"{name} {format_time(expiry)} has quotes at {count} out-of-the-money strikes, "
                f"too few for a smile; {MIN_STRIKES} are needed"
            )
            continue
        thin.pop(chain.key, None)
        smiles.setdefault(name, {})[expiry] = (smile, chain.quote)
    result.notes += thin.values()
    for name, by_expiry in sorted(smiles.items()):
        _fit_underlying(name, by_expiry, result)
    return result


def _fit_underlying(
    name: str, by_expiry: dict[int, tuple[SmileQuotes, str]], result: Fitted
) -> None:
    try:
        surface = fit_surface([smile for smile, _ in by_expiry.values()])
    except MarketDataError as error:
        result.notes.append(f"{name} could not be fitted: {error.message}")
        return
    ordered = [
        ExpiryFit(underlying=name, expiry_ns=expiry, quote=by_expiry[expiry][1], fit=fit)
        for expiry, fit in zip(surface.expiry_ns, surface.fits, strict=True)
        if expiry is not None
    ]
    result.fits += ordered
    result.surfaces |= {(name, one.expiry_ns): one.fit.slice for one in ordered}
    result.violations += surface_violations(ordered)


def surface_violations(ordered: list[ExpiryFit]) -> list[Violation]:
    """Return the arbitrage left in the slices of one underlying, given in order of time."""
    found = [
        Violation(underlying=one.underlying, expiry_ns=one.expiry_ns, record=record)
        for one in ordered
        for record in butterfly_violations(one.fit.slice)
    ]
    for near, far in pairwise(ordered):
        found += [
            Violation(underlying=near.underlying, expiry_ns=near.expiry_ns, record=record)
            for record in calendar_violations(near.fit.slice, far.fit.slice)
        ]
    return found
