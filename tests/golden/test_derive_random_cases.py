"""Derive's three models against a second implementation, on cases that nobody recorded.

The second implementation (``tests/oracles/derive_oracle.py``) was written from
reference/derive-v2.md alone and first has to give the contracts' own figures.
"""

from __future__ import annotations

import copy
import json
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.oracles import derive_random
from tests.oracles.derive_oracle import as_text, run
from tests.oracles.derive_random import DAY_S, MONTH_S, random_case

from crossmargin.analytics.reconcile import CaseResult, Line, cases_from, reconcile_cases
from crossmargin.venues.derive_figures import record_figures

GOLDEN = os.environ.get("CROSSMARGIN_GOLDEN")
needs_golden = pytest.mark.skipif(GOLDEN is None, reason="CROSSMARGIN_GOLDEN is not set")
CASES = 250
MODELS = ("pm1", "pm2", "srm")
TOLERANCE = 1e-10
#: From here on a double's last digit, 1 part in 2^52, is more than 1e-7 dollars.
LARGE_USD = 1e9


@needs_golden
@pytest.mark.parametrize(
    "name",
    [
        "upstream-pm2-portfolios",
        "upstream-pm1-verify",
        "upstream-pm1-portfolios",
        "upstream-srm-portfolios",
        "upstream-srm-cases",
    ],
)
def test_the_second_implementation_gives_the_contracts_figures(name: str) -> None:
    """Every figure that the contracts returned, and the same names."""
    path = Path(GOLDEN or "") / "derive" / f"{name}.json"
    compared = 0
    for case in json.loads(path.read_text())["cases"]:
        if case["oracle_run"].get("im") is None:
            continue
        theirs, ours = record_figures(case["oracle_run"]), record_figures(run(case))
        assert theirs.keys() == ours.keys()
        for figure, value in theirs.items():
            if figure != "worst_scenario":  # ties have no order in floating point
                compared += 1
                assert abs(ours[figure] - value) <= TOLERANCE * max(abs(value), 1.0), figure
    assert compared > 300


def compare(case: dict[str, Any]) -> CaseResult:
    """Hold the engine to the second implementation, every figure of it."""
    case = {**copy.deepcopy(case), "oracle_run": as_text(run(case))}
    (result,) = reconcile_cases(cases_from([case], "random")).cases
    return result


def gross_usd(case: dict[str, Any]) -> float:
    """What a book adds up, without signs."""
    held, market = case["portfolio"], case["market"]
    feeds = market["underlyings"]
    prices = {p["asset"]: float(p["price"]) for p in market["collateral_prices"]}
    total = abs(float(held["cash"]))
    for p in held["perps"]:
        total += abs(float(p["amount"])) * float(feeds[p["underlying"]]["perp_price"])
    for o in held["options"]:
        top = max(float(feeds[o["underlying"]]["spot"]), float(o["strike"]))
        total += abs(float(o["amount"])) * top
    for b in held["base"]:
        price = prices.get(b["asset"]) or float(feeds[b["asset"]]["spot"])
        total += float(b["amount"]) * price / float(market["stable_price"])
    return total


def off(case: dict[str, Any], result: CaseResult) -> list[Line]:
    """Figures that differ by more than 1e-10, or in a large book than a double can hold."""
    gross = gross_usd(case)
    last_digit = gross * 2.0**-52 if gross > LARGE_USD else 0.0
    return [
        line
        for line in result.lines
        if line.error > TOLERANCE and not abs(line.ours - line.theirs) <= last_digit
    ]


@pytest.mark.parametrize("model", MODELS)
def test_random_cases_agree(model: str) -> None:
    figures = 0
    for seed in range(CASES):
        case = random_case(model, seed)
        result = compare(case)
        assert result.refused is None, (seed, result.refused)
        assert result.uncompared == (), (seed, result.uncompared)
        assert off(case, result) == [], seed
        names = {line.name for line in result.lines}
        wanted = {"im", "mm", "mtm"}
        if model != "srm":
            count = len(case["params"]["scenarios"])
            wanted |= {f"scenarios[{i}].pnl" for i in range(count)}
            wanted |= {"trusted_mm", "worst_scenario", "components.basis_contingency"}
        assert wanted <= names
        figures += len(result.lines)
    assert figures > 30 * CASES


def _seen(case: dict[str, Any]) -> set[str]:
    """What is unusual about a case."""
    held, market, seen = case["portfolio"], case["market"], set()
    live = [o for o in held["options"] if float(o["amount"]) != 0]
    seconds = {o["seconds_to_expiry"] for o in live}
    seen |= {f"at {s}" for s in seconds & {MONTH_S - 1, MONTH_S, MONTH_S + 1, 0, 400 * DAY_S}}
    seen |= {"expired"} if any(s < 0 for s in seconds) else set()
    seen |= {"settling"} if any(0 < s < 1800 for s in seconds) else set()
    seen |= {"zero row"} if len(live) < len(held["options"]) else set()
    seen |= {"debt"} if float(held["cash"]) < 0 else set()
    seen |= {"off peg"} if float(market["stable_price"]) < 0.98 else set()
    seen |= {"above peg"} if float(market["stable_price"]) > 1 else set()
    kinds = Counter(bool(held[k]) for k in ("options", "perps", "base"))
    seen |= {"empty"} if kinds[True] == 0 else set()
    seen |= {"only options"} if live and kinds[True] == 1 else set()
    seen |= {"only perps"} if held["perps"] and kinds[True] == 1 else set()
    seen |= {"only collateral"} if held["base"] and kinds[True] == 1 else set()
    seen |= {"large"} if gross_usd(case) > LARGE_USD else set()
    seen |= {"small"} if 0 < gross_usd(case) < 1e-3 else set()
    other = case["params"].get("other_contingency")
    if other:
        at = Decimal(other["conf_threshold"])
        for feed in market["underlyings"].values():
            conf = Decimal(feed["spot_confidence"])
            seen |= {"at threshold"} if 0 < conf == at < 1 else set()
            seen |= {"under threshold"} if conf == at - Decimal("1e-18") else set()
    return seen


@pytest.mark.parametrize("model", MODELS)
def test_random_cases_reach_the_corners(model: str) -> None:
    """The comparison is worth something only where the cases are unusual."""
    seen = Counter(s for seed in range(CASES) for s in _seen(random_case(model, seed)))
    wanted = {f"at {s}" for s in (MONTH_S - 1, MONTH_S, MONTH_S + 1, 0, 400 * DAY_S)}
    wanted |= {"expired", "settling", "zero row", "debt", "off peg", "above peg", "empty"}
    wanted |= {"only options", "only perps", "only collateral", "large", "small"}
    if model != "srm":
        wanted |= {"at threshold", "under threshold"}
    assert wanted <= set(seen), sorted(wanted - set(seen))


TABLES = {
    "vol_shock": derive_random.VOL_SHOCK,
    "margin": derive_random.PM2_MARGIN,
    "other_contingency": derive_random.PM2_OTHER,
    "skew_shock": derive_random.SKEW,
}
BOUNDS = [
    (part, name, low, high)
    for part, table in TABLES.items()
    for name, (_, low, high) in table.items()
]


def _plain() -> dict[str, Any]:
    """A PM2 case of usual parameters that holds something of everything."""
    for seed in range(CASES):
        case = random_case("pm2", seed)
        held = case["portfolio"]
        usual = case["params"]["margin"]["im_factor"] == "1"
        if usual and held["perps"] and len(held["base"]) > 1 and len(held["options"]) > 4:
            # A turn needs a width, which the floor gives where the rest of it is at its least.
            case["params"]["skew_shock"]["min_k_star"] = "0.01"
            return case
    raise AssertionError("no such case")


@pytest.mark.parametrize(("part", "name", "low", "high"), BOUNDS)
def test_each_bound_is_legal_and_a_step_beyond_is_not(
    part: str, name: str, low: float, high: float
) -> None:
    """reference/derive-v2.md §2.7, setter bounds."""
    case = _plain()
    for legal in (low, high):
        case["params"][part][name] = derive_random.text(float(legal))
        result = compare(case)
        assert result.refused is None and off(case, result) == []
    least = 0.0 if name == "min_k_star" else low  # 0 is legal where it is not divided by
    for beyond in (least - 1e-6, high + 1e-6):
        case["params"][part][name] = repr(beyond)
        (result,) = reconcile_cases(cases_from([case], "beyond")).cases
        assert result.refused is not None and "outside" in result.refused


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("basis_contingency", "spot_up", "1"),
        ("basis_contingency", "spot_up", "3"),
        ("basis_contingency", "spot_down", "1"),
        ("basis_contingency", "add_factor", "20.000001"),
        ("basis_contingency", "mult_factor", "20.000001"),
        ("vol_shock", "dte_floor_seconds", str(400 * DAY_S + 1)),
    ],
)
def test_other_bounds_are_refused(part: str, name: str, value: str) -> None:
    case = _plain()
    case["params"][part][name] = value
    (result,) = reconcile_cases(cases_from([case], "beyond")).cases
    assert result.refused is not None and "the contracts refuse" in result.refused


# ---- minimal cases of what the comparison found -----------------------------------------


def _bare(model: str, **held: Any) -> dict[str, Any]:
    case = random_case(model, 5)
    if model == "srm":
        rules = next(iter(case["params"]["markets"].values()))
        feed = next(iter(case["market"]["underlyings"].values()))
        case["params"]["markets"], case["market"]["underlyings"] = {"ETH": rules}, {"ETH": feed}
    case["portfolio"] = {"cash": "100", "perps": [], "options": [], "base": [], **held}
    return case


def test_a_pm1_account_of_cash_alone_has_figures() -> None:
    result = compare(_bare("pm1"))
    assert {x.name: x.ours for x in result.lines if x.name in ("im", "mm")} == {
        "im": 100,
        "mm": 100,
    }
    assert result.passed


def test_collateral_that_counts_nothing_is_not_charged_for_doubt() -> None:
    """§4: the base confidence cost is skipped when the margin factor is 0."""
    case = _bare("srm", base=[{"asset": "ETH", "amount": "2"}])
    case["market"]["underlyings"]["ETH"]["spot_confidence"] = "0.1"
    market = case["params"]["markets"]["ETH"]
    market["oracle_contingency"].update(base_threshold="0.5", factor="1")
    market["base"] = {"margin_factor": "0", "im_scale": "1"}
    result = compare(case)
    assert result.passed and {x.name: x.ours for x in result.lines}["im"] == 100
    market["base"] = {"margin_factor": "0.01", "im_scale": "1"}
    result = compare(case)
    assert result.passed and {x.name: x.ours for x in result.lines}["im"] < 100


def test_a_coin_beside_much_cash_keeps_its_digits() -> None:
    case = _bare("pm1", cash="5000000000000", base=[{"asset": "BTC", "amount": "0.3"}])
    lines = {x.name: x for x in compare(case).lines}
    assert lines["components.base_value"].error < 1e-14


def _expired() -> dict[str, Any]:
    for seed in range(CASES):
        case = random_case("pm2", seed)
        live = [o for o in case["portfolio"]["options"] if float(o["amount"]) != 0]
        if any(o["seconds_to_expiry"] <= 0 for o in live):
            return case
    raise AssertionError("no such case")


def test_what_the_contracts_would_divide_by_zero_is_refused() -> None:
    case = _expired()
    case["params"]["vol_shock"]["dte_floor_seconds"] = "0"
    (result,) = reconcile_cases(cases_from([case], "floor")).cases
    assert result.refused is not None and "expired option" in result.refused
    case["portfolio"]["options"] = [
        o for o in case["portfolio"]["options"] if o["seconds_to_expiry"] > 0
    ]
    assert compare(case).passed
    case = _expired()
    case["params"]["skew_shock"]["min_k_star"] = "0"
    case["params"]["scenarios"] = [{"spot": "1", "vol": "Linear", "dampening": "1"}]
    (result,) = reconcile_cases(cases_from([case], "width")).cases
    assert result.refused is not None and "width" in result.refused


def test_a_pm1_peg_factor_goes_up_to_20() -> None:
    case = _bare("pm1", base=[{"asset": "BTC", "amount": "1"}])
    case["market"]["stable_price"] = "0.9"
    case["params"]["other_contingency"].update(peg_loss_threshold="0.99", peg_loss_factor="20")
    assert compare(case).passed
    case["params"]["other_contingency"]["peg_loss_factor"] = "20.001"
    (result,) = reconcile_cases(cases_from([case], "peg")).cases
    assert result.refused is not None and "outside" in result.refused
