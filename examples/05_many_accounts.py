"""A book of 1,000 accounts: columns in, columns out, one bad account, a Parquet round trip."""

import random
import time

import numpy as np

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    PositionEntry,
    book_from_accounts,
    read_book_parquet,
    write_book_parquet,
)
from crossmargin.margin import evaluate_book, load_ruleset
from crossmargin.venues import load_market

NAMES = ["BTC-PERPETUAL", "ETH-PERPETUAL", "BTC-27MAR26", "ETH-26JUN26"]
NAMES += [f"BTC-27MAR26-{k}-{r}" for k in range(60_000, 100_000, 5_000) for r in "CP"]
NAMES += [f"ETH-27FEB26-{k}-{r}" for k in range(1_800, 3_000, 200) for r in "CP"]


def account(number: int, rng: random.Random) -> AccountFile:
    """Return a random account of three to twelve positions."""
    positions = []
    for name in rng.sample(NAMES, rng.randint(3, 12)):
        option = name.endswith(("-C", "-P"))
        size = rng.lognormvariate(0.0, 1.0) * (1 if option else 50_000)
        if option and name.startswith("ETH"):
            size *= 20
        sign = rng.choice((-1, 1))
        entry = None if option else "mark"
        positions.append(PositionEntry(instrument=name, quantity=sign * size, entry_price=entry))
    cash = BalanceEntry(asset="USDC", amount=round(rng.lognormvariate(11.5, 1.0), 2))
    coins = BalanceEntry(asset="BTC", amount=round(rng.uniform(0, 3), 4))
    return AccountFile(
        format="crossmargin-account/1",
        account=f"account-{number:04d}",
        balances=[cash, coins],
        positions=positions,
    )


def main() -> None:
    rng = random.Random(20260203)
    accounts = [account(number, rng) for number in range(1_000)]
    # One account that cannot be computed: the market has no price of what it holds.
    odd = BalanceEntry(asset="SOL", amount=100)
    accounts[617] = AccountFile(format="crossmargin-account/1", account="odd-one", balances=[odd])
    book = book_from_accounts(accounts)
    print(f"{book.size:,} accounts, {book.position_quantity.size:,} positions")

    start = time.perf_counter()
    result = evaluate_book(book, load_market("calm-2026-02-03"), load_ruleset("deribit-pm-cross"))
    seconds = time.perf_counter() - start
    print(f"evaluated in {seconds:.2f} s, {seconds / book.size * 1e6:,.0f} µs an account")
    for index, error in result.failures.items():
        print(f"  not {book.account_ids[index]}: {error}")

    good = np.isfinite(result.im)
    print(f"IM {result.im[good].sum():,.0f} USD on equity {result.equity[good].sum():,.0f} USD")
    print(f"below maintenance: {int((result.health[good] < 1).sum())}")
    for index in np.argsort(np.where(good, result.health, np.inf))[:3]:
        print(f"  {result.account_ids[index]}: health {result.health[index]:.2f}")

    write_book_parquet(book, "book")
    again = read_book_parquet("book")
    same = np.array_equal(again.position_quantity, book.position_quantity)
    print(f"Parquet round trip: {again.size:,} accounts, quantities equal: {same}")


if __name__ == "__main__":
    main()
