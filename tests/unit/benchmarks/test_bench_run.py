"""The one command: modules, results written whole, the page, and every module at a tiny scale."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import msgspec
import pytest
from benchmarks import child, page, plots, run
from benchmarks.harness import SCALES, Measure, Series, report, target
from benchmarks.results_file import (
    Result,
    read_result,
    read_results,
    write_result,
    write_whole,
)

BOX = {
    "cpu": "some processor", "cores": 2, "memory_gib": 24.0, "system": "Linux x86_64",
    "load_1m": 0.5, "python": "3.11", "numpy": "2", "scipy": "1", "numba": "0.6", "llvmlite": "0.4",
}  # fmt: skip
YARDSTICK = {
    "fma_gflops": 60.0, "fma_gflops_2": 119.0, "fma32_gflops": 121.0, "read_gbs": 20.0,
    "read_gbs_2": 31.0,
}  # fmt: skip


def result(name: str = "grid", scale: str = "full", *rows: Measure) -> Result:
    line = Series("Time against accounts", "kernel", "accounts", "s", (1e4, 1e5), (1e-3, 1e-2), 1.0)
    return Result(
        name=name,
        date="2026-01-02",
        scale=scale,
        seconds=3.0,
        peak_rss_mib=512.0,
        machine=BOX,
        calibration=YARDSTICK,
        libraries={"torch": "2.13.0"},
        measures=list(rows)
        or [
            target("grid-peak", 55.0, "1,000 accounts", low=50.0, high=56.0),
            target("grid-scipy-1", 6.0, "scipy 100 ns"),
            target("grid-torch-32", None, "not installed: torch"),
            report("growth", 1.0, "", "how", series=(line,)),
        ],
    )


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    made = result()
    path = write_result(made, tmp_path)
    assert read_result(path) == made
    assert read_results(tmp_path) == [made]
    assert list(tmp_path.iterdir()) == [path]


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"rows": []}')
    with pytest.raises(msgspec.ValidationError):
        read_result(tmp_path / "x.json")


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "grid.json"
    write_whole(path, b"old")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["grid.json"]


def test_the_table_has_every_target_in_order() -> None:
    rows = page.target_rows([result()])
    assert [row.key for row in rows[:4]] == ["grid-peak", "grid-scipy-1", "grid-scipy-2",
                                            "grid-torch-32"]  # fmt: skip
    assert page.cells(rows[0])[1:] == ("≥ 40 %", "≥ 70 %", "55 %", "55 %", "50 to 56", "met")
    assert page.cells(rows[1])[-1] == "MISSED"
    assert page.cells(rows[2])[-1] == page.cells(rows[3])[-1] == "not measured"


def test_the_terminal_table_lines_up() -> None:
    text = page.terminal([result()])
    table = text.split("\n\n")[1].splitlines()
    ends = {len(line) for line in table if line.endswith(("met", "MISSED", "measured", "verdict"))}
    assert len(ends) == 1
    assert "FMA f64 60 / two threads 119" in text
    assert "1,000 accounts" in text
    only = page.terminal([result()], everything=False)
    assert "price path" in text and "price path" not in only


def test_the_page_says_what_it_does_not_know(tmp_path: Path) -> None:
    text = page.markdown([result(), result("tools", "quick", report("x | y", 2.0, "ms"))], [])
    assert "**Measured at scale quick" in text
    assert "Not measured in these runs:" in text
    assert "not installed: torch" in text
    assert "| Time against accounts | kernel |" in text and "| 1 | 1 |" in text
    assert "x ¦ y" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in table)
    for private in (socket.gethostname(), str(Path.cwd()), str(tmp_path)):
        assert not re.search(rf"\b{re.escape(private)}\b", text)


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    made = result()
    lines = [s for row in made.measures for s in row.series]
    pictures = plots.draw_all(page.target_rows([made]), lines, tmp_path, "plots")
    assert [p.title for p in pictures] == ["Targets", "Time against accounts"]
    for picture in pictures:
        file = tmp_path / Path(picture.path).name
        assert file.read_bytes().startswith(b"\x89PNG")
    again = [p.read_bytes() for p in sorted(tmp_path.iterdir())]
    plots.draw_all(page.target_rows([made]), lines, tmp_path, "plots")
    assert [p.read_bytes() for p in sorted(tmp_path.iterdir())] == again


def test_without_matplotlib_it_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plots, "available", lambda: False)
    run.write([result()], tmp_path, tmp_path / "RESULTS.md")
    assert "no plots" in capsys.readouterr().err
    assert "![" not in (tmp_path / "RESULTS.md").read_text()


def test_modules_are_found(tmp_path: Path) -> None:
    for name in ("bench_zebra", "bench_grid", "bench_tools", "other"):
        (tmp_path / f"{name}.py").touch()
    assert run.modules(tmp_path) == ["grid", "tools", "zebra"]


def test_full_results_and_quick_ones_do_not_mix() -> None:
    full, quick = run.places("full", None), run.places("quick", None)
    assert full[0].name == "results" and "out" in quick[0].parts
    assert full[1] != quick[1]


def fake_child(code: int, made: Result | None = None):
    class Child:
        def __init__(self, command: list[str], cwd: Path) -> None:
            if made is not None:
                folder = Path(command[command.index("--out") + 1])
                write_result(made, folder)

        def wait(self) -> int:
            return code

    return Child


def test_a_module_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(result(), tmp_path)
    monkeypatch.setattr("subprocess.Popen", fake_child(1))
    code = run.main(["--date", "d", "--only", "grid", "--only", "tools", "--out", str(tmp_path)])
    said = capsys.readouterr()
    assert code == 1
    assert "failed: grid, tools" in said.err
    assert "2026-01-02" in (tmp_path / "RESULTS.md").read_text()


def test_an_interruption_leaves_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("subprocess.Popen", fake_child(130))
    code = run.main(["--date", "d", "--only", "grid", "--out", str(tmp_path)])
    assert code == 130
    assert "interrupted in grid" in capsys.readouterr().err
    assert not (tmp_path / "RESULTS.md").exists()


def test_results_of_a_run_reach_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("subprocess.Popen", fake_child(0, result()))
    assert run.main(["--date", "d", "--only", "grid", "--out", str(tmp_path)]) == 0
    assert "55 %" in (tmp_path / "RESULTS.md").read_text()
    assert "55 %" in capsys.readouterr().out


def test_the_page_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_result(result(), tmp_path)
    monkeypatch.setattr("subprocess.Popen", None)
    assert run.main(["--date", "d", "--page-only", "--out", str(tmp_path)]) == 0
    assert "55 %" in (tmp_path / "RESULTS.md").read_text()


@pytest.mark.parametrize("name", run.modules())
def test_every_module_runs(name: str, tmp_path: Path) -> None:
    made = child.measure(name, SCALES["tiny"], "2026-01-02")
    assert made.measures
    assert all(row.value is not None or row.detail for row in made.measures)
    assert read_result(write_result(made, tmp_path)).measures
