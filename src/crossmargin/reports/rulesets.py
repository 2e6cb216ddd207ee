"""Rule-sets as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from rich.console import Console
from rich.text import Text

from crossmargin.margin import Ruleset
from crossmargin.margin.components import (
    AssetRule,
    Collateral,
    Flat,
    LiabilityWeight,
    Ltv,
    PoolScaled,
    Schedule,
    Tiers,
)
from crossmargin.reports._terminal import HouseTable


def print_ruleset_list(console: Console, rules: Sequence[Ruleset]) -> None:
    """Print the catalogue: id, venue, title, date, completeness."""
    table = HouseTable()
    for name in ("id", "venue", "title", "in force from", "checked on", "without a source"):
        table.add_column(name, no_wrap=name == "id")
    for r in rules:
        gaps = ", ".join(g.partition(":")[0] for g in r.gaps) or "complete"
        figures = sum(e.figures for e in r.data.evidence)
        checked = f"{figures:,} figures" if figures else "–"
        table.add_row(r.id, r.data.venue, r.data.title, r.data.effective_from, checked, gaps)
    console.print(table)


def schedule_words(schedule: Schedule) -> str:
    """Say a schedule in words: the share that counts, by what."""
    if isinstance(schedule, Flat):
        return f"{schedule.factor:.6g} of value"
    if isinstance(schedule, Ltv):
        caps = [
            f"up to {cap:,.10g} {unit}"
            for cap, unit in ((schedule.cap_coins, "coins"), (schedule.cap_usd, "USD"))
            if cap is not None
        ]
        return ", ".join([f"LTV {schedule.ltv:g}, threshold {schedule.threshold:g}", *caps])
    if isinstance(schedule, Tiers):
        unit = "coins" if schedule.unit == "coins" else "USD"
        bands = [
            f"{t.factor:g} " + ("beyond" if t.upper is None else f"to {t.upper:,.10g}")
            for t in schedule.tiers
        ]
        text = "; ".join(bands) + f" {unit}"
        if schedule.banding == "flat":
            text += ", one band for all of it"
        if schedule.then is not None:
            then = schedule.then
            text += f"; then {then.step:+g} each {then.width:,.10g} {unit} down to {then.minimum:g}"
        return text
    text = f"{schedule.factor:g} of value"
    if schedule.imf:
        text += f", at most {schedule.base:g}/(1 + {schedule.imf:g}·√coins)"
    if isinstance(schedule, PoolScaled):
        total = "not supplied" if schedule.total_usd is None else f"{schedule.total_usd:,.0f} USD"
        text += f", × min(1, {schedule.scale_start_usd:,.0f} USD / venue's total ({total}))"
    return text


def asset_words(rule: AssetRule) -> str:
    """Say how an asset counts, in a phrase."""
    im, mm = rule.at("im"), rule.at("mm")
    if im is None and mm is None:
        parts = [f"haircut {rule.haircut * 100:g} %"]
    elif im is not None and im == mm:
        parts = [schedule_words(im)]
    else:
        flat = f"haircut {rule.haircut * 100:g} %"
        parts = [
            f"{level}: {flat if one is None else schedule_words(one)}"
            for level, one in (("IM", im), ("MM", mm))
        ]
    for level, weight in (("IM", rule.liability_im), ("MM", rule.liability_mm)):
        number = weight.weight if isinstance(weight, LiabilityWeight) else weight
        if number != 1.0 or isinstance(weight, LiabilityWeight):
            parts.append(f"debt × {number:g} at {level}")
    for cap, unit in ((rule.limit_coins, "coins"), (rule.limit_usd, "USD")):
        if cap is not None:
            parts.append(f"nothing beyond {cap:,.10g} {unit}")
    if rule.price == "par":
        parts.append("at par of the numeraire")
    return "; ".join(parts)


def counting_words(rules: Ruleset) -> list[str]:
    """Say in sentences what of profit, option value, debt and orders counts, and what is traded."""
    data = rules.data
    held = data.collateral
    found = []
    if data.instruments is not None:
        found.append(f"traded: {', '.join(data.instruments) or 'nothing, balances only'}")
    if data.price_view == "index":
        found.append("perpetuals are valued at the index (oracle) price")
    if held.option_value != "all":
        counted = {"none": "no", "short": "only short"}[held.option_value]
        found.append(f"{counted} option value enters equity")
    for market, rule in held.profit.items():
        cap = "" if rule.cap_im_usd is None else f", at most {rule.cap_im_usd:,.10g} USD for IM"
        after = "" if rule.after is None else f" beyond its {rule.after}"
        found.append(f"profit of {market}{after}: {rule.im:g} for IM, {rule.mm:g} for MM{cap}")
    if held.joint_cap is not None:
        besides = ", ".join(held.joint_cap.besides)
        found.append(
            f"coins besides {besides} count together at most {held.joint_cap.usd:,.10g} USD"
        )
    for coin, price in held.stable_usd.items():
        found.append(f"IM compares {coin} with a stable price of {price:,.10g} USD")
    if held.modes:
        found.append(f"modes: {', '.join(held.modes)}; in force: {held.mode or 'none'}")
    if "mm" in data.orders.levels:
        found.append("open orders count for MM too")
    return found


def _print_states(console: Console, rules: Ruleset) -> None:
    if not rules.data.states:
        return
    table = HouseTable(title="states")
    for name in ("state", "means", "when", "source", "confidence"):
        table.add_column(name, overflow="fold")
    for band in rules.data.states:
        table.add_row(band.state, band.meaning, band.words, band.source, band.confidence)
    console.print(table)


def collateral_words(collateral: Collateral) -> list[str]:
    """Say what holds for all coins and for locations, a line each; nothing where all is usual."""
    said = []
    if collateral.per == "coin":
        said.append("a coin's net equity is valued, profit and option value paid in it included")
    if collateral.stress_idle:
        said.append("pots without positions, orders or debt are stressed too")
    for name, rule in collateral.locations.items():
        text = f"at {name}: bridge haircut {rule.haircut * 100:g} %"
        if rule.max_proof_age_s is not None:
            text += f", nothing without a proof of the last {rule.max_proof_age_s:g} s"
        said.append(text)
    return said


def print_ruleset(console: Console, rules: Ruleset) -> None:
    """Print one rule-set: stages, parameters with their confidence, sources, limits."""
    data = rules.data
    console.print(Text(f"{data.id}  {data.title}", "bold"))
    console.print(
        f"{data.venue}, in force from {data.effective_from}, hash {rules.content_hash[:16]}"
    )
    console.print(
        f"pots by {data.pools.by}, numeraire {data.numeraire}; "
        + (f"groups {_groups(data.groups)}; " if data.groups else "")
        + f"open orders: {data.orders.method} ({data.orders.confidence})"
    )
    for step, text in data.combine.steps.items():
        console.print(f"  {step} = {text}")
    for name, figure in data.combine.constants.items():
        console.print(f"  {name} = {figure:g}")
    console.print(f"  IM = {data.combine.im}")
    console.print(f"  MM = {data.combine.mm}")
    table = HouseTable(title="components")
    for name in ("name", "kind", "parameters", "source", "confidence", "note"):
        table.add_column(name, overflow="fold")
    for component in data.components:
        plain = msgspec.to_builtins(component)
        rest = {
            k: v
            for k, v in plain.items()
            if k not in ("name", "kind", "source", "confidence", "note")
        }
        table.add_row(
            component.name,
            plain["kind"],
            _lines(rest),
            component.source,
            component.confidence,
            component.note,
        )
    console.print(table)
    if data.scenarios is not None:
        _print_scenarios(console, rules)
    collateral = HouseTable(title="collateral")
    for name in ("asset", "how it counts", "stressed side"):
        collateral.add_column(name, overflow="fold")
    for asset, rule in data.collateral.assets.items():
        collateral.add_row(asset, asset_words(rule), rule.stress)
    if data.collateral.assets:
        console.print(collateral)
    for said in collateral_words(data.collateral):
        console.print(said)
    print_evidence(console, rules)
    _print_states(console, rules)
    for line in counting_words(rules):
        console.print(f"  {line}")
    sources = HouseTable(title="sources")
    for name in ("key", "title", "date", "confidence"):
        sources.add_column(name, overflow="fold")
    for key, source in data.sources.items():
        sources.add_row(key, source.title, source.date, source.confidence)
    console.print(sources)
    for gap in rules.gaps:
        console.print(Text(f"• without a source: {gap}", "yellow"))
    for limit in data.limits:
        console.print(Text(f"• {limit}", "dim"))


def _groups(groups: Mapping[str, str]) -> str:
    return ", ".join(f"{coin} in {group}" for coin, group in groups.items())


def _lines(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    return "\n".join(f"{k}: {_words(v)}" for k, v in value.items() if v not in ({}, None))


def _words(value: object) -> str:
    """Write a parameter in words; what is not set is left out, a bracket table has its line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,.10g}"
    if isinstance(value, dict):
        if "floor" in value and {"im", "mm"} <= value.keys():
            return _bracket(value)
        parts = [f"{k} {_words(v)}" for k, v in value.items() if v not in ({}, None)]
        if any(_is_brackets(v) for v in value.values()):
            return "\n  ".join(["", *parts])
        tables = any(isinstance(v, dict | list | tuple) for v in value.values())
        return ("; " if tables else ", ").join(parts)
    if isinstance(value, list | tuple):
        nested = any(isinstance(v, dict) for v in value)
        return (" | " if nested else ", ").join(_words(v) for v in value) or "none"
    return "none" if value is None else str(value)


def _is_brackets(value: object) -> bool:
    return isinstance(value, list | tuple) and any(
        isinstance(row, dict) and "floor" in row for row in value
    )


def _bracket(row: dict[str, object]) -> str:
    """Write a row of a bracket table: from where, the two rates, what else it states."""
    parts = [f"from {_words(row['floor'])}: IM {_percent(row['im'])}, MM {_percent(row['mm'])}"]
    rest = {k: v for k, v in row.items() if k not in ("floor", "im", "mm") and v is not None}
    return ", ".join([*parts, *(f"{k.replace('_', ' ')} {_words(v)}" for k, v in rest.items())])


def _percent(rate: object) -> str:
    return f"{rate * 100:.6g} %" if isinstance(rate, int | float) else _words(rate)


def _shock(sign: str, size: float | str, unit: str) -> str:
    if isinstance(size, str):
        return size
    return f"{sign}{size * 100:g} {'%' if unit == 'ratio' else 'points'}"


def _print_scenarios(console: Console, rules: Ruleset) -> None:
    spec = rules.data.scenarios
    assert spec is not None
    table = HouseTable(title="scenarios")
    for name in ("moves", "of", "volatility", "weight", "tail"):
        table.add_column(name, overflow="fold")
    for block in spec.blocks:
        table.add_row(
            ", ".join(f"{m * 100:+g} %" for m in block.moves),
            "price range" if block.unit == "range" else "price",
            ", ".join(block.vols),
            _words(block.weight),
            "yes" if block.extended else "no",
        )
    console.print(table)
    sizes = HouseTable()
    for name in ("underlying", "price range", "vol up", "vol down", "floor up", "powers"):
        sizes.add_column(name)
    for name, s in spec.underlyings.items():
        sizes.add_row(
            name,
            f"{s.price_range * 100:g} %",
            _shock("+", s.vol_up, s.vol_unit),
            _shock("−", s.vol_down, s.vol_unit),
            f"{s.vol_floor_up * 100:g} % vol" if s.vol_floor_up else "none",
            f"{s.short_power:g} / {s.long_power:g}",
        )
    console.print(sizes)


def print_evidence(console: Console, rules: Ruleset) -> None:
    """Print what a rule-set was checked on: cases, figures, worst error, and the test."""
    if not rules.data.evidence:
        console.print("checked on: nothing outside this package yet")
        return
    table = HouseTable(title="checked on")
    for name in ("what", "figures by", "cases", "figures", "worst relative error", "test"):
        right = "right" if name in ("cases", "figures", "worst relative error") else "left"
        table.add_column(name, overflow="fold", justify=right)  # type: ignore[arg-type]
    for e in rules.data.evidence:
        table.add_row(
            e.what,
            _ORIGINS[e.origin],
            f"{e.cases:,}",
            f"{e.figures:,}",
            f"{e.worst_relative_error:.1e}",
            e.test,
        )
    console.print(table)


_ORIGINS = {
    "contract": "the venue's contracts",
    "venue": "the venue",
    "paper": "paper or textbook",
    "recorded": "recorded data",
    "own": "own second implementation",
}
