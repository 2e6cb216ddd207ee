"""How likely a test is to notice: a pass is worth what the test could have seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossmargin.errors import InputError
from crossmargin.validation._result import check_level
from crossmargin.validation.coverage import kupiec


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Acceptance region of the two count tests and their chance to reject a wrong model.

    Attributes
    ----------
    observations : int
        Days, or blocks of days.
    level, size : float
        Confidence that is tested, and size of the tests.
    kupiec_accepts : tuple of (int, int)
        Fewest and most breaches that Kupiec's test accepts.
    most : int
        Most breaches that the one-sided binomial test accepts.
    multiples : tuple of float
        True rates of breaches, as multiples of 1 − level.
    kupiec, binomial : tuple of float
        Probability to reject at each true rate.
    """

    observations: int
    level: float
    size: float
    kupiec_accepts: tuple[int, int]
    most: int
    multiples: tuple[float, ...]
    kupiec: tuple[float, ...]
    binomial: tuple[float, ...]


def power(
    observations: int,
    level: float,
    *,
    size: float = 0.05,
    multiples: tuple[float, ...] = (1.0, 2.0, 3.0),
) -> Power:
    """Compute the power of Kupiec's and the one-sided binomial test, exactly.

    The breaches of a model whose true rate is ``m·(1 − level)`` are binomial; the power is the
    probability of the counts that a test rejects. At ``m = 1`` it is the true size, which is
    not the nominal one because counts are whole. Source: the binomial law; clearing-practice §2
    ("power is poor at n = 250"). 1–6 breaches are accepted in 250 days at 99 %, 5–16 in 1,000
    (requirements A11).

    Raises
    ------
    InputError
        ``INP-004`` for no observations, or a true rate above 1.
    """
    from scipy.special import bdtr, bdtrc

    p = check_level(level)
    if observations < 1 or not 0.0 < size < 1.0:
        raise InputError("a test needs observations and a size between 0 and 1", code="INP-004")
    if any(not 0.0 <= m * p <= 1.0 for m in multiples):
        raise InputError("a true rate of breaches is at most 1", code="INP-004", field="multiples")
    accepted = _accepted(observations, level, size)
    tails = np.concatenate([[1.0], bdtrc(np.arange(observations), observations, p)])
    most = int(np.flatnonzero(tails >= size)[-1])
    two, one = [], []
    for m in multiples:
        q = m * p
        low, high = accepted
        below = float(bdtr(low - 1, observations, q)) if low > 0 else 0.0
        inside = float(bdtr(high, observations, q)) - below
        two.append(1.0 - inside)
        one.append(float(bdtrc(most, observations, q)) if most < observations else 0.0)
    return Power(
        observations=observations,
        level=level,
        size=size,
        kupiec_accepts=accepted,
        most=most,
        multiples=multiples,
        kupiec=tuple(two),
        binomial=tuple(one),
    )


def _accepted(n: int, level: float, size: float) -> tuple[int, int]:
    """Return the fewest and most breaches that Kupiec accepts: they lie about the expected."""
    middle = min(max(round(n * (1.0 - level)), 0), n)

    def bad(x: int) -> bool:
        return kupiec(x, n, level).rejects(size)

    low = middle
    while low > 0 and not bad(low - 1):
        low -= 1
    high = middle
    while high < n and not bad(high + 1):
        high += 1
    return low, high
