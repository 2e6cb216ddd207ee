"""The account file: every bad input is one sentence that says which account, instrument, field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.book import (
    AccountFile,
    PositionEntry,
    account_schema,
    book_from_accounts,
    parse_account,
    read_account,
    to_float,
    write_account,
)
from crossmargin.errors import InputError

PERP = "BTC_USDC-PERPETUAL"


def content(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "format": "crossmargin-account/1",
        "account": "desk-7",
        "balances": [{"asset": "USDC", "amount": "1000.50"}],
        "positions": [{"instrument": PERP, "quantity": 1, "entry_price": 50_000}],
    }
    base.update(changes)
    return base


def position(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"instrument": PERP, "quantity": 1, "entry_price": 50_000}
    base.update(changes)
    return content(positions=[base])


def refused(
    raw: Any, code: str, *, instrument: str | None = None, field: str | None = None, says: str = ""
) -> InputError:
    """Load it all the way, and check the sentence."""
    text = raw if isinstance(raw, (str, bytes)) else json.dumps(raw)
    with pytest.raises(InputError) as caught:
        book_from_accounts([parse_account(text)])
    error = caught.value
    sentence = str(error)
    assert error.code == code, sentence
    assert "\n" not in sentence and "Traceback" not in sentence
    assert sentence.startswith(f"{code}: ")
    assert says.lower() in sentence.lower()
    if instrument is not None:
        assert error.instrument == instrument and instrument in sentence
    if field is not None:
        assert error.field == field and field in sentence
    if code not in ("INP-002", "INP-003"):
        # What is found after decoding knows the account.
        assert error.account == "desk-7" and "'desk-7'" in sentence
    return error


class TestInstruments:
    @pytest.mark.parametrize("name", ["BTC-31FEB26", "BTCUSD", "BTC-27MAR26-90000", ""])
    def test_unknown(self, name: str) -> None:
        refused(
            position(instrument=name),
            "INP-001",
            instrument=name,
            field="positions[0].instrument",
            says="unknown instrument",
        )

    def test_a_coin_as_a_position(self) -> None:
        refused(position(instrument="BTC"), "INP-001", instrument="BTC", says="balances")

    def test_in_an_order(self) -> None:
        bad = content(orders=[{"id": "o", "legs": [{"instrument": "X-1", "quantity": 1}]}])
        refused(bad, "INP-001", instrument="X-1", field="orders[0].legs[0].instrument")

    def test_in_a_quote(self) -> None:
        group = {"id": "g", "quotes": [{"instrument": "X-1", "ask_quantity": 1}]}
        refused(
            content(quote_groups=[group]),
            "INP-001",
            instrument="X-1",
            field="quote_groups[0].quotes[0].instrument",
        )

    def test_in_a_quote_for_nothing(self) -> None:
        refused(content(quote_groups=[{"id": "g", "quotes": [{"instrument": "X-1"}]}]), "INP-001")

    def test_strike_of_zero(self) -> None:
        name = "BTC-27MAR26-0-C"
        refused(position(instrument=name), "INP-001", instrument=name)


class TestNumbers:
    @pytest.mark.parametrize(
        "value, says",
        [
            ("NaN", "not a finite number"),
            ("nan", "not a finite number"),
            ("inf", "not a finite number"),
            ("-Infinity", "not a finite number"),
            ("1e400", "not a finite number"),
            ("", "not a finite number"),
            ("ten", "not a finite number"),
            ("1,000", "not a finite number"),
            ("0x10", "not a finite number"),
            ("1e16", "which no account holds"),
            (1e16, "which no account holds"),
            (-1e300, "which no account holds"),
        ],
    )
    @pytest.mark.parametrize("field", ["quantity", "entry_price", "fenced_margin"])
    def test_of_a_position(self, field: str, value: Any, says: str) -> None:
        refused(
            position(**{field: value}),
            "INP-004",
            instrument=PERP,
            field=f"positions[0].{field}",
            says=says,
        )

    @pytest.mark.parametrize("value", ["NaN", "inf", 1e16, "-1e16"])
    def test_of_a_balance(self, value: Any) -> None:
        bad = content(balances=[{"asset": "USDC", "amount": value}])
        refused(bad, "INP-004", field="balances[0].amount")

    @pytest.mark.parametrize("value", ["NaN", "inf", 1e16])
    @pytest.mark.parametrize("field", ["quantity", "price"])
    def test_of_an_order(self, field: str, value: Any) -> None:
        leg = {"instrument": PERP, "quantity": 1, "price": 50_000, field: value}
        bad = content(orders=[{"id": "o", "legs": [leg]}])
        refused(bad, "INP-004", instrument=PERP, field=f"orders[0].legs[0].{field}")

    @pytest.mark.parametrize("value", [0, 0.0, "0", "-0.0", "0e5"])
    def test_quantity_of_zero(self, value: Any) -> None:
        refused(
            position(quantity=value),
            "INP-006",
            instrument=PERP,
            field="positions[0].quantity",
            says="is zero",
        )

    def test_order_for_nothing(self) -> None:
        bad = content(orders=[{"id": "o", "legs": [{"instrument": PERP, "quantity": 0}]}])
        refused(bad, "INP-006", instrument=PERP, field="orders[0].legs[0].quantity")

    @pytest.mark.parametrize("raw", [b"NaN", b"Infinity", b"-Infinity"])
    def test_bare_nan_is_not_json(self, raw: bytes) -> None:
        text = json.dumps(position(quantity="@")).encode().replace(b'"@"', raw)
        refused(text, "INP-002", says="NaN is not a JSON number")

    def test_number_out_of_range(self) -> None:
        text = json.dumps(position(quantity="@")).encode().replace(b'"@"', b"1e999")
        refused(text, "INP-003", field="positions[0].quantity")

    @pytest.mark.parametrize("value", [True, None, [1], {"n": 1}])
    def test_not_a_number_at_all(self, value: Any) -> None:
        refused(position(quantity=value), "INP-003", field="positions[0].quantity")

    @pytest.mark.parametrize("value", ["1_000", "\u0661\u0662", " 12\n"])
    def test_spellings_that_only_python_reads(self, value: str) -> None:
        refused(position(quantity=value), "INP-004", instrument=PERP)

    def test_strings_keep_their_digits(self) -> None:
        made = parse_account(json.dumps(content(balances=[{"asset": "BTC", "amount": "0.10"}])))
        assert made.balances[0].amount == "0.10"
        assert to_float("0.1", account="a", field="f") == 0.1

    @pytest.mark.parametrize("price", [0, -1, "-0.5"])
    def test_entry_price_must_be_positive(self, price: Any) -> None:
        refused(
            position(entry_price=price),
            "INP-004",
            instrument=PERP,
            field="positions[0].entry_price",
            says="not a positive price",
        )

    def test_an_option_may_have_cost_nothing(self) -> None:
        name = "BTC-27MAR26-90000-C"
        made = book_from_accounts(
            [parse_account(json.dumps(position(instrument=name, entry_price=0)))]
        )
        assert made.position_entry.tolist() == [0.0]

    def test_fence_below_zero(self) -> None:
        refused(
            position(fenced_margin=-1),
            "INP-004",
            instrument=PERP,
            field="positions[0].fenced_margin",
        )

    @pytest.mark.parametrize("leverage", [0, -3])
    def test_leverage(self, leverage: float) -> None:
        refused(position(leverage=leverage), "INP-003", field="positions[0].leverage")

    @pytest.mark.parametrize("side", ["bid", "ask"])
    def test_quotes_are_positive(self, side: str) -> None:
        group = {"id": "g", "quotes": [{"instrument": PERP, f"{side}_quantity": -1}]}
        refused(
            content(quote_groups=[group]),
            "INP-006",
            instrument=PERP,
            field="quote_groups[0].quotes[0]",
        )

    def test_order_price_below_zero(self) -> None:
        leg = {"instrument": PERP, "quantity": 1, "price": -1}
        bad = content(orders=[{"id": "o", "legs": [leg]}])
        refused(bad, "INP-004", instrument=PERP, field="orders[0].legs[0].price")

    def test_protection_limit_below_zero(self) -> None:
        group = {
            "id": "g",
            "quotes": [{"instrument": PERP, "bid_quantity": 1}],
            "protection_limit_usd": -1,
        }
        refused(
            content(quote_groups=[group]), "INP-003", field="quote_groups[0].protection_limit_usd"
        )


class TestEntryPrice:
    @pytest.mark.parametrize("name", [PERP, "BTC-PERPETUAL", "BTC-27MAR26", "BTC_USDC-27MAR26"])
    def test_missing(self, name: str) -> None:
        bad = content(positions=[{"instrument": name, "quantity": 1}])
        refused(
            bad,
            "INP-011",
            instrument=name,
            field="positions[0].entry_price",
            says="no entry price",
        )

    @pytest.mark.parametrize("name", ["BTC-27MAR26-90000-C", "BTC_USDC"])
    def test_not_needed(self, name: str) -> None:
        made = content(positions=[{"instrument": name, "quantity": 1}])
        book = book_from_accounts([parse_account(json.dumps(made))])
        assert book.position_entry[0] != book.position_entry[0]

    def test_at_the_mark(self) -> None:
        book = book_from_accounts([parse_account(json.dumps(position(entry_price="mark")))])
        assert book.position_entry[0] != book.position_entry[0]


class TestKeysTwice:
    def test_position(self) -> None:
        rows = [{"instrument": PERP, "quantity": q, "entry_price": 1} for q in (1, 2)]
        refused(
            content(positions=rows),
            "INP-007",
            instrument=PERP,
            field="positions[1]",
            says="held twice",
        )

    def test_position_under_another_spelling(self) -> None:
        rows = [{"instrument": n, "quantity": 1, "entry_price": 1} for n in (PERP, "BTC/USDC:USDC")]
        refused(content(positions=rows), "INP-007", instrument=PERP)

    def test_legs_and_pools_are_part_of_the_key(self) -> None:
        rows = [
            {"instrument": PERP, "quantity": q, "entry_price": 1, "leg": leg, "pool": pool}
            for q, leg, pool in (
                (1, "net", "cross"),
                (1, "long", "cross"),
                (-1, "short", "cross"),
                (1, "net", "other"),
            )
        ]
        raw = content(positions=rows, pools=[{"id": "other"}])
        book = book_from_accounts([parse_account(json.dumps(raw))])
        assert book.position_quantity.tolist() == [1, 1, -1, 1]

    def test_balance(self) -> None:
        rows = [{"asset": "USDC", "amount": 1}] * 2
        refused(content(balances=rows), "INP-007", field="balances[1].amount", says="USDC")

    def test_balances_in_two_places(self) -> None:
        rows = [{"asset": "USDC", "amount": 1, "location": place} for place in ("x", "y")]
        book = book_from_accounts([parse_account(json.dumps(content(balances=rows)))])
        assert book.balance_amount.tolist() == [1, 1]

    def test_pool(self) -> None:
        refused(content(pools=[{"id": "p"}, {"id": "p"}]), "INP-007", field="pools", says="'p'")

    def test_order(self) -> None:
        one = {"id": "o", "legs": [{"instrument": PERP, "quantity": 1}]}
        refused(content(orders=[one, one]), "INP-007", field="orders", says="'o'")

    def test_quote_group(self) -> None:
        one = {"id": "g", "quotes": [{"instrument": PERP, "bid_quantity": 1}]}
        refused(content(quote_groups=[one, one]), "INP-007", says="'g'")

    def test_account(self) -> None:
        made = parse_account(json.dumps(content()))
        with pytest.raises(InputError) as caught:
            book_from_accounts([made, made])
        assert caught.value.code == "INP-007" and caught.value.account == "desk-7"


class TestLegs:
    @pytest.mark.parametrize("leg, quantity", [("long", -1), ("short", 1)])
    def test_wrong_sign(self, leg: str, quantity: float) -> None:
        refused(
            position(leg=leg, quantity=quantity),
            "INP-006",
            instrument=PERP,
            field="positions[0].quantity",
            says=f"wrong sign for a {leg} leg",
        )

    def test_unknown(self) -> None:
        refused(position(leg="both"), "INP-003", field="positions[0].leg")


class TestPools:
    @pytest.mark.parametrize(
        "raw, field",
        [
            (position(pool="hedge"), "positions[0].pool"),
            (
                content(balances=[{"asset": "USDC", "amount": 1, "pool": "hedge"}]),
                "balances[0].pool",
            ),
            (
                content(
                    orders=[
                        {
                            "id": "o",
                            "legs": [{"instrument": PERP, "quantity": 1}],
                            "pool": "hedge",
                        }
                    ]
                ),
                "orders[0].pool",
            ),
            (
                content(
                    quote_groups=[
                        {
                            "id": "g",
                            "quotes": [{"instrument": PERP, "bid_quantity": 1}],
                            "pool": "hedge",
                        }
                    ]
                ),
                "quote_groups[0].pool",
            ),
        ],
    )
    def test_unknown(self, raw: dict[str, Any], field: str) -> None:
        refused(raw, "INP-008", field=field, says="'hedge' is not declared")

    def test_a_position_in_an_unknown_pool_names_its_instrument(self) -> None:
        refused(position(pool="hedge"), "INP-008", instrument=PERP)

    def test_unknown_mode(self) -> None:
        refused(content(pools=[{"id": "p", "mode": "shared"}]), "INP-003", field="pools[0].mode")


class TestShape:
    @pytest.mark.parametrize(
        "raw, field",
        [
            (content(hiarcut=1), None),
            (position(qty=1), "positions[0]"),
            (content(balances=[{"asset": "USDC", "amount": 1, "value": 1}]), "balances[0]"),
            (content(pools=[{"id": "p", "kind": "x"}]), "pools[0]"),
        ],
    )
    def test_unknown_field(self, raw: dict[str, Any], field: str | None) -> None:
        error = refused(raw, "INP-003", says="unknown field")
        assert error.field == field

    @pytest.mark.parametrize("key", ["format", "account"])
    def test_required(self, key: str) -> None:
        raw = content()
        del raw[key]
        refused(raw, "INP-003", says=key)

    @pytest.mark.parametrize("key", ["instrument", "quantity"])
    def test_required_of_a_position(self, key: str) -> None:
        raw = position()
        del raw["positions"][0][key]
        refused(raw, "INP-003", field="positions[0]", says=key)

    def test_other_format(self) -> None:
        refused(content(format="crossmargin-account/2"), "INP-003", field="format")

    def test_nameless(self) -> None:
        refused(content(account=""), "INP-003", field="account")

    @pytest.mark.parametrize("raw", ["[]", "null", "3", '"text"', "true"])
    def test_not_an_object(self, raw: str) -> None:
        refused(raw, "INP-003")

    @pytest.mark.parametrize("asset", ["", "US D", "US-D", "$"])
    def test_odd_asset(self, asset: str) -> None:
        bad = content(balances=[{"asset": asset, "amount": 1}])
        refused(bad, "INP-003", field="balances[0].amount", says="not an asset")

    def test_order_without_legs(self) -> None:
        refused(content(orders=[{"id": "o", "legs": []}]), "INP-003", field="orders[0].legs")

    @pytest.mark.parametrize(
        "raw",
        [
            content(balances=[], positions=[]),
            {"format": "crossmargin-account/1", "account": "desk-7"},
        ],
    )
    def test_neither_balances_nor_positions(self, raw: dict[str, Any]) -> None:
        refused(raw, "INP-009", says="neither positions nor balances")

    def test_either_is_enough(self) -> None:
        for changes in ({"balances": []}, {"positions": []}):
            assert book_from_accounts([parse_account(json.dumps(content(**changes)))]).size == 1


class TestBytes:
    whole = json.dumps(content()).encode()

    @pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.99])
    def test_truncated(self, part: float) -> None:
        cut = self.whole[: int(len(self.whole) * part)]
        refused(cut, "INP-002", says="not complete JSON")

    @pytest.mark.parametrize("raw", [b"", b"{", b"{]", b"\xff\xfe\x00", b"account: x"])
    def test_not_json(self, raw: bytes) -> None:
        refused(raw, "INP-002")

    def test_something_after_the_end(self) -> None:
        refused(self.whole + b" {}", "INP-002")

    def test_bad_utf8_inside(self) -> None:
        refused(self.whole.replace(b"desk-7", b"desk-\xff"), "INP-002")

    def test_the_sentence_is_well_written(self) -> None:
        with pytest.raises(InputError) as caught:
            parse_account(b"{]")
        assert "jSON" not in str(caught.value)

    @pytest.mark.parametrize("raw", [b"", b"   \n"])
    def test_empty_file(self, tmp_path: Path, raw: bytes) -> None:
        path = tmp_path / "a.json"
        path.write_bytes(raw)
        with pytest.raises(InputError) as caught:
            read_account(path)
        assert caught.value.code == "INP-002"
        assert "is empty" in str(caught.value) and "a.json" in str(caught.value)

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            read_account(tmp_path / "nobody.json")
        assert caught.value.code == "INP-005" and "nobody.json" in str(caught.value)

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="INP-005"):
            read_account(tmp_path)

    def test_errors_name_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "cut.json"
        path.write_bytes(self.whole[:40])
        with pytest.raises(InputError, match=r"cut\.json"):
            read_account(path)

    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, len(whole)), st.binary(max_size=3))
    def test_damage_is_refused_or_harmless(self, at: int, noise: bytes) -> None:
        raw = self.whole[:at] + noise + self.whole[at + len(noise) :]
        try:
            made = parse_account(raw)
            book_from_accounts([made])
        except InputError as error:
            assert error.code.startswith("INP-") and "\n" not in str(error)
        else:
            assert isinstance(made, AccountFile)


class TestWriting:
    def test_round_trip(self) -> None:
        raw = content(
            description="words",
            owner="o",
            pools=[{"id": "p", "mode": "isolated"}],
            orders=[{"id": "o", "legs": [{"instrument": PERP, "quantity": 1, "price": "5e4"}]}],
            quote_groups=[
                {
                    "id": "g",
                    "quotes": [{"instrument": PERP, "bid_quantity": "1"}],
                    "protection_limit_usd": 100.0,
                }
            ],
        )
        made = parse_account(json.dumps(raw))
        written = write_account(made)
        assert written.endswith(b"}\n")
        assert parse_account(written) == made
        assert write_account(parse_account(written)) == written

    def test_schema_names_every_field(self) -> None:
        schema = account_schema()
        assert schema["$schema"].endswith("2020-12/schema")
        fields = schema["$defs"]["AccountFile"]["properties"]
        assert set(fields) == set(AccountFile.__struct_fields__)
        entry = schema["$defs"]["PositionEntry"]
        assert set(entry["properties"]) == set(PositionEntry.__struct_fields__)
        assert entry["additionalProperties"] is False

    def test_accounts_are_frozen(self) -> None:
        made = parse_account(json.dumps(content()))
        with pytest.raises((AttributeError, msgspec.ValidationError)):
            made.account = "other"  # type: ignore[misc]
