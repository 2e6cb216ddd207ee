"""JSON Schemas of the file formats."""

from __future__ import annotations

from typing import Any

from crossmargin.errors import InputError


def schema_of(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a file format by its name.

    Raises
    ------
    InputError
        ``INP-015`` for another kind.
    """
    import msgspec

    from crossmargin.analytics import BookSummary, OwnCase, RulesetDiff
    from crossmargin.book import AccountFile
    from crossmargin.margin import ChangeRecord, Statement
    from crossmargin.margin.components import RulesetData
    from crossmargin.market import MarketFile

    kinds: dict[str, type] = {
        "account": AccountFile,
        "market": MarketFile,
        "ruleset": RulesetData,
        "statement": Statement,
        "case": OwnCase,
        "book-summary": BookSummary,
        "ruleset-diff": RulesetDiff,
        "change": ChangeRecord,
    }
    if kind not in kinds:
        raise InputError(
            f"there is no schema called {kind!r}",
            code="INP-015",
            hint=", ".join(kinds),
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"crossmargin {kind}",
        **msgspec.json.schema(kinds[kind]),
    }
