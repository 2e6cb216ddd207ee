"""Liquidation prices that a venue stated, against those that a rule-set predicts.

For every account at a snapshot, the largest position that has a liquidation price implies the
available margin of the account; from it the liquidation price of every other position is
predicted. Brackets that the rule-set does not list are inferred on every other snapshot and
scored on the rest, which inference never reads. What misses is sorted into classes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossmargin.analytics._liquidation_cases import TOLERANCE, Cases, cases_of, errors_of, predict
from crossmargin.analytics._liquidation_misses import (
    IsolatedCheck,
    check_isolated,
    classify,
)
from crossmargin.analytics._tier_inference import (
    Bools,
    Floats,
    Inferred,
    Ints,
    Observed,
    consensus,
    infer,
)
from crossmargin.analytics._tier_tables import TierTable, listed_tables, menu_of
from crossmargin.errors import InputError
from crossmargin.margin import Ruleset
from crossmargin.venues.hyperliquid_recorded import PositionRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfScore:
    """Predictions on one half of the snapshots.

    Attributes
    ----------
    snapshots, cases : int
        Snapshots, and predictions made there.
    listed, by_coin, share : float
        Share within tolerance with the rule-set's tables alone; with one table per coin,
        inferred where the rule-set has none or is contradicted; and with the older tables of
        single holdings besides (one account's position in one coin).
    listed_cases : int
        Predictions in which the rule-set lists both coins, the reference's and its own.
    listed_share : float
        Share of those within tolerance, with the rule-set's tables alone.
    """

    snapshots: int
    cases: int
    listed: float
    by_coin: float
    share: float
    listed_cases: int
    listed_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredTable:
    """The table found for one coin.

    Attributes
    ----------
    coin : str
        Name at the venue.
    brackets : str
        In words.
    floors_usd, max_leverage : tuple of float
        The same in figures.
    listed : str or None
        What the rule-set lists, where it does.
    holdings, votes, listed_votes : int
        Accounts that could vote, votes for this table, votes for the listed one.
    """

    coin: str
    brackets: str
    floors_usd: tuple[float, ...]
    max_leverage: tuple[float, ...]
    listed: str | None
    holdings: int
    votes: int
    listed_votes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidationReconciliation:
    """Outcome of :func:`reconcile_liquidation_prices`.

    Attributes
    ----------
    ruleset, ruleset_hash : str
        What was reconciled.
    positions, with_price, pools : int
        Positions read, those with a liquidation price, accounts at snapshots with one.
    scoring, learning : HalfScore
        The half that inference did not read, and the half that it did.
    within : dict of str to float
        Share of the scoring half within other tolerances.
    classes : dict of str to int
        Misses of the scoring half by reason (:data:`CLASSES`).
    none_stated, none_predicted : int
        Scoring half: positions for which the venue states no liquidation price, though their
        account has a reference; and those for which none is predicted either.
    tables : tuple of InferredTable
        Where the rule-set lists nothing, or something else.
    coins_without : tuple of str
        Coins for which nothing could be inferred.
    holdings : dict of str to int
        Holdings whose positions agree under another table than their coin's, by table.
    isolated_check : IsolatedCheck
        How the criterion for isolated positions does where the mode is known.
    """

    ruleset: str
    ruleset_hash: str
    positions: int
    with_price: int
    pools: int
    scoring: HalfScore
    learning: HalfScore
    within: dict[str, float]
    classes: dict[str, int]
    none_stated: int
    none_predicted: int
    tables: tuple[InferredTable, ...]
    coins_without: tuple[str, ...]
    holdings: dict[str, int]
    isolated_check: IsolatedCheck

    @property
    def cases(self) -> int:
        """Predictions scored."""
        return self.scoring.cases

    @property
    def share(self) -> float:
        """Share of them within tolerance."""
        return self.scoring.share

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, headline first."""
        import msgspec

        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {"cases": self.cases, "share_within_1e-9": self.share, **plain}


def reconcile_liquidation_prices(
    records: PositionRecords, ruleset: Ruleset
) -> LiquidationReconciliation:
    """Predict liquidation prices from the largest position of each account, and compare.

    Parameters
    ----------
    records : PositionRecords
        At least two snapshots; the first, third, ... are learned from, the others scored.
    ruleset : Ruleset
        One component of marginal brackets; the brackets are read from it.

    Raises
    ------
    RulesetError
        ``RUL-011`` for a rule-set of other components.
    InputError
        ``INP-034`` when there is nothing to predict in the scoring half.
    """
    menu = menu_of(ruleset)
    index = {table: place for place, table in enumerate(menu)}
    names = {coin: place for place, coin in enumerate(records.coins)}
    listed = {
        names[coin]: index[table] for coin, table in listed_tables(ruleset, records.coins).items()
    }
    cases = cases_of(records, menu)
    score = cases.snapshot % 2 == 1
    if not np.any(cases.asked & score):
        raise InputError(
            "the recorded positions leave nothing to predict",
            code="INP-034",
            field="liquidationPx",
            hint="at least two snapshots are needed, and in the second an account with two "
            "liquidation prices",
        )
    found = infer(cases.seen, menu, listed, ~score)
    tables = (
        Inferred(by_coin=listed, votes={}, by_holding={}).tables(cases.seen, holdings=False),
        found.tables(cases.seen, holdings=False),
        found.tables(cases.seen, holdings=True),
    )
    errors = [errors_of(cases, menu, table) for table in tables]
    both = (tables[0] >= 0) & (tables[0][cases.reference] >= 0)
    halves = [_half(records, cases, errors, both, half) for half in (1, 0)]
    best = errors[2][cases.asked & score]
    agreed = consensus(cases.seen, tables[2], np.ones(score.size, dtype=bool))
    stated, predicted = _none(records, cases, menu, found, tables[2])
    return LiquidationReconciliation(
        ruleset=ruleset.id,
        ruleset_hash=ruleset.content_hash,
        positions=records.quantity.size,
        with_price=cases.rows.size,
        pools=int(np.sum(~cases.asked)),
        scoring=halves[0],
        learning=halves[1],
        within={f"1e-{k}": float(np.mean(best <= 10.0**-k)) for k in (10, 8, 6, 3)},
        classes=classify(records, cases, tables[2], errors[2], agreed, score),
        none_stated=stated,
        none_predicted=predicted,
        tables=_found_tables(records, menu, listed, found),
        coins_without=tuple(
            coin
            for place, coin in enumerate(records.coins)
            if place not in found.by_coin and np.any(cases.seen.coin == place)
        ),
        holdings=dict(Counter(menu[t].words for t in found.by_holding.values()).most_common()),
        isolated_check=check_isolated(records, cases, agreed),
    )


def _half(
    records: PositionRecords, cases: Cases, errors: list[Floats], both: Bools, half: int
) -> HalfScore:
    asked = cases.asked & (cases.snapshot % 2 == half)

    def share(error: Floats, rows: Bools) -> float:
        return float(np.mean(error[rows] <= TOLERANCE)) if rows.any() else 0.0

    return HalfScore(
        snapshots=int(np.sum(np.arange(records.moments_ns.size) % 2 == half)),
        cases=int(asked.sum()),
        listed=share(errors[0], asked),
        by_coin=share(errors[1], asked),
        share=share(errors[2], asked),
        listed_cases=int(np.sum(asked & both)),
        listed_share=share(errors[0], asked & both),
    )


def _none(
    records: PositionRecords,
    cases: Cases,
    menu: tuple[TierTable, ...],
    found: Inferred,
    table: Ints,
) -> tuple[int, int]:
    """Count scoring positions without a stated price, and those without a predicted one."""
    pools = records.snapshot * len(records.accounts) + records.account
    first = np.flatnonzero(~cases.asked)
    order = np.argsort(pools[cases.rows[first]], kind="stable")
    first = first[order]
    keys = pools[cases.rows[first]]
    rows = np.flatnonzero(np.isnan(records.liquidation) & (records.snapshot % 2 == 1))
    place = np.minimum(np.searchsorted(keys, pools[rows]), keys.size - 1)
    known = keys[place] == pools[rows]
    rows, reference = rows[known], first[place[known]]
    other = Observed(
        pool=pools[rows],
        coin=records.coin[rows],
        holding=records.account[rows] * len(records.coins) + records.coin[rows],
        implied=np.empty((rows.size, 0)),
        slack=np.empty(rows.size),
    )
    own = found.tables(other, holdings=True)
    available = cases.seen.under(table)[reference]
    told = (own >= 0) & ~np.isnan(available)
    made = predict(menu, own, records.quantity[rows], records.mark[rows], available)
    return int(rows.size), int(np.sum(told & np.isnan(made)))


def _found_tables(
    records: PositionRecords, menu: tuple[TierTable, ...], listed: dict[int, int], found: Inferred
) -> tuple[InferredTable, ...]:
    rows = []
    for coin, table in sorted(found.by_coin.items(), key=lambda item: records.coins[item[0]]):
        votes, known = found.votes.get(coin), listed.get(coin, -1)
        if votes is None or table == known:
            continue
        rows.append(
            InferredTable(
                coin=records.coins[coin],
                brackets=menu[table].words,
                floors_usd=menu[table].floors,
                max_leverage=menu[table].leverages,
                listed=menu[known].words if known >= 0 else None,
                holdings=votes.holdings,
                votes=votes.votes,
                listed_votes=votes.listed_votes,
            )
        )
    return tuple(rows)
