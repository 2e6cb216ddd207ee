"""JSON Schemas of the file formats."""

from __future__ import annotations

from typing import Any

from crossmargin.errors import InputError


def schema_of(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of ``account``, ``market``, ``ruleset``, ``statement`` or ``case``.

    Raises
    ------
    InputError
        ``INP-015`` for another kind.
    """
    import msgspec

    from crossmargin.analytics import OwnCase
    from crossmargin.book import AccountFile
    from crossmargin.margin import Statement
    from crossmargin.margin.components import RulesetData
    from crossmargin.market import MarketFile

    kinds: dict[str, type] = {
        "account": AccountFile,
        "market": MarketFile,
        "ruleset": RulesetData,
        "statement": Statement,
        "case": OwnCase,
    }
    if kind not in kinds:
        raise InputError(
            f"there is no schema called {kind!r}",
            code="INP-015",
            hint="account, market, ruleset, statement or case",
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"crossmargin {kind}",
        **msgspec.json.schema(kinds[kind]),
    }
