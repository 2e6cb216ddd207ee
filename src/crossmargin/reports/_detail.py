"""The lower half of the report: the tables behind the pictures."""

from __future__ import annotations

from collections.abc import Sequence

from crossmargin.analytics import ComparisonRow, TailCost
from crossmargin.margin.statement_types import LiquidationLine, SideLine, Statement
from crossmargin.reports._bars import ruleset_chart
from crossmargin.reports._sections import badge
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import (
    DASH,
    NBSP,
    Safe,
    amount,
    column_decimals,
    esc,
    health,
    join,
    number,
    percent,
    price,
    quantity,
    round_price,
    significant,
    usd,
    words,
)


def _usd_column(values: list[float]) -> list[str]:
    digits = column_decimals(values)
    return [number(v, digits) for v in values]


def _block(title: str, *parts: str) -> Safe:
    return Safe(f'<div class="block"><h3>{esc(title)}</h3>{join(list(parts))}</div>')


def comparison(made: Statement, others: Sequence[Statement | ComparisonRow]) -> Safe:
    """Write the section that sets rule-sets side by side; the statement itself comes first."""
    rows: list[tuple[Statement, TailCost | None]] = []
    refused: list[tuple[str, str]] = []
    for other in others:
        if isinstance(other, Statement):
            rows.append((other, None))
        elif other.statement is None:
            refused.append((other.ruleset, other.error or "refused"))
        else:
            rows.append((other.statement, other.tail))
    if all(s.ruleset.id != made.ruleset.id for s, _ in rows):
        rows.insert(0, (made, None))
    tails = any(tail is not None for _, tail in rows)
    columns = [
        Column("rule-set", text=True),
        Column("IM, USD"),
        Column("MM, USD"),
        Column("equity, USD"),
        Column("health"),
        Column("saving vs standalone"),
        *([Column("tail cost, USD")] if tails else []),
        Column("liquidation down, USD", text=True),
        Column("liquidation up, USD", text=True),
        Column("state", text=True),
    ]
    body = []
    for one, tail in rows:
        t = one.totals
        body.append(
            [
                one.ruleset.id + ("" if one.ruleset.complete_here else " *"),
                amount(t.im),
                amount(t.mm),
                amount(t.equity),
                health(t.health),
                percent(t.saving),
                *([number(tail.rise) if tail is not None else DASH] if tails else []),
                _sides(one, down=True),
                _sides(one, down=False),
                badge(t.state),
            ]
        )
    said = "* something that touches this account has no source."
    if tails:
        said += " Tail cost: mean loss in the tail, pooled less in separate pots."
    no = "".join(f"<li>{esc(name)}: {esc(why)}</li>" for name, why in refused)
    refusals = f"<h4>Refused</h4><ul>{no}</ul>" if no else ""
    chart = figure(
        "Initial margin by rule-set",
        "Thick bar: initial margin. Thin bar: maintenance margin, USD.",
        ruleset_chart([one for one, _ in rows]),
        wide=True,
    )
    return Safe(
        '<section aria-labelledby="rulesets"><h2 id="rulesets">Under other rule-sets</h2>'
        f'<div class="cards">{chart}</div>'
        f"{table('The account under several rule-sets', columns, body)}"
        f'<p class="small">{esc(said)}</p>{refusals}</section>'
    )


def _sides(made: Statement, *, down: bool) -> Safe:
    out = []
    for line in made.liquidation:
        if line.underlying == "*":
            continue
        if line.breached:
            text = "already below MM"
        else:
            side = line.down if down else line.up
            text = "none"
            if side.price_usd is not None:
                far = percent(side.distance, sign=True)
                text = f"{round_price(side.price_usd)} ({far})"
        out.append(esc(f"{line.underlying} {text}"))
    return Safe("<br>".join(out) or DASH)


def _price_and_distance(side: SideLine) -> str:
    far = percent(side.distance, 2, sign=True)
    return far if side.price_usd is None else f"{price(side.price_usd)}{NBSP}USD ({far})"


def pots(made: Statement) -> Safe:
    """Tabulate the pots, each in its own numeraire."""
    rows = []
    for pot in made.pots:
        digits = 2 if pot.numeraire_usd < 10 else 6

        def own(value: float, digits: int = digits, unit: str = pot.numeraire) -> str:
            return number(value, digits) + NBSP + unit

        rows.append(
            [
                pot.name,
                own(pot.equity_mm),
                own(pot.im),
                own(pot.mm),
                own(pot.available),
                health(pot.health) if pot.health is not None else f"{DASH} nothing required",
                badge(pot.state, pot.venue_state),
            ]
        )
    columns = [Column("pot", text=True), Column("equity"), Column("IM"), Column("MM")]
    columns += [Column("available"), Column("health"), Column("state", text=True)]
    return _block("Pots", table("Pots", columns, rows))


def components(made: Statement) -> Safe:
    """Tabulate the components of every group, with where each formula comes from."""
    if not made.components:
        return Safe("")
    several = len({c.pot for c in made.components}) > 1
    im = _usd_column([c.im_usd for c in made.components])
    mm = _usd_column([c.mm_usd for c in made.components])
    rows = []
    for c, a, b in zip(made.components, im, mm):
        group = "whole pot" if c.group == "*" else c.group
        if c.factor_im is not None and c.factor_mm is not None:
            a, b = f"factor {c.factor_im:.6g}", f"factor {c.factor_mm:.6g}"
        rows.append(
            [f"{group} in {c.pot}" if several else group, words(c.name), a, b, c.source]
            + [c.confidence, c.note]
        )
    columns = [Column("group", text=True), Column("component", text=True)]
    columns += [Column("IM, USD"), Column("MM, USD"), Column("source", text=True)]
    columns += [Column("confidence", text=True), Column("note", text=True, wrap=True)]
    said = (
        "What each formula gives, before the rule-set combines them (largest of some, a fraction "
        "of others for maintenance); the group totals are with the scenarios and the pots."
    )
    return _block(
        "Components",
        Safe(f'<p class="small">{esc(said)}</p>'),
        table("Components by group", columns, rows),
    )


def positions(made: Statement) -> Safe:
    """Tabulate the positions; marks of inverse options are in coin."""
    lines = made.positions
    if not lines:
        return _block("Positions", Safe('<p class="none">No positions.</p>'))
    pools = len({p.pool for p in lines}) > 1
    legs = any(p.leg != "net" for p in lines)
    money = {
        "notional, USD": [p.notional_usd for p in lines],
        "value, USD": [p.value_usd for p in lines],
        "unrealised, USD": [p.unrealised_usd for p in lines],
        "vega, USD/pt": [p.vega_usd for p in lines],
        "theta, USD/day": [p.theta_usd for p in lines],
        "IM alone, USD": [p.standalone_im_usd for p in lines],
        "share of IM, USD": [p.share_im_usd for p in lines],
    }
    written = {name: _usd_column(values) for name, values in money.items()}
    columns = [Column("instrument", text=True)]
    columns += [Column("pool", text=True)] if pools else []
    columns += [Column("leg", text=True)] if legs else []
    columns += [Column(n) for n in ("quantity", "entry", "mark", "vol", "days")]
    columns += [Column(n) for n in ("notional, USD", "value, USD", "unrealised, USD")]
    columns += [Column("delta, coins"), Column("gamma, coins per 1 %")]
    tail = ("vega, USD/pt", "theta, USD/day", "IM alone, USD", "share of IM, USD")
    columns += [Column(n) for n in tail]
    rows = []
    for k, p in enumerate(lines):
        unit = NBSP + p.mark_unit
        rows.append(
            [
                p.instrument + (" (expired)" if p.settled else ""),
                *([p.pool] if pools else []),
                *([p.leg] if legs else []),
                quantity(p.quantity) + NBSP + p.unit,
                DASH if p.entry_price is None else price(p.entry_price) + unit,
                price(p.mark_price) + unit,
                percent(p.vol),
                DASH if p.days is None else number(p.days, 1),
                *(written[n][k] for n in ("notional, USD", "value, USD", "unrealised, USD")),
                significant(p.delta),
                significant(p.gamma),
                *(written[n][k] for n in tail),
            ]
        )
    return _block("Positions", table("Positions", columns, rows))


def balances(made: Statement) -> Safe:
    """Tabulate the balances: at market, and what the haircut leaves."""
    if not made.balances:
        return _block("Balances", Safe('<p class="none">No balances.</p>'))
    value = _usd_column([b.value_usd for b in made.balances])
    left = _usd_column([b.collateral_usd for b in made.balances])
    share = _usd_column([b.share_im_usd for b in made.balances])
    pools = len({b.pool for b in made.balances}) > 1
    both = any(b.haircut_mm for b in made.balances)
    rows = [
        [
            b.asset + (f" at {b.location}" if b.location else ""),
            *([b.pool] if pools else []),
            quantity(b.amount) + NBSP + b.asset + (f" ({b.status})" if b.status else ""),
            price(b.price_usd),
            value[k],
            percent(b.haircut),
            *([percent(b.haircut_mm)] if both else []),
            left[k],
            b.stress,
            share[k],
        ]
        for k, b in enumerate(made.balances)
    ]
    columns = [Column("asset", text=True)] + ([Column("pool", text=True)] if pools else [])
    columns += [Column(n) for n in ("amount", "price, USD", "value, USD", "haircut")]
    columns += [Column("haircut at MM")] if both else []
    columns += [Column("collateral, USD"), Column("stressed", text=True)]
    columns += [Column("share of IM, USD")]
    return _block("Balances", table("Balances", columns, rows))


def greeks(made: Statement) -> Safe:
    """Tabulate the net sensitivities of each group."""
    if not made.groups:
        return Safe("")
    several = len({g.pot for g in made.groups}) > 1
    coin = any(g.delta != g.delta_net_transaction for g in made.groups)
    vega = _usd_column([g.vega_usd for g in made.groups])
    theta = _usd_column([g.theta_usd for g in made.groups])
    rows = [
        [
            f"{g.group} in {g.pot}" if several else g.group,
            significant(g.delta, 5) + NBSP + g.group,
            *([significant(g.delta_net_transaction, 5) + NBSP + g.group] if coin else []),
            significant(g.gamma) + NBSP + g.group,
            vega[k],
            theta[k],
        ]
        for k, g in enumerate(made.groups)
    ]
    columns = [Column("group", text=True), Column("delta")]
    columns += [Column("delta less option value in coin")] if coin else []
    columns += [Column("gamma per 1 % move"), Column("vega, USD per vol point")]
    columns += [Column("theta, USD per day")]
    return _block("Net greeks by group", table("Net greeks by group", columns, rows))


def liquidation(made: Statement) -> Safe:
    """Tabulate the liquidation prices; "none" is said plainly."""
    if not made.liquidation:
        text = "There are none: nothing held depends on a price, or they were not solved."
        return _block("Liquidation prices", Safe(f'<p class="none">{esc(text)}</p>'))
    several = len(made.pots) > 1
    rows = []
    for line in made.liquidation:
        name = "all together" if line.underlying == "*" else line.underlying
        rows.append(
            [name, DASH if line.price_usd is None else price(line.price_usd) + NBSP + "USD"]
            + [_side(line, line.down, "falls", several), _side(line, line.up, "rises", several)]
        )
    columns = [Column("underlying", text=True), Column("price now")]
    columns += [Column("if it falls", text=True), Column("if it rises", text=True)]
    return _block("Liquidation prices", table("Liquidation prices", columns, rows))


def _side(line: LiquidationLine, side: SideLine, way: str, several: bool) -> str:
    if line.breached:
        below = ", ".join(line.breached_pots)
        return "already below maintenance margin" + (f" in {below}" if several else "")
    if side.distance is None and side.unknown_beyond is not None:
        return f"not known beyond {percent(side.unknown_beyond, sign=True)}"
    if side.distance is None:
        far = "down to 1 % of the price" if way == "falls" else "up to 20 times the price"
        return f"none, {far}"
    return _price_and_distance(side) + (f" in {side.pot}" if several and side.pot else "")


def provenance(made: Statement) -> Safe:
    """Write what went in, as hashes, and how to get the same number again."""
    h = made.hashes
    rows = [["account", h.account], ["market", h.market], ["rule-set", h.ruleset]]
    hashes = [[name, Safe(f"<code>{esc(value)}</code>")] for name, value in rows]
    hashes.append(["code", f"crossmargin {h.code_version}"])
    hashes.append(["format", made.format])
    said = (
        "<p>The statement with all its inputs is inside this page. "
        '<button type="button" id="save" hidden>Save statement.json</button> '
        "To compute it again with the same version of the code:</p>"
        "<pre><code>from crossmargin.margin import decode_statement, encode_statement, recompute\n"
        "from pathlib import Path\n"
        'statement = decode_statement(Path("statement.json").read_bytes())\n'
        "assert encode_statement(recompute(statement)) == encode_statement(statement)</code></pre>"
    )
    columns = [Column("SHA-256 of", text=True), Column("value", text=True)]
    return _block("Where it comes from", Safe(said), table("Hashes of the inputs", columns, hashes))


def all_tables(made: Statement) -> Safe:
    """Write the section of tables."""
    parts = [pots(made), components(made), positions(made), balances(made), greeks(made)]
    parts += [liquidation(made)]
    if made.orders is not None:
        o = made.orders
        text = (
            f"{o.count} open orders add {usd(o.im_usd)} to the initial margin after their worst "
            f"fills (method {o.method}, {o.confidence})."
        )
        parts.append(_block("Open orders", Safe(f"<p>{esc(text)}</p>")))
    parts.append(provenance(made))
    return Safe(
        '<section aria-labelledby="tables"><h2 id="tables">Tables</h2>'
        f"{join(list(parts))}</section>"
    )
