"""A whole day from a file of events, and the trial balance of what it leaves."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from crossmargin.accounts import State, apply, payload
from crossmargin.accounts import events as ev
from crossmargin.accounts.journal import open_journal
from crossmargin.accounts.store import create_store
from crossmargin.accounts.trial_balance import trial_balance
from crossmargin.cli import main
from crossmargin.errors import CrossmarginError
from crossmargin.liquidation import liquidation_rules
from crossmargin.liquidation.day import Rates, VenueDay
from crossmargin.liquidation.day_file import run_day

PERP, COIN = "BTC_USDC-PERPETUAL", "BTC-PERPETUAL"
RATES = dict.fromkeys((PERP, COIN), Rates(im=0.10, mm=0.05))


def at(minute: int) -> str:
    return f"2026-02-05T00:{minute:02d}:00Z"


def fill(number: str, minute: int, instrument: str, quantity: str, price: str) -> ev.Fill:
    trade = ev.Trade(
        instrument=instrument,
        quantity=quantity,
        price=price,
        buyer=ev.Side(account="alice"),
        seller=ev.Side(account="bob"),
    )
    return ev.Fill(id=number, time=at(minute), trade=trade)


def day_of_events() -> list[Any]:
    """Alice buys 0.7 coins and 3,000 inverse dollars; funding that does not divide; a fall."""
    made: list[Any] = []
    for name, quote, settled in ((PERP, "USDC", "USDC"), (COIN, "USD", "BTC")):
        made.append(
            ev.ListContract(
                id=f"list {name}", time=at(0), instrument=name, type="perpetual", underlying="BTC",
                quote=quote, settlement=settled,
            )
        )  # fmt: skip
    for name in ("alice", "bob", "carol"):
        made.append(ev.OpenAccount(id=name, time=at(0), account=name))
        for asset, amount in (("USDC", "3000" if name == "alice" else "90000"), ("BTC", "0.1")):
            made.append(
                ev.Deposit(
                    id=f"{name} {asset}", time=at(0), account=name, asset=asset, amount=amount
                )
            )
    made.append(ev.FundPayIn(id="fund", time=at(0), group="main", asset="USDC", amount="100"))
    made += [fill("f1", 1, PERP, "0.7", "50000"), fill("f2", 1, COIN, "3000", "50000")]
    made.append(ev.Mark(id="m1", time=at(2), prices={PERP: "50000"}))
    made.append(ev.Mark(id="m2", time=at(2), prices={COIN: "50000"}))
    made.append(ev.Funding(id="g1", time=at(3), instrument=PERP, rate="0.000033333"))
    made.append(ev.Funding(id="g2", time=at(3), instrument=COIN, rate="0.000033333"))
    made.append(ev.Withdrawal(id="w", time=at(3), account="carol", asset="USDC", amount="90001"))
    made.append(ev.Mark(id="m3", time=at(4), prices={PERP: "38000", COIN: "38000"}))
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "day.jsonl"
    found.write_bytes(b"\n".join(payload(e) for e in day_of_events()) + b"\nnonsense\n")
    return found


def start(state: State) -> VenueDay:
    def post(events: Any) -> list[Any]:
        found = []
        for event in events:
            found.append(apply(state, event))
            state.audit()
        return found

    return VenueDay(state, post, RATES, liquidation_rules("house"))


def test_a_day_from_a_file(path: Path) -> None:
    state = State()
    run = run_day(start(state), path, coins={"BTC": PERP})
    assert run.posted == len(day_of_events()) - 1 and run.before == 0
    assert [(number, error.code) for number, error in run.refused] == [
        (19, "LED-005"),
        (21, "LED-017"),
    ]
    calm, fall = run.ticks
    assert calm.breached == () and calm.trail == ()
    # 3,000 and 0.1 coins of 38,000, less 8,400 and 3,000·(1/38,000 − 1/50,000) coins: below 0.
    assert fall.breached == ("alice/cross",) and fall.taken_over == 2
    assert not state.pot("alice").open_positions()
    for loss in fall.losses:
        assert loss.deficit == loss.fund + loss.adl + loss.shared and loss.uncovered == 0
    digest = state.digest()
    again = run_day(start(state), path, coins={"BTC": PERP})
    assert (again.posted, again.before, again.ticks) == (0, run.posted, ())
    assert state.digest() == digest


def test_events_in_memory_are_the_same_day(path: Path) -> None:
    one, two = State(), State()
    run_day(start(one), path, coins={"BTC": PERP})
    run_day(start(two), day_of_events(), coins={"BTC": PERP})
    assert one.digest() == two.digest()


def test_a_coin_without_a_price_and_a_file_that_is_none(path: Path, tmp_path: Path) -> None:
    with pytest.raises(CrossmarginError, match="price of BTC is not known"):
        run_day(start(State()), path)
    with pytest.raises(CrossmarginError, match="INP-005"):
        run_day(start(State()), tmp_path / "none.jsonl")


def test_the_trial_balance_sums_to_nothing_and_names_what_rounding_left(path: Path) -> None:
    state = State()
    events = day_of_events()[:-1]
    for event in events:
        apply(state, event)
    found = trial_balance(state)
    assert found.events == len(events) - 1
    assert set(found.sums.values()) == {"0"}
    assert set(found.sums) == {"USDC", "BTC", f"contract:{PERP}", f"contract:{COIN}"}
    # By hand: 0.7·50,000·0.000033333 = 1.166655 exactly; 3,000/50,000·0.000033333 coins are
    # 199.998 quanta: the long pays 200, the short has 199.
    assert found.rounding == {"BTC": "0.00000001"}
    rows = {(row.asset, row.line): row.balance for row in found.rows}
    assert rows["USDC", "sys:world"] == str(-(3_000 + 2 * 90_000 + 100))
    assert rows["USDC", "sys:fund/main"] == "100"
    total: dict[str, Fraction] = {}
    for (asset, _), amount in rows.items():
        total[asset] = total.get(asset, Fraction(0)) + Fraction(amount)
    assert not any(total.values())


def test_the_command(path: Path, tmp_path: Path) -> None:
    ledger = str(tmp_path / "desk.ledger")
    create_store(ledger)
    with open_journal(ledger, writer="test") as journal:
        day = VenueDay(journal.state, journal.post, RATES, liquidation_rules("house"))
        run_day(day, path, coins={"BTC": PERP})
        want = trial_balance(journal.state)
    for words in ((), ("--json",)):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(["ledger", "balance", ledger, *words])
        assert (code, err.getvalue()) == (0, "")
        if words:
            made = json.loads(out.getvalue())
            assert made["rounding"] == want.rounding and len(made["rows"]) == len(want.rows)
        else:
            assert "sums to 0" in out.getvalue() and "sys:rounding" in out.getvalue()
            assert f"left over by rounding: {want.rounding['BTC']} BTC" in out.getvalue()
