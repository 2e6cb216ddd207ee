"""A market from a Deribit book-summary reply: what was kept, dropped and fitted."""

from crossmargin.book import parse_account
from crossmargin.margin import load_ruleset, make_statement
from crossmargin.market import read_market, write_market
from crossmargin.units import format_time
from crossmargin.venues import market_file, snapshot_from_book_summary

TIME_MS = 1_770_092_975_000
FORWARD = 78_844.37


def option(name: str, mark: float, iv: float | None) -> dict[str, object]:
    """Return one row of the reply; volatilities are in percent there."""
    return {
        "instrument_name": name,
        "mark_price": mark,
        "mark_iv": iv,
        "underlying_price": FORWARD,
        "bid_price": round(mark - 0.0005, 4),
        "ask_price": round(mark + 0.0005, 4),
        "creation_timestamp": TIME_MS,
    }


REPLY = {
    "jsonrpc": "2.0",
    "result": [
        {
            "instrument_name": "BTC-PERPETUAL",
            "mark_price": 78_424.5,
            "funding_8h": -0.000022,
            "estimated_delivery_price": 78_494.54,
            "creation_timestamp": TIME_MS,
        },
        option("BTC-27MAR26-50000-P", 0.0013, 58.91),
        option("BTC-27MAR26-60000-P", 0.0066, 52.37),
        option("BTC-27MAR26-70000-P", 0.0254, 47.30),
        option("BTC-27MAR26-76000-P", 0.0501, 45.02),
        option("BTC-27MAR26-84000-C", 0.0394, 43.12),
        option("BTC-27MAR26-92000-C", 0.0157, 42.64),
        option("BTC-27MAR26-110000-C", 0.0020, 45.20),
        option("BTC-27MAR26-200000-C", 0.0001, None),
        {"instrument_name": "BTC-FS-27MAR26_PERP", "mark_price": 350.0},
    ],
}
ACCOUNT = """{"format": "crossmargin-account/1", "account": "strangle",
 "balances": [{"asset": "BTC", "amount": 2}],
 "positions": [{"instrument": "BTC-27MAR26-65000-P", "quantity": -1},
               {"instrument": "BTC-27MAR26-92000-C", "quantity": -1}]}"""


def main() -> None:
    report = snapshot_from_book_summary(REPLY, index_price={"USDC": 0.9998})
    print(f"market of {format_time(report.snapshot.as_of_ns)}")
    print(f"{len(report.snapshot.quotes)} instruments kept, {len(report.dropped)} dropped:")
    for one in report.dropped:
        print(f"  {one.sentence} ({one.reason})")
    for one in report.fits:
        error = one.rmse_vol_points_10_90_delta
        print(
            f"{one.underlying} {format_time(one.expiry_ns)}: {one.fit.n} quotes, RMSE {error:.3f}"
        )
    print(f"arbitrage left in the surfaces: {len(report.violations)}")

    with open("market.json", "wb") as file:
        file.write(write_market(market_file(report, keep_quotes=True)))
    # The put at 65,000 is not in the reply: its volatility is read off the fitted slice.
    made = make_statement(
        parse_account(ACCOUNT), read_market("market.json"), load_ruleset("deribit-sm")
    )
    for p in made.positions:
        print(f"{p.instrument}: vol {p.vol:.4f}, mark {p.mark_price:.6f} {p.mark_unit}")
    print(f"initial margin {made.totals.im:,.2f} USD")


if __name__ == "__main__":
    main()
