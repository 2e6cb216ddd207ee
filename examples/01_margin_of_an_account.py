"""The margin of one account, taken apart: what is needed, why, and where it would die."""

from crossmargin.book import parse_account
from crossmargin.margin import load_ruleset, make_statement
from crossmargin.venues import load_market

ACCOUNT = """{
  "format": "crossmargin-account/1",
  "account": "collar",
  "balances": [{"asset": "BTC", "amount": "5"}, {"asset": "USDC", "amount": 20000}],
  "positions": [
    {"instrument": "BTC-PERPETUAL", "quantity": 150000, "entry_price": 78000},
    {"instrument": "BTC-27MAR26-65000-P", "quantity": 5},
    {"instrument": "BTC-27MAR26-95000-C", "quantity": -5}
  ]
}"""


def main() -> None:
    made = make_statement(
        parse_account(ACCOUNT), load_market("calm-2026-02-03"), load_ruleset("deribit-pm-cross")
    )
    totals = made.totals
    print(f"{made.account} under {made.ruleset.id}, market of {made.as_of}: {totals.state}")
    print(f"  equity             {totals.equity:14,.2f} USD")
    print(f"  initial margin     {totals.im:14,.2f}")
    print(f"  maintenance margin {totals.mm:14,.2f}")
    print(f"  health             {totals.health:14,.2f}  (1.0 is the line)")

    print("\nfrom standalone margins to the requirement, USD")
    for step in made.waterfall:
        print(f"  {step.label:<20} {step.usd:14,.2f}")

    print("\nworst scenarios of each group, USD")
    for group in made.groups:
        worst = sorted(zip(group.pnl_usd, group.scenarios))[:3]
        for pnl, label in worst:
            mark = "*" if label == group.binding else " "
            print(f" {mark} {group.group} {label:<28} {pnl:14,.2f}")

    print("\nshare of the initial margin, USD (negative: a hedge)")
    for position in made.positions:
        print(f"  {position.instrument:<22} {position.share_im_usd:14,.2f}")
    for balance in made.balances:
        print(f"  {'balance ' + balance.asset:<22} {balance.share_im_usd:14,.2f}")
    lines = [p.share_im_usd for p in made.positions] + [b.share_im_usd for b in made.balances]
    added_up = sum(lines) + made.share_fixed_usd + made.share_jumps_usd
    print(f"  {'added up':<22} {added_up:14,.2f}")

    print("\nliquidation, all else unmoved")
    for line in made.liquidation:
        for word, side in (("falls", line.down), ("rises", line.up)):
            where = "none" if side.price_usd is None else f"{side.price_usd:,.2f} USD"
            print(f"  {line.underlying} {word}: {where}")

    print("\nnotes")
    for note in made.notes:
        print(f"  {note}")


if __name__ == "__main__":
    main()
