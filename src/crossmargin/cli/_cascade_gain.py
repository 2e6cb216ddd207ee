"""``cascade gain`` and ``cascade replay``: loop gain of a population, and a recorded fall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._app import JsonOpt, _console, _moment, _print_json
from crossmargin.cli._assigned import one_or_more
from crossmargin.cli._cascade import cascade_app
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from crossmargin.cascade.depth_basis import ContractDepth
    from crossmargin.cascade.fragility import Move
    from crossmargin.cascade.gain import Gain
    from crossmargin.cascade.population import Population
    from crossmargin.cascade.recorded import Coverage
    from crossmargin.cascade.shock import ShockResponse

DepthOpt = Annotated[
    list[str] | None,
    Parameter(
        help="Depth D of a contract, US dollars whose sale moves price by 100 %: BTC=2.4e10; "
        "*=1e9 for those that neither the panel nor a daily volume gives one. Repeatable."
    ),
]
MoveOpt = Annotated[
    list[str] | None,
    Parameter(
        help="Move: -0.1 is a fall of all assets by 10 %, USDE=-0.3,BTC=-0.1 of these. Repeatable.",
        negative=(),
        allow_leading_hyphen=True,
    ),
]
GammaOpt = Annotated[
    list[str] | None,
    Parameter(
        help="Gamma of delta hedgers, coins per US dollar, negative where short options: BTC=-0.5. "
        "Repeatable."
    ),
]
TopOpt = Annotated[int, Parameter(help="Contracts, and lines of each table, that are shown.")]
RulesetOpt = Annotated[
    str,
    Parameter(help="Rule-set whose brackets hold for coins it lists; default hyperliquid."),
]

_MOVES = (-0.2, -0.1, 0.1, 0.2)
_START, _DURING, _AFTER = "2026-02-05T14:30:00Z", "2026-02-05T19:50:00Z", "2026-02-06T05:00:00Z"


@cascade_app.command
def gain(
    folder: Annotated[
        str | None,
        Parameter(help="Folder of recorded accounts, or of a stored book; none with --generate."),
    ] = None,
    *,
    at: Annotated[
        str | None, Parameter(help="First snapshot at or after this moment (ISO-8601, UTC).")
    ] = None,
    generate: Annotated[int | None, Parameter(help="Make up so many accounts instead.")] = None,
    seed: Annotated[int, Parameter(help="Of made-up accounts.")] = 0,
    coin: Annotated[
        list[str] | None, Parameter(help="Contract of made-up accounts. Repeatable.")
    ] = None,
    depth: DepthOpt = None,
    gamma: GammaOpt = None,
    move: MoveOpt = None,
    market: Annotated[
        str | None, Parameter(help="Of a stored book: market file, or a shipped market's name.")
    ] = None,
    threads: Annotated[
        int | None, Parameter(help="Of a stored book; default all cores. No value depends on it.")
    ] = None,
    alone: Annotated[
        bool, Parameter(help="Triggers of each contract alone, not of a common move.", negative="")
    ] = False,
    top: TopOpt = 5,
    ruleset: RulesetOpt | None = None,
    json: JsonOpt = False,
) -> None:
    """Measure the loop gain of a population: does a fall feed itself, and where does it catch fire.

    The matrix G says by how much a fall of each asset makes each other fall, when accounts at
    their line are cut pro rata. Its spectral radius ρ is the gain of a round: below 1 cascades
    end. It is shown as if everybody stood at the line, and for moves from where accounts stand.

    Example: `crossmargin cascade gain --generate 10000 --seed 1 --depth BTC=1e9 --depth ETH=5e8`

    Example: `crossmargin cascade gain recorded --at 2026-02-04T06:00:00Z --depth "BTC=2.4e10"`

    Example: `crossmargin cascade gain mybook --market market.json --ruleset derive-pm2
    --depth "*=1e9"`
    """
    from crossmargin.cascade.fragility import fragility

    if generate is not None and ruleset is not None:
        raise InputError(
            "a made-up population has maintenance rates of its own, and no rule-set",
            code="INP-013",
            field="--ruleset",
            hint="leave --ruleset out, or give a folder instead of --generate",
        )
    ruleset = ruleset or "hyperliquid"
    if folder is not None and generate is None and _is_book(folder, market):
        _book_gain(folder, market, at, depth, gamma, _moves(move), top, threads, ruleset, json)
        return
    people, depths, coverage = _population(folder, at, generate, seed, coin, depth, ruleset)
    moves = _moves(move)
    made = fragility(
        people,
        depths.usd,
        moves=moves,
        contracts=one_or_more(top, "--top"),
        together=not alone,
        gamma=_gamma(gamma, people.contracts),
    )
    if json:
        _print_json(
            {
                "coverage": plain(coverage),
                "depth_usd": dict(zip(people.contracts, depths.usd.tolist())),
                "depth_basis": dict(zip(people.contracts, depths.basis)),
                "rho_depth_not_scaled": made.gain.radius_among(depths.known(people.contracts)),
                "accounts": people.size,
                "positions": int(people.contract.size),
                **_with_summary(made),
            }
        )
        return
    from crossmargin.reports.loop_gain import print_fragility

    print_fragility(_console(), people, made, depths, coverage, top=top)


@cascade_app.command
def replay(
    folder: Annotated[str, Parameter(help="Folder of recorded accounts.")],
    *,
    before: Annotated[str, Parameter(help="First snapshot at or after this moment.")] = _START,
    during: Annotated[str, Parameter(help="The second.")] = _DURING,
    after: Annotated[str, Parameter(help="The third.")] = _AFTER,
    prices: Annotated[
        str | None,
        Parameter(help="Candles between the snapshots (Parquet); default those of the folder."),
    ] = None,
    depth: DepthOpt = None,
    move: MoveOpt = None,
    top: TopOpt = 5,
    ruleset: RulesetOpt = "hyperliquid",
    json: JsonOpt = False,
) -> None:
    """Replay a recorded fall: gain, maps and fuses before, during and after.

    For addresses in both snapshots it puts positions that the engine would have cut beside those
    that shrank. That is unidentified evidence; the reasons are printed with it.

    Example: `crossmargin cascade replay recorded --depth BTC=1e10`
    """
    from crossmargin.cascade.recorded_folder import PATH_FILE, read_recorded_folder
    from crossmargin.margin import load_ruleset

    _must_be_folder(folder)
    path = prices
    if path is None and (Path(folder) / PATH_FILE).exists():
        path = str(Path(folder) / PATH_FILE)
    times = [_moment(text) for text in (before, during, after)]
    done = read_recorded_folder(folder, load_ruleset(ruleset)).replay(
        [t for t in times if t is not None],
        depth=_figures(depth),
        path=path,
        contracts=one_or_more(top, "--top"),
        moves=_moves(move),
    )
    if json:
        found = plain(done)
        for group, kept in (("moments", done.moments), ("common", done.common)):
            for row, one in zip(found[group], kept):
                row["fragility"] = _with_summary(one.fragility)
        _print_json(found)
        return
    from crossmargin.reports.loop_gain import print_replay

    print_replay(_console(), done, top=top)


def _must_be_folder(folder: str) -> None:
    if not Path(folder).is_dir():
        raise InputError(
            f"{folder!r} is no folder",
            code="INP-005",
            field="folder",
            hint="name the folder that holds the recorded accounts, or a stored book",
        )


def _is_book(folder: str, market: str | None) -> bool:
    """Whether a folder is a stored book: it is said so by --market, or holds no recording."""
    from crossmargin.venues.hyperliquid_recorded import POSITIONS_FILE

    _must_be_folder(folder)
    if (Path(folder) / POSITIONS_FILE).exists():
        return False
    if market is None:
        raise InputError(
            f"{folder!r} holds no recorded accounts ({POSITIONS_FILE})",
            code="INP-005",
            field="folder",
            hint="for a stored book, give the market that prices it with --market",
        )
    return True


def _book_gain(
    folder: str,
    market: str | None,
    at: str | None,
    depth: list[str] | None,
    gamma: list[str] | None,
    moves: list[Move],
    top: int,
    threads: int | None,
    ruleset: str,
    json: bool,
) -> None:
    from crossmargin.cascade.book_gain import exposure_of_book
    from crossmargin.cascade.depth_basis import contract_depth
    from crossmargin.cascade.fragility import move_of
    from crossmargin.cascade.gain import gain_from
    from crossmargin.cascade.shock import respond
    from crossmargin.cli._book import cores, engine_for, load_book
    from crossmargin.cli._progress import Meter
    from crossmargin.margin import load_ruleset

    world, moment = io.load_market(market or io.DEFAULT_MARKET), _moment(at)
    world = world if moment is None else world.at(moment)
    rules, held = load_ruleset(ruleset), load_book(folder).book
    with Meter("evaluations", quiet=json) as meter:
        seen = exposure_of_book(
            held,
            world,
            rules,
            threads=cores(threads),
            engine=engine_for("auto", held.size, 20),
            progress=meter.step,
        )
    depths = contract_depth(seen.assets[: seen.contracts], supplied=_figures(depth))
    hedgers = _gamma(gamma, seen.assets[: seen.contracts])
    made = gain_from(seen.exposure, seen.assets, depths.usd, gamma=hedgers)
    shocks = [
        respond(seen.exposure, seen.assets, depths.usd, move_of(move, seen.assets), gamma=hedgers)
        for move in moves
    ]
    if json:
        _print_json(
            {
                "ruleset": rules.id,
                "accounts": held.size,
                "failed": seen.failed,
                "contracts": seen.assets[: seen.contracts],
                "open_interest_usd": plain(seen.open_interest),
                "depth_usd": dict(zip(seen.assets, depths.usd.tolist())),
                "depth_basis": dict(zip(seen.assets, depths.basis)),
                **_headline(made),
                "gain": _gain_data(made),
                "shocks": [_shock_data(one) for one in shocks],
            }
        )
        return
    from crossmargin.reports.loop_gain import print_book_gain

    print_book_gain(_console(), seen, made, shocks, depths, rules.id, top=one_or_more(top, "--top"))


def _population(
    folder: str | None,
    at: str | None,
    generate: int | None,
    seed: int,
    coin: list[str] | None,
    depth: list[str] | None,
    ruleset: str,
) -> tuple[Population, ContractDepth, Coverage | None]:
    from crossmargin.cascade.depth_basis import contract_depth

    if (folder is None) == (generate is None):
        raise InputError(
            "either a folder of recorded accounts or --generate is needed",
            code="INP-013",
            field="folder",
            hint="for example: crossmargin cascade gain --generate 10000",
        )
    supplied = _figures(depth)
    if generate is not None:
        from crossmargin.cascade.generate import generate_population

        if seed < 0:
            raise InputError(
                f"--seed is {seed}", code="INP-013", field="--seed", hint="a whole number from 0 on"
            )
        made = generate_population(
            one_or_more(generate, "--generate"), coin or ["BTC", "ETH", "SOL", "XRP", "DOGE"], seed
        )
        return made, contract_depth(made.contracts, supplied=supplied), None
    from crossmargin.cascade.recorded_folder import read_recorded_folder
    from crossmargin.margin import load_ruleset

    assert folder is not None
    read = read_recorded_folder(folder, load_ruleset(ruleset))
    when = _moment(at)
    found = read.population(int(read.records.moments_ns[0]) if when is None else when)
    return found.population, read.depth(found, supplied), found.coverage


def _figures(texts: list[str] | None) -> dict[str, float]:
    return {c: _number(x, "--depth") for c, x in _parts(texts or [], "--depth", "BTC=2.4e10")}


def _moves(texts: list[str] | None) -> list[Move]:
    if texts is None:
        return list(_MOVES)
    out: list[Move] = []
    for text in texts:
        if "=" in text:
            out.append({c: _move(x) for c, x in _parts(text.split(","), "--move", "USDE=-0.3")})
        else:
            out.append(_move(text))
    return out


def _move(text: str) -> float:
    try:
        x = float(text)
    except ValueError:
        x = math.nan
    if not (math.isfinite(x) and x > -1 and x != 0):
        raise InputError(
            f"a move of {text} is none",
            code="INP-004",
            field="--move",
            hint="-0.1 is a fall of 10 %; above -1 and not 0",
        )
    return x


def _gamma(texts: list[str] | None, contracts: Sequence[str]) -> list[float] | None:
    """Gamma of each contract; None where none is given."""
    if texts is None:
        return None
    from crossmargin.cascade.figures import unknown

    out = dict.fromkeys(contracts, 0.0)
    for name, raw in _parts(texts, "--gamma", "BTC=-0.5"):
        if name not in out:
            raise unknown("contract", name, contracts)
        out[name] = _number(raw, "--gamma")
    return list(out.values())


def _parts(texts: Sequence[str], field: str, example: str) -> list[tuple[str, str]]:
    found = []
    for text in texts:
        name, sign, raw = text.partition("=")
        if not (name and sign):
            raise InputError(
                f"{text!r} is not COIN=FIGURE", code="INP-013", field=field, hint=example
            )
        found.append((name, raw))
    return found


def _number(raw: str, field: str) -> float:
    try:
        return float(raw)
    except ValueError:
        raise InputError(f"{raw!r} is not a number", code="INP-013", field=field) from None


def plain(value: Any) -> Any:
    """Write results as plain data: arrays as lists, no number as null, times as ISO-8601."""
    import dataclasses

    import numpy as np

    from crossmargin.units import format_time

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            one = getattr(value, field.name)
            if field.name.endswith("_ns"):
                out[field.name.removesuffix("_ns")] = format_time(one)
            elif field.name == "between":
                out[field.name] = [format_time(t) for t in one]
            else:
                out[field.name] = plain(one)
        return out
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biu":
        return value.tolist()
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and np.isfinite(value).all():
        return value.tolist()  # the matrices: looking at each figure costs seconds
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _with_summary(made: Any) -> dict[str, Any]:
    """Return a fragility as plain data, headline first, without shares by account."""
    found: dict[str, Any] = plain(made)
    found["shocks"] = [_shock_data(one) for one in made.shocks]
    found["gain"] = _gain_data(made.gain)
    return {**_headline(made.gain), **found}


def _headline(g: Gain) -> dict[str, Any]:
    return {
        "rho": g.radius,
        "stable": g.stable,
        "distance_to_criticality": g.distance,
        "critical_depth_scale": g.critical_depth_scale,
        "critical_leverage_scale": plain(g.critical_leverage_scale()),
    }


def _gain_data(g: Gain) -> dict[str, Any]:
    return {**plain(g), "depth_elasticity": plain(g.depth_elasticity())}


def _shock_data(one: ShockResponse) -> dict[str, Any]:
    found: dict[str, Any] = plain(one)
    found.pop("share")
    found["amplification"] = plain(one.amplification())
    found["gain"] = {
        key: found["gain"][key] for key in ("radius", "real", "active", "right", "left")
    }
    return found
