"""Risk-array files: what is read, with which sign, and what is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.margin import span_from_arrays
from crossmargin.venues import (
    decode_risk_array_csv,
    decode_risk_arrays,
    decode_span_xml,
    load_risk_arrays,
)

#: McMillan ch. 34, profit of one long contract.
FUTURE = [0, 0, 3330, 3330, -3330, -3330, 6670, 6670, -6670, -6670, 10000, 10000, -10000, -10000,
          7000, -7000]  # fmt: skip
CALL = [460, -610, 2640, 1730, -1270, -2340, 5210, 4540, -2540, -3430, 8060, 7640, -3380, -3990,
        3130, -1500]  # fmt: skip


def content(**more: Any) -> dict[str, Any]:
    return {
        "format": "crossmargin-risk-array/1",
        "as_of": "1992-11-02",
        "source": "a text-book",
        "sign": "profit",
        "commodities": [
            {
                "code": "SP",
                "currency": "USD",
                "tiers": [{"from_days": 0, "to_days": 60}, {"from_days": 60}],
                "spreads": [{"first": 1, "second": 2, "charge": 250}],
                "short_option_minimum": 100,
            }
        ],
        "contracts": [
            {"id": "DEC", "commodity": "SP", "kind": "future", "array": FUTURE, "delta": 1.0,
             "multiplier": 500, "expiry": "1992-12-17"},
            {"id": "MAR", "commodity": "SP", "kind": "future", "array": FUTURE, "delta": 1.0,
             "multiplier": 500, "expiry": "1993-03-18"},
            {"id": "CALL", "commodity": "SP", "kind": "option", "array": CALL, "delta": 0.5,
             "multiplier": 500, "price": 8.0, "expiry": "1992-12-17"},
        ],
        **more,
    }  # fmt: skip


def read(data: dict[str, Any]):
    return decode_risk_arrays(json.dumps(data).encode())


class TestJson:
    def test_text_book_portfolio(self) -> None:
        result = span_from_arrays(read(content()), {"DEC": 1, "CALL": -1})
        assert result.risk == 6_620.0

    def test_the_sign_is_said_and_heeded(self) -> None:
        turned = content(sign="loss")
        for entry in turned["contracts"]:
            entry["array"] = [-x for x in entry["array"]]
        for positions in ({"DEC": 1}, {"CALL": -3}, {"DEC": 2, "MAR": -1}):
            one, two = (span_from_arrays(read(d), positions) for d in (content(), turned))
            assert one.risk == two.risk

    def test_calendar_spread(self) -> None:
        # Scan 10,000 for the one that is left, and 2 spreads at 250.
        assert span_from_arrays(read(content()), {"DEC": 3, "MAR": -2}).risk == 10_500.0

    @pytest.mark.parametrize(
        "change",
        [
            {"sign": "both"},
            {"as_of": "1992-13-01"},
            {"extra": 1},
            {"commodities": []},
            {"contracts": content()["contracts"] + content()["contracts"][:1]},
            {"contracts": [{**content()["contracts"][0], "commodity": "XX"}]},
            {"contracts": [{**content()["contracts"][0], "array": FUTURE[:15]}]},
            {"contracts": [{**content()["contracts"][0], "expiry": "1992-11-01"}]},
            {"contracts": [{**content()["contracts"][0], "multiplier": 0}]},
            {"commodities": [{**content()["commodities"][0], "tiers": []}]},
            {"commodities": content()["commodities"] * 2},
            {"credits": [{"legs": [{"group": "SP", "side": "A"}], "credit": 0.5}]},
            {"credits": [{"legs": [{"group": "SP", "side": "A"}, {"group": "ED", "side": "B"}],
                          "credit": 0.5}]},
        ],
    )  # fmt: skip
    def test_refused(self, change: dict[str, Any]) -> None:
        with pytest.raises(InputError) as error:
            read(content(**change))
        assert error.value.code == "INP-003"

    def test_not_json(self) -> None:
        with pytest.raises(InputError) as error:
            decode_risk_arrays(b'{"format": NaN')
        assert error.value.code == "INP-002"


HEADER = "id,commodity,kind,expiry,price,multiplier,delta," + ",".join(
    f"s{k}" for k in range(1, 17)
)


def table(*rows: str) -> bytes:
    return "\n".join([HEADER, *rows]).encode()


def line(name: str, kind: str, array: list[int]) -> str:
    return f"{name},SP,{kind},1992-12-17,0,500,1," + ",".join(str(x) for x in array)


class TestCsv:
    def test_read(self) -> None:
        raw = table(line("DEC", "future", FUTURE), line("CALL", "option", CALL))
        file = decode_risk_array_csv(raw, as_of="1992-11-02", sign="profit")
        assert span_from_arrays(file, {"DEC": 1, "CALL": -1}).risk == 6_620.0
        assert file.contracts["DEC"].days == 45.0
        assert file.not_read

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"id,commodity\n",
            b"\xff\xfe",
            table("DEC,SP,swap,,0,500,1" + ",0" * 16),
            table("DEC,SP,future,,0,500,1" + ",0" * 15 + ",x"),
            table("DEC,SP,future,,0,500,nan" + ",0" * 16),
            table("DEC,SP,future,,0,500,1"),
            table("DEC,SP,future,soon,0,500,1" + ",0" * 16),
            table("DEC,SP,future,,0,0,1" + ",0" * 16),
            table(line("DEC", "future", FUTURE), line("DEC", "future", FUTURE)),
        ],
    )
    def test_refused(self, raw: bytes) -> None:
        with pytest.raises(InputError):
            decode_risk_array_csv(raw, as_of="1992-11-02", sign="loss")


def array_xml(profit: list[int], delta: float) -> str:
    cells = "".join(f"<a>{-x}</a>" for x in profit)
    return f"<ra><r>1</r>{cells}<d>{delta}</d></ra>"


#: Written by hand after the element names of the format; no recorded file stands behind it.
SPN = f"""<?xml version="1.0"?>
<spanFile><fileFormat>4.00</fileFormat><created>199211021800</created>
<pointInTime><date>19921102</date><isSetl>1</isSetl>
<clearingOrg><ec>CME</ec>
<ccDef><cc>SP</cc><name>S&amp;P 500</name><currency>USD</currency>
<pfLink><exch>CME</exch><pfId>1</pfId><pfCode>SP</pfCode><pfType>FUT</pfType><sc>1</sc></pfLink>
<pfLink><exch>CME</exch><pfId>2</pfId><pfCode>SP</pfCode><pfType>OOF</pfType><sc>1</sc></pfLink>
</ccDef>
<exchange><exch>CME</exch>
<futPf><pfId>1</pfId><pfCode>SP</pfCode><currency>USD</currency><cvf>500</cvf>
<fut><cId>1</cId><pe>199212</pe><p>408</p><d>1</d><setlDate>19921217</setlDate>
{array_xml(FUTURE, 1.0)}</fut></futPf>
<oofPf><pfId>2</pfId><pfCode>SP</pfCode><cvf>500</cvf>
<series><pe>199212</pe><setlDate>19921217</setlDate><cvf>500</cvf>
<opt><cId>7</cId><o>C</o><k>410</k><p>8</p>{array_xml(CALL, 0.5)}</opt></series></oofPf>
<futPf><pfId>9</pfId><pfCode>ZZ</pfCode><cvf>1</cvf>
<fut><cId>2</cId><pe>199212</pe><p>1</p><d>1</d>{array_xml(FUTURE, 1.0)}</fut></futPf>
</exchange></clearingOrg></pointInTime></spanFile>"""


class TestSpanXml:
    def test_contracts_and_arrays(self) -> None:
        file = decode_span_xml(SPN.encode())
        assert sorted(file.contracts) == ["SP-199212", "SP-199212-410-C"]  # ZZ is in no commodity
        call = file.contracts["SP-199212-410-C"]
        assert (call.price, call.multiplier, call.delta, call.days) == (8.0, 500.0, 0.5, 45.0)
        np.testing.assert_array_equal(call.loss, -np.array(CALL, dtype=float))
        assert file.as_of == "1992-11-02" and file.not_read

    def test_text_book_portfolio(self) -> None:
        file = decode_span_xml(SPN.encode())
        result = span_from_arrays(file, {"SP-199212": 1, "SP-199212-410-C": -1})
        assert (result.risk, result.option_value, result.requirement) == (6_620, -4_000, 10_620)

    @pytest.mark.parametrize(
        "raw",
        [
            "",
            "<spanFile>",
            "<spanFile/>",
            "<other><pointInTime/></other>",
            "<!DOCTYPE x [<!ENTITY a 'b'>]><spanFile/>",
            SPN.replace("<a>10000</a>", "<a>ten</a>", 1),
            SPN.replace("<a>10000</a>", "", 1),
            SPN.replace("<d>0.5</d>", "<d>inf</d>"),
            SPN.replace("<date>19921102</date>", "<date>today</date>"),
            SPN.replace("<date>19921102</date>", ""),
            SPN.replace("<k>410</k>", ""),
            SPN.replace("<cvf>500</cvf>", "<cvf>-1</cvf>"),
            SPN.replace("pfLink", "nothing"),
        ],
    )
    def test_refused(self, raw: str) -> None:
        with pytest.raises(InputError):
            decode_span_xml(raw.encode())

    def test_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.spn").write_text(SPN)
        (tmp_path / "b.json").write_text(json.dumps(content()))
        assert "SP-199212" in load_risk_arrays(tmp_path / "a.spn").contracts
        assert "DEC" in load_risk_arrays(tmp_path / "b.json").contracts
        with pytest.raises(InputError) as error:
            load_risk_arrays(tmp_path / "c.json")
        assert error.value.code == "INP-005"
