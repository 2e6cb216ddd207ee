"""Published haircut schedules turned into the collateral of a rule-set.

The files themselves are read in ``haircut_files``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from crossmargin.errors import RulesetError
from crossmargin.margin.components import AssetRule
from crossmargin.margin.components._base import Data
from crossmargin.margin.haircut_files import (
    HaircutEntry,
    HaircutFile,
    PublishedAsset,
    haircut_files,
)

#: The row that serves coins a venue does not list.
UNLISTED = "DEFAULT_UNLISTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class HaircutTable:
    """The collateral table of a scheme on a day.

    Attributes
    ----------
    assets : dict of str to AssetRule
        For ``collateral.assets`` of a rule-set; ``default`` where unlisted coins have a factor.
    refused : dict of str to str
        Coins whose published figures make no schedule, with the reason.
    notes : list of str
        What the reader must know of the figures used.
    sources : dict of str to HaircutEntry
        The entry each coin comes from.
    """

    assets: dict[str, AssetRule]
    refused: dict[str, str]
    notes: list[str]
    sources: dict[str, HaircutEntry]

    def as_dict(self) -> dict[str, Any]:
        """Return `assets` as plain data for a rule-set, without what is at its default."""
        return {name: _plain(rule) for name, rule in self.assets.items()}


def collateral_from_haircuts(
    venue: str,
    scheme: str,
    *,
    on: str | None = None,
    supplied: Mapping[str, Mapping[str, Any]] | None = None,
    source: HaircutFile | None = None,
) -> HaircutTable:
    """Turn published schedules into the collateral table of a rule-set.

    Entries of one scheme are read in order of their dates: each coin takes the newest figures in
    force, or, before the first change that names it, the figure which that change gives for the
    time before.

    Parameters
    ----------
    venue : str
        Short name of a shipped file (``binance``).
    scheme : str
        Id of a scheme in it (``portfolio-margin``).
    on : str, optional
        ISO date; default the newest figures.
    supplied : mapping of str to mapping, optional
        Figures that are not published, by coin (``*``: all coins): ``widths`` (coins or US
        dollars of each tier; with ``unit``, default coins) for factors by tier number;
        ``imf``, ``scale_start_usd``, ``total_usd`` for initial weights that shrink with size.
    source : HaircutFile, optional
        Another file instead of the shipped one.

    Returns
    -------
    HaircutTable
        What makes a schedule, and why the rest does not.

    Raises
    ------
    RulesetError
        ``RUL-026`` for a venue or scheme that is not there, or supplied figures that do not fit.
    """
    book = source if source is not None else _file(venue)
    entries = [entry for entry in book.entries if entry.id == scheme]
    if not entries:
        known = ", ".join(sorted({entry.id for entry in book.entries}))
        raise RulesetError(
            f"{book.venue} has no haircut scheme {scheme!r}",
            code="RUL-026",
            hint=f"known are {known}",
        )
    assets: dict[str, AssetRule] = {}
    refused: dict[str, str] = {}
    notes: list[str] = []
    sources: dict[str, HaircutEntry] = {}
    for name, (entry, figures) in sorted(_in_force(entries, on).items()):
        key = "default" if name == UNLISTED else name
        given = {**(supplied or {}).get("*", {}), **(supplied or {}).get(name, {})}
        rule, said = _rule(figures, entry, given, name)
        sources[key] = entry
        if rule is None:
            refused[key] = said
            continue
        assets[key] = rule
        if said:
            notes.append(f"{key}: {said}")
    return HaircutTable(assets=assets, refused=refused, notes=notes, sources=sources)


def _file(venue: str) -> HaircutFile:
    shipped = haircut_files()
    for name, book in shipped.items():
        if venue in (name, book.venue):
            return book
    raise RulesetError(
        f"no haircuts of {venue!r} are shipped",
        code="RUL-026",
        hint=f"known are {', '.join(shipped)}",
    )


def _in_force(
    entries: Sequence[HaircutEntry], on: str | None
) -> dict[str, tuple[HaircutEntry, PublishedAsset]]:
    """Return the figures of each coin on a day, ``same_as`` followed."""
    found: dict[str, tuple[HaircutEntry, PublishedAsset]] = {}
    for entry in sorted(entries, key=lambda e: e.date or ""):
        begun = on is None or (entry.date or "") <= on
        for name, figures in entry.assets.items():
            if begun:
                found[name] = (entry, _followed(entry, name, figures))
            elif name not in found and figures.before is not None:
                found[name] = (entry, PublishedAsset(factor=figures.before))
    return found


def _followed(entry: HaircutEntry, name: str, figures: PublishedAsset) -> PublishedAsset:
    seen = {name}
    while figures.same_as is not None:
        target = figures.same_as
        if target in seen or target not in entry.assets:
            raise RulesetError(
                f"{name} is the same as {target!r}, which leads nowhere",
                code="RUL-026",
                field=f"assets.{name}.same_as",
            )
        seen.add(target)
        figures = entry.assets[target]
    return figures


def _rule(
    figures: PublishedAsset, entry: HaircutEntry, given: Mapping[str, Any], name: str
) -> tuple[AssetRule | None, str]:
    """Return the rule of one coin and a note, or None and the reason."""
    body: dict[str, Any] = {"stress": figures.stress or "none"}
    said = ""
    if figures.factor is not None:
        body["schedule"] = {"kind": "flat", "factor": figures.factor}
    elif figures.tiers is not None:
        body["schedule"] = _tiers(figures, entry)
        last = figures.tiers[-1]
        if last.upper is not None and figures.then is None and last.factor > 0:
            said = f"no tier is given beyond {last.upper:,.10g}: what lies there counts 0"
    elif figures.by_tier is not None:
        if "widths" not in given:
            return None, (
                "the factors are by tier number and their bounds are not published; supply the "
                "width of each tier"
            )
        body["schedule"] = _numbered(figures, given, name)
        said = "the widths of its tiers are supplied by the user"
    elif figures.ltv is not None:
        body["schedule"] = {
            "kind": "ltv",
            "ltv": figures.ltv,
            "threshold": figures.ltv if figures.threshold is None else figures.threshold,
            "cap_coins": figures.cap_coins,
        }
    elif figures.initial is not None and figures.maintenance is not None:
        body["im"], said = _scaled(figures.initial, given)
        body["mm"] = {"kind": "flat", "factor": figures.maintenance}
    else:
        said = "no weight is given beside its caps: it counts in full"
    try:
        return msgspec.convert(body, AssetRule), said
    except msgspec.ValidationError as error:
        raise RulesetError(
            f"the figures of {name} make no schedule: {str(error).partition(' - at')[0].lower()}",
            code="RUL-026",
            field=name,
        ) from None


def _tiers(figures: PublishedAsset, entry: HaircutEntry) -> dict[str, Any]:
    assert figures.tiers is not None
    body: dict[str, Any] = {
        "kind": "tiers",
        "unit": entry.unit,
        "banding": entry.banding,
        "tiers": [{"from": t.lower, "to": t.upper, "factor": t.factor} for t in figures.tiers],
    }
    if figures.then is not None:
        body["then"] = {
            "width": figures.then.width,
            "step": figures.then.step,
            "minimum": figures.minimum or 0.0,
        }
    return body


def _numbered(figures: PublishedAsset, given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Place factors by tier number on the widths that the user gave."""
    factors, widths = figures.by_tier or [], list(given["widths"])
    if len(widths) != len(factors) or not all(width > 0 for width in widths):
        raise RulesetError(
            f"{name} has {len(factors)} tiers, and the widths given are {widths}",
            code="RUL-026",
            field=f"{name}.widths",
            hint="give one width above 0 for each tier",
        )
    bounds = [0.0]
    for width in widths:
        bounds.append(bounds[-1] + float(width))
    body: dict[str, Any] = {
        "kind": "tiers",
        "unit": given.get("unit", "coins"),
        "banding": "marginal",
        "tiers": [
            {"from": low, "to": high, "factor": factor}
            for low, high, factor in zip(bounds[:-1], bounds[1:], factors)
        ],
    }
    if figures.then_step is not None:
        body["then"] = {
            "width": float(widths[-1]),
            "step": figures.then_step,
            "minimum": figures.minimum or 0.0,
        }
    return body


def _scaled(factor: float, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return an initial weight with the size and pool scales that were supplied."""
    imf, start = given.get("imf", 0.0), given.get("scale_start_usd")
    if start is not None:
        total = given.get("total_usd")
        body = {"kind": "pool", "factor": factor, "imf": imf, "scale_start_usd": start}
        return {**body, "total_usd": total}, ""
    said = "" if factor == 1.0 else "the initial weight's pool scale is not supplied"
    if imf:
        return {"kind": "size", "factor": factor, "imf": imf}, said
    said = said and "the initial weight's scales by size and pool are not supplied"
    return {"kind": "flat", "factor": factor}, said


def _plain(rule: AssetRule) -> dict[str, Any]:
    """Return a rule as plain data without defaults and nulls."""
    plain = msgspec.to_builtins(rule)
    usual = msgspec.to_builtins(AssetRule())

    def lean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: lean(one) for key, one in value.items() if one is not None}
        return [lean(one) for one in value] if isinstance(value, list) else value

    return {key: lean(value) for key, value in plain.items() if value != usual[key]}


class _Reference(Data, frozen=True, kw_only=True):
    """What ``[collateral.haircuts]`` of a rule-set may say."""

    venue: str
    scheme: str
    on: str | None = None
    supplied: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - msgspec copies mutable defaults


def expand_collateral(content: dict[str, Any], what: str) -> None:
    """Replace ``collateral.haircuts`` of a rule-set by the coins it refers to.

    Coins that the rule-set names itself go before those of the table.

    Raises
    ------
    RulesetError
        ``RUL-001`` for an unknown key, ``RUL-026`` for a table that is not there.
    """
    collateral = content.get("collateral")
    if not isinstance(collateral, dict) or "haircuts" not in collateral:
        return
    try:
        asked = msgspec.convert(collateral.pop("haircuts"), _Reference, strict=True)
    except msgspec.ValidationError as error:
        message = str(error).partition(" - at `")[0]
        raise RulesetError(
            f"{what}: {message[0].lower()}{message[1:]}",
            code="RUL-001",
            field="collateral.haircuts",
        ) from None
    table = collateral_from_haircuts(
        asked.venue, asked.scheme, on=asked.on, supplied=asked.supplied
    )
    collateral["assets"] = {**table.as_dict(), **collateral.get("assets", {})}
