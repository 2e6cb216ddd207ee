"""Auto-deleveraging: whose contracts are closed against a bankrupt position, and at what price.

A rule is data over three kinds: a score and a queue, a walk from a start that is passed in, or a
share for everybody. Contracts are whole numbers, and as many leave the other side as leave the
bankrupt one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from crossmargin.codec import Certainty
from crossmargin.errors import LiquidationError, invariant
from crossmargin.figures import Data, Origin
from crossmargin.liquidation.adl_scores import Candidates, Score, adl_score
from crossmargin.liquidation.figures import convert, parse_toml, require_sources, unknown
from crossmargin.liquidation.sharing import Filled, largest_remainder, water_fill

Floats = NDArray[np.float64]

SettlePrice = Literal["bankruptcy", "mark", "previous-mark", "oracle"]


class _Rule(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"
):
    """Fields of every rule.

    Attributes
    ----------
    settle : SettlePrice
        At which price the counterparty is closed; the caller passes it in.
    """

    id: str
    title: str
    settle: SettlePrice
    source: str
    confidence: Certainty
    note: str = ""


class Queue(_Rule, frozen=True, kw_only=True, tag="score"):
    """The highest score is closed first, whole, until enough is closed; ties by row."""

    score: Score


class Rotation(_Rule, frozen=True, kw_only=True, tag="rotation"):
    """No ranking: rows are walked from a start that the caller draws and passes in.

    Attributes
    ----------
    overlap : bool
        Whether holders are passed over who would themselves be bankrupt at the price.
    """

    overlap: bool


class Shared(_Rule, frozen=True, kw_only=True, tag="shared"):
    """Everybody gives: ``hᵢ = min(βᵢ, t·λᵢ·g(λᵢ))`` of its contracts.

    Attributes
    ----------
    capped : bool
        Whether caps β count; otherwise 1.
    leverage_power : float
        0: all alike. p > 0: in proportion to λ^p, λ being notional over account value.
    """

    capped: bool = False
    leverage_power: Annotated[float, Meta(ge=0, le=10)] = 0.0


AdlRule = Queue | Rotation | Shared


class _Catalogue(Data, frozen=True, kw_only=True):
    """The file of rules."""

    format: Literal["crossmargin-adl/1"]
    sources: dict[str, Origin]
    rules: list[AdlRule]


def adl_rules_from_toml(text: str, what: str = "ADL rules") -> dict[str, AdlRule]:
    """Read and check a catalogue of rules.

    Raises
    ------
    LiquidationError
        ``LIQ-002`` malformed, an id twice or a source that is not listed.
    """
    data = convert(parse_toml(text, what), _Catalogue, what)
    require_sources((rule.source for rule in data.rules), data.sources, what)
    found: dict[str, AdlRule] = {}
    for rule in data.rules:
        if rule.id in found:
            raise LiquidationError(
                f"{what}: rule {rule.id!r} appears twice", code="LIQ-002", field="rules"
            )
        found[rule.id] = rule
    return found


@lru_cache(maxsize=1)
def _shipped() -> dict[str, AdlRule]:
    text = (files("crossmargin.liquidation") / "adl_rules.toml").read_text(encoding="utf-8")
    return adl_rules_from_toml(text, "adl_rules.toml")


def adl_rule_ids() -> list[str]:
    """Return the ids of the shipped rules, sorted."""
    return sorted(_shipped())


def adl_rule(name: str) -> AdlRule:
    """Return a shipped rule.

    Raises
    ------
    LiquidationError
        ``LIQ-003`` when there is none of that name.
    """
    rule = _shipped().get(name)
    if rule is None:
        raise unknown("ADL rule", name, _shipped())
    return rule


@dataclass(frozen=True, slots=True, kw_only=True)
class AdlFill:
    """One holder closed.

    Attributes
    ----------
    row : int
        Which candidate.
    contracts : int
        Closed, > 0.
    price : float
        At this price, without fee.
    forgone : float
        Profit that the mark would have given on top, settlement asset; may be negative.
    """

    row: int
    contracts: int
    price: float
    forgone: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleveraging:
    """Everybody closed against one bankrupt position.

    Attributes
    ----------
    rule : str
        Its id.
    fills : tuple of AdlFill
        In the order in which they were closed.
    contracts : int
        Closed on either side: long and short open interest fall by as much.
    left : int
        Contracts of the bankrupt position for which nobody was found.
    covered : float
        Loss against the mark that the holders bore, settlement asset.
    """

    rule: str
    fills: tuple[AdlFill, ...]
    contracts: int
    left: int
    covered: float


def deleverage(
    rule: AdlRule,
    bankrupt: int,
    candidates: Candidates,
    price: float,
    *,
    start: int = 0,
    cap: ArrayLike = 1.0,
    most: int | None = None,
) -> Deleveraging:
    """Close a bankrupt position against holders of the other side.

    Parameters
    ----------
    rule : AdlRule
        Who is closed.
    bankrupt : int
        Signed contracts to close.
    candidates : Candidates
        Holders of the other side.
    price : float
        What `rule.settle` says, from the caller.
    start : int
        Row at which a walk begins: drawn by the caller from its own seed.
    cap : array-like
        Fraction of each position that a capped rule may close.
    most : int, optional
        How many rows a walk looks at.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` candidates of the same side or an impossible price, ``LIQ-008`` a column that
        the rule needs.
    """
    if not price > 0:
        raise LiquidationError(
            f"the price {price:g} is not positive", code="LIQ-001", field="price"
        )
    if bankrupt * candidates.side > 0:
        raise LiquidationError(
            "candidates must hold the other side of the bankrupt position",
            code="LIQ-001",
            field="contracts",
        )
    needed = abs(bankrupt)
    match rule:
        case Queue():
            closed = queue(adl_score(rule.score, candidates), candidates.contracts, needed)
        case Rotation():
            rows = _walk(rule, candidates, price, start, most)
            closed = _in_turn(rows, candidates.contracts, needed)
        case Shared():
            closed = _shares(rule, candidates, needed, cap)
    return _result(rule, needed, candidates, price, closed)


def queue(score: ArrayLike, contracts: Sequence[int], needed: int) -> list[tuple[int, int]]:
    """Close the highest score first, whole, until enough is closed; ties by row.

    Returns
    -------
    list of (int, int)
        Row and contracts, in the order of closing.
    """
    rows = np.argsort(-np.asarray(score, dtype=np.float64), kind="stable").tolist()
    return _in_turn(rows, contracts, needed)


def _in_turn(rows: list[int], contracts: Sequence[int], needed: int) -> list[tuple[int, int]]:
    closed = []
    for row in rows:
        if needed == 0:
            break
        take = min(needed, abs(contracts[row]))
        if take:
            closed.append((row, take))
            needed -= take
    return closed


def _walk(rule: Rotation, c: Candidates, price: float, start: int, most: int | None) -> list[int]:
    seen = range(c.size if most is None else min(most, c.size))
    rows = [(start + step) % c.size for step in seen] if c.size else []
    if not rule.overlap:
        return rows
    # What is worth less than at its bankruptcy price ruins its holder.
    kept = c.unit_value(price) >= c.unit_value(c.column("bankruptcy"))
    return [row for row in rows if kept[row]]


def _shares(rule: Shared, c: Candidates, needed: int, cap: ArrayLike) -> list[tuple[int, int]]:
    sizes = np.abs(np.array(c.contracts, dtype=np.float64))
    total = int(sum(abs(q) for q in c.contracts))
    if not rule.capped and rule.leverage_power == 0.0:
        parts = largest_remainder(min(needed, total), [abs(q) for q in c.contracts])
        return [(row, n) for row, n in enumerate(parts) if n]
    beta = np.broadcast_to(np.asarray(cap, dtype=np.float64), sizes.shape) if rule.capped else 1.0
    slope = risk_slope(c, rule.leverage_power) if rule.leverage_power else np.ones(sizes.size)
    filled = water_fill(float(needed), sizes, beta, slope)
    # A cap is never exceeded by the rounding: whole contracts below it are what may be closed.
    room = [int(x) for x in np.floor(sizes * np.minimum(beta, 1.0) + 1e-9)]
    parts = apportion(min(needed, sum(room)), (sizes * filled.height).tolist(), room)
    return [(row, n) for row, n in enumerate(parts) if n]


def risk_slope(c: Candidates, power: float) -> Floats:
    """Return λ^power by candidate, λ being notional over account value.

    Chitra's ``λ·g(λ)`` with g a power: 1 is g constant, 2 is g linear (arXiv 2512.01112,
    cascades.md §3.3).
    """
    value = np.maximum(c.column("wallet") + c.column("profit"), 1e-8)
    return np.asarray((np.abs(c.value(c.mark)) / value) ** power, dtype=np.float64)


def apportion(total: int, quota: Sequence[float], cap: Sequence[int]) -> list[int]:
    """Round quotas to whole numbers that sum to `total`, none above its cap.

    Quotas rounded down first, then one more to the largest remainders, again while there is
    room; ties go to the earlier row.

    Raises
    ------
    LiquidationError
        ``LIQ-005`` when the caps have no room for it.
    """
    if total > sum(cap):
        raise LiquidationError("the caps have no room for it", code="LIQ-005", field="cap")
    parts = [min(int(q + 1e-9), c) for q, c in zip(quota, cap)]
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - quota[i], i))
    while (rest := total - sum(parts)) > 0:
        open_ = [i for i in order if parts[i] < cap[i]]
        for i in open_[:rest]:
            parts[i] += 1
    for i in reversed(order):
        extra = min(parts[i], max(0, sum(parts) - total))
        parts[i] -= extra
    return parts


def _result(
    rule: AdlRule, needed: int, c: Candidates, price: float, closed: list[tuple[int, int]]
) -> Deleveraging:
    per_contract = c.unit * (1 / price - 1 / c.mark if c.inverse else c.mark - price) * c.side
    fills = tuple(
        AdlFill(row=row, contracts=n, price=price, forgone=n * per_contract) for row, n in closed
    )
    total = sum(n for _, n in closed)
    invariant(
        total <= needed and all(0 < n <= abs(c.contracts[row]) for row, n in closed),
        "deleveraging closes no more than there is on either side",
    )
    return Deleveraging(
        rule=rule.id,
        fills=fills,
        contracts=total,
        left=needed - total,
        covered=total * per_contract,
    )


def profit_haircuts(
    profit: ArrayLike,
    deficit: float,
    *,
    severity: float = 1.0,
    cap: ArrayLike = 1.0,
    slope: ArrayLike = 1.0,
) -> Filled:
    """Share a deficit over profits: ``hᵢ`` of each positive profit, principal left alone.

    Feasible where ``θ·D ≤ U = Σ (PnL)⁺``; pro rata is no cap and no slope (``h = θD/U``), capped
    pro rata a cap, risk-aware a slope ``λᵢ·g(λᵢ)``. Source: Chitra (cascades.md §3.3, published).

    Parameters
    ----------
    profit : array-like
        By holder; losses give nothing.
    deficit : float
        D, at least 0.
    severity : float
        θ, the part of it that is shared, 0 to 1.
    cap, slope : array-like
        βᵢ and aᵢ.
    """
    if not 0 <= severity <= 1:
        raise LiquidationError("severity lies from 0 to 1", code="LIQ-001", field="severity")
    wealth = np.maximum(np.asarray(profit, dtype=np.float64), 0.0)
    return water_fill(severity * deficit, wealth, cap, slope)
