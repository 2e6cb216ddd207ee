"""A validation as plain data for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from crossmargin.validation.backtest import BookTest, ModelTest
from crossmargin.validation.report import Validation


def plain_validation(made: Validation) -> dict[str, Any]:
    """Return a validation as dictionaries, lists, text and finite numbers.

    Amounts are US dollars, shares decimals; what is not a finite number becomes None.
    """
    setting = made.test.setting
    return {
        "format": "crossmargin-validation/1",
        "level": setting.level,
        "horizon_days": setting.horizon,
        "seed": made.seed,
        "history": {
            "source": setting.history.source,
            "first": setting.history.days[0],
            "last": setting.history.days[-1],
        },
        "verdicts": [_clean(asdict(one)) for one in made.verdicts],
        "league": [{**_clean(asdict(one)), "coverage": one.coverage} for one in made.league],
        "models": [_model(model) for model in made.test.models],
        "by_group": [{**asdict(one), "coverage": one.coverage} for one in made.by_group],
        "by_product": [{**asdict(one), "coverage": one.coverage} for one in made.by_product],
        "procyclicality": {
            "note": made.tools_note,
            "tools": [_clean(asdict(one)) for one in made.tool_summary],
            "books": {
                name: [_clean(asdict(one)) for one in lines] for name, lines in made.tools.items()
            },
        },
        "impulse": [_clean(asdict(one)) for one in made.impulses],
        "impulse_notes": list(made.impulse_notes),
        "adversary": None
        if made.adversary is None
        else {
            "seed": made.adversary.seed,
            "drawn": made.adversary.drawn,
            "by_chance": made.adversary.by_chance,
            "refused": made.adversary.refused,
            "families": list(made.adversary.families),
            "worst": [_book(one) for one in made.adversary.worst],
        },
        "sensitivity": None if made.sensitivity is None else _clean(asdict(made.sensitivity)),
        "proxy": None if made.proxy is None else _clean(asdict(made.proxy)),
        "untested": made.test.untested,
    }


def _model(model: ModelTest) -> dict[str, Any]:
    return {
        "model": model.name,
        "title": model.title,
        "limits": list(model.limits),
        "refusals": model.refusals,
        "books": [_book(one) for one in model.tests],
    }


def _book(one: BookTest) -> dict[str, Any]:
    rows = np.flatnonzero(one.hits).tolist()
    made = {
        "book": one.book.name,
        "group": one.book.group,
        "synthetic": one.book.synthetic,
        "legs": [
            {name: getattr(leg, name) for name in leg.__struct_fields__} for leg in one.book.legs
        ],
        "collateral": [{"asset": p.asset, "usd": p.usd} for p in one.book.collateral],
        "first": one.days[0],
        "last": one.days[-1],
        "observations": one.hits.size,
        "breaches": one.breaches,
        "coverage": one.coverage,
        "worst": one.worst,
        "mean_excess_usd": one.excess_usd,
        "margin_share": one.margin_share,
        "quantile_score_usd": one.score,
        "fz0": None if one.joint is None else float(one.joint.mean()),
        "traffic_light": asdict(one.light),
        "kupiec": asdict(one.count),
        "binomial": asdict(one.upper),
        "independence": asdict(one.apart),
        "conditional_coverage": asdict(one.both),
        "duration": asdict(one.waits),
        "mixed_kupiec": asdict(one.mixed),
        "overlapping": None if one.overlapping is None else asdict(one.overlapping),
        "shortfall": {name: asdict(found) for name, found in one.shortfall.items()},
        "attribution": None if one.explained is None else asdict(one.explained),
        "cycle": None if one.cycle is None else asdict(one.cycle),
        "crashes": [asdict(line) for line in one.crashes],
        "breached": [
            {"day": one.days[k], "loss_usd": one.loss[k], "margin_usd": one.margin[k]} for k in rows
        ],
    }
    return dict(_clean(made))


def _clean(value: Any) -> Any:
    """Make arrays lists and what is no finite number None; keys of mappings become text."""
    if isinstance(value, dict):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    if isinstance(value, np.ndarray):
        return [_clean(v) for v in value.tolist()]
    if isinstance(value, np.generic):
        return _clean(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
