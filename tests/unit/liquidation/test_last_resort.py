"""From a loss to who bears it, and contagion inside an account."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.helpers import PERP, account, fixture_g, flat_rate, rules

from crossmargin.errors import LiquidationError
from crossmargin.liquidation import (
    Bearers,
    Candidates,
    Fund,
    MarginedAccount,
    Policy,
    contagion,
    linear_account,
    liquidation_rule_ids,
    liquidation_rules,
    resolve_loss,
    shocked_linear,
    start_of,
)


def holders(*contracts: int) -> Candidates:
    many = len(contracts)
    return Candidates(
        contracts=contracts,
        mark=100.0,
        entry=np.linspace(120.0, 140.0, many),
        bankruptcy=np.full(many, 200.0),
        wallet=np.full(many, 1_000.0),
        profit=np.full(many, 100.0),
        mm=np.full(many, 10.0),
    )


def bearers(fund: int, **more: Any) -> Bearers:
    plain: dict[str, Any] = {
        "fund": Fund(balance=fund, peak=max(fund, 1)),
        "candidates": holders(-30, -50, -40),
        "equity": (3_000_000, 1_000_000, -5),
        "contracts": (100, -100),
        "profit": (10, 20),
        "others": {"amm-profit": 0},
    }
    return Bearers(**{**plain, **more})


def test_rows_b08_and_b09() -> None:
    """120,000 on a fund of 100,000: a sixth of the position goes to holders, who bear 20,000."""
    found = resolve_loss(liquidation_rules("binance"), 120_000, 60, 101.0, bearers(100_000))
    assert [(x.name, x.used) for x in found.waterfall.layers] == [
        ("fund", 100_000),
        ("adl", 20_000),
    ]
    assert found.fund.balance == 0 and found.adl is not None
    assert found.adl.contracts == 10 and found.market_contracts == 50
    assert sum(found.adl_charged) == 20_000 and found.shared is None


def test_nobody_is_called_upon_before_the_fund_is_empty() -> None:
    found = resolve_loss(
        liquidation_rules("house"), 100_000, 60, 101.0, bearers(100_000, candidates=None)
    )
    assert found.adl is None and found.shared is None and found.fund.balance == 0
    assert found.market_contracts == 60


def test_too_few_holders_and_the_rest_is_shared() -> None:
    """A loss of 1,000 a contract on 200, holders of 120: 80,000 are shared, 2 % of equity."""
    found = resolve_loss(liquidation_rules("house"), 200_000, 200, 101.0, bearers(0))
    assert [x.used for x in found.waterfall.layers] == [0, 120_000, 80_000]
    assert found.adl_charged == (30_000, 50_000, 40_000)
    assert found.shared is not None and found.shared.rate == 0.02
    assert found.shared.charged == (60_000, 20_000, 0)
    assert found.market_contracts == 80


def test_a_fund_that_may_only_fall_so_far() -> None:
    """Bybit: a pool of 1 million with a loss of 350,000 leaves 50,000 to users."""
    found = resolve_loss(
        liquidation_rules("bybit-isolated"), 350_000, 70, 101.0, bearers(1_000_000)
    )
    assert [x.used for x in found.waterfall.layers] == [300_000, 50_000]
    assert found.fund.balance == 700_000 and found.adl is not None and found.adl.contracts == 10


def test_drift_shares_by_contracts() -> None:
    found = resolve_loss(
        liquidation_rules("drift-v2"), 1_000, 5, 101.0, bearers(300, others={"amm-profit": 500})
    )
    assert [x.used for x in found.waterfall.layers] == [300, 500, 200]
    assert found.shared is not None and found.shared.charged == (100, 100)


@pytest.mark.parametrize("name", liquidation_rule_ids())
@pytest.mark.parametrize("loss", [0, 1, 999_983])
@pytest.mark.parametrize("fund", [0, 7, 10**9])
def test_layers_of_every_venue_sum(name: str, loss: int, fund: int) -> None:
    found = resolve_loss(liquidation_rules(name), loss, 119, 101.0, bearers(fund, start=1))
    fall = sum(x.used for x in found.waterfall.layers) + found.waterfall.uncovered
    assert fall == loss
    assert sum(found.adl_charged) == found.waterfall.used("adl")
    if found.shared is not None:
        assert sum(found.shared.charged) == found.waterfall.used("socialised-loss")


def test_what_is_needed_must_be_given() -> None:
    with pytest.raises(LiquidationError, match="none are given"):
        resolve_loss(liquidation_rules("house"), 5, 1, 101.0, bearers(0, candidates=None))
    with pytest.raises(LiquidationError, match="amm-profit"):
        resolve_loss(liquidation_rules("drift-v2"), 5, 1, 101.0, bearers(0, others={}))
    with pytest.raises(LiquidationError, match="LIQ-001"):
        resolve_loss(liquidation_rules("house"), -5, 1, 101.0, bearers(0))


# ------------------------------------------------------------------------------- row A05


@pytest.mark.parametrize(
    ("policy", "row", "other"),
    [
        ("riskiest-first", [1.0, 1 / 3], [2_560 / 5_000, 0.0]),
        ("proportional", [14 / 19, 14 / 19], [2_560 / 7_760, 2_560 / 7_760]),
    ],
)
def test_row_a05_as_a_matrix(policy: Policy, row: list[float], other: list[float]) -> None:
    """ETH −8 % instead: equity 5,200 against 5,000 + 2,760."""
    both = linear_account(
        quantity=[2, 20], mark=[50_000, 3_000], rate=0.05, equity=10_000, names=["BTC", "ETH"]
    )
    found = contagion(shocked_linear(both), {"BTC": -0.08, "ETH": -0.08}, policy)
    assert found.matrix[0] == pytest.approx(row)
    assert found.matrix[1] == pytest.approx(other)
    assert found.closed == found.shocked == ("BTC", "ETH")


def test_row_a05_in_isolated_pots() -> None:
    """The ETH stands in a pot of its own, which a shock to BTC does not reach."""
    eth = linear_account(quantity=20, mark=3_000, rate=0.05, equity=4_000, names=["ETH"])
    assert contagion(shocked_linear(eth), {"BTC": -0.08}, "riskiest-first").matrix[0, 0] == 0.0


def test_row_a05_by_the_margin_engine() -> None:
    who = account((PERP, 2, 50_000), ("ETH_USDC-PERPETUAL", 20, 3_000), balances={"USDC": 10_000})
    held = MarginedAccount(who, fixture_g(), rules(flat_rate(0.1, 0.05)))
    found = contagion(held.shocked, {"BTC": -0.08}, "riskiest-first")
    assert found.matrix[0] == pytest.approx([1.0, 1 / 3])
    assert found.reductions[0].before.equity == pytest.approx(2_000)
    assert held.standing(start_of(held), np.zeros(2)).equity == 10_000, "the account is as it was"
    with pytest.raises(LiquidationError, match="follows"):
        held.shocked("DOGE", -0.1)
    with pytest.raises(LiquidationError, match="cannot move"):
        contagion(held.shocked, {"BTC": -1.0}, "proportional")
