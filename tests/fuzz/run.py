"""Feed mutated files to every reader and count what happens.

Run by ``make fuzz``. Each file is read, or refused by an error of this package in a sentence;
anything else is a finding: it is printed with the file that caused it, and the run fails.

Our own mutator and not a coverage-guided one: a million files take minutes on one core, it needs
no compiler, and the same seed feeds the same files.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import time
import traceback
from collections import Counter
from typing import Any

from crossmargin.errors import CrossmarginError
from tests.fuzz.mutate import variant
from tests.fuzz.targets import Target, targets


def feed(target: Target, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Feed mutated files to one reader; return what happened and the findings."""
    rng = random.Random(seed)
    raws = [json.dumps(d).encode() for d in target.documents]
    seen: Counter[str] = Counter()
    findings: list[str] = []
    for number in range(count):
        place = number % len(raws)
        raw = variant(target.documents[place], raws[place], rng)
        outcome, finding = one(target, raw)
        seen[outcome] += 1
        if finding is not None and len(findings) < 5:
            findings.append(f"{target.name}, seed {seed}, file {number}: {finding}\n{raw[:800]!r}")
    return seen, findings


def one(target: Target, raw: bytes) -> tuple[str, str | None]:
    """Read one file; return the outcome and, when something is wrong, what."""
    try:
        read = target.read(raw)
    except CrossmarginError as error:
        sentence = str(error)
        if "\n" in sentence or not sentence.startswith(error.code):
            return "finding", f"not a sentence: {sentence!r}"
        return "refused", None
    except Exception:
        return "finding", traceback.format_exc(limit=-4)
    try:
        target.check(read, _decoded(raw))
    except Exception:
        return "finding", traceback.format_exc(limit=-3)
    return "read", None


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _job(job: tuple[int, int, int]) -> tuple[str, Counter[str], list[str]]:
    place, count, seed = job
    target = targets()[place]
    return (target.name, *feed(target, count, seed))


def main() -> int:
    """Run the whole campaign; the exit code says whether anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="files in all")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--reader", help="feed this reader alone")
    args = parser.parse_args()
    names = [t.name for t in targets()]
    fed = [place for place, name in enumerate(names) if args.reader in (None, name)]
    chunk = 5_000
    each = -(-args.count // (max(len(fed), 1) * chunk))
    jobs = [
        (place, chunk, args.seed + place * 1_000_003 + part)
        for part in range(each)
        for place in fed
    ]
    total: dict[str, Counter[str]] = {name: Counter() for name in names}
    findings: list[str] = []
    start = time.monotonic()
    with multiprocessing.Pool(args.jobs) as pool:
        for done, (name, seen, found) in enumerate(pool.imap_unordered(_job, jobs), 1):
            total[name] += seen
            findings += found
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{done * chunk:,} of {len(jobs) * chunk:,} files")
    seconds = time.monotonic() - start
    print(f"{'reader':<24}{'read':>12}{'refused':>12}{'findings':>12}")
    for name in names:
        row = total[name]
        print(f"{name:<24}{row['read']:>12,}{row['refused']:>12,}{row['finding']:>12,}")
    count = sum(sum(row.values()) for row in total.values())
    wrong = sum(row["finding"] for row in total.values())
    print(f"{count:,} files in {seconds:,.0f} s, {wrong} findings, seed {args.seed}")
    # One of each reader first, then the rest.
    findings.sort(key=lambda text: sum(text.split(",")[0] == o.split(",")[0] for o in findings))
    for finding in findings[:20]:
        print("\n" + finding)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
