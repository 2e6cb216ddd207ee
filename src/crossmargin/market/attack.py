"""What it would take to move an index: a simple, documented estimate.

The attacker sets the prints of some sources to one price and leaves the others alone. Moving a
source costs notional in proportion to the move (linear impact, ``depth_usd_1pct`` per percent).
This is notional traded, not loss, and arbitrage between sources is left out: real books refill
and drag the others along. House estimate (requirements row B11 asks for one and gives no formula).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from crossmargin.errors import MarketDataError
from crossmargin.market.index import IndexPrice, SourcePrint, index_price
from crossmargin.market.policy import TrustPolicy

#: All choices of sources are tried up to this many sources; beyond, the cheapest ones.
_TRY_ALL = 10
#: Prices tried for one lying source, on a grid of this many steps to either side.
_GRID = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackCost:
    """What moves an index by `move` while it still looks sound.

    Attributes
    ----------
    move : float
        Asked for, relative; its sign is the direction.
    sources_needed : int or None
        Fewest sources that must be moved together; None when no choice of sources does it
        without the index becoming untrusted.
    sources : tuple of str
        The cheapest such choice over all numbers of sources.
    notional_usd : float or None
        Notional of that choice; None where a source's depth is not known.
    one_source_reach : float
        Largest relative move that one lying source alone brings about without the index
        becoming untrusted.
    """

    move: float
    sources_needed: int | None
    sources: tuple[str, ...]
    notional_usd: float | None
    one_source_reach: float


def check_move(move: float) -> None:
    """Refuse a move that no index can make, ``MKT-014``: at or below −1, 10 and more, 0 or NaN."""
    if not (-1.0 < move < 10.0) or move == 0.0:
        raise MarketDataError(
            f"an index cannot be asked to move by {move!r}",
            code="MKT-014",
            field="move",
            hint="write 0.05 for 5 % up, -0.05 for 5 % down",
        )


def _moved(
    prints: Sequence[SourcePrint], names: set[str], price: float, as_of_ns: int, policy: TrustPolicy
) -> IndexPrice:
    return index_price(
        [replace(p, price_usd=price) if p.name in names else p for p in prints], as_of_ns, policy
    )


def _targets(base: float, move: float, rest: list[float]) -> Iterable[float]:
    """Return prices that might do: the target, and what pulls a mean of two middles there."""
    goal = base * (1.0 + move)
    # A hair beyond, so that rounding does not leave the index a bit short of the target.
    beyond = goal * (1.0 + (1e-12 if move > 0 else -1e-12))
    yield beyond
    if rest:
        nearest = max(rest) if move > 0 else min(rest)
        yield 2.0 * beyond - nearest


def _notional(prints: Sequence[SourcePrint], names: set[str], price: float) -> float | None:
    total = 0.0
    for p in prints:
        if p.name in names:
            if p.depth_usd_1pct is None:
                return None
            total += p.depth_usd_1pct * abs(price / p.price_usd - 1.0) * 100.0
    return total


def _choices(used: list[SourcePrint], count: int) -> Iterable[tuple[str, ...]]:
    if len(used) <= _TRY_ALL:
        return combinations([p.name for p in used], count)
    cheap = sorted(used, key=lambda p: (p.depth_usd_1pct is None, p.depth_usd_1pct or 0.0, p.name))
    return [tuple(p.name for p in cheap[:count])]


def _reach(
    prints: Sequence[SourcePrint],
    used: list[SourcePrint],
    base: float,
    as_of_ns: int,
    policy: TrustPolicy,
) -> float:
    wide = 3.0 * policy.deviation_band
    tries = [base * (1.0 + wide * step / _GRID) for step in range(-_GRID, _GRID + 1)]
    tries = [x for x in tries if x > 0] + [base * 0.01, base * 100.0]
    tries += [p.price_usd for p in used]
    # A median only asks which side of it a print leaves: the lowest, the middle and the highest
    # source stand for all.
    ranked = sorted(used, key=lambda p: (p.price_usd, p.name))
    worst = 0.0
    for one in {p.name: p for p in (ranked[0], ranked[len(ranked) // 2], ranked[-1])}.values():
        for price in tries:
            made = _moved(prints, {one.name}, price, as_of_ns, policy)
            if made.state != "untrusted":
                worst = max(worst, abs(made.price_usd / base - 1.0))
    return worst


def attack_cost(
    prints: Sequence[SourcePrint], as_of_ns: int, policy: TrustPolicy, *, move: float
) -> AttackCost:
    """Estimate how many sources, and what notional, move an index by a given share.

    Parameters
    ----------
    prints : sequence of SourcePrint
        As for :func:`~crossmargin.market.index.index_price`.
    as_of_ns : int
        The market's time.
    policy : TrustPolicy
        Figures.
    move : float
        Relative move, > −1 and not 0; negative pushes the index down.

    Raises
    ------
    MarketDataError
        ``MKT-014`` for an impossible move, ``MKT-015`` when the index is not trusted now.
    """
    check_move(move)
    base = index_price(prints, as_of_ns, policy)
    if base.state == "untrusted":
        raise MarketDataError(
            f"the index is not trusted as it is: {base.reason}",
            code="MKT-015",
            field="sources",
            hint="an attack is estimated on a sound panel only",
        )
    names = {r.name for r in base.readings if r.part == "used"}
    used = [p for p in prints if p.name in names]
    fewest: int | None = None
    best: tuple[float, tuple[str, ...]] | None = None
    unpriced: tuple[str, ...] = ()
    for count in range(1, len(used) + 1):
        for choice in _choices(used, count):
            chosen = set(choice)
            rest = [p.price_usd for p in used if p.name not in chosen]
            for price in _targets(base.price_usd, move, rest):
                if price <= 0:
                    continue
                made = _moved(prints, chosen, price, as_of_ns, policy)
                far = made.price_usd / base.price_usd - 1.0
                if made.state == "untrusted" or (far < move if move > 0 else far > move):
                    continue
                fewest = count if fewest is None else fewest
                cost = _notional(used, chosen, price)
                if cost is None:
                    unpriced = unpriced or choice
                elif best is None or cost < best[0]:
                    best = (cost, choice)
    return AttackCost(
        move=move,
        sources_needed=fewest,
        sources=best[1] if best else unpriced,
        notional_usd=best[0] if best else None,
        one_source_reach=_reach(prints, used, base.price_usd, as_of_ns, policy),
    )
