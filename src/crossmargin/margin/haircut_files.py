"""Published haircut schedules as dated data: the files ``margin/haircuts/*.toml``.

Format ``crossmargin-haircuts/1``. Every venue changes these figures often: an entry is a snapshot
with a date, a kind (live setting, announcement, or example of the documentation) and a confidence.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crossmargin.errors import RulesetError
from crossmargin.margin.components import Confidence
from crossmargin.margin.components._base import Data, Fraction, NonNegative


class PublishedTier(Data, frozen=True, kw_only=True):
    """One published band; `penalty` is the liquidation penalty rate beside it."""

    lower: NonNegative = msgspec.field(name="from")
    upper: NonNegative | None = msgspec.field(name="to", default=None)
    factor: Fraction
    penalty: Fraction | None = None


class PublishedThen(Data, frozen=True, kw_only=True):
    """Bands after the listed ones: each `width` wide, its factor changed by `step`."""

    width: NonNegative
    step: float


class PublishedAsset(Data, frozen=True, kw_only=True):
    """What a venue states of one coin; factors are shares of value that count.

    Attributes
    ----------
    factor, before : float, optional
        One factor for the whole balance, and what it was until the entry's date.
    same_as : str, optional
        Another coin of the entry whose figures serve.
    tiers, then, step_before, minimum
        Bands; the step of generated bands before the date; the least factor.
    by_tier, then_step
        Factors by tier number without bounds, and the change for each further tier.
    ltv, threshold, cap_coins
        Loan to value, liquidation threshold, cap on what one user supplies.
    pool_cap_coins, borrow_cap_coins, pool_borrow_cap_coins
        Caps that do not bear on the value of an account's collateral.
    initial, maintenance
        Asset weights by level.
    stress : str, optional
        Which side of its price move enters the scenarios.
    also : dict
        Figures stated beside these that other components use.
    """

    factor: Fraction | None = None
    before: Fraction | None = None
    same_as: str | None = None
    tiers: list[PublishedTier] | None = None
    then: PublishedThen | None = None
    step_before: float | None = None
    minimum: Fraction | None = None
    by_tier: list[Fraction] | None = None
    then_step: float | None = None
    ltv: Fraction | None = None
    threshold: Fraction | None = None
    cap_coins: NonNegative | None = None
    pool_cap_coins: NonNegative | None = None
    borrow_cap_coins: NonNegative | None = None
    pool_borrow_cap_coins: NonNegative | None = None
    initial: Fraction | None = None
    maintenance: Fraction | None = None
    stress: Literal["none", "up", "down", "both"] | None = None
    also: dict[str, float] = {}  # noqa: RUF012 - msgspec copies mutable defaults


class HaircutEntry(Data, frozen=True, kw_only=True):
    """One statement of a venue: a scheme, when, from where, how sure, and its coins.

    Attributes
    ----------
    id : str
        Entries of one scheme share it; with the venue it names a table.
    scheme : str
        What it belongs to, in words.
    kind : {"live", "announcement", "example"}
        A setting, a change, or a documentation's illustration.
    date : str, optional
        Day, month or year it holds from.
    banding, unit
        Of `tiers`: marginal or flat; coins, US dollars, or bare tier numbers.
    """

    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    scheme: str
    kind: Literal["live", "announcement", "example"]
    date: Annotated[str, Meta(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")] | None = None
    date_note: str = ""
    confidence: Confidence
    banding: Literal["flat", "marginal"]
    unit: Literal["coins", "usd", "tier"] | None = None
    source: Annotated[list[str], Meta(min_length=1)]
    note: str = ""
    assets: dict[str, PublishedAsset]


class HaircutFile(Data, frozen=True, kw_only=True):
    """The published schedules of one venue."""

    format: Literal["crossmargin-haircuts/1"]
    venue: str
    entries: Annotated[list[HaircutEntry], Meta(min_length=1)]


@lru_cache(maxsize=1)
def haircut_files() -> dict[str, HaircutFile]:
    """Return the shipped files by short name (``binance``), sorted."""
    folder = files("crossmargin.margin") / "haircuts"
    return {
        entry.name.removesuffix(".toml"): read_haircuts(
            entry.read_text(encoding="utf-8"), what=entry.name
        )
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".toml")
    }


def read_haircuts(text: str, *, what: str = "haircut file") -> HaircutFile:
    """Read a file of published schedules from TOML text.

    Raises
    ------
    RulesetError
        ``RUL-001`` when it is not TOML, or a key is unknown or a figure out of range.
    """
    try:
        return msgspec.convert(tomllib.loads(text), HaircutFile, strict=True)
    except tomllib.TOMLDecodeError as error:
        raise RulesetError(f"{what} is not TOML: {error}", code="RUL-001") from None
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        raise RulesetError(
            f"{what}: {message[0].lower()}{message[1:]}",
            code="RUL-001",
            field=place.rstrip("`").removeprefix("$").lstrip(".") or None,
            hint="correct the file; unknown keys are refused on purpose",
        ) from None
