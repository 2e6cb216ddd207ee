"""What size costs: add-ons on an owner's net position, a cost curve, a book walk."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from crossmargin.book import AccountFile, BalanceEntry, PositionEntry, book_from_accounts
from crossmargin.margin import evaluate_book, load_ruleset
from crossmargin.market import Liquidity, OrderBook, fit_impact, liquidation_cost
from crossmargin.venues import load_market

PERP = "BTC_USDC-PERPETUAL"
RULES = Path(__file__).parent / "size_add_ons.toml"
#: Typed in for the example: coins a day, σ of a day, half-spread.
BTC = Liquidity(adv_coins=8_000.0, sigma_daily=0.03, half_spread=0.0001)
BOOK = OrderBook(
    bids=tuple((78_400.0 - 10 * k, 2.0 + k) for k in range(60)),
    asks=tuple((78_410.0 + 10 * k, 2.0 + k) for k in range(60)),
)


def account(name: str, coins: float) -> AccountFile:
    return AccountFile(
        format="crossmargin-account/1",
        account=name,
        owner="fund",
        balances=[BalanceEntry(asset="USDC", amount=1e9)],
        positions=[PositionEntry(instrument=PERP, quantity=coins, entry_price="mark")],
    )


def main() -> None:
    rules = load_ruleset(str(RULES))
    market = replace(load_market("calm-2026-02-03"), liquidity={"BTC": BTC})

    def margins(*coins: float) -> np.ndarray:
        book = book_from_accounts([account(f"fund-{k}", q) for k, q in enumerate(coins)])
        return evaluate_book(book, market, rules).im

    print("initial margin of the fund, US dollars")
    for text, coins in (
        ("in one account", (4_000.0,)),
        ("split over two accounts", (3_000.0, 1_000.0)),
        ("one of them short", (5_000.0, -1_000.0)),
    ):
        each = margins(*coins)
        print(f"  {text:<26}{each.sum():16,.2f}   ({' + '.join(f'{x:,.0f}' for x in each)})")

    print("\ncost of closing, of the notional, at a tenth of the volume")
    sizes = np.array([10.0, 100.0, 1_000.0, 4_000.0])
    cost = liquidation_cost(
        sizes,
        adv_coins=BTC.adv_coins or 0.0,
        sigma_daily=BTC.sigma_daily or 0.0,
        half_spread=BTC.half_spread or 0.0,
        participation=0.1,
        risk_multiple=1.0,
    )
    print("     coins  days    spread    impact      risk     total")
    for row in zip(sizes, cost.days, cost.spread, cost.impact, cost.risk, cost.total):
        print(f"{row[0]:10,.0f}{row[1]:6.0f}" + "".join(f"{x:10.3%}" for x in row[2:]))

    walk, loss = BOOK.closing([100.0, 5_000.0])
    print(f"\nsold at once: 100 coins at {walk.average[0]:,.2f} on average, losing {loss[0]:,.0f}")
    print(f"of 5,000 coins the book does not take {walk.unfilled[1]:,.0f}")
    root, free = fit_impact(BOOK, power=0.5), fit_impact(BOOK)
    print(f"a square root fits this book to {root.rmse_log:.0%}, ", end="")
    print(f"an exponent of {free.power:.2f} to {free.rmse_log:.0%}")


if __name__ == "__main__":
    main()
