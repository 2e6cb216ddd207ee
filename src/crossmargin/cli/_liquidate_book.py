"""``liquidate`` on a whole book, and on accounts that a ledger keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmargin.cli import _io as io
from crossmargin.cli._app import _console, _print_json
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from crossmargin.book import AccountFile, CompactBook
    from crossmargin.liquidation import ClosingCost, LiquidationRules
    from crossmargin.margin import Ruleset
    from crossmargin.market import Snapshot

#: Accounts that are printed, and that --json lists.
_SHOWN, _KEPT = 20, 100

#: Every account of a ledger.
EVERY = "*"


def several_accounts(name: str) -> list[AccountFile] | None:
    """Return the accounts of a JSON file that holds a list of them; None for anything else."""
    path = Path(name)
    if not path.is_file():
        return None
    from crossmargin.codec import decode_json, read_bytes

    raw = read_bytes(name, what="account file")
    if not raw.lstrip().startswith(b"["):
        return None
    from crossmargin.book import AccountFile

    found = decode_json(raw, list[AccountFile], what=f"book {name!r}")
    if not found:
        raise InputError(f"the book {name!r} has no accounts", code="INP-072", field="accounts")
    return found


def from_ledger(place: str, account: str) -> list[AccountFile]:
    """Return one account of a ledger, or every one that holds something, as account files."""
    from crossmargin.accounts import project_account
    from crossmargin.accounts.journal import open_journal

    with open_journal(place) as journal:
        state = journal.state
        names = sorted(state.accounts) if account == EVERY else [account]
        if account != EVERY and account not in state.accounts:
            known = ", ".join(sorted(state.accounts)[:8]) or "none"
            raise InputError(
                f"the ledger has no account {account!r}",
                code="INP-005",
                account=account,
                field="account",
                hint=f"give one of its accounts ({known}), or '*' for every one",
            )
        files = [project_account(state, name) for name in names]
    return [file for file in files if file.positions] if account == EVERY else files


def run_book(
    book: CompactBook | list[AccountFile],
    what: str,
    world: Snapshot,
    ruleset: Ruleset,
    rules: LiquidationRules,
    moves: dict[str, float],
    costs: ClosingCost,
    *,
    pool: str,
    every: float,
    looks: int,
    json: bool,
) -> int:
    """Liquidate a book, and say who is cut, by how much, and what is lacking."""
    from crossmargin.cli._progress import Meter
    from crossmargin.liquidation.whole_book import BookLiquidation, liquidate_accounts

    found: list[AccountFile] | Iterator[AccountFile]
    failures: list[tuple[str, Any]] = []
    if isinstance(book, list):
        world = _moved(book, world, moves)
        found, total, size, done = book, len(book), len(book), len(book)
    else:
        world = _moved(book, world, moves)
        rows, failures, done = _below(book, world, ruleset, rules, quiet=json)
        found, total, size = _files(book, rows), len(rows), book.size
    with Meter("accounts below their line", quiet=json) as meter:
        count = iter(range(1, total + 1))
        made, failed = liquidate_accounts(
            found, world, ruleset, rules, pool=pool, every_s=every, looks=looks, costs=costs,
            progress=lambda: meter.step(next(count), total),
        )  # fmt: skip
    failures += failed
    whole = BookLiquidation(
        accounts=size, margined=done - len(failed), rows=tuple(made), failures=tuple(failures)
    )
    said = _summary(whole, what, ruleset.id, rules.id, moves)
    if json:
        _print_json(said)
    else:
        from crossmargin.reports.liquidation import print_book_liquidation

        print_book_liquidation(_console(), said, shown=_SHOWN)
    return 0 if whole.margined else 1


def _below(
    book: CompactBook, world: Snapshot, ruleset: Ruleset, rules: LiquidationRules, *, quiet: bool
) -> tuple[list[int], list[tuple[str, Any]], int]:
    """Margin a stored book in one pass; return the accounts below the line, and who failed."""
    from crossmargin.cli._book import cores, engine_for
    from crossmargin.cli._progress import Meter
    from crossmargin.liquidation.whole_book import below_line
    from crossmargin.margin import evaluate_compact

    with Meter("accounts", quiet=quiet) as meter:
        columns = evaluate_compact(
            book,
            world,
            ruleset,
            threads=cores(None),
            progress=meter.step,
            engine=engine_for("auto", book.size),
        )
    rows = below_line(columns.equity, columns.mm, rules.line)
    failures = [(book.name(row), error) for row, error in columns.failures.items()]
    return rows.tolist(), failures, book.size - len(failures)


def _files(book: CompactBook, rows: list[int]) -> Iterator[AccountFile]:
    from crossmargin.book import account_file

    for row in rows:
        if row < book.regular or book.rest is None:
            yield account_file(book.take([row]), 0)
        else:
            # Accounts with orders, pools or legs are kept apart.
            yield account_file(book.rest, row - book.regular)


def _moved(
    book: CompactBook | list[AccountFile], world: Snapshot, moves: dict[str, float]
) -> Snapshot:
    """Return the market with coins moved, and what follows them."""
    if not moves:
        return world
    from crossmargin.book import book_from_accounts
    from crossmargin.market import MovedMarket

    registry = book_from_accounts(book).registry if isinstance(book, list) else book.registry
    prices = {coin: world.asset_usd(coin) * (1.0 + move) for coin, move in moves.items()}
    return MovedMarket(world, registry).at(prices)


def _summary(
    made: Any, what: str, ruleset: str, rules: str, moves: dict[str, float]
) -> dict[str, Any]:
    """Return a book's liquidation as plain data, US dollars."""
    codes: dict[str, int] = {}
    for _, error in made.failures:
        codes[error.code] = codes.get(error.code, 0) + 1
    worst = [
        {
            "account": row.account,
            "pool": row.pool,
            "ended": row.ended,
            "steps": row.steps,
            "notional_usd": row.notional,
            "closed_usd": row.closed,
            "taken_over_usd": row.taken_over,
            "cost_usd": row.cost,
            "equity_before_usd": row.before.equity,
            "mm_before_usd": row.before.mm,
            "equity_usd": row.after.equity,
            "mm_usd": row.after.mm,
            "deficit_usd": row.deficit,
        }
        for row in made.rows[:_KEPT]
    ]
    return {
        "book": what,
        "ruleset": ruleset,
        "rules": rules,
        "moves": moves,
        "accounts": made.accounts,
        "margined": made.margined,
        "below_line": len(made.rows),
        "ended": made.ended,
        "notional_usd": made.total("notional"),
        "closed_usd": made.total("closed"),
        "taken_over_usd": made.total("taken_over"),
        "cost_usd": made.total("cost"),
        "deficits": sum(row.deficit > 0 for row in made.rows),
        "deficit_usd": made.total("deficit"),
        "failures": dict(sorted(codes.items())),
        "first_failure": str(made.failures[0][1]) if made.failures else None,
        "worst": worst,
    }


def load_stored(name: str) -> CompactBook:
    """Read a stored book; accounts that could not be read are said to be left out."""
    import sys

    from crossmargin.cli._book import load_book

    read = load_book(name)
    if read.rejected:
        left = f"{read.rejected.rows.size:,} accounts could not be read and are left out\n"
        sys.stderr.write(left)
    return read.book


def is_stored(name: str) -> bool:
    """Whether a name is that of a folder, which a stored book is."""
    return Path(name).is_dir()


def default_market(ledger: str | None, market: str) -> str:
    """Refuse a ledger without a market: a shipped market's prices are not the ledger's."""
    if ledger is not None and market == io.DEFAULT_MARKET:
        raise InputError(
            "accounts of a ledger want the market of their moment",
            code="INP-013",
            field="--market",
            hint="give --market, a market file; a shipped default is not of that moment",
        )
    return market
