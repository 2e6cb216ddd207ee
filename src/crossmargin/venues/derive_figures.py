"""The figures of a Derive case by the venue's own names, from an evaluation by the engine.

The venue reports margin net of the account's value: initial and maintenance margin are equity
less requirement, and the account is healthy at 0 or more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin import Evaluation, evaluate, expiry_details, isolated_margins
from crossmargin.market import CONFIDENCE_FEEDS, CONFIDENCE_ONE
from crossmargin.units import NS_PER_SECOND
from crossmargin.venues.derive_cases import DeriveCase, option_id

Floats = NDArray[np.float64]


def case_figures(case: DeriveCase, *, wanted: frozenset[str]) -> dict[str, float]:
    """Compute every figure of a case that the venue's record may hold.

    Parameters
    ----------
    case : DeriveCase
        Portfolio, market and rules.
    wanted : frozenset of str
        Names in the record: what costs another evaluation is computed only where it is asked for.

    Returns
    -------
    dict of str to float
        US dollars, net of value, by dotted name; ``scenarios[i].pnl`` counts from 0.
    """
    done = evaluate(case.book, case.snapshot, case.ruleset)
    out = {"im": _net(done, "im"), "mm": _net(done, "mm"), "mtm": _value(done)}
    if case.model == "srm":
        out.update(_isolated(done))
        return out
    out.update(_portfolio(case, done))
    if "trusted_mm" in wanted and case.trusted is not None:
        out["trusted_mm"] = _net(evaluate(case.book, case.snapshot, case.trusted), "mm")
    return out


def _net(done: Evaluation, level: str) -> float:
    have, need = (
        (done.have.im, done.need_orders.im) if level == "im" else (done.have.mm, done.need.mm)
    )
    return float(have.sum() - need.sum())


def _value(done: Evaluation) -> float:
    """Market value of the whole account, before any haircut."""
    have = done.have
    return float((have.balances + have.unrealised + have.option_value).sum())


def _portfolio(case: DeriveCase, done: Evaluation) -> dict[str, float]:
    """Scenario results and contingencies of a portfolio-margin account."""
    frame, need = done.frame, done.need
    scan = need.scan
    parts = need.parts
    held = frame.arrangement.groups > 0
    count = frame.table.scenarios.size if held else len(_moves(case))
    pnl = scan.vector[0] if held and scan is not None else np.zeros(count)
    basis = -float(parts["basis"].im.sum())
    out = {f"scenarios[{i}].pnl": float(x) for i, x in enumerate(pnl)}
    # The contracts start from the basis contingency: a scenario must be worse to take its place.
    worst = int(np.argmin(pnl)) if pnl.size else 0
    out["worst_scenario"] = float(worst if pnl.size and pnl[worst] < basis else pnl.size)
    out["components.basis_contingency"] = basis
    out["components.total_mtm_ex_cash"] = _value(done) - case.cash
    out.update(_contingencies(case, done))
    out.update(_expiries(case, done))
    return out


def _moves(case: DeriveCase) -> list[float]:
    spec = case.ruleset.data.scenarios
    return [] if spec is None else [m for block in spec.blocks for m in block.moves]


def _contingencies(case: DeriveCase, done: Evaluation) -> dict[str, float]:
    need = done.need
    parts = need.parts

    def both(*names: str) -> tuple[float, float]:
        return (
            sum(float(parts[n].im.sum()) for n in names),
            sum(float(parts[n].mm.sum()) for n in names),
        )

    doubt = float(parts["confidence"].im.sum())
    doubt += sum(float(im.sum()) for im, _ in need.pool_parts.values())
    if case.model == "pm1":
        static, _ = both("perpetuals", "base", "naked_shorts")
        return {
            "components.static_contingency": static,
            "components.confidence_contingency": doubt,
            # Summed by itself: beside much cash a difference would lose its digits.
            "components.base_value": sum(_balance_value(done, n) for n in set(case.collaterals)),
            "components.min_confidence": _least_confidence(case, done),
        }
    im, mm = both("perpetuals", "naked_shorts")
    cut_im = float((done.have.balances + done.have.option_value - done.have.im).sum())
    cut_mm = float((done.have.balances + done.have.option_value - done.have.mm).sum())
    ordered = sorted(_balance_value(done, name) for name in case.collaterals)
    values = {f"components.collateral_values[{i}]": v for i, v in enumerate(ordered)}
    return {
        "components.mm_contingency": mm + cut_mm,
        "components.im_contingency": im - mm + (cut_im - cut_mm) + doubt,
        "components.min_confidence": _least_confidence(case, done),
        **values,
    }


def _balance_value(done: Evaluation, name: str) -> float:
    frame, book = done.frame, done.frame.book
    index = book.registry.assets.index(name) if name in book.registry.assets else -1
    mine = book.balance_asset == index
    if not mine.any():
        return 0.0
    usd = float(frame.asset_usd_or_one[index]) * float(book.balance_amount[mine].sum())
    return usd / float(frame.pot_usd[0])


def _least_confidence(case: DeriveCase, done: Evaluation) -> float:
    """Least of the manager's spot feed and, where a perpetual is held, its mark."""
    frame, book = done.frame, done.frame.book
    least = CONFIDENCE_ONE
    if case.underlying is not None:
        least = int(frame.view.asset_confidence[book.registry.asset(case.underlying)])
    column = CONFIDENCE_FEEDS.index("perpetual")
    for index in book.position_instrument.tolist():
        if frame.terms.kind[index] == KIND_CODE["perpetual"]:
            least = min(least, int(frame.view.confidence[index, column]))
    return least / CONFIDENCE_ONE


def _expiries(case: DeriveCase, done: Evaluation) -> dict[str, float]:
    """Figures by expiry, keyed by underlying's expiry in seconds."""
    out: dict[str, float] = {}
    for e in expiry_details(done.frame):
        seconds = (e.expiry_ns - case.snapshot.as_of_ns) // NS_PER_SECOND
        figures = {
            "gross_options": e.gross,
            "mtm": e.value,
            "discount": e.discount,
            "basis_up_mtm": e.basis_up,
            "basis_down_mtm": e.basis_down,
            "vol_shock_up": e.vol_up,
            "vol_shock_down": e.vol_down,
            "min_confidence": (CONFIDENCE_ONE if e.confidence is None else e.confidence)
            / CONFIDENCE_ONE,
        }
        if case.model == "pm1":
            figures["static_discount"] = e.static_long
        else:
            figures.update(static_discount_pos=e.static_long, static_discount_neg=e.static_short)
        out.update({f"components.expiries[{seconds}].{k}": v for k, v in figures.items()})
    return out


def _isolated(done: Evaluation) -> dict[str, float]:
    """Value and margin of each option leg of a standard account alone, by the leg's name."""
    frame, out = done.frame, {}
    im, mm = isolated_margins(frame)
    for row, index in enumerate(frame.book.position_instrument.tolist()):
        if frame.terms.kind[index] == KIND_CODE["option"]:
            name = f"components.isolated_options[{frame.book.registry[index].id}]"
            out[f"{name}.mtm"] = float(done.have.position_value[row])
            out[f"{name}.isolated_im"] = float(im[row])
            out[f"{name}.isolated_mm"] = float(mm[row])
    return out


def record_figures(record: Mapping[str, Any]) -> dict[str, float]:
    """Lay a record's figures out by the names of :func:`case_figures`.

    Expiries and option legs are named by what they are: the contracts list them in an order of
    their own. Values of collateral have no names and are sorted by size.
    """
    out = flatten({k: v for k, v in record.items() if k != "components"})
    for name, value in (record.get("components") or {}).items():
        where = f"components.{name}"
        if name == "expiries":
            for row in value:
                key = f"{where}[{row.get('seconds_to_expiry')}]"
                out.update(flatten({k: v for k, v in row.items() if k not in _ECHOED}, key))
        elif name == "isolated_options":
            for row in value:
                key = f"{where}[{_leg(row)}]"
                out.update(flatten({k: v for k, v in row.items() if k not in _ECHOED}, key))
        elif name == "collateral_values":
            ordered = sorted(flatten(value).values())
            out.update({f"{where}[{i}]": v for i, v in enumerate(ordered)})
        else:
            out.update(flatten(value, where))
    return {name: v for name, v in out.items() if name.rpartition(".")[2] not in _ECHOED}


#: Inputs repeated among a record's figures, which prove nothing.
_ECHOED = frozenset(
    {"spot", "dampening", "seconds_to_expiry", "rate", "strike", "amount", "underlying", "type"}
)


def _leg(row: Mapping[str, Any]) -> str:
    return option_id(
        str(row.get("underlying")),
        int(row.get("seconds_to_expiry", 0)),
        float(row.get("strike", "nan")),
        str(row.get("type")),
    )


def flatten(node: Any, path: str = "") -> dict[str, float]:
    """Lay nested figures out by dotted name; texts and what is missing are left out.

    Examples
    --------
    >>> flatten({"im": "-1.5", "scenarios": [{"pnl": 2}]})
    {'im': -1.5, 'scenarios[0].pnl': 2.0}
    """
    out: dict[str, float] = {}
    if isinstance(node, dict):
        for key, value in node.items():
            out.update(flatten(value, f"{path}.{key}" if path else str(key)))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            out.update(flatten(value, f"{path}[{place}]"))
    elif isinstance(node, int | float | str) and not isinstance(node, bool):
        try:
            number = float(node)
        except (ValueError, OverflowError):
            return out
        if math.isfinite(number):
            out[path] = number
    return out
