"""Stress scenarios as data: what moves, where the figures come from, and the library shipped.

Source: requirements B20 (named and synthetic shocks), B16 (correlation breakdown), B19 (chain
down). The figures and their sources stand in ``_data/stress/*.toml``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crossmargin.codec import Certainty, convert_data, parse_toml, read_bytes
from crossmargin.errors import InputError
from crossmargin.instruments import DOLLARS

ScenarioKind = Literal["recorded", "hypothetical", "correlation", "depeg", "location"]

#: Every coin that is not named, or every location in turn.
EVERY_ONE = "*"


class StressScenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One scenario.

    Attributes
    ----------
    name, title : str
        Short name, and what it is.
    kind : {"recorded", "hypothetical", "correlation", "depeg", "location"}
        ``correlation`` chooses its own direction (`sigmas`, `correlation_low`,
        `correlation_high`); ``location`` stops a venue or chain; the others are moves.
    moves : dict of str to float
        Relative move of each coin's price; ``"*"`` for coins that are not named.
    vols : dict of str to float
        Relative change of volatility, likewise.
    dollars : dict of str to float
        Relative move of each stablecoin's price in US dollars.
    sigmas : float
        Size of the joint move, standard deviations.
    correlation_low, correlation_high : float
        Stressed correlations between any two coins.
    location : str
        Venue or chain that stops; ``"*"`` for the worst of all.
    since, until : str
        Moments of a recorded one, ISO-8601.
    source, date, confidence, note : str
        Where the figures are from.
    """

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    title: str = ""
    kind: ScenarioKind = "hypothetical"
    moves: dict[str, float] = {}
    vols: dict[str, float] = {}
    dollars: dict[str, float] = {}
    sigmas: Annotated[float, Meta(ge=0, le=100)] = 0.0
    correlation_low: Annotated[float, Meta(ge=0, le=1)] = 0.3
    correlation_high: Annotated[float, Meta(ge=0, le=1)] = 1.0
    location: str = ""
    since: str = ""
    until: str = ""
    source: str = ""
    date: str = ""
    confidence: Certainty = "user"
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse moves that no price can make."""
        for table, least in ((self.moves, -1.0), (self.vols, -1.0), (self.dollars, -1.0)):
            for name, move in table.items():
                if not least < move <= 100.0:
                    raise ValueError(
                        f"a move of {move:g} of {name!r}: a fraction above −1, 0.3 being +30 %"
                    )
        strange = [name for name in self.dollars if name not in DOLLARS or name == "USD"]
        if strange:
            raise ValueError(f"{strange[0]!r} is no stablecoin: {', '.join(sorted(DOLLARS))}")
        mixed = [name for name in self.moves if name in DOLLARS]
        if mixed:
            raise ValueError(f"{mixed[0]!r} is a dollar: its moves stand under dollars")
        if self.correlation_low > self.correlation_high:
            raise ValueError("correlation_low lies above correlation_high")
        if self.kind == "location" and not self.location:
            raise ValueError("a location scenario names its location, or '*' for each in turn")


#: Nothing moves.
NO_STRESS = StressScenario(name="none", title="nothing moves", confidence="house")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: Literal["crossmargin-stress/1"]
    scenarios: Annotated[list[StressScenario], Meta(min_length=1)]


def _wrong(message: str, field: str) -> InputError:
    return InputError(
        message,
        code="INP-110",
        field=field,
        hint="see docs/models/stress.md for a scenario file",
    )


def scenarios_from_toml(text: str, name: str = "stress scenarios") -> list[StressScenario]:
    """Read scenarios from TOML text.

    Raises
    ------
    InputError
        ``INP-110`` when it is not TOML, or no scenario of ours.
    """
    found = convert_data(parse_toml(text, name, _wrong), _File, name, _wrong).scenarios
    names = [one.name for one in found]
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice:
        raise _wrong(f"{name}: two scenarios are called {twice[0]!r}", "scenarios.name")
    return found


def read_scenarios(path: str | Path) -> list[StressScenario]:
    """Read a scenario file."""
    raw = read_bytes(path, what="scenario file")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _wrong(f"{str(path)!r} is not text", str(path)) from None
    return scenarios_from_toml(text, str(path))


def stress_library() -> list[StressScenario]:
    """Return the scenarios that are shipped: recorded crashes first, then hypothetical ones."""
    place = files("crossmargin._data") / "stress"
    found: list[StressScenario] = []
    for name in ("recorded.toml", "hypothetical.toml"):
        found += scenarios_from_toml((place / name).read_text(encoding="utf-8"), name)
    return found


def choose_scenarios(names: Sequence[str], known: Sequence[StressScenario]) -> list[StressScenario]:
    """Return scenarios by name, in the order asked for; all of them without names.

    Of two of one name the first counts.

    Raises
    ------
    InputError
        ``INP-111`` for a name that is not known.
    """
    by_name = {NO_STRESS.name: NO_STRESS}
    for one in known:
        by_name.setdefault(one.name, one)
    for name in names:
        if name not in by_name:
            raise InputError(
                f"there is no scenario called {name!r}",
                code="INP-111",
                field="scenario",
                hint=f"one of {', '.join(by_name)}",
            )
    if names:
        return [by_name[name] for name in names]
    return list({one.name: by_name[one.name] for one in known}.values())
