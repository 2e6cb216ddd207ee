"""Liquidation prices predicted from an account's largest position; brackets inferred from them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import account, market
from tests.recorded_positions import (
    cross_rows,
    liquidation_price,
    population,
    row,
    slices,
    write,
)

from crossmargin.analytics import LiquidationReconciliation, reconcile_liquidation_prices
from crossmargin.analytics._liquidation_cases import slack_usd
from crossmargin.analytics._tier_tables import TierTable, listed_tables, menu_of
from crossmargin.book import book_from_accounts
from crossmargin.errors import InputError, RulesetError
from crossmargin.margin import evaluate, liquidation_prices, load_ruleset
from crossmargin.venues import read_hyperliquid_positions

RULES = load_ruleset("hyperliquid")
LISTED = {
    "BTC": [(0.0, 40.0), (150e6, 20.0)],
    "ETH": [(0.0, 25.0), (100e6, 15.0)],
    "SOL": [(0.0, 20.0), (70e6, 10.0)],
    "OP": [(0.0, 10.0), (3e6, 5.0)],
    "kPEPE": [(0.0, 10.0), (20e6, 5.0)],
}


def reconciled(path: Path, rows: list[dict[str, Any]], **options: Any) -> LiquidationReconciliation:
    records = read_hyperliquid_positions(write(path / "positions.parquet", rows))
    return reconcile_liquidation_prices(records, options.get("rules", RULES))


# ------------------------------------------------------------------------------ tables


@pytest.mark.parametrize("coin", sorted(LISTED))
def test_tables_come_from_the_rule_set(coin: str) -> None:
    table = listed_tables(RULES, (coin,))[coin]
    assert table.floors == tuple(floor for floor, _ in LISTED[coin])
    assert table.leverages == tuple(leverage for _, leverage in LISTED[coin])
    notional = np.array([1.0, LISTED[coin][1][0], 3.3 * LISTED[coin][1][0]])
    wanted = [slices(LISTED[coin], n) for n in notional]
    assert table.margin(notional).tolist() == pytest.approx(wanted, rel=1e-14)


def test_tables_follow_overrides() -> None:
    tiers = [{"floor": 0.0, "im": 0.5, "mm": 0.25}]
    rules = load_ruleset("hyperliquid", overrides={"components.perpetuals.tiers.BTC": tiers})
    assert listed_tables(rules, ("BTC", "ZEC")) == {"BTC": TierTable((0.0,), (0.25,))}
    assert listed_tables(rules, ("BTC",))["BTC"].words == "2x"


def test_menu_is_single_brackets_and_those_of_the_rule_set() -> None:
    menu = menu_of(RULES)
    assert [t.leverages for t in menu[:50]] == [(float(k),) for k in range(1, 51)]
    assert {t.words for t in menu[50:]} == {
        "40x to 150 m, 20x",
        "25x to 100 m, 15x",
        "20x to 70 m, 10x",
        "20x to 40 m, 10x",
        "10x to 20 m, 5x",
        "10x to 3 m, 5x",
    }


def test_price_solves_the_condition_in_every_bracket() -> None:
    """Against the interval halved in plain Python, on both sides of up to three floors."""
    rng = random.Random(3)
    seen = set()
    for _ in range(400):
        steps = sorted(rng.uniform(1e4, 3e6) for _ in range(rng.randrange(4)))
        tops = sorted((float(rng.randint(2, 50)) for _ in range(len(steps) + 1)), reverse=True)
        brackets = list(zip([0.0, *steps], tops))
        table = TierTable((0.0, *steps), tuple(0.5 / top for top in tops))
        mark, size = rng.uniform(0.5, 5_000.0), rng.uniform(1e4, 4e6)
        q = rng.choice((-1.0, 1.0)) * size / mark
        available = rng.choice((-0.2, 1.0)) * rng.uniform(1e2, 3e6)
        wanted = liquidation_price(brackets, q, mark, max(available, 1.0))
        solved = table.price(np.array([q]), np.array([mark]), np.array([max(available, 1.0)]))[0]
        if wanted is None:
            assert np.isnan(solved)
            seen.add("none")
            continue
        assert solved == pytest.approx(wanted, rel=1e-11)
        back = table.available(np.array([q]), np.array([mark]), np.array([solved]))[0]
        assert back == pytest.approx(max(available, 1.0), rel=1e-9, abs=1e-6)
        crossed = sum((abs(q) * mark < s) != (abs(q) * solved < s) for s in steps)
        seen.add((q > 0, crossed))
    assert {"none", (True, 0), (True, 1), (True, 2), (False, 0), (False, 1), (False, 2)} <= seen


def test_the_engine_finds_the_same_prices() -> None:
    """The engine revalues the whole account; the condition looks at one position."""
    held = {"BTC": (20.0, 70_000.0), "OP": (-9e6, 0.25), "SOL": (2e4, 100.0)}
    prices = {"USDC": 1.0, **{c: p for c, (_, p) in held.items()}}
    marks = {f"{c}_USDC-PERPETUAL": p for c, (_, p) in held.items()}
    who = account(
        *((f"{c}_USDC-PERPETUAL", q) for c, (q, _) in held.items()), balances={"USDC": 1_200_000}
    )
    done = evaluate(book_from_accounts([who]), market(prices, marks=marks), RULES)
    available = np.array([1_200_000 - done.mm_usd])
    for line in liquidation_prices(done.frame, together=False):
        q, mark = held[line.underlying]
        table = listed_tables(RULES, (line.underlying,))[line.underlying]
        side = line.down if q > 0 else line.up
        wanted = table.price(np.array([q]), np.array([mark]), available)[0]
        assert side.price_usd == pytest.approx(wanted, rel=1e-10), line.underlying
        assert line.underlying != "OP" or 9e6 * wanted > 3e6 > 9e6 * 0.25


# ------------------------------------------------------------------------------ by hand


def test_one_account_by_hand(tmp_path: Path) -> None:
    """One long BTC and one short OP, available 10,000.

    BTC: 70,000 − 10,000/1/(1 − 1/80) = 59,873.417..., the largest. OP: 1,000 short at 10,
    10 + 10,000/1,000/(1 + 1/20) = 19.5238..., which stays under 3 m.
    """
    rows = [
        found
        for snapshot in (0, 1)
        for found in (
            row(snapshot, "0xa", "BTC", 1.0, 70_000.0, 70_000.0 - 10_000.0 / (1.0 - 1.0 / 80.0)),
            row(snapshot, "0xa", "OP", -1_000.0, 10.0, 10.0 + 10.0 / 1.05),
        )
    ]
    done = reconciled(tmp_path, rows)
    assert (done.cases, done.share, done.scoring.listed) == (1, 1.0, 1.0)
    assert (done.positions, done.with_price, done.pools) == (4, 4, 2)
    assert sum(done.classes.values()) == 0 and not done.tables
    rows[3]["liquidationPx"] *= 1.0 + 3e-9
    done = reconciled(tmp_path, rows)
    assert done.share == 0.0 and done.within["1e-8"] == 1.0


def test_the_reference_is_the_largest_with_a_price(tmp_path: Path) -> None:
    """A larger position without a liquidation price implies nothing."""
    held = {"BTC": (1.0, 50_000.0), "SOL": (-100.0, 100.0)}
    rows = []
    for snapshot in (0, 1):
        rows += cross_rows(snapshot, "0xa", held, LISTED, 5_000.0)
        rows.append(row(snapshot, "0xa", "ETH", 100.0, 2_000.0, None))
    done = reconciled(tmp_path, rows)
    assert (done.cases, done.share) == (1, 1.0)
    # None is stated for ETH in this made-up row; 1,948.98 is predicted, and counted as such.
    assert (done.none_stated, done.none_predicted) == (1, 0)


def test_no_price_where_none_can_be(tmp_path: Path) -> None:
    held = {"BTC": (-1.0, 50_000.0), "SOL": (1.0, 100.0), "ETH": (-0.5, 2_000.0)}
    rows = [r for s in (0, 1) for r in cross_rows(s, "0xa", held, LISTED, 9_000.0)]
    assert rows[1]["liquidationPx"] is None
    done = reconciled(tmp_path, rows)
    assert (done.cases, done.share, done.none_stated, done.none_predicted) == (1, 1.0, 1, 1)


# ------------------------------------------------------------------------------ inference

PLANTED = {
    **LISTED,
    "AAA": [(0.0, 3.0)],
    "BBB": [(0.0, 5.0)],
    "CCC": [(0.0, 10.0), (3e6, 5.0)],
    "DDD": [(0.0, 47.0)],
}


def found_tables(done: LiquidationReconciliation) -> dict[str, str]:
    return {table.coin: table.brackets for table in done.tables}


def test_planted_tables_are_found(tmp_path: Path) -> None:
    done = reconciled(tmp_path, population(PLANTED, accounts=20))
    assert done.scoring.listed < 0.4 < done.share == 1.0
    tables = found_tables(done)
    assert tables["AAA"] == "3x" and tables["BBB"] == "5x" and tables["DDD"] == "47x"
    # Nothing held in CCC reaches 3 m: the simplest table that says the same is taken.
    assert tables["CCC"] == "10x"
    assert not any(table.listed for table in done.tables)


def test_a_floor_is_found_where_it_matters(tmp_path: Path) -> None:
    rng = random.Random(5)
    rows = []
    for snapshot in range(4):
        for a in range(8):
            held = {
                "BTC": (rng.choice((-1.0, 1.0)) * 40.0, round(rng.uniform(6e4, 8e4), 1)),
                "SOL": (round(rng.uniform(-9e3, -1e3), 1), round(rng.uniform(80.0, 110.0), 2)),
                "CCC": (-round(rng.uniform(1e5, 9e5), 0), round(rng.uniform(3.0, 5.0), 3)),
            }
            rows += cross_rows(snapshot, f"0x{a}", held, PLANTED, rng.uniform(5e5, 1e6))
    done = reconciled(tmp_path, rows)
    assert found_tables(done) == {"CCC": "10x to 3 m, 5x"}
    assert done.share == 1.0


def test_a_listed_table_gives_way_only_to_more_accounts(tmp_path: Path) -> None:
    rows = population({**PLANTED, "OP": [(0.0, 4.0)]}, accounts=9)
    (table,) = (t for t in reconciled(tmp_path, rows).tables if t.coin == "OP")
    assert (table.listed, table.brackets) == ("10x to 3 m, 5x", "4x")
    assert table.votes == table.holdings > table.listed_votes == 0


def test_the_scored_half_is_not_read_by_inference(tmp_path: Path) -> None:
    rows = population(PLANTED, accounts=20)
    plain = reconciled(tmp_path, rows)
    times = sorted({r["snapshot_ts"] for r in rows})
    for r in rows:
        if r["snapshot_ts"] in times[1::2] and r["liquidationPx"]:
            r["liquidationPx"] = round(r["liquidationPx"] * 1.37, 10)
    other = reconciled(tmp_path, rows)
    assert other.tables == plain.tables and other.holdings == plain.holdings
    assert other.learning == plain.learning
    assert other.share < 0.05 < plain.share


def test_positions_under_older_brackets(tmp_path: Path) -> None:
    older = {("0x03", "AAA"): [(0.0, 10.0)], ("0x05", "ETH"): [(0.0, 50.0)]}
    done = reconciled(tmp_path, population(PLANTED, accounts=20, older=older))
    assert done.holdings == {"10x": 1, "50x": 1}
    assert done.scoring.by_coin < done.share == 1.0
    assert found_tables(done)["AAA"] == "3x"


def test_isolated_positions_are_told_apart(tmp_path: Path) -> None:
    """A fenced position misses, and so does what is predicted from one."""
    fenced = {("0x01", "AAA"): 3_333.25, ("0x02", "BTC"): 12.5, ("0x04", "SOL"): 5_000.125}
    done = reconciled(tmp_path, population(PLANTED, accounts=20, fenced=fenced))
    missed = {name: count for name, count in done.classes.items() if count}
    assert set(missed) == {"isolated"}
    assert missed["isolated"] == round((1.0 - done.share) * done.cases) >= 9
    assert found_tables(done)["AAA"] == "3x"


def test_the_criterion_for_isolated_is_held_to_the_recorded_modes(tmp_path: Path) -> None:
    fenced = {("0x01", "AAA"): 3_333.25, ("0x04", "SOL"): 5_000.125}
    rows = population(PLANTED, accounts=10, fenced=fenced)
    for r in rows:
        r["leverageType"] = "isolated" if (r["address"], r["coin"]) in fenced else "cross"
    check = reconciled(tmp_path, rows).isolated_check
    assert check.isolated == check.isolated_found == 12
    assert check.cross > 300 and check.cross_found == 0


def test_a_price_that_stands_still_is_isolated(tmp_path: Path) -> None:
    """Two positions that do not agree; one of them never moves."""
    rows = []
    for snapshot, mark in enumerate((2_000.0, 2_100.0, 1_900.0, 2_050.0)):
        rows.append(row(snapshot, "0xa", "ETH", -9.0, mark, 2_600.0 + 0.01 * snapshot))
        rows += cross_rows(snapshot, "0xa", {"BTC": (1.0, 30.0 * mark)}, LISTED, 5e3 + 9 * mark)
    done = reconciled(tmp_path, rows)
    assert {k: v for k, v in done.classes.items() if v} == {"isolated": 2}


def test_prices_known_to_a_few_digits(tmp_path: Path) -> None:
    """A long of a billion coins: ten decimals of its price leave dollars open."""
    held = {"kPEPE": (2e9, 0.004), "BTC": (0.01, 70_000.0), "ETH": (-0.02, 2_000.0)}
    rows = [r for s in (0, 1) for r in cross_rows(s, "0xa", held, LISTED, 30_000.0)]
    done = reconciled(tmp_path, rows)
    assert done.share < 1.0
    assert {k: v for k, v in done.classes.items() if v} == {
        "printed digits": round((1.0 - done.share) * done.cases)
    }


def test_slack_is_what_printing_leaves_open() -> None:
    rng = random.Random(11)
    table = TierTable((0.0,), (0.05,))
    for _ in range(300):
        q, mark = rng.choice((-1, 1)) * 10 ** rng.uniform(0, 9), 10 ** rng.uniform(-4, 4)
        exact = mark * (1.0 + rng.uniform(0.1, 0.9) * (-1.0 if q > 0 else 1.0))
        size, q, mark, price = abs(q), np.array([q]), np.array([mark]), np.array([exact])
        whole = table.available(q, mark, price)
        shown = np.round(size * mark, 6) / size
        printed = table.available(q, shown, np.round(price, 10))
        assert abs(whole - printed)[0] <= slack_usd(q, mark, price)[0]


# ------------------------------------------------------------------------------ what is refused


def test_nothing_to_predict(tmp_path: Path) -> None:
    rows = cross_rows(0, "0xa", {"BTC": (1.0, 5e4), "ETH": (1.0, 2e3)}, LISTED, 1e3)
    with pytest.raises(InputError, match="INP-034"):
        reconciled(tmp_path, rows)
    with pytest.raises(InputError, match="INP-034"):
        reconciled(tmp_path, [row(s, "0xa", "BTC", 1.0, 5e4, None) for s in range(4)])


@pytest.mark.parametrize("name", ["deribit-pm", "paradex-pm", "isolated", "isolated-whole"])
def test_other_rule_sets(tmp_path: Path, name: str) -> None:
    with pytest.raises(RulesetError, match="RUL-011"):
        reconciled(tmp_path, population(LISTED, accounts=2), rules=load_ruleset(name))


def test_the_same_bytes_give_the_same_result(tmp_path: Path) -> None:
    rows = population(PLANTED, accounts=6)
    shuffled = rows.copy()
    random.Random(1).shuffle(shuffled)
    assert reconciled(tmp_path, rows) == reconciled(tmp_path, shuffled)
    assert list(reconciled(tmp_path, rows).as_dict())[:2] == ["cases", "share_within_1e-9"]
