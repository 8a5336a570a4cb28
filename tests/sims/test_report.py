"""Samples, pictures and the page of a run; comparisons of many."""

import json
import re
from pathlib import Path

import pytest

from gossipsync.cli import main
from gossipsync.errors import ConfigError
from gossipsync.sim import Result
from gossipsync.sim.report import Samples, as_csv, grouped, read_runs, varying, write_page
from gossipsync.sim.scenarios import load


def _sampled(name: str = "one-update", **changes: object) -> tuple[Result, Samples]:
    scenario, samples = load(name), Samples()
    return scenario.run(scenario.options(**changes), look=samples.look), samples


def test_samples_of_one_update_grow_to_all() -> None:
    result, samples = _sampled(peers=40)
    shares = [sample.held_share for sample in samples.rows]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (1 / 40, 1.0)
    assert [sample.lag_max_s for sample in samples.rows][:3] == [0.0, 1.0, 2.0]
    assert samples.rows[-1].stale_share == 0
    half = next(number for number, share in enumerate(shares) if share >= 0.5)
    assert result.rounds_to["50"] == half


def test_sampling_changes_nothing() -> None:
    scenario = load("one-update")
    options = scenario.options(peers=30, seed=4)
    assert _sampled(peers=30, seed=4)[0].trace_hash == scenario.run(options).trace_hash


def test_lag_climbs_while_a_mesh_is_split() -> None:
    _, samples = _sampled(
        "partition-heal", peers=16, writers=16, updates=60, partition=(3.0, 6.0, 0.5)
    )
    lags = {round(sample.virtual_s): sample.lag_p50_s for sample in samples.rows}
    assert lags[9] > 4
    assert lags[9] > 2 * lags[3]
    assert samples.rows[-1].lag_max_s == 0


def test_the_page_needs_nothing_else_and_escapes(tmp_path: Path) -> None:
    result, samples = _sampled(peers=25)
    path = tmp_path / "page.html"
    write_page(path, result, samples, title="<b>", text="a & b\n\n`code`", command="run <x>")
    page = path.read_text(encoding="utf-8")
    assert "<h1>&lt;b&gt;</h1>" in page
    assert "<p>a &amp; b</p>\n<p><code>code</code></p>" in page
    assert page.count("<svg") == 5
    assert re.findall(r"<(?:script|link|iframe|img)\b", page) == []
    for url in re.findall(r'(?:href|src)="([^"]*)"', page):
        assert url.startswith(("#", "data:image/png;base64,"))
    for heading in ("Spread", "Bytes", "Staleness", "Lag of each peer", "Links", "Options"):
        assert f"<h2>{heading}</h2>" in page
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    pages = []
    for number in range(2):
        result, samples = _sampled(peers=12)
        write_page(tmp_path / f"{number}.html", result, samples, title="t", text="", command="c")
        pages.append((tmp_path / f"{number}.html").read_bytes())
    assert pages[0] == pages[1]


def test_sim_run_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["sim", "run", "one-update", "--peers", "12", "--report", str(page)]) == 0
    assert "gossipsync</span> <span>sim" in page.read_text(encoding="utf-8")
    capsys.readouterr()


@pytest.mark.parametrize("place", ["nowhere/page.html", "page.txt"])
def test_a_page_that_cannot_be_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    assert main(["sim", "run", "--peers", "12", "--report", str(tmp_path / place)]) in {1, 2}
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith("error[")
    assert list(tmp_path.iterdir()) == []


# -- many runs -----------------------------------------------------------------------------------------------


def _run_file(folder: Path, seed: int, capsys: pytest.CaptureFixture[str]) -> Path:
    capsys.readouterr()
    assert main(["sim", "run", "--peers", "12", "--seed", str(seed), "-o", "json"]) == 0
    path = folder / f"run-{seed}.json"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    return path


def test_report_compares_runs_of_sim_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [_run_file(tmp_path, seed, capsys) for seed in (1, 2)]
    assert main(["sim", "report", *map(str, files), "-o", "json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [run["seed"] for run in runs] == [1, 2]
    assert all(run["converged"] and run["rounds_to_100"] for run in runs)
    assert varying(runs) == ["seed"]


def test_groups_are_means_and_say_of_how_many() -> None:
    rows = [
        {"fanout": fanout, "seed": seed, "converged": seed < 2, "rounds_to_100": rounds}
        for fanout, seed, rounds in ((2, 1, 4), (1, 1, 6), (1, 2, 8), (2, 2, None))
    ]
    assert grouped(rows, ["fanout"]) == [
        {"fanout": 1, "runs": 2, "converged": False, "rounds_to_100": 7.0},
        {"fanout": 2, "runs": 2, "converged": False, "rounds_to_100": None},
    ]


def test_csv_has_a_column_for_whatever_any_run_has() -> None:
    assert as_csv([{"a": 1, "b": (1.0, 2.5)}, {"a": True, "c": None}]) == (
        "a,b,c\n1,1:2.5,\ntrue,,\n"
    )


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no json", '{"a": 1}\n{"b": 2}'])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "runs.ndjson"
    path.write_text(text, encoding="utf-8")
    for source in (path, tmp_path, tmp_path / "nothing"):
        with pytest.raises(ConfigError):
            read_runs(source)


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_picture_of_a_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    files = [str(_run_file(tmp_path, seed, capsys)) for seed in (1, 2)]
    picture = tmp_path / f"rounds.{suffix}"
    arguments = ["sim", "report", *files, "--picture", str(picture), "--x", "peers"]
    assert main(arguments) == 0
    assert picture.read_bytes()[:5] in {b"<?xml", b"\x89PNG\r"}
    first = picture.read_bytes()
    assert main(arguments) == 0
    assert picture.read_bytes() == first
    assert main([*arguments, "--y", "nothing"]) == 1
    assert main(arguments[:-2]) == 2
    assert "error[" in capsys.readouterr().err
