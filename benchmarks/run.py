"""``make bench``: run the benchmarks, print the table of targets, write results and the page.

    python -m benchmarks.run --date 2026-11-22 [--quick] [--only grid] [--out DIR]

Each module runs in a process of its own. At full scale the results go to ``benchmarks/results``
and the page to ``benchmarks/RESULTS.md``; at other scales both go to ``out/bench``, so that a quick
look does not overwrite what is quoted. With ``--only`` the other modules' last results stay on the
page, each with its own date.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import page, plots
from benchmarks.harness import SCALES
from benchmarks.results_file import Result, read_result, read_results

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# Those of the targets first; modules that are not named here come after them by name.
ORDER = (
    *("grid", "kernels", "fused", "rulesets", "book", "live", "path", "gate"),
    *("growth", "tools", "account", "pricing"),
)


def modules(folder: Path = HERE) -> list[str]:
    """Return the benchmark modules that exist, in the order they are run in."""
    found = {path.stem.removeprefix("bench_") for path in folder.glob("bench_*.py")}
    return [n for n in ORDER if n in found] + sorted(found - set(ORDER))


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 when all modules ran, 1 when one failed, 130 when interrupted."""
    options = arguments(argv)
    names = [] if options.page_only else options.only or modules()
    folder, target = places(options.scale, options.out)
    failed: list[str] = []
    try:
        for turn, name in enumerate(names, 1):
            print(f"[{turn}/{len(names)}] {name}, {options.scale} ...", flush=True)
            if not run_one(name, options, folder):
                failed.append(name)
    except KeyboardInterrupt:
        print(
            f"\ninterrupted in {name}: the modules before it have written their results; "
            "the page is as it was",
            file=sys.stderr,
        )
        return 130
    results = read_results(folder)
    if not results:
        print("no results", file=sys.stderr)
        return 1
    if names:
        print()
        print(page.terminal([r for r in results if r.name in names], everything=not options.only))
    write(results, folder, target)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"modules: {', '.join(modules())}",
    )
    parser.add_argument("--date", required=True, help="date of the run, as it is to be printed")
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--quick", dest="scale", action="store_const", const="quick")
    parser.add_argument("--only", action="append", metavar="NAME", choices=modules())
    parser.add_argument("--page-only", action="store_true", help="write the page anew, run nothing")
    parser.add_argument("--out", type=Path, help="folder for results and the page")
    return parser.parse_args(argv)


def places(scale: str, out: Path | None) -> tuple[Path, Path]:
    """Return the folder of results and the file of the page."""
    if out is not None:
        return out, out / "RESULTS.md"
    if scale == "full":
        return HERE / "results", HERE / "RESULTS.md"
    return ROOT / "out" / "bench", ROOT / "out" / "bench" / "RESULTS.md"


def run_one(name: str, options: argparse.Namespace, folder: Path) -> bool:
    """Run a module in its own process and print its rows; say whether it ended well.

    Ctrl-C reaches the child too; it ends by itself, and the interruption goes on to the caller.
    """
    start = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.child", name, "--scale", options.scale,
               "--out", str(folder), "--date", options.date]  # fmt: skip
    child = subprocess.Popen(command, cwd=ROOT)
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.wait()
        raise
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        print(f"      failed with exit code {code}; its last results stay", file=sys.stderr)
        return False
    print(brief(read_result(folder / f"{name}.json")), flush=True)
    print(f"      {time.monotonic() - start:.0f} s", flush=True)
    return True


def brief(result: Result) -> str:
    """Return a module's rows in a few words each."""
    return "\n".join(
        f"      {row.verdict:<13}{page.with_unit(row.value, row.unit):>16}  {row.name}"
        for row in result.measures
    )


def write(results: list[Result], folder: Path, target: Path) -> None:
    """Draw the plots if matplotlib is there, and write the page."""
    pictures: list[plots.Picture] = []
    if plots.available():
        lines = [s for r in results for row in r.measures for s in row.series]
        relative = "plots" if target.parent == folder else f"{folder.name}/plots"
        pictures = plots.draw_all(page.target_rows(results), lines, folder / "plots", relative)
    else:
        print("matplotlib is not installed: the page has no plots (extra [bench])", file=sys.stderr)
    page.write_page(results, target, pictures)
    inside = target.is_relative_to(ROOT)
    print(f"\nwritten to {target.relative_to(ROOT) if inside else target.name}")


if __name__ == "__main__":
    sys.exit(main())
