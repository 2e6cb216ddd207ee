"""Standard against portfolio margin on one path: each closes the account that the other keeps."""

from __future__ import annotations

import json

from crossmargin.book import CompactBook, book_from_accounts, compact_book, parse_account
from crossmargin.cascade.on_rules import BookRules
from crossmargin.cascade.paths import scripted
from crossmargin.cascade.rule_comparison import compare_rulesets
from crossmargin.cascade.setting import CascadeMarket
from crossmargin.liquidation import liquidation_rules
from crossmargin.margin import load_ruleset
from crossmargin.venues import load_market


def account(name: str, btc: float, **positions: float) -> str:
    rows = [
        {"instrument": k.replace("_", "-"), "quantity": v, "entry_price": "mark"}
        for k, v in positions.items()
    ]
    balances = [{"asset": "BTC", "amount": btc}]
    head = {"format": "crossmargin-account/1", "account": name}
    return json.dumps({**head, "balances": balances, "positions": rows})


def book() -> CompactBook:
    files = [
        account("hedged", 3.05, BTC_PERPETUAL=7_800_000.0, BTC_27MAR26=-7_800_000.0),
        account("long", 14.0, BTC_PERPETUAL=7_800_000.0),
    ]
    return compact_book(book_from_accounts([parse_account(text) for text in files]))


def test_netting_keeps_a_hedge_and_asks_more_of_a_lone_position() -> None:
    news = CascadeMarket(
        exogenous=scripted({"BTC": [(0, 1), (240, 0.95)]}, ("BTC",), steps=4, step_s=60.0),
        depth_usd=[1e11],
    )
    rules = BookRules(liquidation=liquidation_rules("hyperliquid"), fund_usd=1e6)
    sets = [load_ruleset(name) for name in ("deribit-sm", "deribit-pm")]
    market = load_market("calm-2026-02-03")
    standard, portfolio = compare_rulesets(book(), market, sets, news, rules, assets=("BTC",))
    assert (standard.ruleset, portfolio.ruleset) == ("deribit-sm", "deribit-pm")
    assert standard.accounts == (0,)  # both legs of the hedge are margined in full
    assert portfolio.accounts == (1,)  # fifteen per cent of a lone position
    assert standard.news_drop == portfolio.news_drop < -0.049  # the same path
    assert standard.liquidated_usd > 0.0 and portfolio.liquidated_usd > 0.0
