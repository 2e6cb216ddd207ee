"""Exact integer margin, in the units a chain computes in: whole quanta and millionths.

A chain has no floating point. It holds positions in base quanta, prices as an integer with an
exponent and money in quote quanta (10⁻⁶ USDC), and rounds at named places. This module does the
same with Python integers, beside the float path of the engine: the two agree to the rounding,
and where the line is close the integers decide.

Source
------
dydxprotocol/v4-chain, commit 84d4664 of 2026-03-04 (reference/venues.md §6, published):
net collateral, both ceilings, the scaling of the initial margin fraction by open interest,
floored to millionths, and the liquidation test. Truncation of a notional toward zero:
``protocol/lib/quantums.go``, ``BaseToQuoteQuantums``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crossmargin.errors import InputError

#: One, in parts per million.
MILLION = 1_000_000
#: Exponent of one quote quantum: 10⁻⁶ USDC.
QUOTE_RESOLUTION = -6


def ceil_div(numerator: int, denominator: int) -> int:
    """Divide and round up, for a positive denominator."""
    return -(-numerator // denominator)


def quote_quanta(base_quanta: int, base_resolution: int, price: int, price_exponent: int) -> int:
    """Return the notional of a position in quote quanta, truncated toward zero.

    Parameters
    ----------
    base_quanta : int
        Signed size in units of ``10^base_resolution`` coins.
    base_resolution : int
        For example -10.
    price, price_exponent : int
        Oracle price: ``price × 10^price_exponent`` US dollars per coin.
    """
    exponent = base_resolution + price_exponent - QUOTE_RESOLUTION
    product = abs(base_quanta) * price
    scale = int(10 ** abs(exponent))
    size = product * scale if exponent >= 0 else product // scale
    return size if base_quanta >= 0 else -size


def scaled_imf_ppm(base_ppm: int, open_interest: int, lower: int, upper: int) -> int:
    """Return the initial margin fraction after scaling by open interest, in millionths.

    ``min(1, base + max(0, (OI − lower)/(upper − lower))·(1 − base))``, floored; an `upper` of 0
    switches the scaling off.

    Parameters
    ----------
    base_ppm : int
        Base fraction, 0 to 1,000,000.
    open_interest, lower, upper : int
        Of the whole market, in quote quanta.
    """
    if upper == 0 or open_interest <= min(lower, upper - 1):
        return base_ppm
    if open_interest >= upper:
        return MILLION
    gained = (open_interest - lower) * (MILLION - base_ppm) // (upper - lower)
    return min(MILLION, base_ppm + gained)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactTier:
    """Liquidity tier in whole numbers.

    Attributes
    ----------
    imf_ppm, maintenance_ppm : int
        Base initial margin fraction, and maintenance as a part of it, in millionths.
    oi_lower, oi_upper : int
        Bounds of the scaling in quote quanta; `oi_upper` 0 switches it off.
    """

    imf_ppm: int
    maintenance_ppm: int
    oi_lower: int = 0
    oi_upper: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactPosition:
    """One perpetual position in whole numbers; see :func:`quote_quanta`.

    Attributes
    ----------
    base_quanta, base_resolution, price, price_exponent : int
        Size and oracle price.
    tier : ExactTier
        Of its market.
    open_interest : int
        Of its market in quote quanta.
    user_imf_ppm : int
        Fraction the user chose; the larger counts. 0: none.
    """

    base_quanta: int
    base_resolution: int
    price: int
    price_exponent: int
    tier: ExactTier
    open_interest: int = 0
    user_imf_ppm: int = 0

    @property
    def notional(self) -> int:
        """Signed notional, quote quanta."""
        return quote_quanta(self.base_quanta, self.base_resolution, self.price, self.price_exponent)


@dataclass(frozen=True, slots=True)
class ExactRisk:
    """An account's risk in quote quanta.

    Attributes
    ----------
    net_collateral, initial, maintenance : int
        NC, IMR and MMR.
    """

    net_collateral: int
    initial: int
    maintenance: int

    @property
    def liquidatable(self) -> bool:
        """Whether MMR > 0 and NC < MMR: equality is safe."""
        return self.maintenance > 0 and self.net_collateral < self.maintenance

    def riskier_than(self, other: ExactRisk) -> bool:
        """Order accounts by NC/MMR without dividing, ties by the larger MMR."""
        left = self.net_collateral * other.maintenance
        right = other.net_collateral * self.maintenance
        return left < right or (left == right and self.maintenance > other.maintenance)


def position_margins(position: ExactPosition) -> tuple[int, int]:
    """Return IMR and MMR of one position, quote quanta.

    ``IMR = ⌈|notional|·IMF⌉``, ``MMR = ⌈⌈|notional|·base IMF⌉·maintenance fraction⌉``: open
    interest and the user's own fraction touch the initial margin only.
    """
    tier = position.tier
    size = abs(position.notional)
    scaled = scaled_imf_ppm(tier.imf_ppm, position.open_interest, tier.oi_lower, tier.oi_upper)
    initial = ceil_div(size * max(scaled, position.user_imf_ppm), MILLION)
    base = ceil_div(size * tier.imf_ppm, MILLION)
    return initial, ceil_div(base * tier.maintenance_ppm, MILLION)


def exact_risk(quote_balance: int, positions: Iterable[ExactPosition]) -> ExactRisk:
    """Return net collateral and both requirements of one subaccount.

    Parameters
    ----------
    quote_balance : int
        USDC in quote quanta, signed: entry costs have left it, so profit is implicit.
    positions : iterable of ExactPosition
        One per market.

    Raises
    ------
    InputError
        ``INP-043`` when a price is not positive or a fraction is out of range.
    """
    net, initial, maintenance = quote_balance, 0, 0
    for position in positions:
        _check(position)
        net += position.notional
        im, mm = position_margins(position)
        initial += im
        maintenance += mm
    return ExactRisk(net, initial, maintenance)


def _check(position: ExactPosition) -> None:
    tier = position.tier
    fractions = (tier.imf_ppm, tier.maintenance_ppm, position.user_imf_ppm)
    if position.price <= 0 or any(not 0 <= ppm <= MILLION for ppm in fractions):
        raise InputError(
            "a price must be positive, and fractions lie between 0 and 1,000,000 millionths",
            code="INP-043",
            field="positions",
        )
