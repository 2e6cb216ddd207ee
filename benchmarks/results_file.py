"""The file of a benchmark's results: one JSON file for each module, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.harness import Measure

FORMAT = "crossmargin-benchmark/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one module measured, where and when.

    Attributes
    ----------
    name : str
        ``grid`` for ``bench_grid.py``.
    date : str
        As given on the command line; nothing here reads a clock's date.
    scale : str
        Name of the scale.
    seconds : float
        Wall time of the whole module.
    peak_rss_mib : float
        Greatest resident memory of its process.
    machine, calibration : dict
        See `benchmarks.calibration`.
    libraries : dict
        Versions of the rivals' libraries that are installed.
    measures : list of Measure
        The rows.
    """

    format: str = FORMAT
    name: str
    date: str
    scale: str
    seconds: float
    peak_rss_mib: float
    machine: dict[str, Any]
    calibration: dict[str, float]
    libraries: dict[str, str] = field(default_factory=dict)
    measures: list[Measure]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there: an interruption leaves no half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_result(result: Result, folder: Path) -> Path:
    """Write ``NAME.json``; numbers keep six significant digits, which is more than they have."""
    path = folder / f"{result.name}.json"
    plain = _rounded(msgspec.to_builtins(result))
    for row in plain["measures"]:
        for key in ("low", "high", "key", "series"):
            if row[key] is None or row[key] == "" or row[key] == []:
                del row[key]
    write_whole(path, msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n")
    return path


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def read_result(path: Path) -> Result:
    """Read a result.

    Raises
    ------
    msgspec.DecodeError
        When the file is not one of these.
    """
    result = msgspec.json.decode(path.read_bytes(), type=Result)
    if result.format != FORMAT:
        raise msgspec.ValidationError(f"{path.name} is {result.format!r}, not {FORMAT!r}")
    return result


def read_results(folder: Path) -> list[Result]:
    """Read all results of a folder, by name."""
    return [read_result(path) for path in sorted(folder.glob("*.json"))]
