"""Populations from recorded positions whose available margin is known, and a fall replayed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.recorded_positions import START, cross_rows, liquidation_price, row, write

from crossmargin.cascade.depth_basis import contract_depth
from crossmargin.cascade.recorded import RecordedPopulation, population_from_records
from crossmargin.cascade.recorded_folder import (
    brackets_of,
    read_price_path,
    read_recorded_folder,
)
from crossmargin.cascade.replay import REASONS, evidence_between, price_path, replay_records
from crossmargin.cascade.triggers import position_triggers
from crossmargin.errors import CascadeError, InputError
from crossmargin.liquidation import Brackets
from crossmargin.margin import load_ruleset
from crossmargin.venues import PositionRecords, read_hyperliquid_positions
from crossmargin.venues.hyperliquid_leaderboard import (
    ACCOUNTS_FILE,
    MARKETS_FILE,
    read_hyperliquid_accounts,
    read_hyperliquid_markets,
)
from crossmargin.venues.hyperliquid_recorded import POSITIONS_FILE

TIERS = {"BTC": ((0.0, 40.0),), "ETH": ((0.0, 25.0), (2e5, 10.0)), "NEW": ((0.0, 3.0),)}
TABLES = {
    coin: Brackets(tuple(f for f, _ in rows), tuple(0.5 / top for _, top in rows))
    for coin, rows in TIERS.items()
}
MARKS = {"BTC": 70_000.0, "ETH": 2_000.0, "NEW": 4.0}


def held(**quantity: float) -> dict[str, tuple[float, float]]:
    return {coin: (q, MARKS[coin]) for coin, q in quantity.items()}


def mm(coin: str, quantity: float) -> float:
    return TABLES[coin].mm(abs(quantity) * MARKS[coin])


def people(snapshot: int = 0) -> list[dict[str, Any]]:
    """Five accounts: agreed, one price, two that disagree with an older bracket, fenced, none."""
    rows = cross_rows(snapshot, "0xagree", held(BTC=2.0, ETH=-150.0), TIERS, 50_000.0)
    rows += cross_rows(snapshot, "0xone", held(BTC=-1.0), TIERS, 9_000.0)
    # NEW was opened under 5x: its price is stated under that bracket, cross all the same.
    older = {**TIERS, "NEW": ((0.0, 5.0),)}
    rows += cross_rows(snapshot, "0xolder", held(BTC=3.0, ETH=40.0, NEW=-2_000.0), older, 40_000.0)
    rows += cross_rows(snapshot, "0xpot", held(BTC=2.0, ETH=30.0), TIERS, 30_000.0)
    rows.append(row(snapshot, "0xpot", "NEW", -5_000.0, 4.0, 5.25))
    rows.append(row(snapshot, "0xrich", "ETH", 5.0, 2_000.0, None))
    rows.append(row(snapshot, "0xpoor", "ETH", 5.0, 2_000.0, None))
    return rows


def records(path: Path, rows: Sequence[dict[str, Any]]) -> PositionRecords:
    return read_hyperliquid_positions(write(path / POSITIONS_FILE, list(rows)))


@pytest.fixture
def made(tmp_path: Path) -> RecordedPopulation:
    values = {"0xrich": 25_000.0, "0xpoor": 100.0}
    return population_from_records(records(tmp_path, people()), 0, TABLES, values=values)


def test_equity_is_what_the_liquidation_prices_imply(made: RecordedPopulation) -> None:
    who = made.population
    assert who.ids is not None
    equity = dict(zip(who.ids, who.equity().tolist()))
    want = {
        "0xagree": 50_000.0 + mm("BTC", 2.0) + mm("ETH", 150.0),
        "0xone": 9_000.0 + mm("BTC", 1.0),
        "0xolder": 40_000.0 + mm("BTC", 3.0) + mm("ETH", 40.0) + mm("NEW", 2_000.0),
        "0xpot": 30_000.0 + mm("BTC", 2.0) + mm("ETH", 30.0),
        "0xrich": 25_000.0,
        # The fenced short of 5,000 at 4: lost at 5.25.
        "0xpot/NEW": 5_000.0 * 1.25 + 5_000.0 * 5.25 / 6.0,
    }
    assert set(equity) == set(want)
    for name, value in want.items():
        assert equity[name] == pytest.approx(value, rel=1e-6), name
    assert dict(zip(who.ids, made.basis))["0xolder"] == "agreed"
    assert who.isolated is not None and who.owner is not None
    pot, owner = who.ids.index("0xpot/NEW"), who.ids.index("0xpot")
    assert who.isolated[pot] and who.owner[pot] == owner and who.owner[owner] == owner
    assert (who.health() > 1).all()


def test_triggers_are_the_stated_prices(made: RecordedPopulation) -> None:
    who, stated = made.population, made.liquidation
    assert who.ids is not None
    found = position_triggers(who)
    for n in range(stated.size):
        name = who.ids[int(who.account[n])]
        if np.isnan(stated[n]):
            assert np.isnan(found[n])
        elif name != "0xolder" or who.contracts[int(who.contract[n])] != "NEW":
            assert found[n] == pytest.approx(stated[n], rel=1e-6), name


def test_coverage_adds_up(made: RecordedPopulation) -> None:
    c = made.coverage
    assert c.accounts == {
        "agreed": 3,
        "one price": 2,
        "largest of several": 0,
        "recorded value": 1,
        "no brackets": 0,
        "no equity": 1,
    }
    assert sum(c.positions.values()) == len(people()) == 11
    assert c.positions["no equity"] == 1 and c.isolated == 1
    assert c.implied_share == pytest.approx(9 / 11)
    assert c.implied_value_share == pytest.approx(1 - 2 * 10_000 / sum(c.value.values()))
    assert c.used_value_share == pytest.approx(1 - 10_000 / sum(c.value.values()))


def test_recorded_modes_are_believed(tmp_path: Path) -> None:
    rows = people()
    for one in rows:
        one["leverageType"] = "isolated" if one["coin"] == "NEW" else "cross"
    made = population_from_records(records(tmp_path, rows), 0, TABLES)
    assert made.population.ids is not None
    assert {"0xolder/NEW", "0xpot/NEW"} <= set(made.population.ids)
    assert made.coverage.accounts["no equity"] == 2


def test_nothing_agrees_and_the_largest_is_taken(tmp_path: Path) -> None:
    rows = [
        row(0, "0xodd", "BTC", 1.0, 70_000.0, 60_000.0),
        row(0, "0xodd", "ETH", 10.0, 2_000.0, 1_000.0),
    ]
    made = population_from_records(records(tmp_path, rows), 0, TABLES)
    assert made.basis == ("largest of several",)
    slack = made.population.equity() - made.population.maintenance()
    want = mm("BTC", 60_000 / 70_000) - mm("BTC", 1.0) + 10_000.0
    assert slack[0] == pytest.approx(want)


def test_coins_without_brackets_are_left_out_and_counted(tmp_path: Path) -> None:
    tables = {coin: table for coin, table in TABLES.items() if coin != "NEW"}
    made = population_from_records(records(tmp_path, people()), 0, tables)
    assert made.coverage.positions["no brackets"] == 2
    assert "NEW" not in made.population.contracts
    with pytest.raises(CascadeError, match="CAS-022"):
        population_from_records(records(tmp_path, people()), 0, {})


# ------------------------------------------------------------------------------- the folder


def folder(tmp_path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    records(tmp_path, rows)
    pl.DataFrame(
        {
            "snapshot_ts": [START] * 3,
            "address": ["0xrich", "0xpoor", "0xgone"],
            "account_value": [25_000.0, 100.0, None],
            "n_positions": [1, 1, 0],
        },
        schema_overrides={"snapshot_ts": pl.Datetime("us", "UTC")},
    ).write_parquet(tmp_path / ACCOUNTS_FILE)
    pl.DataFrame(
        {
            "snapshot_ts": [START.isoformat()] * 3,
            "name": ["BTC", "ETH", "NEW"],
            "markPx": [70_000.0, 2_000.0, 4.0],
            "openInterest": [2.8e6, 1e6, 1e5],
            "volume24h": [1e9, 5e8, 1e6],
            "maxLeverage": [40, 25, 3],
        }
    ).write_csv(tmp_path / "markets.csv")
    (tmp_path / "markets.csv").rename(tmp_path / MARKETS_FILE)
    return tmp_path


def test_a_folder(tmp_path: Path) -> None:
    read = read_recorded_folder(folder(tmp_path, people()), load_ruleset("hyperliquid"))
    assert read.brackets["NEW"] == Brackets((0.0,), (1 / 6,))
    assert read.brackets["BTC"].floors == (0.0, 150e6)
    found = read.population(int(read.records.moments_ns[0]))
    c = found.coverage
    assert c.unobtained == 1
    longs = {"BTC": 7 * 70_000.0, "ETH": 75 * 2_000.0}
    assert c.market_share["BTC"] == pytest.approx(longs["BTC"] / 2.8e6)
    assert c.market_share["ETH"] == pytest.approx(longs["ETH"] / 1e6)
    depth = read.depth(found, {"ETH": 7e9})
    place = {coin: k for k, coin in enumerate(found.population.contracts)}
    assert depth.usd[place["BTC"]] == 2.44e10 and depth.basis[place["BTC"]] == "panel"
    assert depth.usd[place["ETH"]] == 7e9
    assert set(depth.known(found.population.contracts)) == {"BTC", "ETH"}
    ratio = np.median([2.44e10 / 1e9, 1.17e10 / 5e8])
    assert depth.usd[place["NEW"]] == pytest.approx(ratio * 1e6)
    with pytest.raises(CascadeError, match="CAS-022"):
        read.population(int(read.records.moments_ns[0]) + 1)


def test_depth_that_nobody_knows() -> None:
    with pytest.raises(CascadeError, match="CAS-023"):
        contract_depth(["BTC", "FOO"])
    assert contract_depth(["BTC", "FOO"], supplied={"*": 1e6}).usd.tolist() == [2.44e10, 1e6]
    assert contract_depth(["BTC"], scale=0.5).usd.tolist() == [1.22e10]
    with pytest.raises(CascadeError, match="CAS-003"):
        contract_depth(["BTC"], supplied={"FOO": 1.0})


@pytest.mark.parametrize(
    ("file", "change", "code"),
    [
        (ACCOUNTS_FILE, lambda f: f.drop("account_value"), "INP-003"),
        (ACCOUNTS_FILE, lambda f: pl.concat([f, f]), "INP-007"),
        (ACCOUNTS_FILE, lambda f: f.head(0), "INP-002"),
        (ACCOUNTS_FILE, lambda f: f.with_columns(pl.lit("x").alias("account_value")), "INP-003"),
        (MARKETS_FILE, lambda f: f.with_columns(pl.lit(0).alias("maxLeverage")), "INP-004"),
        (MARKETS_FILE, lambda f: f.with_columns(pl.lit("then").alias("snapshot_ts")), "INP-010"),
        (MARKETS_FILE, lambda f: f.drop("name"), "INP-003"),
    ],
)
def test_broken_files(tmp_path: Path, file: str, change: Any, code: str) -> None:
    base = folder(tmp_path, people())
    if file == ACCOUNTS_FILE:
        change(pl.read_parquet(base / file)).write_parquet(base / file)
        read: Any = read_hyperliquid_accounts
    else:
        change(pl.read_csv(base / file)).write_csv(base / "x.csv")
        (base / "x.csv").rename(base / file)
        read = read_hyperliquid_markets
    with pytest.raises(InputError, match=code):
        read(base / file)
    (base / file).write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"INP-00[35]"):
        read(base / file)


def test_brackets_without_a_market_list() -> None:
    found = brackets_of(load_ruleset("hyperliquid"), None, ["BTC", "nothing"])
    assert set(found) == {"BTC"}


# ------------------------------------------------------------------------------- the replay


def fall() -> list[dict[str, Any]]:
    """Three snapshots: 0xone (short) lives, 0xlong is closed between the first and the second."""
    rows = []
    for snapshot, drop in enumerate((1.0, 0.9, 0.95)):
        btc, eth = 70_000.0 * drop, 2_000.0 * drop
        short = liquidation_price(TIERS["BTC"], -1.0, btc, 9_000.0)
        rows.append(row(snapshot, "0xshort", "BTC", -1.0, btc, short))
        if snapshot == 0:
            dies = liquidation_price(TIERS["BTC"], 2.0, btc, 5_000.0)
            rows.append(row(0, "0xlong", "BTC", 2.0, btc, dies))
            rows.append(row(0, "0xgone", "ETH", 9.0, eth, 1_900.0))
        else:
            rows.append(row(snapshot, "0xlong", "ETH", 1.0, eth, 1_000.0))
        rows.append(row(snapshot, "0xother", "ETH", 10.0 * drop, eth, 500.0))
    return rows


def test_evidence_counts_what_became_of_positions(tmp_path: Path) -> None:
    seen = records(tmp_path, fall())
    times = [int(t) for t in seen.moments_ns]
    done = replay_records(seen, TABLES, times, depth={"*": 1e8}, contracts=2)
    first, second, both = done.evidence
    assert first.addresses == 3 and first.addresses_before == 4 and first.positions == 3
    assert first.accounts_cut == 2  # 0xgone too, but it is not seen again
    assert first.count["cut"] == {
        "gone": 1,
        "smaller": 0,
        "as before": 0,
        "larger": 0,
        "turned": 0,
    }
    assert first.count["not cut"]["as before"] == 1 and first.count["not cut"]["smaller"] == 1
    assert first.value["cut"]["gone"] == pytest.approx(140_000.0)
    assert second.count["not cut"]["larger"] == 1 and second.accounts_cut == 0
    assert both.steps == 3 and both.count["cut"]["gone"] == 1
    assert both.worst["BTC"] == pytest.approx(-0.1)
    assert first.reasons == REASONS and len(REASONS) >= 4
    assert [m.label for m in done.moments] == ["before", "during", "after"]
    assert [m.coverage.accounts["one price"] for m in done.common] == [3, 3, 3]
    assert done.moments[0].coverage.accounts["one price"] == 4
    with pytest.raises(CascadeError, match="CAS-022"):
        replay_records(seen, TABLES, times[:2], depth={"*": 1e8})
    with pytest.raises(CascadeError, match="CAS-022"):
        replay_records(seen, TABLES, times[::-1], depth={"*": 1e8})


def candles(path: Path, closes: dict[str, list[float]], minutes: int) -> Path:
    rows = []
    for symbol, values in closes.items():
        for k, close in enumerate(values):
            opened = START + timedelta(minutes=minutes * k)
            rows.append((symbol, f"{minutes}m", opened, close))
            rows.append((symbol, "1h", opened, -1.0))
    frame = pl.DataFrame(rows, schema=["symbol", "interval", "date", "close"], orient="row")
    frame.write_parquet(path / "candles.parquet")
    return path / "candles.parquet"


def test_a_path_between_snapshots_finds_the_trough(tmp_path: Path) -> None:
    """Marks are the same before and after; in between another venue fell by a tenth."""
    rows = []
    for snapshot in (0, 1):
        rows.append(row(snapshot, "0xlong", "BTC", 2.0, 70_000.0, 66_000.0))
        rows.append(row(snapshot, "0xeth", "ETH", 2.0, 2_000.0, 1_850.0))
        rows.append(row(snapshot, "0xsafe", "ETH", 2.0, 2_000.0, 1_500.0))
    seen = records(tmp_path, rows)
    # Six hours lie between the snapshots; closes hold from the end of their candle.
    btc = [70_100.0 * (0.9 if k == 5 else 1.0) for k in range(13)]
    path = read_price_path(candles(tmp_path, {"BTCUSDT": btc}, 30), seen.coins)
    assert path.reference == "BTC"
    prices = price_path(seen, 0, 1, ("BTC", "ETH"), path)
    assert prices[0].tolist() == pytest.approx([70_000.0, 2_000.0])
    assert prices.min(axis=0) == pytest.approx([63_000.0, 1_800.0])
    # Three hours after the first snapshot: the end of the sixth candle.
    assert int(prices[:, 0].argmin()) == 6
    who = population_from_records(seen, 0, TABLES).population
    assert evidence_between(seen, (0, 1), who).accounts_cut == 0
    found = evidence_between(seen, (0, 1), who, path)
    assert found.accounts_cut == 2
    assert found.count["cut"]["as before"] == 2 and found.count["not cut"]["as before"] == 1


def test_prices_of_no_coin(tmp_path: Path) -> None:
    path = candles(tmp_path, {"FOOUSDT": [1.0, 2.0]}, 15)
    with pytest.raises(InputError, match="INP-034"):
        read_price_path(path, ("BTC",))
    pl.read_parquet(path).drop("close").write_parquet(path)
    with pytest.raises(InputError, match="INP-003"):
        read_price_path(path, ("BTC",))
    with pytest.raises(InputError, match="INP-005"):
        read_price_path(tmp_path / "none.parquet", ("BTC",))
    thousands = candles(tmp_path, {"1000PEPEUSDT": [1.0, 2.0]}, 15)
    assert set(read_price_path(thousands, ("kPEPE", "BTC")).close) == {"kPEPE"}
