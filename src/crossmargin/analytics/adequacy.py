"""Adequacy of collateral: what is there against what is needed, now and after moves.

The ladder carries the account to prices above and below today's, collateral and positions
together, and gives at each rung the ratio of equity after haircuts to initial margin, the health
and what would have to be added. Where the maintenance line is met exactly is the reverse stress
in one factor.

Source: requirements A23 (ratio now and stressed, reverse stress, top-up; coverage ladder, map of
shock × vol).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crossmargin.analytics.stress import CloseCosts, StressDesk, StressRow
from crossmargin.analytics.stress_scenarios import EVERY_ONE, StressScenario
from crossmargin.book import AccountFile
from crossmargin.errors import MarginError
from crossmargin.margin import Ruleset, liquidation_prices
from crossmargin.market import Snapshot

#: Rungs of the ladder unless others are asked for.
RUNGS = (-0.5, -0.4, -0.3, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.3, 0.5)

#: Moves of price and volatility of the map unless others are asked for.
MAP_MOVES = (-0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4)
MAP_VOLS = (-0.3, 0.0, 0.5, 1.0)


class ReversePrice(msgspec.Struct, frozen=True, kw_only=True):
    """Where the liquidation line is met when one coin (``*``: all) moves alone.

    Prices in US dollars, moves relative; null where it is not met down to 1 % of today or up to
    20 times it.
    """

    coin: str
    price_usd: float | None
    down_usd: float | None
    down_move: float | None
    up_usd: float | None
    up_move: float | None


class Adequacy(msgspec.Struct, frozen=True, kw_only=True):
    """How far the collateral carries.

    Attributes
    ----------
    coin : str
        What moves on the ladder; ``*`` for every coin.
    ladder : list of StressRow
        By move, ascending.
    reverse : list of ReversePrice
        Reverse stress in one factor, for each coin and all together.
    map_moves, map_vols : list of float
        Axes of the map.
    map_health : list of list of (float or None)
        Least equity / MM of the pots, ``[vol][move]``; null where nothing is required or the
        rule-set has no figure.
    """

    coin: str
    ladder: list[StressRow]
    reverse: list[ReversePrice]
    map_moves: list[float]
    map_vols: list[float]
    map_health: list[list[float | None]]


def adequacy(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    *,
    coin: str = EVERY_ONE,
    moves: Sequence[float] = RUNGS,
    map_moves: Sequence[float] = MAP_MOVES,
    map_vols: Sequence[float] = MAP_VOLS,
    costs: CloseCosts | None = None,
) -> Adequacy:
    """Carry an account up and down and see how far its collateral reaches.

    Parameters
    ----------
    account, snapshot, ruleset
        The account today.
    coin : str
        Coin that moves; ``*`` for all together.
    moves : sequence of float
        Rungs: relative moves above −1.
    map_moves, map_vols : sequence of float
        Axes of the map; empty for none.
    costs : CloseCosts, optional
        Of closing what breaches.

    Raises
    ------
    MarginError
        ``MRG-001`` for a coin that the account does not have.
    """
    desk = StressDesk(account, snapshot, ruleset, costs=costs)
    known = sorted(desk.carried.drivers)
    if coin != EVERY_ONE and coin not in known:
        raise MarginError(
            f"the account has no exposure to {coin}",
            code="MRG-001",
            account=account.account,
            field="coin",
            hint=f"it has {', '.join(known) or 'no coins'}",
        )

    def at(move: float, vol: float = 0.0) -> StressRow:
        name = f"{100.0 * move:+.4g} %"
        vols = {EVERY_ONE: vol}
        return desk.row(StressScenario(name=name, moves={coin: move}, vols=vols))

    return Adequacy(
        coin=coin,
        ladder=[at(move) for move in sorted(moves)],
        reverse=[
            ReversePrice(
                coin=line.underlying,
                price_usd=None if line.underlying == "*" else line.price_usd,
                down_usd=line.down.price_usd,
                down_move=line.down.distance,
                up_usd=line.up.price_usd,
                up_move=line.up.distance,
            )
            for line in liquidation_prices(desk.carried.frame)
        ],
        map_moves=list(map_moves),
        map_vols=list(map_vols),
        map_health=[[at(move, vol).health for move in map_moves] for vol in map_vols],
    )
