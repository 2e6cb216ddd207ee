"""Liquidation prices of real accounts, February 2026: the venue's own figures.

The recordings live outside the repository; ``CROSSMARGIN_DATA`` names their folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossmargin.analytics import LiquidationReconciliation, reconcile_liquidation_prices
from crossmargin.analytics._liquidation_cases import PRICE_DECIMALS
from crossmargin.margin import load_ruleset
from crossmargin.venues import PositionRecords, read_hyperliquid_positions
from crossmargin.venues.hyperliquid_recorded import POSITIONS_FILE

MARKETS_FILE = "hyperliquid_markets_2026feb03_04.csv.gz"


@pytest.fixture(scope="module")
def folder() -> Path:
    name = os.environ.get("CROSSMARGIN_DATA")
    if not name:
        pytest.skip("CROSSMARGIN_DATA is not set: recorded liquidation prices are not tested")
    if not (Path(name) / POSITIONS_FILE).exists():
        pytest.skip(f"CROSSMARGIN_DATA has no {POSITIONS_FILE}: they are not tested")
    return Path(name)


@pytest.fixture(scope="module")
def records(folder: Path) -> PositionRecords:
    return read_hyperliquid_positions(folder / POSITIONS_FILE)


@pytest.fixture(scope="module")
def done(records: PositionRecords) -> LiquidationReconciliation:
    return reconcile_liquidation_prices(records, load_ruleset("hyperliquid"))


def test_the_recording(records: PositionRecords) -> None:
    assert records.quantity.size == 90_151
    assert len(records.moments_ns) == 41 and len(records.accounts) == 806
    assert int(np.sum(~np.isnan(records.liquidation))) == 62_481


def test_prices_are_printed_to_ten_decimals(records: PositionRecords) -> None:
    price = records.liquidation[~np.isnan(records.liquidation)]
    small = price[price < 1e5]
    assert np.array_equal(np.round(small, PRICE_DECIMALS), small)
    assert not np.array_equal(np.round(small, PRICE_DECIMALS - 1), small)


def test_share_on_the_half_that_inference_did_not_read(done: LiquidationReconciliation) -> None:
    assert done.cases == 26_994 and done.scoring.snapshots == 20
    assert done.share >= 0.94
    assert done.scoring.by_coin >= 0.85
    # Both coins listed, nothing inferred.
    assert done.scoring.listed_cases > 9_000 and done.scoring.listed_share >= 0.90
    # No better where it learned: what was inferred holds.
    assert abs(done.learning.share - done.share) < 0.005


def test_the_rule_set_states_this_evidence(done: LiquidationReconciliation) -> None:
    stated = load_ruleset("hyperliquid").data.evidence[0]
    assert stated.cases == round(done.scoring.listed_cases * done.scoring.listed_share)
    assert f"{stated.cases:,} of {done.scoring.listed_cases:,} " in stated.what


def test_every_miss_has_one_class(done: LiquidationReconciliation) -> None:
    assert sum(done.classes.values()) == round(done.cases * (1.0 - done.share))
    assert done.classes["other"] < 0.005 * done.cases
    assert done.classes["asynchronous"] == 0


def test_the_criterion_for_isolated(done: LiquidationReconciliation) -> None:
    """The first four snapshots record the mode; inference does not read it."""
    check = done.isolated_check
    assert check.isolated_found == check.isolated >= 60
    assert check.cross_found == 0 and check.cross > 3_000


def test_no_price_is_predicted_where_none_is_stated(done: LiquidationReconciliation) -> None:
    assert done.none_stated > 10_000
    assert done.none_predicted >= 0.98 * done.none_stated


def test_inferred_leverages_are_those_of_the_market_list(
    folder: Path, done: LiquidationReconciliation
) -> None:
    """The venue's list of markets, recorded at the first snapshots, is not read by inference."""
    listed = dict(
        pl.read_csv(folder / MARKETS_FILE).select("name", "maxLeverage").unique().iter_rows()
    )
    known = [table for table in done.tables if table.coin in listed]
    differ = [t.coin for t in known if t.max_leverage[0] != listed[t.coin]]
    assert len(known) >= 150
    # Six of the ten accounts in GOAT opened under older brackets.
    assert differ == ["GOAT"]
    against = {t.coin: t.max_leverage[0] for t in done.tables if t.listed}
    assert against == {"POPCAT": 3.0, "WIF": 5.0}
    assert {c: listed[c] for c in against} == against
