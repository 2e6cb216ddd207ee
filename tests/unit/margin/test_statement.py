"""The statement: it adds up, explains itself and can be computed again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from msgspec import UNSET

from crossmargin.book import book_from_accounts, parse_account
from crossmargin.cli import _io as io
from crossmargin.errors import InputError
from crossmargin.margin import (
    decode_statement,
    encode_statement,
    equity,
    frame_for,
    load_ruleset,
    make_statement,
    recompute,
    requirement,
    ruleset_ids,
)
from crossmargin.units import parse_time

ACCOUNTS = ("covered-call", "basis-trader", "short-vol-desk", "directional")
VOLS = {
    f"scenarios.underlyings.{coin}.{field}": size
    for coin in ("BTC", "ETH")
    for field, size in (("vol_up", 0.4), ("vol_down", 0.3))
}
#: What the venues do not publish, made up so that every demo account can be computed.
OVERRIDES: dict[str, dict[str, object]] = {
    "paradex-pm": {"collateral.assets.default.haircut": 0.1},
    "okx-pm": {
        **VOLS,
        "collateral.assets.default.haircut": 0.1,
        **{f"components.{name}.left_out": True for name in ("mr2", "mr3", "mr5")},
    },
    "bybit-pm": {
        **VOLS,
        "collateral.assets.default.haircut": 0.1,
        "components.net_short_options.underlyings.default.index": 0.01,
        "components.futures_contingency.underlyings.default.index": 0.002,
        "components.stablecoin_spread.levels": [
            {"from_price": 0.0, "sizes": [{"floor": 0.0, "rate": 0.01}]}
        ],
        "components.im_factor.value": 1.25,
    },
}
#: Rule-sets that take the demo accounts; venues that trade less are in
#: ``tests/property/test_venue_parameters.py``, with accounts of their own.
#: One that looks back needs a history, which the demo markets have not: ``test_house.py``.
RULESETS = [
    name
    for name in ruleset_ids()
    if load_ruleset(name).data.instruments is None and load_ruleset(name).data.tail is UNSET
]


def rules_of(name: str):
    return load_ruleset(name, overrides=OVERRIDES.get(name))


@pytest.mark.parametrize("name", RULESETS)
@pytest.mark.parametrize("account", ACCOUNTS)
def test_lines_add_up(account: str, name: str) -> None:
    made = make_statement(
        io.load_account(account), io.load_market("crash-2026-02-05"), rules_of(name), solve=False
    )
    t = made.totals
    steps = sum(s.usd for s in made.waterfall[1:-1]) + made.waterfall[0].usd
    assert steps == pytest.approx(t.im, rel=1e-9, abs=1e-6)
    split = (
        sum(p.share_im_usd for p in made.positions)
        + sum(b.share_im_usd for b in made.balances)
        + made.share_fixed_usd
        + made.share_jumps_usd
    )
    assert split == pytest.approx(t.im, rel=1e-9, abs=1e-9)
    assert sum(p.im * p.numeraire_usd for p in made.pots) == pytest.approx(t.im, rel=1e-12)
    whole = t.balances + t.unrealised + t.option_value - t.haircut_mm
    assert whole == pytest.approx(t.equity, rel=1e-12, abs=1e-6)
    assert t.available == pytest.approx(t.equity_im - t.im)
    values = sum(p.value_usd + p.unrealised_usd for p in made.positions)
    assert values == pytest.approx(t.unrealised + t.option_value, rel=1e-9, abs=1e-6)
    assert sum(g.delta for g in made.groups) == pytest.approx(sum(p.delta for p in made.positions))


@pytest.mark.parametrize("name", RULESETS)
def test_computed_again_it_gives_itself(name: str) -> None:
    made = make_statement(
        io.load_account("short-vol-desk"),
        io.load_market("calm-2026-02-03"),
        rules_of(name),
        at_ns=parse_time("2026-02-27T07:40:00Z"),
    )
    raw = encode_statement(made)
    assert encode_statement(recompute(decode_statement(raw))) == raw


def test_another_version_is_refused() -> None:
    made = make_statement(
        io.load_account("covered-call"),
        io.load_market("calm-2026-02-03"),
        rules_of("deribit-sm"),
        solve=False,
    )
    data = json.loads(encode_statement(made))
    data["hashes"]["code_version"] = "0.0.0"
    with pytest.raises(InputError, match="INP-012"):
        recompute(decode_statement(json.dumps(data).encode()))


def test_hashes_change_with_what_went_in() -> None:
    account, market = io.load_account("covered-call"), io.load_market("calm-2026-02-03")
    base = make_statement(account, market, rules_of("deribit-pm"), solve=False).hashes
    other = make_statement(
        account, io.load_market("crash-2026-02-05"), rules_of("deribit-pm"), solve=False
    ).hashes
    assert base.account == other.account and base.ruleset == other.ruleset
    assert base.market != other.market
    tweaked = load_ruleset("deribit-pm", overrides={"scenarios.underlyings.BTC.price_range": 0.17})
    assert make_statement(account, market, tweaked, solve=False).hashes.ruleset != base.ruleset


@pytest.mark.parametrize("name", ("deribit-pm-cross", "paradex-pm"))
@pytest.mark.parametrize("account", ACCOUNTS)
def test_compiled_kernel_gives_the_same(account: str, name: str) -> None:
    book = book_from_accounts([io.load_account(account)])
    market = io.load_market("calm-2026-02-03")
    found = {}
    for kernel in ("numpy", "numba"):
        frame = frame_for(book, market, rules_of(name), kernel=kernel)  # type: ignore[arg-type]
        need = requirement(frame)
        found[kernel] = np.concatenate([need.im, need.mm, equity(frame, need).mm])
    assert found["numba"] == pytest.approx(found["numpy"], rel=1e-11)


def test_greeks_are_those_of_the_positions() -> None:
    """Net delta against a numerical bump of the account's dollar value."""
    account = parse_account(
        json.dumps(
            {
                "format": "crossmargin-account/1",
                "account": "g",
                "balances": [{"asset": "USDC", "amount": 1e5}],
                "positions": [
                    {"instrument": "BTC_USDC-27MAR26-80000-C", "quantity": -3},
                    {"instrument": "BTC_USDC-27MAR26-70000-P", "quantity": 2},
                ],
            }
        )
    )
    market = io.load_market("calm-2026-02-03")
    rules = rules_of("deribit-pm-cross")
    book = book_from_accounts([account])
    frame = frame_for(book, market, rules)
    made = make_statement(account, market, rules, solve=False)

    def value(ratio: float) -> float:
        factor = np.array([ratio if name == "BTC" else 1.0 for name in book.registry.assets])
        there = frame.shocked(factor)
        return float((equity(there, requirement(there)).mm).sum())

    forward = float(frame.view.price[0])
    step = 1e-4
    slope = (value(1 + step) - value(1 - step)) / (2 * step * forward)
    assert made.groups[0].delta == pytest.approx(slope, rel=1e-5)
    bend = (value(1 + step) - 2 * value(1) + value(1 - step)) / (step * forward) ** 2
    assert made.groups[0].gamma == pytest.approx(bend * forward * 0.01, rel=1e-3)


def test_time_moves_theta_vol_power_and_settlement() -> None:
    account = parse_account(
        json.dumps(
            {
                "format": "crossmargin-account/1",
                "account": "t",
                "balances": [{"asset": "BTC", "amount": 5}],
                "positions": [{"instrument": "BTC-6FEB26-78000-C", "quantity": -1}],
            }
        )
    )
    market, rules = io.load_market("calm-2026-02-03"), rules_of("deribit-pm")

    def at(text: str):
        return make_statement(account, market, rules, at_ns=parse_time(text), solve=False)

    now, later = at("2026-02-03T05:00:00Z"), at("2026-02-05T05:00:00Z")
    assert later.positions[0].mark_price < now.positions[0].mark_price  # theta
    # Inside the last half hour the average already collected no longer moves: with 15 of 30
    # minutes gone half the forward is fixed, and the delta is half what it would be.
    before, inside = at("2026-02-06T07:29:59Z"), at("2026-02-06T07:45:00Z")
    assert abs(inside.positions[0].delta) < 0.62 * abs(before.positions[0].delta)
    gone = at("2026-02-06T08:00:00Z")
    assert gone.positions[0].settled and gone.totals.im == 0
    # It settles at the index of the market: intrinsic value in coin.
    index = market.asset_usd("BTC")
    assert gone.positions[0].mark_price == pytest.approx(max(index - 78000, 0) / index)


def test_price_views_of_future_marks_follow_the_listed_mark() -> None:
    """A listed future takes its own mark, an option of that expiry the forward."""
    market = io.load_market("calm-2026-02-03")
    account = parse_account(
        json.dumps(
            {
                "format": "crossmargin-account/1",
                "account": "f",
                "balances": [{"asset": "BTC", "amount": 5}],
                "positions": [
                    {"instrument": "BTC-27MAR26", "quantity": 1000, "entry_price": "mark"}
                ],
            }
        )
    )
    made = make_statement(account, market, rules_of("deribit-pm"), solve=False)
    expiry = parse_time("2026-03-27T08:00:00Z")
    assert made.positions[0].mark_price == market.forwards["BTC", expiry].price_usd
