"""How many options hold a fall inside a limit: the overlay beside a ladder and a floor.

Source: requirements row A20 (option-overlay sizing); the arithmetic is the house's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from crossmargin.errors import PlanningError
from crossmargin.planning._checks import finite, positive, within


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Puts beside a long exposure, held to their expiry.

    Attributes
    ----------
    quantity : float
        Puts on one coin each.
    cost_usd : float
        Their premiums.
    worst_loss_usd : float
        Largest loss of exposure and puts over all falls up to the one asked for.
    worst_fall : float
        Where that is.
    loss_without_usd : float
        Of the exposure alone at the fall asked for.
    """

    quantity: float
    cost_usd: float
    worst_loss_usd: float
    worst_fall: float
    loss_without_usd: float


def put_overlay(
    *,
    coins: float,
    price: float,
    fall: float,
    limit_usd: float,
    strike: float,
    premium: float,
    lot: float | None = None,
) -> Overlay:
    """Return the fewest puts with which no fall up to `fall` loses more than a limit.

    At expiry a fall x loses ``coins·S·x − q·(max(K − S(1−x), 0) − c)``. The line bends at the
    strike only, so the worst is at the strike or at the end:
    ``q ≥ (coins·S·f − L)/(K − S(1−f) − c)`` for the end, and the premiums must leave
    ``coins·(S − K) + q·c ≤ L`` at the strike.

    Parameters
    ----------
    coins : float
        Long exposure, above 0.
    price, strike, premium : float
        S, K, and c of a put on one coin, one currency.
    fall : float
        Largest fall looked at, 0 to 1.
    limit_usd : float
        What may be lost, premiums included.
    lot : float, optional
        Puts come in multiples of this; rounded up.

    Raises
    ------
    PlanningError
        ``PLN-003`` figures that cannot be; ``PLN-004`` where no number of these puts does it.
    """
    positive(coins=coins, price=price, limit_usd=limit_usd, strike=strike, lot=lot)
    finite(premium=premium)
    within(0.0, 1.0, fall=fall)
    if premium < 0:
        raise PlanningError(
            f"premium is {premium:g}, and must be at least 0", code="PLN-003", field="premium"
        )
    alone = coins * price * fall

    def loss(quantity: float, x: float) -> float:
        paid = max(strike - price * (1.0 - x), 0.0) - premium
        return coins * price * x - quantity * paid

    ends = [0.0, fall]
    bend = 1.0 - strike / price
    if 0.0 < bend < fall:
        ends.append(bend)
    need = 0.0
    if alone > limit_usd:
        pays = strike - price * (1.0 - fall) - premium
        need = (alone - limit_usd) / pays if pays > 0 else math.inf
    if lot is not None and math.isfinite(need):
        need = math.ceil(need / lot - 1e-9) * lot
    worst = max(ends, key=lambda x: loss(need, x)) if math.isfinite(need) else fall
    if not math.isfinite(need) or loss(need, worst) > limit_usd * (1.0 + 1e-9):
        raise PlanningError(
            f"no number of puts struck at {strike:g} for {premium:g} holds the loss to "
            f"{limit_usd:,.2f}",
            code="PLN-004",
            field="strike",
            hint="take a higher strike or a cheaper put, allow more, or hold less",
        )
    return Overlay(
        quantity=need,
        cost_usd=need * premium,
        worst_loss_usd=loss(need, worst),
        worst_fall=worst,
        loss_without_usd=alone,
    )
