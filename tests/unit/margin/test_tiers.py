"""Margin against size: requirements rows B12 and A11, by hand and as laws."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import helpers as h

from crossmargin.cli import main
from crossmargin.errors import InputError, RulesetError
from crossmargin.margin import (
    Ruleset,
    effective_rates,
    load_ruleset,
    make_statement,
    next_jumps,
    tier_tables,
)
from crossmargin.margin.components import Slope, Tier

#: 1 % to 1 m, then 2 % to 5 m, then 4 %; half of it for maintenance.
TIERS = [(0.0, 0.01), (1e6, 0.02), (5e6, 0.04)]
RULE = [Tier(floor=f, im=r, mm=r / 2) for f, r in TIERS]


def tiered(scheme: str, **more: object) -> Ruleset:
    tiers = {"default": [{"floor": f, "im": r, "mm": r / 2} for f, r in TIERS]}
    return h.rules(h.component("rate", "futures", scheme=scheme, tiers=tiers, **more))


def slice_by_slice(notional: float) -> float:
    """Marginal initial margin, one slice after another."""
    ends = [f for f, _ in TIERS[1:]] + [float("inf")]
    return sum(r * max(0.0, min(notional, end) - f) for (f, r), end in zip(TIERS, ends))


def test_row_a11() -> None:
    """3 m under 1 % to 1 m then 2 %: 50,000 marginal, 60,000 on the whole notional."""
    for marginal, margin in ((True, 50_000.0), (False, 60_000.0)):
        im, mm = effective_rates(3e6, RULE, marginal=marginal)
        assert float(im) * 3e6 == pytest.approx(margin, rel=1e-14)
        assert float(mm) == pytest.approx(float(im) / 2, rel=1e-14)


@given(st.floats(0.0, 1e8))
def test_marginal_equals_slices(notional: float) -> None:
    im, _ = effective_rates(notional, RULE)
    assert float(im) * notional == pytest.approx(slice_by_slice(notional), rel=1e-12, abs=1e-9)


@given(st.floats(0.0, 1e7), st.floats(0.0, 1e7), st.floats(0.0, 1.0))
def test_marginal_is_continuous_and_convex(a: float, b: float, t: float) -> None:
    def margin(x: float) -> float:
        return float(effective_rates(x, RULE)[0]) * x

    middle = t * a + (1 - t) * b
    assert margin(middle) <= t * margin(a) + (1 - t) * margin(b) + 1e-6
    assert abs(margin(a) - margin(b)) <= 0.04 * abs(a - b) + 1e-6  # no step anywhere


@pytest.mark.parametrize("floor", [1e6, 5e6])
def test_edges(floor: float) -> None:
    beyond = floor * (1 + 1e-12)
    low, _ = effective_rates([floor, beyond], RULE, marginal=True)
    assert low[1] - low[0] < 1e-12
    whole, _ = effective_rates([floor, beyond], RULE, marginal=False)
    assert whole[1] == 2 * whole[0]  # the floor itself belongs to the bracket below


def test_a_slope_and_sizes_of_nothing() -> None:
    im, mm = effective_rates([0.0, 100.0], Slope(im=0.02, mm=0.01, per_coin=5e-5))
    assert im.tolist() == [0.02, 0.025] and mm.tolist() == [0.01, 0.015]
    assert effective_rates(0.0, RULE)[0].tolist() == 0.01
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError):
            effective_rates(wrong, RULE)


def test_tables() -> None:
    (whole,) = tier_tables(tiered("whole"), h.PERP)
    assert (whole.key, whole.unit, whole.scheme) == ("default", "USD", "whole")
    assert [b.jump_im_usd for b in whole.brackets] == [0.0, 10_000.0, 100_000.0]
    assert [b.jump_mm_usd for b in whole.brackets] == [0.0, 5_000.0, 50_000.0]
    assert [b.im_usd for b in whole.brackets] == [0.0, 10_000.0, 100_000.0]
    (marginal,) = tier_tables(tiered("marginal"), h.PERP, [3e6])
    assert [b.jump_im_usd for b in marginal.brackets] == [0.0, 0.0, 0.0]
    assert [b.im_usd for b in marginal.brackets] == [0.0, 10_000.0, 90_000.0]
    (size,) = marginal.sizes
    assert size.effective_im == pytest.approx(1 / 60)
    assert size.leverage == pytest.approx(60.0)


def test_shipped_rule_sets() -> None:
    (btc,) = tier_tables(load_ruleset("isolated"), "BTC/USDC:USDC")
    assert [b.floor_usd for b in btc.brackets] == [0.0, 150e6]
    (slope,) = tier_tables(load_ruleset("deribit-sm"), h.PERP, [10.0])
    assert slope.unit == "coins" and slope.sizes[0].effective_im == pytest.approx(0.0205)
    for ruleset, name in (("deribit-pm", h.PERP), ("isolated", h.CALL), ("isolated", "DOGE_USDC")):
        with pytest.raises(RulesetError) as caught:
            tier_tables(load_ruleset(ruleset), name)
        assert caught.value.code == "RUL-011"


def test_the_next_jump_is_said_in_the_statement() -> None:
    who = h.account((h.PERP, 18.0), (h.ETH_PERP, 1_000.0), balances={"USDC": 1e6})
    rules = tiered("whole")
    jumps = {j.instrument: j for j in next_jumps(h.frame(who, rules, h.fixture_g()))}
    assert jumps[h.PERP].notional_usd == 900_000.0
    assert (jumps[h.PERP].floor_usd, jumps[h.PERP].im_usd, jumps[h.PERP].mm_usd) == (
        1e6,
        10_000.0,
        5_000.0,
    )
    assert (jumps[h.ETH_PERP].floor_usd, jumps[h.ETH_PERP].im_usd) == (5e6, 100_000.0)
    # The jump is what the engine charges for one unit more.
    at = [h.im(rules, h.fixture_g(), (h.PERP, q)) for q in (20.0, 20.0 + 1e-9)]
    assert at[1] - at[0] == pytest.approx(jumps[h.PERP].im_usd, rel=1e-6)
    notes = " ".join(make_statement(who, h.fixture_g(), rules).notes)
    assert "one unit more than 1,000,000 USD" in notes and "a jump of 10,000.00 USD in IM" in notes
    smooth = make_statement(who, h.fixture_g(), tiered("marginal"))
    assert not any("jump" in note for note in smooth.notes)


def test_no_jump_in_the_last_bracket_nor_where_leverage_hides_it() -> None:
    big = h.account((h.PERP, 200.0))
    assert next_jumps(h.frame(big, tiered("whole"), h.fixture_g())) == []
    low = h.account({"instrument": h.PERP, "quantity": 18, "entry_price": "mark", "leverage": 20})
    (jump,) = next_jumps(h.frame(low, tiered("whole", use_leverage=True), h.fixture_g()))
    assert jump.im_usd == 0.0 and jump.mm_usd == 5_000.0


def test_notional_of_an_inverse_contract_is_what_the_engine_sees() -> None:
    cheap = replace(h.fixture_g())
    (jump,) = next_jumps(h.frame(h.account(("BTC-PERPETUAL", 900_000.0)), tiered("whole"), cheap))
    assert jump.notional_usd == pytest.approx(900_000.0, rel=1e-14)


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiers", "isolated-whole", "BTC-PERPETUAL"]) == 0
    out = capsys.readouterr().out
    assert "150,000,000" in out and "3,750,000.00" in out
    assert main(["tiers", "isolated", h.PERP, "--size", "300000000", "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    assert table["sizes"][0]["effective_im"] == pytest.approx(0.0375)
    assert main(["tiers", "deribit-pm", h.PERP]) == 2
    assert "RUL-011" in capsys.readouterr().err
    assert main(["tiers", "isolated", "nonsense"]) == 2
    assert "INP-001" in capsys.readouterr().err
    path = "components.futures.tiers.BTC.1.im=0.08"
    assert main(["tiers", "isolated-whole", h.PERP, "--set", path, "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    assert np.isclose(table["brackets"][1]["jump_im_usd"], 150e6 * 0.055)
