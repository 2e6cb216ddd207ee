"""A rule-set from TOML text: the stages, overrides, gaps, the hash, and a refusal."""

from crossmargin.errors import CrossmarginError
from crossmargin.margin import load_ruleset, make_statement, ruleset_from_toml
from crossmargin.venues import load_account, load_market

# Our own house view of Deribit's model: a wider range, a charge on the larger of scan and rate.
TEXT = """
format = "crossmargin-ruleset/1"
id = "house-pm"
extends = "deribit-pm-cross"
title = "Portfolio margin with a floor"

[sources.policy]
title = "our risk policy"
date = "2026-02-01"
confidence = "house"

[scenarios.underlyings.BTC]
price_range = 0.20

[[components]]
kind = "rate"
name = "floor"
source = "policy"
confidence = "house"
scheme = "marginal"
tiers.default = [{floor = 0.0, im = 0.01, mm = 0.005}, {floor = 1e7, im = 0.02, mm = 0.01}]

[combine]
im = "max(risk_matrix, floor)"
mm = "max(0.8 * risk_matrix, floor)"
"""


def main() -> None:
    rules = ruleset_from_toml(TEXT)
    print(f"{rules.id}: extends {rules.data.extends}, hash {rules.content_hash[:16]}")
    for name, expression in rules.expressions.items():
        print(f"  {name} = {expression.text}")
    print("without a source:")
    for gap in rules.gaps:
        print(f"  {gap}")

    market = load_market("calm-2026-02-03")
    trader = load_account("basis-trader")
    print(f"\n{trader.account}, IM in US dollars")
    for one in (load_ruleset("deribit-pm-cross"), rules):
        made = make_statement(trader, market, one, solve=False)
        parts = ", ".join(f"{c.name} {c.im_usd:,.0f}" for c in made.components if c.im_usd)
        print(f"  {one.id:<18}{made.totals.im:12,.2f}   ({parts})")

    wider = {"scenarios.underlyings.BTC.price_range": 0.30}
    made = make_statement(trader, market, ruleset_from_toml(TEXT, overrides=wider), solve=False)
    print(f"  with a range of 30 % {made.totals.im:9,.2f}   supplied: {made.ruleset.overrides}")

    print("\nwhat is wrong is refused, with a sentence:")
    for path, value in (
        ("combine.im", "max(risk_matrix, flor)"),
        ("scenarios.underlyings.BTC.price_range", 1.5),
        ("collateral.assets.BTC.hair_cut", 0.1),
    ):
        try:
            ruleset_from_toml(TEXT, overrides={path: value})
        except CrossmarginError as error:
            print(f"  {error}")


if __name__ == "__main__":
    main()
