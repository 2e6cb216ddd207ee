"""Interest: Derive's curve, indices and exchange rate against a slow calculation of our own."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import pytest

from crossmargin.accounts import ONE, CashPool, Curve, burnt_for, fixed, growth, utilisation
from crossmargin.errors import LedgerError

YEAR = 365 * 86_400


def curve(*figures: str) -> Curve:
    return Curve(*(fixed(x, name="x") for x in figures))


#: derive-v2.md §6: deployment, and the figures of the contracts' own cash test.
DEPLOYED = curve("0.02", "0.08", "0.85", "0.9")
IN_TESTS = curve("0.05", "0.3", "0.6", "2")


@pytest.mark.parametrize(
    ("which", "used", "rate"),
    [
        (DEPLOYED, "0", "0.02"),
        (DEPLOYED, "0.5", "0.06"),
        (DEPLOYED, "0.85", "0.088"),
        (DEPLOYED, "0.95", "0.178"),
        (DEPLOYED, "1", "0.223"),
        (IN_TESTS, "0.3", "0.14"),
        (IN_TESTS, "0.6", "0.23"),
        (IN_TESTS, "1", "1.03"),
    ],
)
def test_kinked_curve(which: Curve, used: str, rate: str) -> None:
    assert which.rate(fixed(used, name="x")) == fixed(rate, name="x")


def test_utilisation() -> None:
    assert utilisation(0, 100) == utilisation(100, 0) == 0
    assert utilisation(50, 200) == ONE // 4
    assert utilisation(300, 200) == ONE
    assert utilisation(50, 150, -50) == ONE // 4
    assert utilisation(50, 200, 77) == ONE // 4


def test_growth_against_high_precision() -> None:
    with mpmath.workdps(60):
        rate, seconds = mpmath.mpf("0.1378"), 86_400 * 17
        top, bottom = growth(fixed("0.1378", name="x"), seconds, "continuous")
        want = mpmath.expm1(rate * seconds / YEAR)
        assert abs(mpmath.mpf(top) / bottom - want) < mpmath.mpf(10) ** -35
        top, bottom = growth(fixed("0.1378", name="x"), seconds, "periods", 3_600)
        want = (1 + rate * 3_600 / YEAR) ** (seconds // 3_600) - 1
        assert abs(mpmath.mpf(top) / bottom - want) < mpmath.mpf(10) ** -35
    assert Fraction(*growth(ONE, YEAR)) == 1
    for how in ("simple", "periods", "continuous"):
        with pytest.raises(LedgerError, match="a year"):
            growth(21 * ONE, YEAR, how, 3_600)  # type: ignore[arg-type]
    with pytest.raises(LedgerError, match="whole number of periods"):
        growth(ONE, 100, "periods", 33)


def test_a_sequence_of_accruals_adds_up_and_follows_the_indices() -> None:
    """Derive's cash: borrow 10,000 of 40,000 on the test figures, a day at a time."""
    share = fixed("0.2", name="x")
    pool = CashPool(supply=40_000 * 10**18, borrow=10_000 * 10**18)
    supply, borrow, fees = 40_000.0, 10_000.0, 0.0
    for day in range(1, 31):
        rate = 0.05 + 0.3 * (borrow / supply)
        interest = borrow * math.expm1(rate * day * 3_600 / YEAR)
        supply, borrow, fees = supply + 0.8 * interest, borrow + interest, fees + 0.2 * interest
        before = pool
        pool = pool.accrue(IN_TESTS, day * 3_600, share)
        assert pool.borrow - before.borrow == pool.supply - before.supply + pool.fees - before.fees
        assert pool.borrow / 10**18 == pytest.approx(borrow, rel=1e-12)
        assert pool.supply / 10**18 == pytest.approx(supply, rel=1e-12)
        assert pool.fees / 10**18 == pytest.approx(fees, rel=1e-9)
    assert pool.borrow_index / ONE == pytest.approx(borrow / 10_000, rel=1e-12)
    assert pool.supply_index / ONE == pytest.approx(supply / 40_000, rel=1e-12)


def test_exchange_rate_after_a_loss() -> None:
    """90 held against claims of 100: a withdrawal of 9 burns 10."""
    pool = CashPool(supply=130, borrow=40, fees=10)
    assert pool.exchange_rate(100) == ONE
    rate = pool.exchange_rate(90)
    assert rate == fixed("0.9", name="x")
    assert burnt_for(9, rate) == 10
    assert pool.exchange_rate(90, net_settled=10) == ONE
    with pytest.raises(LedgerError):
        burnt_for(1, 0)


def test_nothing_accrues_where_nothing_is_lent() -> None:
    pool = CashPool(supply=10, borrow=0)
    assert pool.accrue(DEPLOYED, 3_600, 0) == pool
