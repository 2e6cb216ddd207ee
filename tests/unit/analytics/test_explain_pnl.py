"""Profit between two marks: held to the ledger's attribution, and to plain sums."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers import CALL, EXPIRY, PERP, account, black, flat_rate, market, rules
from tests.ledgers import COIN_PUT, INVERSE, four_contracts, mark_four

from crossmargin.accounts import events as ev
from crossmargin.accounts.greeks_pnl import GreekAttribution
from crossmargin.analytics import Moment, explain_pnl
from crossmargin.cli import main
from crossmargin.errors import MarginError
from crossmargin.margin import load_ruleset, make_statement
from crossmargin.market import Snapshot, read_market

TIMES = ("2026-02-25T08:00:00Z", "2026-02-25T20:00:00Z")
YEARS = (30 / 365, 29.5 / 365)
LOOSE = rules(
    flat_rate(0.10, 0.05),
    collateral={
        "source": "s", "confidence": "house", "assets": {"default": {"haircut": 0.0}, "BTC": {}},
    },
)  # fmt: skip
HELD = ((PERP, "0.7"), (INVERSE, "20000"), (CALL, "1.5"), (COIN_PUT, "2"))


def world(step: int, spot: float, vol: float) -> Snapshot:
    return market(
        {"BTC": spot, "USDC": 1.0},
        marks={PERP: spot, INVERSE: spot},
        vols={CALL: vol, COIN_PUT: vol},
        forwards={("BTC", EXPIRY): spot},
        funding={PERP: 0.0008, INVERSE: 0.0},
        as_of=TIMES[step],
    )


def booked(spot: float, vol: float) -> dict[str, dict[str, float]]:
    """The same positions in a ledger, split there; units of each asset."""
    venue = four_contracts()
    mark_four(venue, 50_000.0, 0.6, YEARS[0])
    for name, quantity in HELD:
        price = {PERP: "50000", INVERSE: "50000", CALL: "3400", COIN_PUT: "0.03"}[name]
        venue.do(
            ev.Fill,
            trade=ev.Trade(
                instrument=name, quantity=quantity, price=price,
                buyer=ev.Side(account="a"), seller=ev.Side(account="b"),
            ),
        )  # fmt: skip
    pot, first = venue.state.pot("a"), world(0, 50_000.0, 0.6)
    found = {c: GreekAttribution(venue.state, pot, c, first) for c in ("USDC", "BTC")}
    mark_four(venue, spot, vol, YEARS[1])
    scale = {"USDC": 1e6, "BTC": 1e8}
    return {
        c: {k: float(v) / scale[c] for k, v in g.step(venue.state, world(1, spot, vol)).items()}
        for c, g in found.items()
    }


@pytest.mark.parametrize(("spot", "vol"), [(50_700.0, 0.63), (43_000.0, 0.9), (50_000.0, 0.6)])
def test_the_greeks_are_those_of_the_ledger(spot: float, vol: float) -> None:
    who = account(
        *[
            {"instrument": name, "quantity": float(q), **({} if "-C" in name or "-P" in name[-2:]
              else {"entry_price": 50_000})}
            for name, q in HELD
        ],
        balances={"USDC": 90_000, "BTC": 2},
    )  # fmt: skip
    made = explain_pnl(
        Moment(account=who, market=world(0, 50_000.0, 0.6), ruleset=LOOSE),
        Moment(account=who, market=world(1, spot, vol), ruleset=LOOSE),
    )
    theirs = booked(spot, vol)
    for part in ("delta", "gamma", "vega", "theta", "residual"):
        expected = theirs["USDC"][part] + theirs["BTC"][part] * spot
        # The ledger's marks have twelve decimals, its money quanta of 1e-6 and 1e-8.
        assert getattr(made, part) == pytest.approx(expected, abs=0.01), part
    assert made.changed == 0 and made.hours == 12
    parts = made.delta + made.gamma + made.vega + made.theta + made.residual
    coins = sum(made.coins.values())
    assert made.total == pytest.approx(parts + coins, abs=1e-7)
    # 2 BTC and the put's worth in coin, at the change of the coin's price.
    put = 2 * black(50_000, 45_000, YEARS[0], 0.6, call=False) / 50_000
    assert coins == pytest.approx((2 + put) * (spot - 50_000))
    # Funding at 0.08 % a time, twelve hours: one and a half times, on 0.7 coins.
    assert made.funding_estimate == pytest.approx(-0.7 * 50_000 * 0.0008 * 1.5)


def test_what_was_done_to_the_account_is_on_a_line_of_its_own() -> None:
    then = account((PERP, 1, 50_000), balances={"USDC": 10_000})
    now = account((PERP, 0.5, 50_000), balances={"USDC": 12_345})
    made = explain_pnl(
        Moment(account=then, market=world(0, 50_000.0, 0.6), ruleset=LOOSE),
        Moment(account=now, market=world(1, 52_000.0, 0.6), ruleset=LOOSE),
    )
    assert made.delta == pytest.approx(2_000) and made.worth_then == pytest.approx(10_000)
    assert made.worth_now == pytest.approx(12_345 + 1_000)
    assert made.changed == pytest.approx(2_345 - 1_000)
    with pytest.raises(MarginError) as caught:
        explain_pnl(
            Moment(account=then, market=world(1, 50_000.0, 0.6), ruleset=LOOSE),
            Moment(account=now, market=world(0, 52_000.0, 0.6), ruleset=LOOSE),
        )
    assert caught.value.code == "MRG-025"


def test_a_profit_paid_at_the_mark_is_not_paid_twice() -> None:
    """``"mark"`` means that profit so far is in the balance: what comes after is not."""
    who = account((PERP, 1, "mark"), balances={"USDC": 10_000})
    made = explain_pnl(
        Moment(account=who, market=world(0, 50_000.0, 0.6), ruleset=LOOSE),
        Moment(account=account((PERP, 1, 50_000), balances={"USDC": 10_000}),
               market=world(1, 51_000.0, 0.6), ruleset=LOOSE),
    )  # fmt: skip
    assert made.delta == pytest.approx(1_000) and made.changed == pytest.approx(0)


DEMO = ("short-vol-desk", "short-vol-desk", "--market-then", "calm-2026-02-03", "--market-now")


class TestCommandLine:
    def test_table_json_and_page(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        page = tmp_path / "pnl.html"
        words = ("explain", *DEMO, "crash-2026-02-05", "--pnl")
        assert main([*words, "--html", str(page)]) == 0
        out = capsys.readouterr().out
        assert "volatility (vega)" in out and "Funding at the first mark's rates" in out
        assert "<svg" in page.read_text()
        assert main([*words, "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        parts = sum(made[k] for k in ("delta", "gamma", "vega", "theta", "residual", "changed"))
        parts += sum(made["coins"].values())
        assert parts == pytest.approx(made["worth_now"] - made["worth_then"], abs=1e-6)
        for line in made["lines"]:
            each = sum(line[k] for k in ("delta", "gamma", "vega", "theta", "residual"))
            assert each == pytest.approx(line["total"], abs=1e-9)

    def test_backwards(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = [*DEMO[:3], "crash-2026-02-05", "--market-now", "calm-2026-02-03", "--pnl"]
        assert main(["explain", *words]) == 2
        assert "before the first" in capsys.readouterr().err


PERP_TERMS = {"underlying": "BTC", "quote": "USDC", "settlement": "USDC"}


def _event(kind: str, at: str, number: int, **fields: object) -> str:
    return json.dumps({"kind": kind, "id": f"e{number}", "time": at, **fields})


class TestLedger:
    @pytest.fixture
    def desk(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
        """1 BTC bought at 50,000; marks 50,000, then 51,500; funding, a fee and a trade between."""
        early, late = TIMES
        mid = "2026-02-25T16:00:00Z"
        trade = {"instrument": PERP, "quantity": "1", "price": "50000",
                 "buyer": {"account": "desk"}, "seller": {"account": "other"}}  # fmt: skip
        more = {**trade, "quantity": "0.5", "price": "51000",
                "buyer": {"account": "desk", "fee": "7"}}  # fmt: skip
        rows = [
            ("list_contract", early, {"instrument": PERP, "type": "perpetual", **PERP_TERMS}),
            ("open_account", early, {"account": "desk"}),
            ("open_account", early, {"account": "other"}),
            ("deposit", early, {"account": "desk", "asset": "USDC", "amount": "20000"}),
            ("deposit", early, {"account": "other", "asset": "USDC", "amount": "20000"}),
            ("fill", early, {"trade": trade}),
            ("mark", early, {"prices": {PERP: "50000"}}),
            ("funding", mid, {"instrument": PERP, "rate": "0.0001"}),
            ("fill", mid, {"trade": more}),
            ("deposit", mid, {"account": "desk", "asset": "BTC", "amount": "0.25"}),
            ("mark", late, {"prices": {PERP: "51500"}}),
        ]
        events = tmp_path / "events.jsonl"
        events.write_text(
            "\n".join(_event(kind, at, k, **more) for k, (kind, at, more) in enumerate(rows)) + "\n"
        )
        found = {"ledger": str(tmp_path / "desk.ledger")}
        for name, when, btc in (("a", early, 50_000), ("b", late, 51_500)):
            path = tmp_path / f"{name}.json"
            path.write_text(json.dumps({
                "format": "crossmargin-market/1", "as_of": when,
                "assets": [{"asset": "BTC", "price_usd": btc}, {"asset": "USDC", "price_usd": 1}],
                "instruments": [{"instrument": PERP, "price_mark": btc}],
            }))  # fmt: skip
            found[name] = str(path)
        assert main(["ledger", "init", found["ledger"]]) == 0
        assert main(["ledger", "post", found["ledger"], str(events)]) == 0
        capsys.readouterr()
        return found

    def test_every_cause(self, desk: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
        words = ["ledger", "pnl", desk["ledger"], "desk", "--market", desk["a"], "--market",
                 desk["b"]]  # fmt: skip
        assert main([*words, "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        btc, usdc = made["assets"]
        assert (btc["asset"], btc["causes"]["transfers"], btc["usd"]) == ("BTC", 0.25, 51_500)
        causes = usdc["causes"]
        assert causes["price"] == 1_500 + 0.5 * 500
        assert causes["funding"] == -5 and causes["fees"] == -7 and causes["transfers"] == 0
        assert usdc["greeks"]["delta"] == 1_500 and usdc["greeks"]["trades"] == 250
        assert usdc["greeks"]["residual"] == 0 and usdc["total"] == 1_738
        assert made["entries"] == 4

    def test_return_on_what_had_to_be_held(
        self, desk: dict[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Twelve hours on the margin of 1 BTC at 50,000: a mark stands until the next one."""
        words = ["ledger", "pnl", desk["ledger"], "desk", "--market", desk["a"], "--market",
                 desk["b"], "--ruleset", "deribit-sm", "--json"]  # fmt: skip
        assert main(words) == 0
        back = json.loads(capsys.readouterr().out)["return_on_margin"]
        who = account((PERP, 1, 50_000), balances={"USDC": 20_000})
        held = make_statement(who, read_market(desk["a"]), load_ruleset("deribit-sm"), solve=False)
        assert held.totals.im > 0 and back["margin_usd"] == pytest.approx(held.totals.im)
        assert back["pnl_usd"] == 1_738 and back["days"] == 0.5
        assert back["period"] == pytest.approx(1_738 / held.totals.im)
        assert back["annual"] == pytest.approx(back["period"] * 730)

    def test_table_and_page(
        self, desk: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / "pnl.html"
        code = main(["ledger", "pnl", desk["ledger"], "desk", "--market", desk["a"], "--market",
                     desk["b"], "--html", str(page), "--quiet"])  # fmt: skip
        out = capsys.readouterr().out
        assert code == 0 and "+1,738" in out and "funding" in out and "trades" in out
        assert "<svg" in page.read_text()

    @pytest.mark.parametrize(
        ("account", "markets", "said"),
        [("desk", "a", "two at least"), ("desk", "ba", "rise in time"), ("nobody", "ab", "nobody")],
    )
    def test_wrong_words(
        self, account: str, markets: str, said: str, desk: dict[str, str],
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        asked = [word for m in markets for word in ("--market", desk[m])]
        assert main(["ledger", "pnl", desk["ledger"], account, *asked]) == 2
        assert said in capsys.readouterr().err
