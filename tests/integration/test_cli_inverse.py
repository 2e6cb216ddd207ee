"""``limits``, ``check`` and ``when`` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossmargin.cli import main
from crossmargin.cli._orders import parse_orders
from crossmargin.errors import InputError

PERP = "BTC_USDC-PERPETUAL"


def run(capsys: pytest.CaptureFixture[str], *tokens: str) -> tuple[int, str, str]:
    code = main(list(tokens))
    seen = capsys.readouterr()
    return code, seen.out, seen.err


class TestParseOrders:
    def test_words_quoted_or_not(self) -> None:
        for words in (["buy", "0.5", PERP, "@", "50000"], [f"buy 0.5 {PERP} @ 50000"]):
            (one,) = parse_orders(words)
            (leg,) = one.legs
            assert (leg.instrument, leg.quantity, leg.price) == (PERP, "0.5", "50000")

    def test_commas_join_legs_and_sides_begin_orders(self) -> None:
        many = parse_orders([f"sell 1 {PERP}, buy 2 ETH_USDC-PERPETUAL", f"buy 3 {PERP} at mark"])
        assert [[leg.quantity for leg in one.legs] for one in many] == [["-1", "2"], ["3"]]
        assert many[1].legs[0].price is None

    @pytest.mark.parametrize("words", [["buy"], ["hold 1 X"], ["buy -1 X"], ["buy 1 X @"], []])
    def test_what_is_no_order(self, words: list[str]) -> None:
        with pytest.raises(InputError, match="INP-013"):
            parse_orders(words)


class TestCheck:
    def test_exit_codes(self, capsys: pytest.CaptureFixture[str]) -> None:
        rules = ("--ruleset", "isolated")
        assert run(capsys, "check", "directional", f"buy 1 {PERP}", *rules)[0] == 0
        code, out, _ = run(capsys, "check", "directional", f"buy 5000 {PERP}", *rules)
        assert code == 1 and "refused" in out and "would lack" in out
        code, out, err = run(capsys, "check", "directional", "buy 1 FOO", *rules)
        assert (code, out) == (2, "") and err.startswith("INP-001")
        code, _, err = run(capsys, "check", "directional", f"buy 1 {PERP}")
        assert code == 2 and err.startswith("RUL-032") and "worst-fill" in err

    def test_an_accepted_order_rests_beside_the_next(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        order = f"buy 150 {PERP}"
        one = run(capsys, "check", "directional", order, "--ruleset", "isolated")
        assert one[0] == 0
        code, out, _ = run(
            capsys, "check", "directional", order, order, "--ruleset", "isolated", "--json"
        )
        first, second = json.loads(out)["checks"]
        assert code == 1 and first["accepted"] and not second["accepted"]
        assert second["im_before_usd"] > first["im_before_usd"]

    def test_orders_from_a_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "orders.json"
        path.write_text(json.dumps([{"id": "x", "legs": [{"instrument": PERP, "quantity": -1}]}]))
        code, out, _ = run(
            capsys, "check", "directional", str(path), "--ruleset", "isolated", "--json"
        )
        assert code == 0 and json.loads(out)["checks"][0]["order"] == "x"
        path.write_text("{")
        code, _, err = run(capsys, "check", "directional", str(path))
        assert code == 2 and err.startswith("INP-002")

    def test_protect_mode(self, capsys: pytest.CaptureFixture[str]) -> None:
        tokens = ("check", "directional", f"buy 1 {PERP}", "--ruleset", "isolated", "--allowed")
        assert run(capsys, *tokens, "")[0] == 1
        assert run(capsys, *tokens, "new-risk")[0] == 0
        assert run(capsys, *tokens, "nonsense")[0] == 2


class TestLimits:
    def test_json_and_check_agree(self, capsys: pytest.CaptureFixture[str]) -> None:
        rules = ("--ruleset", "isolated")
        code, out, _ = run(
            capsys, "limits", "directional", "--instrument", PERP, "--lot", "0.1", *rules, "--json"
        )
        found = json.loads(out)
        assert code == 0 and {o["side"] for o in found["orders"]} == {"buy", "sell"}
        for one in found["orders"]:
            for size, wanted in ((one["quantity"], 0), (one["beyond"], 1)):
                order = f"{one['side']} {size!r} {PERP}"
                assert run(capsys, "check", "directional", order, *rules)[0] == wanted
        assert {w["asset"] for w in found["withdrawals"]} == {"BTC", "ETH"}

    def test_what_cannot_be_answered_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = run(capsys, "limits", "covered-call")
        assert code == 0 and "RUL-032" in out and "largest withdrawal" in out
        code, out, err = run(capsys, "limits", "covered-call", "--ruleset", "paradex-pm")
        assert code == 2 and out == "" and err.startswith("INP-050") and "RUL-" in err

    def test_top_up_to_a_health(self, capsys: pytest.CaptureFixture[str]) -> None:
        _, out, _ = run(capsys, "limits", "short-vol-desk", "--target", "10", "--json")
        found = json.loads(out)
        assert {line["target"] for line in found["top_ups"]} == {"health 10"}
        cash = next(line for line in found["top_ups"] if line["asset"] == "USDC")
        # Dollars move equity alone: 10·MM − equity.
        assert cash["amount"] > 0
        assert abs(cash["counted_usd"] - cash["short_usd"]) < 1e-5

    @pytest.mark.parametrize(
        "tokens", [("--target", "soon"), ("--lot", "0"), ("--price", "1"), ("--allowed", "fun")]
    )
    def test_bad_options(self, tokens: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
        code, out, err = run(capsys, "limits", "directional", "--ruleset", "isolated", *tokens)
        if tokens[0] == "--lot":
            assert "INP-004" in out + err
        else:
            assert code == 2 and err.startswith("INP-013")


class TestWhen:
    def test_agrees_with_the_statement(self, capsys: pytest.CaptureFixture[str]) -> None:
        made = json.loads(run(capsys, "margin", "short-vol-desk", "--json")[1])
        found = json.loads(run(capsys, "when", "short-vol-desk", "--json")[1])
        assert [path["path"] for path in found["paths"]] == ["BTC", "ETH", "*"]
        for line in made["liquidation"]:
            (path,) = [p for p in found["paths"] if p["path"] == line["underlying"]]
            falls = [c["at"] - 1 for c in path["changes"] if c["line"] == "mm" and c["falls"]]
            wanted = [line[side]["distance"] for side in ("down", "up")]
            assert sorted(falls) == pytest.approx(sorted(d for d in wanted if d is not None))

    def test_betas_and_volatilities(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = run(capsys, "when", "short-vol-desk", "--beta", "BTC=1", "--beta", "ETH=1.3")
        assert code == 0 and "BTC 1, ETH 1.3" in out
        code, out, _ = run(capsys, "when", "short-vol-desk", "--vol", "absolute")
        assert code == 0 and "points" in out
        for bad in (("--vol", "up"), ("--beta", "ETH"), ("--low", "2"), ("--underlying", "XYZ")):
            code, out, err = run(capsys, "when", "short-vol-desk", *bad)
            assert (code, out) == (2, "") and "Traceback" not in err


@pytest.mark.parametrize("command", ["limits", "check", "when"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0 and out.count(f"Example: crossmargin {command}") == 3
