"""Loop gain of stored books: the engine's derivatives against the population's formula."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    CompactBook,
    PositionEntry,
    book_from_accounts,
    compact_book,
    write_compact_parquet,
)
from crossmargin.cascade import loop_gain, population, shock_response
from crossmargin.cascade.book_gain import exposure_of_book
from crossmargin.cascade.gain import gain_from
from crossmargin.cascade.shock import respond
from crossmargin.cli import main
from crossmargin.errors import CascadeError
from crossmargin.liquidation import Brackets
from crossmargin.margin import load_ruleset, make_statement
from crossmargin.market import Snapshot, decode_market, snapshot_from_file
from crossmargin.venues import load_account, load_market

MARKET = {
    "format": "crossmargin-market/1",
    "as_of": "2026-02-25T08:00:00Z",
    "assets": [
        {"asset": "BTC", "price_usd": 60_000},
        {"asset": "ETH", "price_usd": 2_000},
        {"asset": "USDC", "price_usd": 1},
    ],
    "instruments": [
        {"instrument": "BTC_USDC-PERPETUAL", "price_mark": 60_000},
        {"instrument": "ETH_USDC-PERPETUAL", "price_mark": 2_000},
    ],
}
PRICE = {"BTC": 60_000.0, "ETH": 2_000.0}
#: ETH crosses a bracket at 100 m: one account holds more.
TABLES = [Brackets((0.0, 150e6), (1 / 80, 1 / 40)), Brackets((0.0, 100e6), (1 / 50, 1 / 30))]


def market() -> Snapshot:
    return snapshot_from_file(decode_market(json.dumps(MARKET).encode(), "market"))


def accounts() -> list[AccountFile]:
    rng = random.Random(4)
    out = []
    for i in range(12):
        positions = []
        for coin in rng.sample(["BTC", "ETH"], rng.randint(1, 2)):
            q = rng.choice((-1, 1)) * rng.uniform(1e4, 4e5) / PRICE[coin]
            if i == 3 and coin == "ETH":
                q = 7e4
            positions.append(
                PositionEntry(
                    instrument=f"{coin}_USDC-PERPETUAL",
                    quantity=q,
                    entry_price=PRICE[coin] * rng.uniform(0.97, 1.03),
                    leverage=20.0 if i % 2 else None,
                )
            )
        gross = sum(abs(float(p.quantity)) * PRICE[p.instrument[:3]] for p in positions)
        cash = gross * rng.uniform(0.05, 0.3)
        out.append(
            AccountFile(
                format="crossmargin-account/1",
                account=f"a{i}",
                balances=[BalanceEntry(asset="USDC", amount=cash)],
                positions=positions,
            )
        )
    return out


def as_population(files: list[AccountFile], order: list[str]) -> Any:
    by_name = {f.account: f for f in files}
    rows = [by_name[name] for name in order]
    held = [(p.instrument[:3], p) for f in rows for p in f.positions]
    return population(
        contracts=("BTC", "ETH"),
        price=[PRICE["BTC"], PRICE["ETH"]],
        mm_rate=(1 / 80, 1 / 50),
        brackets=TABLES,
        cash=[float(f.balances[0].amount) for f in rows],
        start=np.concatenate([[0], np.cumsum([len(f.positions) for f in rows])]),
        contract=[("BTC", "ETH").index(coin) for coin, _ in held],
        quantity=[float(p.quantity) for _, p in held],
        entry=[float(p.entry_price) for _, p in held],
    )


def compact(files: list[AccountFile]) -> CompactBook:
    return compact_book(book_from_accounts(files))


def test_the_engine_and_the_formula_are_one() -> None:
    """Half of the accounts carry a leverage and lie beside the narrow columns."""
    files = accounts()
    book = compact(files)
    assert book.rest is not None and 0 < book.rest.size < book.size
    seen = exposure_of_book(book, market(), load_ruleset("hyperliquid"), engine="vectorised")
    assert seen.assets == ("BTC", "ETH") and seen.failed == 0
    who = as_population(files, [book.name(a) for a in range(book.size)])
    np.testing.assert_allclose(seen.equity, who.equity(), rtol=1e-12)
    np.testing.assert_allclose(seen.mm, who.maintenance(), rtol=1e-12)
    depth = [3e9, 1e9]
    got, want = gain_from(seen.exposure, seen.assets, depth), loop_gain(who, depth)
    n = np.zeros((book.size, 2))
    np.add.at(n, (who.account, who.contract), who.quantity * who.price[who.contract])
    np.testing.assert_allclose(seen.exposure.notional.toarray(), n, rtol=1e-7, atol=1e-3)
    np.testing.assert_allclose(seen.open_interest, np.maximum(n, 0).sum(axis=0), rtol=1e-7)
    # All but the account beyond a bracket: there a whole cut frees more than the last rate says.
    flat = np.array([book.name(a) != "a3" for a in range(book.size)])
    got = gain_from(seen.exposure, seen.assets, depth, active=flat)
    want = loop_gain(who, depth, active=flat)
    np.testing.assert_allclose(got.matrix, want.matrix, rtol=1e-6, atol=1e-12)
    small = shock_response(who, depth, [-0.04, -0.05])
    same = respond(seen.exposure, seen.assets, depth, [-0.04, -0.05])
    np.testing.assert_allclose(same.share[flat], small.share[flat], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["short-vol-desk", "covered-call"])
def test_options_count_by_their_delta(name: str) -> None:
    account, world = load_account(name), load_market("calm-2026-02-03")
    rules = load_ruleset("deribit-pm-cross")
    seen = exposure_of_book(compact([account]), world, rules, engine="vectorised")
    made = make_statement(account, world, rules)
    assert seen.equity[0] == pytest.approx(made.totals.equity)
    assert seen.mm[0] == pytest.approx(made.totals.mm)
    notional = seen.exposure.notional.toarray()[0]
    for coin, value in zip(seen.assets, notional):
        rows = [p for p in made.positions if p.instrument.startswith(coin)]
        delta = sum(p.delta for p in rows)
        assert value == pytest.approx(delta * world.assets[coin].price_usd, rel=1e-6)


def test_dollars_may_move_too() -> None:
    book = compact(accounts())
    seen = exposure_of_book(
        book, market(), load_ruleset("hyperliquid"), also=["USDC"], engine="vectorised"
    )
    assert seen.assets == ("BTC", "ETH", "USDC") and seen.contracts == 2
    made = gain_from(seen.exposure, seen.assets, [1e9, 1e9])
    # Whoever holds the dollar loses with it, and sells what is traded.
    assert made.matrix[2].tolist() == [0.0, 0.0, 0.0] and made.matrix[:2, 2].any()


def test_what_cannot_be_measured() -> None:
    book = compact(accounts())
    empty = {**MARKET, "assets": [{"asset": "USDC", "price_usd": 1}], "instruments": []}
    world = snapshot_from_file(decode_market(json.dumps(empty).encode(), "market"))
    with pytest.raises(CascadeError, match="CAS-024"):
        exposure_of_book(book, world, load_ruleset("hyperliquid"))
    with pytest.raises(CascadeError, match="CAS-001"):
        exposure_of_book(book, market(), load_ruleset("hyperliquid"), bump=0.5)


def test_a_stored_book_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_compact_parquet(compact(accounts()), tmp_path / "book")
    (tmp_path / "market.json").write_text(json.dumps(MARKET), encoding="utf-8")
    command = ["cascade", "gain", str(tmp_path / "book"), "--depth", "*=1e9"]
    assert main(command) == 2
    assert "--market" in capsys.readouterr().err
    command += ["--market", str(tmp_path / "market.json"), "--threads", "1"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accounts"] == 12 and found["failed"] == 0 and found["rho"] > 0
    assert found["depth_basis"] == {"BTC": "panel", "ETH": "panel"}
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "Measured by margining the book 5 times" in text and "ρ(G)" in text
