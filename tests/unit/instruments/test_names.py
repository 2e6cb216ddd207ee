"""Names: Deribit's grammar and ccxt's symbols, read and written."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.errors import InputError
from crossmargin.instruments import (
    Future,
    Instrument,
    Option,
    Perpetual,
    Spot,
    ccxt_symbol,
    deribit_name,
    describe,
    expiry_ns_from_date,
    expiry_of,
    parse_instrument,
)

EXPIRY = expiry_ns_from_date(date(2026, 3, 27))

#: Deribit's name, ccxt's symbol, kind, underlying, quote, settlement, inverse, strike, right.
TABLE = [
    ("BTC-PERPETUAL", "BTC/USD:BTC", "perpetual", "BTC", "USD", "BTC", True, None, None),
    ("BTC_USDC-PERPETUAL", "BTC/USDC:USDC", "perpetual", "BTC", "USDC", "USDC", False, None, None),
    ("BTC-27MAR26", "BTC/USD:BTC-260327", "future", "BTC", "USD", "BTC", True, None, None),
    (
        "SOL_USDC-27MAR26",
        "SOL/USDC:USDC-260327",
        "future",
        "SOL",
        "USDC",
        "USDC",
        False,
        None,
        None,
    ),
    (
        "BTC-27MAR26-90000-C",
        "BTC/USD:BTC-260327-90000-C",
        "option",
        "BTC",
        "USD",
        "BTC",
        True,
        90_000.0,
        "call",
    ),
    (
        "XRP_USDC-27MAR26-0d625-P",
        "XRP/USDC:USDC-260327-0.625-P",
        "option",
        "XRP",
        "USDC",
        "USDC",
        False,
        0.625,
        "put",
    ),
    ("BTC_USDC", "BTC/USDC", "spot", "BTC", "USDC", "USDC", False, None, None),
    ("STETH_ETH", "STETH/ETH", "spot", "STETH", "ETH", "ETH", False, None, None),
]


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
class TestTable:
    def test_both_spellings_are_one_instrument(self, row: tuple) -> None:
        by_deribit, by_ccxt = parse_instrument(row[0]), parse_instrument(row[1])
        assert by_deribit == by_ccxt
        assert by_deribit.id == row[0]

    def test_terms(self, row: tuple) -> None:
        item = parse_instrument(row[0])
        assert (item.kind, item.underlying, item.quote, item.settlement, item.inverse) == row[2:7]
        assert item.contract_size == 1.0
        if isinstance(item, Option):
            assert (item.strike, item.option_type) == row[7:]
        if isinstance(item, Option | Future):
            assert item.expiry_ns == EXPIRY == expiry_of(item)
        else:
            assert expiry_of(item) is None

    def test_written_back(self, row: tuple) -> None:
        item = parse_instrument(row[0])
        assert deribit_name(item) == row[0]
        assert ccxt_symbol(item) == row[1]

    def test_spaces_around_are_ignored(self, row: tuple) -> None:
        assert parse_instrument(f" {row[0]}\n") == parse_instrument(row[0])


def test_expiry_is_at_eight_utc() -> None:
    moment = datetime.fromtimestamp(EXPIRY / 1e9, UTC)
    assert moment == datetime(2026, 3, 27, 8, tzinfo=UTC)


def test_one_digit_days() -> None:
    assert parse_instrument("BTC-3APR26").id == "BTC-3APR26"
    assert parse_instrument("BTC-03APR26").id == "BTC-3APR26"
    assert parse_instrument("BTC/USD:BTC-260403").id == "BTC-3APR26"


def test_a_decimal_point_and_its_d_are_the_same() -> None:
    one = parse_instrument("XRP_USDC-27MAR26-0d625-C")
    assert parse_instrument("XRP_USDC-27MAR26-0.625-C") == one
    assert parse_instrument("XRP_USDC-27MAR26-0d6250-C") == one


class TestWhatDeribitCannotSay:
    def test_quanto_falls_back_on_ccxt(self) -> None:
        item = parse_instrument("BTC/USD:USDC-260327-90000-C")
        assert deribit_name(item) is None
        assert item.id == "BTC/USD:USDC-260327-90000-C"
        assert parse_instrument(item.id) == item

    def test_inverse_not_quoted_in_usd(self) -> None:
        item = parse_instrument("BTC/EUR:BTC")
        assert item.inverse and item.id == "BTC/EUR:BTC"

    def test_other_hours(self) -> None:
        item = Future(
            id="odd", underlying="BTC", quote="USD", settlement="BTC", expiry_ns=EXPIRY + 10**9
        )
        assert deribit_name(item) is None
        with pytest.raises(InputError, match="INP-020"):
            ccxt_symbol(item)

    @pytest.mark.parametrize("year", [1999, 2126])
    def test_other_centuries(self, year: int) -> None:
        day = expiry_ns_from_date(date(year, 3, 27))
        item = Future(id="odd", underlying="BTC", quote="USD", settlement="BTC", expiry_ns=day)
        name = deribit_name(item)
        assert name is None or parse_instrument(name).expiry_ns == day  # type: ignore[attr-defined]


assets = st.sampled_from(["BTC", "ETH", "SOL", "1INCH", "USDC", "USDT", "STETH", "X"])
days = st.dates(date(2000, 1, 1), date(2099, 12, 31)).map(expiry_ns_from_date)
strikes = st.one_of(
    st.integers(1, 10**9).map(float),
    st.integers(1, 10**9).map(lambda n: n / 1_000),
    st.integers(1, 10**6).map(lambda n: n / 1e8),
)


@st.composite
def instruments(draw: st.DrawFn) -> Instrument:
    base = draw(assets)
    quote = draw(assets.filter(lambda a: a != base) | st.just("USD"))
    settle = draw(st.sampled_from([base, quote]) | assets)
    terms = {"id": "?", "underlying": base, "quote": quote}
    match draw(st.sampled_from("spfo")):
        case "s":
            return Spot(**terms, settlement=quote)
        case "p":
            return Perpetual(**terms, settlement=settle)
        case "f":
            return Future(**terms, settlement=settle, expiry_ns=draw(days))
    return Option(
        **terms,
        settlement=settle,
        expiry_ns=draw(days),
        strike=draw(strikes),
        option_type=draw(st.sampled_from(["call", "put"])),
    )


def named(item: Instrument) -> dict[str, object]:
    """Terms without the id."""
    return {
        name: getattr(item, name)
        for name in ("kind", "underlying", "quote", "settlement", "inverse", "contract_size")
    } | {name: getattr(item, name, None) for name in ("expiry_ns", "strike", "option_type")}


@settings(max_examples=400, deadline=None)
@given(instruments())
def test_round_trip_over_random_terms(item: Instrument) -> None:
    symbol = ccxt_symbol(item)
    name = deribit_name(item)
    assert named(parse_instrument(symbol)) == named(item)
    if name is not None:
        assert named(parse_instrument(name)) == named(item)
        assert parse_instrument(name) == parse_instrument(symbol)
    canonical = parse_instrument(symbol)
    assert canonical.id == (name or symbol)
    assert parse_instrument(canonical.id) == canonical
    assert describe(canonical)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="BTCUSD_-/:0123456789dMARPEL .", max_size=24))
def test_any_text_is_an_instrument_or_refused(text: str) -> None:
    try:
        item = parse_instrument(text)
    except InputError as error:
        assert error.code in ("INP-001", "INP-020")
    else:
        assert parse_instrument(item.id) == item


class TestBadNames:
    @pytest.mark.parametrize(
        "name",
        [
            "",
            " ",
            "BTC",  # a coin alone
            "BTC-",
            "-PERPETUAL",
            "BTC-PERP",
            "btc-perpetual",
            "BTC-27MAR26-90000",  # neither call nor put
            "BTC-27MAR26-90000-X",
            "BTC-27MAR26-C",
            "BTC-27MAR26--90000-C",
            "BTC-27MAR26-1e5-C",
            "BTC-27MRA26",  # not a month
            "BTC-31FEB26",  # no such day
            "BTC-0MAR26",
            "BTC-27MAR2026",
            "BTC-PERPETUAL-C",
            "BTC__USDC-PERPETUAL",
            "BTC/USD:",
            "BTC/",
            "/USD",
            "BTC/USD:BTC-260231",
            "BTC/USD:BTC-261327",
            "BTC/USD:BTC-26327",
            "BTC/USD:BTC-260327-90000",
            "BTC/USD:BTC-260327-90000-CALL",
            "BTC/USD-260327",
            "BTC/USD/EUR",
            "DROP TABLE",
        ],
    )
    def test_refused_in_one_sentence(self, name: str) -> None:
        with pytest.raises(InputError) as caught:
            parse_instrument(name)
        error = caught.value
        assert error.code == "INP-001"
        assert error.instrument == name.strip()
        assert "unknown instrument" in error.message and "\n" not in str(error)
        assert error.hint

    def test_a_coin_alone_is_told_where_it_belongs(self) -> None:
        with pytest.raises(InputError, match="balances"):
            parse_instrument("BTC")

    @pytest.mark.parametrize("name", ["BTC-27MAR26-0-C", "BTC/USD:BTC-260327-0-C"])
    def test_strike_of_zero(self, name: str) -> None:
        with pytest.raises(InputError) as caught:
            parse_instrument(name)
        assert caught.value.instrument == name


class TestTerms:
    def option(self, **terms: object) -> Option:
        values = {
            "id": "x",
            "underlying": "BTC",
            "quote": "USD",
            "settlement": "BTC",
            "expiry_ns": EXPIRY,
            "strike": 1.0,
            "option_type": "call",
        }
        return Option(**(values | terms))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "field, value",
        [
            ("strike", 0.0),
            ("strike", -1.0),
            ("strike", float("nan")),
            ("strike", float("inf")),
            ("option_type", "straddle"),
            ("contract_size", 0.0),
            ("contract_size", -1.0),
            ("contract_size", float("nan")),
            ("underlying", ""),
            ("settlement", ""),
            ("quote", ""),
            ("id", ""),
        ],
    )
    def test_impossible(self, field: str, value: object) -> None:
        with pytest.raises(InputError) as caught:
            self.option(**{field: value})
        assert caught.value.code == "INP-020" and caught.value.field == field

    def test_units_of_quantity(self) -> None:
        assert parse_instrument("BTC-PERPETUAL").quantity_unit == "USD"
        assert parse_instrument("BTC-27MAR26").quantity_unit == "USD"
        assert parse_instrument("BTC-27MAR26-90000-C").quantity_unit == "BTC"
        assert parse_instrument("BTC_USDC-PERPETUAL").quantity_unit == "BTC"

    def test_spot_is_never_inverse(self) -> None:
        assert not Spot(id="x", underlying="BTC", quote="USD", settlement="BTC").inverse

    def test_bare_instrument_has_no_kind(self) -> None:
        bare = Instrument(id="x", underlying="BTC", quote="USD", settlement="USD")
        with pytest.raises(InputError):
            _ = bare.kind

    @pytest.mark.parametrize(
        "name, words",
        [
            ("BTC-27MAR26-90000-C", "inverse call on BTC, strike 90000 USD"),
            ("BTC_USDC-PERPETUAL", "linear perpetual on BTC, settled in USDC"),
            ("BTC_USDC", "spot BTC against USDC"),
            ("BTC-27MAR26", "inverse future on BTC expiring 2026-03-27T08:00:00Z"),
        ],
    )
    def test_in_words(self, name: str, words: str) -> None:
        assert words in describe(parse_instrument(name))
