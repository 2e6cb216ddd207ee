"""Where the time of a large book goes, stage by stage: clocks around the functions themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from crossmargin.book import CompactBook
from crossmargin.margin import _shared, _stages, at_scale, engine

#: Steps that belong to no component: where they are looked up, and what they are called here.
STEPS: tuple[tuple[Any, str, str], ...] = (
    (CompactBook, "take", "rows of a chunk"),
    (at_scale, "SharedMarket", "the market, once"),
    (_shared, "arrange", "pots, groups and segments"),
    (engine, "run_scan", "scan"),
    (engine, "apply_offset", "sum and credit of groups"),
    (engine, "_combined", "expressions"),
    (engine, "haircuts", "haircuts"),
    (engine, "withheld", "profit that does not count"),
    (at_scale, "equity", "equity"),
    (at_scale, "_add_components", "totals by component"),
)


@contextmanager
def stage_times() -> Iterator[dict[str, float]]:
    """Collect the seconds spent in each stage, what it calls left out, while the context lasts."""
    spent: dict[str, float] = {}
    inner: list[float] = []

    def clocked(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **more: Any) -> Any:
            inner.append(0.0)
            start = time.perf_counter()
            try:
                return call(*args, **more)
            finally:
                took = time.perf_counter() - start
                spent[name] = spent.get(name, 0.0) + took - inner.pop()
                if inner:
                    inner[-1] += took

        return run

    def by_name(run: Callable[..., Any]) -> Callable[..., Any]:
        return lambda spec, stage: clocked(spec.name, run)(spec, stage)

    with ExitStack() as stack:
        for table in (_stages.STAGES, _stages.POT_STAGES):
            clocks = {kind: by_name(run) for kind, run in table.items()}  # type: ignore[attr-defined]
            stack.enter_context(patch.dict(table, clocks))  # type: ignore[arg-type]
        for place, attribute, name in STEPS:
            call = getattr(place, attribute)
            stack.enter_context(patch.object(place, attribute, clocked(name, call)))
        yield spent


def shares(spent: dict[str, float], whole: float, count: int = 5) -> str:
    """Say in words where most of the time went: ``scan 41 %, roll_shock 12 %, ...``."""
    most = sorted(spent.items(), key=lambda pair: -pair[1])[:count]
    return ", ".join(f"{name} {100 * took / whole:.0f} %" for name, took in most)
