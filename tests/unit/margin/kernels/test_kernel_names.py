"""Compiled functions of other constants may not share a name, or the disk's cache mixes them up."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import crossmargin
from crossmargin.margin.kernels._named import named_after

SOURCE = Path(crossmargin.__file__).parent
BOTH = """
import sys
import numpy as np
from crossmargin.margin.kernels.grid import check_rows, worst_of_grid
book = check_rows(1, [0, 1], [0], [1.0])
for scenarios in map(int, sys.argv[1:]):
    table = -np.arange(1.0, scenarios + 1.0)[None, :]
    assert worst_of_grid(table, book).tolist() == [-float(scenarios)], scenarios
"""


def test_names_follow_constants():
    def made(n: int):
        @named_after(n, "x")
        def kernel() -> int:
            return n

        return kernel

    assert made(1).__qualname__ == made(1).__qualname__ != made(2).__qualname__
    assert made(1)() == 1


def test_every_compiled_function_inside_another_has_a_name_of_its_own():
    """Functions made by a factory differ by what surrounds them: all carry it in their name."""
    missing = []
    for path in SOURCE.rglob("*.py"):
        for outer in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(outer, ast.FunctionDef):
                continue
            for inner in ast.walk(outer):
                if inner is outer or not isinstance(inner, ast.FunctionDef):
                    continue
                marks = [ast.unparse(d) for d in inner.decorator_list]
                if any("jit" in m for m in marks) and not any("named_after" in m for m in marks):
                    missing.append(f"{path.name}: {inner.name}")
            made = {n.name for n in ast.walk(outer) if isinstance(n, ast.FunctionDef)} - {
                outer.name
            }
            for call in ast.walk(outer):
                if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("jit"):
                    bare = [a.id for a in call.args if isinstance(a, ast.Name) and a.id in made]
                    missing += [f"{path.name}: {name}" for name in bare]
    assert not missing


def test_kernels_of_two_processes_keep_apart(tmp_path):
    """Each compiles one width as the first thing it does; others take both from the disk."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(SOURCE.parent)}
    for widths in (["8"], ["40"], ["8", "40"], ["40", "8"]):
        subprocess.run([sys.executable, "-c", BOTH, *widths], env=env, check=True)
