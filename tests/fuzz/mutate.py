"""Mutations of JSON and TOML documents: by structure, by value and by byte."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

#: Values that files of the world have held where something else was meant.
STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -0.0,
    -1,
    1e-320,
    1e308,
    -1e16,
    10**40,
    "",
    " ",
    "0",
    "-0",
    "NaN",
    "Infinity",
    "1e999",
    "1,5",
    "0x10",
    "１２",
    "null",
    "BTC",
    "BTC-PERPETUAL",
    "2026-02-30",
    "1970-01-01T00:00:00Z",
    "\u0000",
    "\ud7ff",
    "ß" * 300,
    [],
    {},
    [[]],
    [None],
    {"": 0},
)


def _descend(node: Any, rng: random.Random) -> tuple[Any, ...]:
    """Walk down at random and return the path of where the walk stopped; () for a leaf."""
    path: tuple[Any, ...] = ()
    while isinstance(node, dict | list) and node:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        path, node = (*path, key), node[key]
        if rng.random() < 0.12:
            break
    return path


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        node = node[part]
    return node


def mutate(document: Any, rng: random.Random) -> Any:
    """Return a document with one to three mutations; what is not touched is shared."""
    out = document
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = _descend(out, rng)
        if not path:
            return rng.choice(STRANGE)
        out = parent = copy.copy(out)
        for part in path[:-1]:
            parent[part] = copy.copy(parent[part])
            parent = parent[part]
        _change(parent, path[-1], document, rng)
    return out


def _change(parent: Any, key: Any, whole: Any, rng: random.Random) -> None:
    value = parent[key]
    kind = rng.randrange(9)
    if kind == 0:
        del parent[key]
    elif kind in (1, 2):
        parent[key] = copy.deepcopy(rng.choice(STRANGE))
    elif kind == 3:
        parent[key] = copy.deepcopy(_at(whole, _descend(whole, rng)))
    elif kind == 4 and isinstance(value, int | float) and not isinstance(value, bool):
        parent[key] = value * rng.choice((-1, 0, 1e-9, 1e9, 1.0000001)) + rng.choice((0, 1, -1))
    elif kind == 5 and isinstance(value, int | float):
        parent[key] = str(value)
    elif kind == 6 and isinstance(value, str) and value:
        place = rng.randrange(len(value))
        parent[key] = value[:place] + rng.choice(("", "-", "9", "é", "\n")) + value[place + 1 :]
    elif kind == 7 and isinstance(parent, dict):
        parent[str(key) + rng.choice(("x", "_", " "))] = parent.pop(key)
    elif kind == 8 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(value))
    else:
        parent[key] = copy.deepcopy(rng.choice(STRANGE))


def mutate_bytes(raw: bytes, rng: random.Random) -> bytes:
    """Return bytes with a piece cut, doubled, flipped or replaced."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not data:
            return bytes(data)
        place = rng.randrange(len(data))
        kind = rng.randrange(6)
        if kind == 0:
            del data[place:]
        elif kind == 1:
            data[place] = rng.randrange(256)
        elif kind == 2:
            del data[place : place + rng.randrange(1, 20)]
        elif kind == 3:
            piece = data[place : place + rng.randrange(1, 40)]
            data[place:place] = piece
        elif kind == 4:
            data[place:place] = bytes(rng.choice((b"[", b"{", b'"', b",", b"\xff", b"\x00", b"-")))
        else:
            data[place:place] = str(rng.choice((0, 1e999, -1, "NaN"))).encode()
    return bytes(data)


def variant(document: Any, raw: bytes, rng: random.Random) -> bytes:
    """Return one mutated file, three in four by structure."""
    if rng.random() < 0.75:
        text = json.dumps(mutate(document, rng), ensure_ascii=rng.random() < 0.5)
        return text.encode("utf-8", "surrogatepass")
    return mutate_bytes(raw, rng)
