"""Venues' transaction logs: rows as documented, faults as reasons."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest

from crossmargin.accounts.amounts import Scales
from crossmargin.accounts.matching import Class
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.venues.transaction_logs import (
    log_formats,
    parse_transaction_log,
    read_transaction_log,
)

MS = 1_770_000_000_123
ROWS: dict[str, dict[str, Any]] = {
    "deribit": {
        "id": 981, "user_seq": 12, "timestamp": MS, "currency": "BTC", "change": -0.00012345,
        "cashflow": 0, "type": "trade", "trade_id": "ETH-77", "balance": 1.5, "info": {},
    },
    "binance": {
        "symbol": "BTCUSDT", "incomeType": "COMMISSION", "income": "-0.01000000",
        "asset": "USDT", "time": MS, "info": "", "tranId": 9689322392, "tradeId": "2059192",
    },
    "bybit": {
        "id": "592_BTC", "symbol": "BTCUSDT", "transactionTime": str(MS), "type": "SETTLEMENT",
        "currency": "USDT", "cashFlow": "0", "funding": "-1.5", "fee": "0.0", "change": "-1.5",
        "tradeId": "", "side": "None",
    },
    "okx": {
        "billId": "6234", "ts": str(MS), "ccy": "USDC", "balChg": "12.5", "type": "8",
        "subType": "174", "tradeId": "0", "fee": "0",
    },
    "crossmargin": {
        "id": "x1", "time": "2026-02-02T02:40:00.123Z", "asset": "ETH", "amount": "3.25",
        "kind": "deposit", "reference": "tx9",
    },
}  # fmt: skip
WRAPPED: dict[str, Any] = {
    "deribit": lambda rows: {"jsonrpc": "2.0", "result": {"logs": rows, "continuation": None}},
    "binance": lambda rows: rows,
    "bybit": lambda rows: {"retCode": 0, "result": {"list": rows, "nextPageCursor": ""}},
    "okx": lambda rows: {"code": "0", "data": rows},
    "crossmargin": lambda rows: rows,
}
EXPECTED = {
    "deribit": ("981", "BTC", -12_345, "trade", "ETH-77", "trade"),
    "binance": ("COMMISSION:9689322392", "USDT", -10_000, "fee", "2059192", "COMMISSION"),
    "bybit": ("592_BTC", "USDT", -1_500_000, "funding", "", "SETTLEMENT"),
    "okx": ("6234", "USDC", 12_500_000, "funding", "", "8"),
    "crossmargin": ("x1", "ETH", 325_000_000, "deposit", "tx9", "deposit"),
}


def parse(data: Any, **more: Any) -> Any:
    return parse_transaction_log(json.dumps(data).encode(), what="log.json", **more)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_of_each_venue_is_read_and_recognised(name: str) -> None:
    for data in (WRAPPED[name]([ROWS[name]]), [ROWS[name]]):
        found = parse(data)
        assert found.format.id == name
        assert found.bad == ()
        (line,) = found.lines
        assert (line.id, line.asset, line.amount, line.kind, line.reference, line.note) == (
            EXPECTED[name]
        )
        assert line.time_ns == MS * 1_000_000


def test_every_format_is_tested_and_says_where_it_is_from() -> None:
    assert set(log_formats()) == set(ROWS)
    for made in log_formats().values():
        assert made.source
        assert set(made.classes.values()) <= set(get_args(Class))


def test_csv_is_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "time,asset,amount,kind,id,reference\n"
        "2026-02-02T02:40:00.123Z,ETH,3.25,deposit,x1,tx9\n"
        "2026-02-02T02:40:00Z,ETH,oops,deposit,x2,\n"
        "2026-02-02T02:40:00Z,ETH,-1,unheard-of,x3,\n",
        encoding="utf-8-sig",
    )
    found = read_transaction_log(path)
    assert [x.id for x in found.lines] == ["x1", "x3"]
    assert [x.kind for x in found.lines] == ["deposit", "other"]
    (bad,) = found.bad
    assert bad.row == 2
    assert "oops" in str(bad.reason)


def test_amounts_are_exact_at_any_size() -> None:
    row = ROWS["crossmargin"] | {"amount": "123456789012.12345678"}
    (line,) = parse([row]).lines
    assert line.amount == int(Decimal("123456789012.12345678") * 10**8)


def test_more_decimals_than_are_kept_are_refused_not_rounded() -> None:
    row = ROWS["crossmargin"] | {"amount": "0.123456789"}
    (bad,) = parse([row]).bad
    assert bad.reason.code == "LED-001"
    assert parse([row], scales=Scales({"ETH": 9})).lines[0].amount == 123_456_789


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("deribit", {"change": None}),
        ("deribit", {"timestamp": -1}),
        ("deribit", {"timestamp": 1.5}),
        ("deribit", {"currency": ""}),
        ("deribit", {"id": None}),
        ("binance", {"income": "NaN"}),
        ("binance", {"income": True}),
        ("bybit", {"transactionTime": "yesterday"}),
        ("okx", {"balChg": ["1"]}),
        ("crossmargin", {"time": "2026-02-02T02:40:00"}),
        ("crossmargin", {"amount": "1e99"}),
    ],
)
def test_a_bad_row_is_a_reason_and_the_others_are_read(name: str, change: dict[str, Any]) -> None:
    good = ROWS[name]
    found = parse(WRAPPED[name]([good, good | change, good]), format=name)
    assert len(found.lines) == 2
    (bad,) = found.bad
    assert bad.row == 2
    assert isinstance(bad.reason, CrossmarginError)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"[]", "fields of no transaction log"),
        (b"{}", "fields of no transaction log"),
        (b'[{"a": 1}]', "fields of no transaction log"),
        (b"[1, 2]", "fields of no transaction log"),
        (b"[", "not complete JSON"),
        (b"a,b\n1,2\n", "fields of no transaction log"),
        (b"\xff\xfe\x00", "neither JSON nor CSV"),
    ],
)
def test_what_is_no_log(raw: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_transaction_log(raw, what="x")


def test_a_format_that_is_not_known_is_named() -> None:
    with pytest.raises(InputError, match="'kraken' is no format"):
        parse([], format="kraken")
    assert parse([], format="binance").lines == ()
    with pytest.raises(InputError, match="no list of rows"):
        parse({"a": 1}, format="deribit")
