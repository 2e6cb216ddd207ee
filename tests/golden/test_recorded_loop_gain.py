"""The recorded Hyperliquid population: coverage, its triggers, and the fall of February 2026.

The recordings live outside the repository; ``CROSSMARGIN_DATA`` names their folder. Counts of
what is recorded are exact; bounds are what was measured, with room.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from crossmargin.cascade.recorded_folder import PATH_FILE, RecordedFolder, read_recorded_folder
from crossmargin.cascade.triggers import position_triggers
from crossmargin.margin import load_ruleset
from crossmargin.units import parse_time
from crossmargin.venues.hyperliquid_recorded import POSITIONS_FILE

BEFORE, DURING, AFTER = (
    parse_time(text)
    for text in ("2026-02-05T14:30:00Z", "2026-02-05T19:50:00Z", "2026-02-06T05:00:00Z")
)


@pytest.fixture(scope="module")
def recorded() -> RecordedFolder:
    folder = os.environ.get("CROSSMARGIN_DATA")
    if folder is None:
        pytest.skip("CROSSMARGIN_DATA is not set: recorded accounts are not replayed")
    if not (Path(folder) / POSITIONS_FILE).exists():
        pytest.skip("CROSSMARGIN_DATA has no recorded positions: no replay")
    return read_recorded_folder(folder, load_ruleset("hyperliquid"))


@pytest.mark.parametrize("at", [BEFORE, DURING, AFTER, parse_time("2026-02-04T06:00:00Z")])
def test_nearly_all_of_the_equity_is_implied(recorded: RecordedFolder, at: int) -> None:
    found = recorded.population(at)
    c = found.coverage
    place = int(np.flatnonzero(recorded.records.moments_ns == c.moment_ns)[0])
    mine = recorded.records.snapshot == place
    assert sum(c.positions.values()) == int(mine.sum())
    whole = np.abs(recorded.records.quantity[mine]) * recorded.records.mark[mine]
    assert sum(c.value.values()) == pytest.approx(float(whole.sum()))
    assert c.implied_share > 0.98 and c.implied_value_share > 0.98
    assert (found.population.health() > 1).all()
    # Where a price is stated a trigger is found, and nearly nowhere else. They agree to what the
    # marks of one snapshot, taken minutes apart, leave open.
    trigger, stated = position_triggers(found.population), found.liquidation
    priced = np.isfinite(stated)
    assert np.isfinite(trigger[priced]).mean() > 0.99 and np.isnan(trigger[~priced]).mean() > 0.99
    error = np.abs(trigger[priced] / stated[priced] - 1.0)
    assert np.nanmedian(error) < 5e-3


def test_the_fall_of_february_2026(recorded: RecordedFolder) -> None:
    path = Path(os.environ["CROSSMARGIN_DATA"]) / PATH_FILE
    done = recorded.replay(
        [BEFORE, DURING, AFTER],
        depth={"*": 1e7},
        path=path if path.exists() else None,
        contracts=2,
        moves=(0.1,),
    )
    assert [m.label for m in done.moments] == ["before", "during", "after"]
    marks = [m.marks["BTC"] for m in done.moments]
    assert marks[0] > 70_000 > 66_000 > marks[1]
    for one in (*done.moments, *done.common):
        assert one.fragility.gain.real and one.fragility.gain.radius > 0
        assert all(s.settled for s in one.fragility.shocks)
        assert [c.contract for c in one.fragility.contracts][:2] == ["BTC", "ETH"]
    # Those who won by a fall are short: a rise closes more of them than a fall.
    for one in done.moments:
        fall, rise = one.fragility.contracts[0].longs_below, one.fragility.contracts[0].shorts_above
        assert rise > 5 * fall
    for found in done.evidence:
        assert found.reasons and found.positions == sum(
            sum(row.values()) for row in found.count.values()
        )
        assert 0 < found.addresses <= found.addresses_before
