"""JSON Schemas of the file formats."""

from __future__ import annotations

from typing import Any

from crossmargin.errors import InputError


def schema_of(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of ``account``, ``market`` or ``statement``.

    Raises
    ------
    InputError
        ``INP-015`` for another kind.
    """
    import msgspec

    from crossmargin.book import AccountFile
    from crossmargin.margin import Statement
    from crossmargin.market import MarketFile

    kinds: dict[str, type] = {
        "account": AccountFile,
        "market": MarketFile,
        "statement": Statement,
    }
    if kind not in kinds:
        raise InputError(
            f"there is no schema called {kind!r}",
            code="INP-015",
            hint="account, market or statement",
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"crossmargin {kind}",
        **msgspec.json.schema(kinds[kind]),
    }
