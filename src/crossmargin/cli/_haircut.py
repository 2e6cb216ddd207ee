"""``crossmargin haircuts``: published schedules; ``crossmargin haircut``: one from a history."""

from __future__ import annotations

import re
from typing import Annotated, Any

from cyclopts import Parameter

JsonOpt = Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")]


def haircuts(
    venue: Annotated[str | None, Parameter(help="Short name of a venue; default all.")] = None,
    *,
    asset: Annotated[str | None, Parameter(help="Only this coin.")] = None,
    on: Annotated[str | None, Parameter(help="Day (ISO date); default the newest.")] = None,
    json: JsonOpt = False,
) -> None:
    """List the haircut schedules that venues have published, with date and confidence.

    Example: `crossmargin haircuts kraken-futures`

    Example: `crossmargin haircuts --asset BTC --json`
    """
    from crossmargin.cli._app import _print_json
    from crossmargin.errors import RulesetError
    from crossmargin.margin import collateral_from_haircuts, haircut_files

    _check_day(on, "--on")
    books = haircut_files()
    if venue is not None and venue not in books:
        raise RulesetError(
            f"no haircuts of {venue!r} are shipped",
            code="RUL-026",
            hint=f"known are {', '.join(books)}",
        )
    rows: list[dict[str, Any]] = []
    for name in [venue] if venue is not None else list(books):
        for scheme in sorted({entry.id for entry in books[name].entries}):
            table = collateral_from_haircuts(name, scheme, on=on)
            for coin, entry in table.sources.items():
                if asset is not None and coin.upper() != asset.upper():
                    continue
                rule = table.assets.get(coin)
                rows.append(
                    {
                        "venue": name,
                        "scheme": scheme,
                        "asset": coin,
                        "kind": entry.kind,
                        "date": entry.date,
                        "confidence": entry.confidence,
                        "rule": table.as_dict().get(coin),
                        "words": None if rule is None else _words(rule),
                        "refused": table.refused.get(coin),
                        "note": entry.note,
                        "source": entry.source,
                    }
                )
    if asset is not None and not rows:
        raise RulesetError(
            f"no published schedule names {asset!r}",
            code="RUL-026",
            hint="list them all with: crossmargin haircuts",
        )
    if json:
        _print_json(rows)
        return
    _print_rows(rows)


def _words(rule: Any) -> str:
    from crossmargin.reports.rulesets import asset_words

    return asset_words(rule)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from crossmargin.reports._terminal import HouseTable
    from crossmargin.reports.terminal import make_console

    table = HouseTable()
    for name in ("venue", "scheme", "asset", "stated", "how it counts"):
        table.add_column(name, overflow="fold", no_wrap=name in ("asset", "venue"))
    for row in rows:
        stated = " ".join(x for x in (row["kind"], row["date"], f"({row['confidence']})") if x)
        table.add_row(
            row["venue"],
            row["scheme"],
            row["asset"],
            stated,
            row["words"] or f"refused: {row['refused']}",
        )
    console = make_console()
    console.print(table)
    console.print(
        "Snapshots with a date: venues change these often. An example is a documentation's "
        "illustration, not a setting."
    )


def haircut(
    prices: Annotated[
        str, Parameter(help="Parquet or CSV with date, close; may have symbol, volume.")
    ],
    *,
    asset: Annotated[str, Parameter(help="Coin, or its symbol in the table.")],
    depth: Annotated[
        str | None, Parameter(help="Order book: side, price, size in coins (Parquet, CSV).")
    ] = None,
    adv: Annotated[float | None, Parameter(help="Average daily volume, US dollars.")] = None,
    volume_unit: Annotated[
        str | None, Parameter(help="Take the volume from the table: coins or usd.")
    ] = None,
    sizes: Annotated[
        str | None, Parameter(help="Where tiers end, US dollars: 1e6,5e6,2e7.")
    ] = None,
    hold: Annotated[
        float | None, Parameter(help="Also say what a holding of this many US dollars counts.")
    ] = None,
    since: Annotated[str | None, Parameter(help="First day of the history (ISO date).")] = None,
    until: Annotated[str | None, Parameter(help="Last day of the history (ISO date).")] = None,
    set_: Annotated[
        list[str] | None,
        Parameter(name="--set", help="An assumption: level=0.975, method=filtered. Repeatable."),
    ] = None,
    history: Annotated[
        bool, Parameter(help="Also the haircut of a small holding through time, with its floor.")
    ] = False,
    json: JsonOpt = False,
    plot: Annotated[str | None, Parameter(help="Draw the curve: a .html or .svg file.")] = None,
) -> None:
    """Compute a haircut schedule from a price history and depth.

    Expected shortfall over the time a sale takes, stressed half-spread, impact and a wrong-way
    add-on, with floors; tiers by size.

    Example: `crossmargin haircut prices.parquet --asset BTC --volume-unit coins --plot btc.html`

    Example: `crossmargin haircut sol.csv --asset SOL --adv 2.5e8 --set method=filtered
    --set floor=0.075`
    """
    from dataclasses import asdict

    from crossmargin.cli._app import _print_json
    from crossmargin.cli._io import parse_overrides, write_whole
    from crossmargin.errors import InputError
    from crossmargin.margin import haircut_history, haircut_schedule, haircut_spec
    from crossmargin.market import read_bid_side, read_price_history

    if plot is not None and not plot.endswith((".html", ".svg")):
        raise InputError(
            f"{plot!r} names no page or picture",
            code="INP-013",
            field="--plot",
            hint="end it in .html or .svg",
        )
    spec = haircut_spec(**parse_overrides(set_ or [], None))
    _check_day(since, "--since")
    _check_day(until, "--until")
    table = _within(read_price_history(prices, asset), since, until)
    volume = _adv(table, adv, volume_unit)
    book = None if depth is None else read_bid_side(depth, asset)
    made = haircut_schedule(
        table.close, spec=spec, adv_usd=volume, sizes_usd=_sizes(sizes), depth=book
    )
    past: list[tuple[str, Any]] = []
    if history:
        found = haircut_history(table.close, spec=made.spec)
        past = [(table.days[day], point) for day, point in found]
    if plot is not None:
        _plot(plot, made, asset, past, write_whole)
    plain = _plain_schedule(made, table, asset, hold)
    if history:
        plain["history"] = [{"day": day, **asdict(point)} for day, point in past]
    if json:
        _print_json(plain)
        return
    _print_schedule(made, plain)
    if plot is not None:
        from crossmargin.reports.terminal import make_console

        make_console().print(f"curve written to {plot}")


def _check_day(day: str | None, option: str) -> None:
    """Refuse what is no ISO date; days are compared as text."""
    from crossmargin.errors import InputError

    if day is not None and not re.fullmatch(r"\d{4}(-\d{2}(-\d{2})?)?", day):
        raise InputError(
            f"{day!r} is not a date", code="INP-010", field=option, hint="write 2026-01-31"
        )


def _within(history: Any, since: str | None, until: str | None) -> Any:
    from dataclasses import replace

    from crossmargin.errors import InputError

    keep = [
        (since is None or day >= since) and (until is None or day <= until) for day in history.days
    ]
    if not any(keep):
        raise InputError(
            "no day of the table lies in the period",
            code="INP-003",
            field="date",
            hint="see --since and --until",
        )
    first, last = keep.index(True), len(keep) - keep[::-1].index(True)
    volume = None if history.volume is None else history.volume[first:last]
    return replace(
        history, days=history.days[first:last], close=history.close[first:last], volume=volume
    )


def _adv(history: Any, adv: float | None, unit: str | None) -> float | None:
    """Return the average daily volume in US dollars: as given, or of the table's last days."""
    import math

    from crossmargin.errors import InputError
    from crossmargin.margin import haircut_defaults

    if adv is not None:
        if not (math.isfinite(adv) and adv > 0):
            raise InputError(f"a volume of {adv:g} is none", code="INP-004", field="--adv")
        return adv
    if unit is None:
        return None
    if unit not in ("coins", "usd") or history.volume is None:
        what = "the table has no volume" if unit in ("coins", "usd") else f"{unit!r} is no unit"
        raise InputError(
            what, code="INP-013", field="--volume-unit", hint="coins or usd, or give --adv"
        )
    days = int(haircut_defaults()["adv_days"])
    traded = history.volume[-days:] * (history.close[-days:] if unit == "coins" else 1.0)
    mean = float(traded.mean())
    if not (math.isfinite(mean) and mean > 0):
        raise InputError(
            "the table's volume is missing or 0 on its last days", code="INP-004", field="volume"
        )
    return mean


def _sizes(text: str | None) -> list[float] | None:
    from crossmargin.errors import InputError

    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"{text!r} is no list of sizes", code="INP-013", field="--sizes", hint="write 1e6,5e6"
        ) from None


def _plot(path: str, made: Any, asset: str, past: list[tuple[str, Any]], write: Any) -> None:
    from crossmargin.errors import InputError
    from crossmargin.reports import haircut_page, haircut_picture

    if path.endswith(".svg"):
        if len(made.points) < 2:
            raise InputError(
                "a curve needs sizes",
                code="INP-013",
                field="--plot",
                hint="give --adv, or --volume-unit",
            )
        write(path, haircut_picture(made, asset).encode())
    else:
        write(path, haircut_page(made, asset, past).encode())


def _plain_schedule(made: Any, history: Any, asset: str, hold: float | None) -> dict[str, Any]:
    """Return everything as plain data; a figure that is not there is null."""
    import math
    from dataclasses import asdict

    import msgspec

    plain: dict[str, Any] = {
        "asset": asset,
        "symbol": history.symbol,
        "from": history.days[0],
        "to": history.days[-1],
        "missing_days": history.missing_days,
        "returns": made.returns,
        "blocks": made.blocks,
        "sigma": made.sigma,
        "adv_usd": made.adv_usd,
        "es_standard_error": None if math.isnan(made.standard_error) else made.standard_error,
        "stressed": None
        if made.stressed is None
        else [history.days[made.stressed[0] + 1], history.days[made.stressed[1] + 1]],
        "assumptions": msgspec.to_builtins(made.spec),
        "points": [asdict(point) for point in made.points],
        "schedule": msgspec.to_builtins(made.schedule),
        "notes": made.notes,
    }
    if hold is not None:
        plain["holding"] = _holding(made, hold)
    return plain


def _holding(made: Any, usd: float) -> dict[str, float]:
    import numpy as np

    from crossmargin.errors import InputError
    from crossmargin.margin.collateral import counted_share

    if not (np.isfinite(usd) and usd > 0):
        raise InputError(f"a holding of {usd:g} is none", code="INP-004", field="--hold")
    share = float(counted_share(made.schedule, "im", np.array([0.0]), np.array([usd]))[0])
    return {"usd": usd, "counts_usd": usd * share, "haircut": 1.0 - share}


def _print_schedule(made: Any, plain: dict[str, Any]) -> None:
    from crossmargin.reports._terminal import HouseTable
    from crossmargin.reports.terminal import make_console, ratio, usd

    spec = made.spec
    console = make_console()
    stressed = plain["stressed"]
    console.print(
        f"{plain['asset']}: {spec.method} {spec.measure.upper()} at {spec.level * 100:g} %, "
        f"{made.returns:,} daily returns {plain['from']} to {plain['to']}, volatility "
        f"{ratio(made.sigma, 2)} a day"
        + (f", stressed period {stressed[0]} to {stressed[1]}" if stressed else "")
    )
    parts = HouseTable()
    for name in ("size, USD", "days", "market", "stressed", "spread", "impact", "haircut"):
        parts.add_column(name, justify="right")
    parts.add_column("decided by")
    for p in made.points:
        shares = (p.market, p.stressed, p.spread, p.impact, p.haircut)
        parts.add_row(usd(p.usd), f"{p.days:g}", *(ratio(share, 2) for share in shares), p.binding)
    console.print(parts)
    tiers = HouseTable(title="tiers")
    for name in ("from, USD", "to, USD", "haircut", "counts"):
        tiers.add_column(name, justify="right")
    for t in made.schedule.tiers:
        end = "no end" if t.upper is None else usd(t.upper)
        tiers.add_row(usd(t.lower), end, ratio(1.0 - t.factor, 2), ratio(t.factor, 2))
    console.print(tiers)
    if "holding" in plain:
        held = plain["holding"]
        console.print(
            f"a holding of {usd(held['usd'])} USD counts {usd(held['counts_usd'])} USD: "
            f"effective haircut {ratio(held['haircut'], 2)}"
        )
    for row in plain.get("history", [])[::-12][::-1]:
        console.print(
            f"{row['day']}: {ratio(row['haircut'], 2)} (market {ratio(row['market'], 2)}, floor "
            f"{ratio(max(row['stressed'], row['jump']), 2)})"
        )
    for note in made.notes:
        console.print(f"• {note}")
