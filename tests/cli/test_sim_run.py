"""`gossipsync sim run` as the contract has it: the JSON's keys, the table, the files, the page; and what it says to bad input."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gossipsync.cli import main
from gossipsync.sim import Options
from gossipsync.sim.series import Row

SMALL = ("sim", "run", "--peers", "12", "--seed", "7")
DUE = (
    *("schema", "seed", "peers", "converged", "rounds_to", "virtual_s", "wall_s", "exchanges"),
    *("messages", "bytes_total", "bytes_per_peer", "digest_bytes", "delta_bytes", "payload_bytes"),
    *("violations", "trace_hash", "config"),
)
"""Keys of `-o json`; within schema 1 keys are only added."""


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, object]:
    assert main([*SMALL, *arguments, "-o", "json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def test_json_has_the_keys_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    document = _json(capsys, "--fanout", "2")
    assert set(DUE) <= set(document)
    assert (document["schema"], document["seed"], document["peers"]) == (1, 7, 12)
    assert document["converged"] is True
    assert set(document["rounds_to"]) == {"50", "99", "100"}  # type: ignore[call-overload]
    assert document["violations"] == []
    assert document["config"] == {**Options(peers=12, seed=7, fanout=2).shown()}
    for name in ("wall_s", "bytes_total", "exchanges", "messages"):
        assert document[name] > 0  # type: ignore[operator]
    again = _json(capsys, "--fanout", "2")
    assert {**again, "wall_s": None} == {**document, "wall_s": None}


def test_what_is_not_reached_is_null_and_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--loss", "1", "--until", "2s", "-o", "json"]) == 1
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["converged"] is False
    assert document["rounds_to"] == {"50": None, "99": None, "100": None}
    replay = "gossipsync sim run --peers 12 --seed 7 --loss 1.0 --until 2.0"
    first, *_, last = shown.err.splitlines()
    assert first == f"seed 7 failed; replay: {replay}"
    assert last.startswith("error[")
    assert last.endswith(f"replay: {replay}")


def test_the_table_says_one_fact_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    facts = dict(line.split("  ", 1) for line in lines)
    assert facts["peers"].strip() == "12"
    assert facts["converged"].strip() == "yes"
    assert "violations" in facts
    assert len(facts["trace"].strip()) == 64


def test_out_has_the_result_and_the_series_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"
    document = _json(capsys, "--out", str(out))
    assert {path.name for path in out.iterdir()} == {"result.json", "series.ndjson", "series.csv"}
    assert json.loads((out / "result.json").read_text()) == document
    rows = [json.loads(line) for line in (out / "series.ndjson").read_text().splitlines()]
    with (out / "series.csv").open(newline="") as table:
        columns = list(csv.DictReader(table))
    assert [list(row) for row in rows] == [list(Row.__annotations__)] * len(rows)
    assert [{name: str(cell) for name, cell in row.items()} for row in rows] == columns
    assert rows[-1]["equal_share"] == 1.0
    assert rows[-1]["virtual_s"] == document["virtual_s"]


BAD: list[tuple[list[str], int, str]] = [
    (["--peers", "0"], 2, "--peers is 1 to"),
    (["--loss", "1.5"], 2, "--loss is a share"),
    (["--partition", "10:5:0.5", "--until", "10s"], 2, "--partition begins at 10 s, after the end"),
    (["--partition", "10:5"], 2, "seconds:seconds:share"),
    (["--rogues", "1"], 2, "--rogues leaves no honest writer"),
    (["--ack", "most"], 2, "--ack is"),
    (["--peers", "many"], 2, "a whole number"),
    (["no-such-scenario"], 2, "there is no scenario"),
    (["nowhere.py"], 2, "nowhere.py"),
    (["-o", "xml"], 2, "'xml' is not one of"),
    (["--nonsense", "1"], 2, "--nonsense"),
]


@pytest.mark.parametrize(("arguments", "code", "complaint"), BAD)
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    complaint: str,
) -> None:
    places = ("--out", str(tmp_path / "out"), "--report", str(tmp_path / "page.html"))
    assert main(["sim", "run", *arguments, *places]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    complaints = [line for line in shown.err.splitlines() if line.startswith("error[")]
    assert complaints == [shown.err.splitlines()[-1]]
    assert complaint in complaints[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_unwritable_folder_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "file").write_text("kept")
    code = main([*SMALL, "--out", str(tmp_path / place)])
    shown = capsys.readouterr()
    assert code in {1, 2}
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith("error[")
    assert str(tmp_path / place) in shown.err.replace("\n", "")
    assert (tmp_path / "file").read_text() == "kept"


def test_ctrl_c_shows_and_keeps_the_run_so_far(tmp_path: Path) -> None:
    """The bar on stderr says when the run is under way: then the signal comes, as from a terminal."""
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "gossipsync", "sim", "run", "--peers", "60", "--until", "100000"),
        *("--out", str(out), "-o", "json"),
    ]
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert running.stderr is not None
    seen = b""
    while b"virtual s" not in seen:
        more = os.read(running.stderr.fileno(), 4096)
        assert more, seen
        seen += more
    running.send_signal(signal.SIGINT)
    shown, errors = running.communicate(timeout=120)
    assert running.returncode == 1, errors
    document = json.loads(shown)
    assert document["peers"] == 60
    assert document["virtual_s"] < 100_000
    assert json.loads((out / "result.json").read_text()) == document
    assert {path.name for path in out.iterdir()} == {"result.json", "series.ndjson", "series.csv"}
    assert b"interrupted" in errors.splitlines()[-1]
    assert b"Traceback" not in errors
