"""Interest: kinked curves, growth factors and the indices of a pool, in exact whole numbers.

Powers and exponentials are taken in decimal arithmetic of fifty digits, which is the same on
every machine; a float's ``exp`` is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Literal

from crossmargin.accounts.amounts import ONE, ceil_div, floor_div
from crossmargin.errors import LedgerError
from crossmargin.units import SECONDS_PER_YEAR

Compounding = Literal["simple", "periods", "continuous"]

#: Growth is kept to 36 places: an error below a quantum for any amount that exists.
GROWTH_ONE: int = 10**36

_EXACT = Context(prec=80)

#: The largest rate times years that is taken for interest; beyond it somebody wrote per cent, or
#: nanoseconds for seconds.
MOST_RATE_TIMES_YEARS = 20


@dataclass(frozen=True, slots=True)
class Curve:
    """A kinked borrow rate, all figures a year in 1e-18.

    ``floor + u·slope`` to the kink, ``floor + kink·slope + (u − kink)·slope_above`` beyond it,
    where u is the utilisation. Source: Derive v2, ``derive-v2.md`` §6 (published); the same
    shape as most lending pools.
    """

    floor: int
    slope: int
    kink: int
    slope_above: int

    def rate(self, utilisation: int) -> int:
        """Return the yearly borrow rate at a utilisation, both in 1e-18, rounded up."""
        low = min(utilisation, self.kink)
        above = max(utilisation - self.kink, 0)
        return self.floor + ceil_div(low * self.slope + above * self.slope_above, ONE)


def utilisation(borrow: int, supply: int, net_settled: int = 0) -> int:
    """Return ``min(1, borrow / (supply + max(0, −net settled)))`` in 1e-18, rounded down.

    0 where nothing is borrowed or supplied. Source: ``derive-v2.md`` §6 (published).
    """
    base = supply + max(0, -net_settled)
    if borrow <= 0 or base <= 0:
        return 0
    return min(ONE, borrow * ONE // base)


def growth(
    rate: int, elapsed_s: int, compounding: Compounding = "simple", period_s: int | None = None
) -> tuple[int, int]:
    """Return what a debt of 1 grows by, as a fraction ``(top, bottom)``.

    Parameters
    ----------
    rate : int
        A year, in 1e-18; ACT/365 by seconds.
    elapsed_s : int
        Seconds.
    compounding : {"simple", "periods", "continuous"}
        ``r·t``; ``(1 + r·p)^(t/p) − 1`` for whole periods p; ``exp(r·t) − 1``.
    period_s : int, optional
        Length of a period, a divisor of `elapsed_s`.

    Raises
    ------
    LedgerError
        ``LED-001`` for periods that do not fit, or a rate times years above 20.

    Notes
    -----
    Source: requirements row A26 (simple and compounded); ``derive-v2.md`` §6 (continuous).
    """
    if abs(rate) * elapsed_s > MOST_RATE_TIMES_YEARS * ONE * SECONDS_PER_YEAR:
        raise LedgerError(
            f"interest of {elapsed_s} seconds at {rate / ONE:g} a year",
            code="LED-001",
            field="rate",
            hint="rates are decimals a year (0.05 is 5 %), times are seconds",
        )
    if compounding == "simple":
        return rate * elapsed_s, ONE * SECONDS_PER_YEAR
    if compounding == "periods":
        if period_s is None or elapsed_s % period_s:
            raise LedgerError(
                f"{elapsed_s} seconds are not a whole number of periods",
                code="LED-001",
                field="period_s",
                hint="give a period that divides the time elapsed",
            )
        step = _EXACT.divide(Decimal(rate * period_s), Decimal(ONE * SECONDS_PER_YEAR))
        factor = _EXACT.power(_EXACT.add(Decimal(1), step), Decimal(elapsed_s // period_s))
    else:
        years = _EXACT.divide(Decimal(rate * elapsed_s), Decimal(ONE * SECONDS_PER_YEAR))
        factor = _EXACT.exp(years)
    gain = _EXACT.multiply(_EXACT.subtract(factor, Decimal(1)), Decimal(GROWTH_ONE))
    return int(gain.to_integral_value(context=_EXACT)), GROWTH_ONE


@dataclass(frozen=True, slots=True, kw_only=True)
class CashPool:
    """A lending pool whose balances follow two indices.

    Attributes
    ----------
    supply, borrow : int
        Totals in quanta, interest included.
    supply_index, borrow_index : int
        In 1e-18; what one unit supplied or borrowed at the start has become.
    fees : int
        Accrued to the security module, quanta.
    """

    supply: int
    borrow: int
    supply_index: int = ONE
    borrow_index: int = ONE
    fees: int = 0

    def accrue(
        self, curve: Curve, elapsed_s: int, fee_share: int, *, net_settled: int = 0
    ) -> CashPool:
        """Let interest accrue for some time at the rate of the present utilisation.

        Borrowers' interest is rounded up, the fee up and the suppliers' part is what is left, so
        the three add up. Source: ``derive-v2.md`` §6: ``exp(rate·dt) − 1`` on the total borrow,
        a share to the security module, the rest to suppliers (published).
        """
        rate = curve.rate(utilisation(self.borrow, self.supply, net_settled))
        if self.borrow <= 0 or self.supply <= 0:
            return self
        top, bottom = growth(rate, elapsed_s, "continuous")
        interest = ceil_div(self.borrow * top, bottom)
        fee = ceil_div(interest * fee_share, ONE)
        return replace(
            self,
            supply=self.supply + interest - fee,
            borrow=self.borrow + interest,
            supply_index=floor_div(self.supply_index * (self.supply + interest - fee), self.supply),
            borrow_index=ceil_div(self.borrow_index * (bottom + top), bottom),
            fees=self.fees + fee,
        )

    def exchange_rate(self, held: int, *, net_settled: int = 0) -> int:
        """Return what a unit of cash can be withdrawn for, in 1e-18, at most 1.

        ``min(1, held / (supply + fees − borrow − net settled))``; below 1 after a socialised
        loss. Source: ``derive-v2.md`` §6 (published).
        """
        claims = self.supply + self.fees - self.borrow - net_settled
        if claims <= 0:
            return ONE
        return min(ONE, held * ONE // claims)


def burnt_for(amount: int, exchange_rate: int) -> int:
    """Return the cash burnt to withdraw `amount` at an exchange rate: ``amount / rate``, up.

    Source: ``derive-v2.md`` §6 (published).

    Raises
    ------
    LedgerError
        ``LED-010`` when the pool holds nothing.
    """
    if exchange_rate <= 0:
        raise LedgerError(
            "the cash pool holds nothing to withdraw", code="LED-010", field="exchange_rate"
        )
    return ceil_div(amount * ONE, exchange_rate)
