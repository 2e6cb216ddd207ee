"""Why a predicted liquidation price misses: classes, each with a criterion that can be checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossmargin.analytics._liquidation_cases import TOLERANCE, Cases
from crossmargin.analytics._tier_inference import Bools, Consensus, Floats, Ints, agreeing
from crossmargin.venues.hyperliquid_recorded import PositionRecords

#: Two calls a moment apart move an account's available margin by less than this, relative.
ASYNCHRONOUS = 0.01

#: A liquidation price that moves by less than the first while its mark moves by more than the
#: second, relative, stands still. On the recorded modes: 77 % of isolated pairs, 1.3 % of cross.
STILL, MOVED = 3e-4, 0.01

#: Why a prediction misses, in the order in which reasons are looked for.
CLASSES = {
    "printed digits": "agrees as far as the printed digits of the two prices tell",
    "isolated": "it or the reference is recorded as isolated; or shares no available margin with "
    "its account under any table, while other positions there agree; or, where none agree, has a "
    "liquidation price that stands still while its mark moves",
    "asynchronous": f"within {100 * ASYNCHRONOUS:.0f} % of what the account agrees on, not closer",
    "other brackets": "agrees with its account under another table than its own: opened under "
    "older ones, or a coin whose table was not found",
    "no brackets": "its coin or the reference's has no table",
    "other": "no two positions of the account agree, and none of the above",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolatedCheck:
    """The criterion for isolated positions, where the mode was recorded and the account agrees."""

    isolated: int
    isolated_found: int
    cross: int
    cross_found: int


_AGREES, _OTHER, _NEAR, _APART, _UNKNOWN = range(5)


def _standing(cases: Cases, table: Ints, agreed: Consensus) -> Ints:
    """Say how each position stands to what its account agrees on."""
    hits = agreeing(cases.seen, agreed)
    own = hits[np.arange(table.size), np.maximum(table, 0)] & (table >= 0)
    gap = np.abs(cases.seen.under(table) - agreed.available)
    near = gap <= ASYNCHRONOUS * np.abs(agreed.available)
    return np.select(
        [agreed.anchor < 0, own, hits.any(axis=1), near],
        [_UNKNOWN, _AGREES, _OTHER, _NEAR],
        default=_APART,
    ).astype(np.int64)


def classify(
    records: PositionRecords,
    cases: Cases,
    table: Ints,
    errors: Floats,
    agreed: Consensus,
    score: Bools,
) -> dict[str, int]:
    """Sort the misses of the scoring half; the first reason that holds counts."""
    ref, seen = cases.reference, cases.seen
    implied = seen.under(table)
    standing = _standing(cases, table, agreed)
    isolated = records.isolated[cases.rows] == 1

    def either(mask: Bools) -> Bools:
        return np.asarray(mask | mask[ref])

    slack = (seen.slack + seen.slack[ref])[:, None]
    same = np.abs(seen.implied - seen.implied[ref]) <= slack
    alone = standing == _UNKNOWN
    fenced = isolated | (standing == _APART) | (alone & _still(cases))
    reasons = [
        np.abs(implied - implied[ref]) <= slack[:, 0],
        either(fenced),
        either(standing == _NEAR),
        either(standing == _OTHER) | (alone & same.any(axis=1)),
        either(table < 0),
    ]
    why = np.select(reasons, list(range(5)), default=5)
    missed = why[cases.asked & score & (errors > TOLERANCE)]
    counts = np.bincount(missed, minlength=len(CLASSES))
    return {name: int(counts[place]) for place, name in enumerate(CLASSES)}


def _still(cases: Cases) -> Bools:
    """Say which liquidation prices stand still while the mark moves, the quantity unchanged.

    An isolated position's liquidation price moves with its funding alone; that of a cross
    position with everything its account holds. Compared with the holding's neighbouring snapshots.
    """
    order = np.lexsort((cases.snapshot, cases.seen.holding))
    a, b = order[:-1], order[1:]
    same = (cases.seen.holding[a] == cases.seen.holding[b]) & (
        cases.quantity[a] == cases.quantity[b]
    )
    still = (
        same
        & (np.abs(cases.price[b] / cases.price[a] - 1.0) < STILL)
        & (np.abs(cases.mark[b] / cases.mark[a] - 1.0) > MOVED)
    )
    found = np.zeros(order.size, dtype=bool)
    found[a[still]] = found[b[still]] = True
    return found


def check_isolated(records: PositionRecords, cases: Cases, agreed: Consensus) -> IsolatedCheck:
    """Hold the criterion for isolated positions to the rows whose mode was recorded.

    Members of a consensus agree by construction; they are counted among the cross ones.
    """
    hits = agreeing(cases.seen, agreed).any(axis=1)
    known = agreed.anchor >= 0
    mode = records.isolated[cases.rows]
    return IsolatedCheck(
        isolated=int(np.sum(known & (mode == 1))),
        isolated_found=int(np.sum(known & (mode == 1) & ~hits)),
        cross=int(np.sum(known & (mode == 0))),
        cross_found=int(np.sum(known & (mode == 0) & ~hits)),
    )
