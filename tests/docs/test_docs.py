"""The documentation is run: Python blocks, files, commands and their output, links, codes, ids.

A page is executed from top to bottom in a folder of its own and one fresh namespace. A block
after ``<!-- file: NAME -->`` is saved under that name first, so that what a reader sees is what
runs. Of a ``console`` block, every line shown must come out of the command, in that order; a
line ``...`` stands for what was left out, and runs of blanks count as one.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest

from crossmargin.book import book_from_accounts, parse_account
from crossmargin.cli import main
from crossmargin.margin import ruleset_from_toml, ruleset_ids
from crossmargin.market import decode_market, snapshot_from_file

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
README = ROOT / "README.md"
MODELS = [page for page in PAGES if page.parent.name == "models"]

_FENCE = re.compile(
    r"(?:^<!-- file: (?P<file>\S+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_CODE = re.compile(r"\b(?:INP|MKT|PRC|RUL|MRG|LIQ|CAS|PLN|LED|STO|CLI)-\d{3}\b")
_PATH = re.compile(r"`((?:src|tests|examples|benchmarks|docs)/[\w./-]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT).as_posix()


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    file: str | None
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = read(page)
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start("text")) + 1
        yield Block(found["kind"], found["text"], found["file"], line)


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


# ------------------------------------------------------------------------------ running the pages


def squeezed(line: str) -> str:
    return " ".join(line.split())


def run_console(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """Run each ``$ crossmargin ...`` of a block and look for the lines shown below it."""
    assert block.text.startswith("$ "), "a console block begins with a command"
    for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
        command, _, shown = part.partition("\n")
        tokens = shlex.split(command, comments=True)
        assert tokens[0] == "crossmargin", command
        target = None
        if ">" in tokens:
            tokens, target = tokens[: tokens.index(">")], tokens[tokens.index(">") + 1]
        capsys.readouterr()
        code = main(tokens[1:])
        seen = capsys.readouterr()
        assert code == 0, f"{command}: {seen.err}"
        if target is not None:
            Path(target).write_text(seen.out, encoding="utf-8")
        out = iter([squeezed(line) for line in seen.out.splitlines()])
        for line in shown.splitlines():
            wanted = squeezed(line)
            if wanted in ("", "..."):
                continue
            assert wanted in out, f"{command}: not in the output, or out of order: {line!r}"


@pytest.mark.parametrize("page", [*PAGES, README], ids=name_of)
def test_page_runs(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "docs"}
    for block in blocks(page):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        if block.kind == "python":
            # Blank lines before the code make tracebacks name the line of the page.
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, str(page), "exec"), space)
        elif block.kind == "console":
            run_console(block, capsys)


@pytest.mark.parametrize("page", [*PAGES, README], ids=name_of)
def test_files_shown_are_valid(page: Path) -> None:
    """Whole files in the text (those with a ``format``) are read and checked."""
    for block in blocks(page):
        if block.kind == "json":
            content = json.loads(block.text)
            shape = content.get("format") if isinstance(content, dict) else None
            if shape == "crossmargin-account/1":
                book_from_accounts([parse_account(block.text)])
            elif shape == "crossmargin-market/1":
                snapshot_from_file(decode_market(block.text.encode(), page.name))
        elif block.kind == "toml" and "crossmargin-ruleset/1" in block.text:
            ruleset_from_toml(block.text)


@pytest.mark.parametrize("page", MODELS, ids=name_of)
def test_model_pages_have_their_parts(page: Path) -> None:
    text = read(page)
    headings = re.findall(r"^## (.+)$", text, re.M)
    for part in ("Formula", "In the code", "Source", "Limits", "Worked example"):
        assert part in headings, f"{name_of(page)} has no section {part!r}"
    assert any(b.kind == "python" and "assert " in b.text for b in blocks(page))


# ------------------------------------------------------------------------------ links, codes, ids


def slugs(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    text = _FENCE.sub("", read(page))
    return {
        re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.M)
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_internal_links_resolve(page: Path) -> None:
    text = _FENCE.sub("", read(page))
    for link in _LINK.findall(text):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{name_of(page)} links to {link}"
        if anchor:
            assert anchor in slugs(target), f"{name_of(page)} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_named_in_the_text_exist(page: Path) -> None:
    for path in _PATH.findall(read(page)):
        assert (ROOT / path).exists(), f"{name_of(page)} names {path}"


def test_every_page_is_on_the_map() -> None:
    linked = {link.partition("#")[0] for link in _LINK.findall(read(DOCS / "index.md"))}
    assert {name_of(page) for page in PAGES} - {"index.md"} <= linked


def test_every_error_code_is_explained() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "src" / "crossmargin").rglob("*.py")
    )
    listed = re.findall(r"^\| `([A-Z]{3}-\d{3})` \|", read(DOCS / "conventions.md"), re.M)
    assert len(listed) == len(set(listed))
    assert set(listed) == set(_CODE.findall(source))


def test_codes_named_elsewhere_exist() -> None:
    listed = set(_CODE.findall(read(DOCS / "conventions.md")))
    for page in PAGES:
        assert set(_CODE.findall(read(page))) <= listed, name_of(page)


def test_every_rule_set_has_a_page() -> None:
    found: list[str] = []
    for page in MODELS:
        for line in re.findall(r"^Rule-sets?: (.+)$", read(page), re.M):
            found += re.findall(r"`([a-z0-9-]+)`", line)
    assert sorted(found) == ruleset_ids()


def test_surface_errors_are_those_of_the_shipped_markets() -> None:
    """The table of fit errors in models/market.md is what the files say."""
    rows = re.findall(
        r"^\| (\w+) \| (\d{4}-\d\d-\d\d) \| ([\d.]+|–) \| ([\d.]+|–) \|$",
        read(DOCS / "models" / "market.md"),
        re.M,
    )
    shown: dict[tuple[str, str, str], float] = {}
    for coin, expiry, calm, crash in rows:
        for market, value in (("calm-2026-02-03", calm), ("crash-2026-02-05", crash)):
            if value != "–":
                shown[market, coin, expiry] = float(value)
    real = {}
    for entry in (files("crossmargin") / "_data" / "markets").iterdir():
        market = entry.name.removesuffix(".json")
        for s in json.loads(entry.read_text(encoding="utf-8"))["surfaces"]:
            error = s["rmse_vol_points_10_90_delta"]
            real[market, s["underlying"], s["expiry"][:10]] = round(error, 2)
    assert shown == real
