"""The top-up needed: how much of an asset brings a pot back over a line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from crossmargin.book import AccountFile
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.margin._balance import BalanceProbe
from crossmargin.margin._crossing import close_in
from crossmargin.margin.inverse import CAP_USD, multiple
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

#: A line: initial margin, maintenance margin, or a health (equity / MM).
Target = Literal["im", "mm"] | float


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUp:
    """What must be added in one asset.

    Attributes
    ----------
    asset, pool, pot : str
        The asset, the pool it is paid into, and the pot it counts in.
    target : str
        ``"im"``, ``"mm"`` or ``"health 1.5"``.
    amount : float or None
        Units to add, 0 when the line is held already; None when no amount reaches it.
    value_usd, counted_usd : float or None
        At market, and what it adds to the pot's equity at that line's level after haircut.
    short_usd : float
        What the pot lacks now, at least 0.
    slack_usd : float or None
        Excess over the line once `amount` is there, at least 0 up to rounding.
    below, slack_below_usd : float or None
        The nearest smaller amount that was evaluated, and what then still lacks.
    reason : str
        One sentence.
    """

    asset: str
    pool: str
    pot: str
    target: str
    amount: float | None
    value_usd: float | None
    counted_usd: float | None
    short_usd: float
    slack_usd: float | None
    below: float | None
    slack_below_usd: float | None
    reason: str


def top_up(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    asset: str,
    *,
    pool: str = "cross",
    target: Target = "im",
    step: float | None = None,
    cap_usd: float = CAP_USD,
) -> TopUp:
    """Find the smallest amount of an asset that brings its pot to a line.

    An asset that is stressed with the positions raises the requirement as well; the whole
    account is evaluated with it.

    Parameters
    ----------
    account, snapshot, ruleset
        The account now.
    asset : str
        What would be added; it need not be held.
    pool : str
        Where to.
    target : {"im", "mm"} or float
        Line to reach: equity = IM, equity = MM, or equity = target × MM.
    step : float, optional
        The answer is rounded up to a multiple of it.
    cap_usd : float
        Where the search ends.

    Raises
    ------
    InputError
        ``INP-004`` for a target health, step or cap that is not positive.
    """
    for name, number in (("step", step), ("cap_usd", cap_usd)):
        if number is not None and not (math.isfinite(number) and number > 0):
            raise InputError(f"{name} is {number:g}, not positive", code="INP-004", field=name)
    try:
        probe = BalanceProbe(account, snapshot, ruleset, asset, pool)
        value, level = _line(probe, target)
        short = max(0.0, -(value(0.0) - probe.rounding))
        if value(0.0) >= 0:
            found: tuple[float, float] | None = (0.0, 0.0)
        else:
            found = _smallest(value, short, probe.price_usd, cap_usd, step)
    except CrossmarginError as error:
        raise error.located(account=account.account) from None
    name = target if isinstance(target, str) else f"health {target:g}"
    if found is None:
        return TopUp(
            asset=asset,
            pool=pool,
            pot=probe.pot_name,
            target=name,
            amount=None,
            value_usd=None,
            counted_usd=None,
            short_usd=short,
            slack_usd=None,
            below=None,
            slack_below_usd=None,
            reason=f"no amount of {asset} up to {cap_usd:,.0f} USD reaches the line: it adds no "
            "more to equity than to the requirement",
        )
    amount, below = found
    return TopUp(
        asset=asset,
        pool=pool,
        pot=probe.pot_name,
        target=name,
        amount=amount,
        value_usd=amount * probe.price_usd,
        counted_usd=level(amount) - level(0.0),
        short_usd=short if amount else 0.0,
        slack_usd=value(amount),
        below=below if amount else None,
        slack_below_usd=value(below) if amount else None,
        reason="the line is held already" if not amount else "the next smaller amount falls short",
    )


def _line(
    probe: BalanceProbe, target: Target
) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Return the excess over a line, and the equity that counts for it, by amount added."""
    if target == "im":
        return lambda x: probe.excess_usd(x) + probe.rounding, probe.equity_usd
    times = 1.0 if isinstance(target, str) else float(target)
    if target not in ("im", "mm") and not (math.isfinite(times) and times > 0):
        raise InputError(
            f"a target health of {times:g} is not a positive number", code="INP-004", field="target"
        )

    def excess(x: float) -> float:
        state = probe.state(x)
        return state.equity_mm - times * state.mm + probe.rounding

    return excess, lambda x: probe.state(x).equity_mm


def _smallest(
    value: Callable[[float], float], short: float, price: float, cap_usd: float, step: float | None
) -> tuple[float, float] | None:
    """Return the smallest amount that reaches the line and the nearest one that does not."""
    dead, x = 0.0, short / price
    cap = cap_usd / price
    while value(x) < 0:
        if x >= cap:
            return None
        dead, x = x, min(2.0 * x, cap)
    scale = x
    inside = close_in(lambda u: value(u * scale), 1.0, value(x), dead / scale, value(dead))
    assert inside.dead is not None
    amount, below = inside.safe * scale, inside.dead * scale
    if step is not None:
        count = math.ceil(amount / step)
        if count > 1 and value(multiple(step, count - 1)) >= 0:
            count -= 1
        return multiple(step, count), multiple(step, count - 1)
    short_digits = float(f"{amount:.12g}")
    if short_digits != amount and value(short_digits) >= 0:
        # The number people write beside the boundary, when it reaches the line as well.
        return short_digits, min(below, short_digits * (1.0 - 1e-11))
    return amount, below
