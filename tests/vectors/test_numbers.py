"""Bytes change only with their number: the code is compared with the golden bytes of the numbers that it states."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256

import pytest

from gossipsync.core.wire.versions import PROTOCOL_VERSION
from gossipsync.stores._journal_file import FORMAT as STORE_FORMAT
from gossipsync.stores._journal_file import READ
from tests.vectors import generate

RAISE = (
    "the bytes of {what} {number} have changed ({section}). Builds that say the same number must mean the same bytes: "
    "raise {name} and add vectors with `python -m tests.vectors.generate`. Only while {number} has never left this "
    "repository (`released.json`), `--replace` rewrites its file"
)


def differing(made: dict[str, object], golden: dict[str, object]) -> list[str]:
    made = json.loads(json.dumps(made))
    return sorted(
        name for name in {*made, *golden} if made.get(name, made) != golden.get(name, golden)
    )


def assert_golden(made: dict[str, object], file: str, what: str, number: int, name: str) -> None:
    path = generate.FOLDER / file
    assert path.exists(), f"{what} {number} has no vectors: run `python -m tests.vectors.generate`"
    changed = differing(made, json.loads(path.read_text(encoding="utf-8")))
    section = ", ".join(changed)
    assert not changed, RAISE.format(what=what, number=number, section=section, name=name)


def test_the_bytes_of_this_protocol_are_golden() -> None:
    name = "PROTOCOL_VERSION in gossipsync/core/wire/versions.py"
    assert_golden(generate.build(), generate.PATH.name, "protocol", PROTOCOL_VERSION, name)


def test_the_rows_of_this_store_format_are_golden() -> None:
    name = "FORMAT in gossipsync/stores/_journal_file.py"
    assert_golden(
        generate.build_store(), generate.STORE_PATH.name, "store format", STORE_FORMAT, name
    )


def test_a_changed_byte_is_found_and_the_message_says_what_to_do() -> None:
    made = generate.build()
    entries = dict(made["entries"])  # type: ignore[call-overload]
    made["entries"] = {**entries, "one": "more"}
    with pytest.raises(AssertionError, match=r"protocol \d+ have changed \(entries\).*raise PROTOCOL") as caught:
        assert_golden(made, generate.PATH.name, "protocol", PROTOCOL_VERSION, "PROTOCOL_VERSION")
    assert "tests.vectors.generate" in str(caught.value)


def test_every_number_up_to_now_has_vectors() -> None:
    for number in range(1, PROTOCOL_VERSION + 1):
        assert (generate.FOLDER / f"protocol-{number}.json").exists()
    for number in READ:
        assert (generate.FOLDER / f"store-{number}.json").exists()


@pytest.mark.parametrize("name", sorted(generate.released()))
def test_released_vectors_never_change(name: str) -> None:
    content = (generate.FOLDER / name).read_bytes()
    assert sha256(content).hexdigest() == generate.released()[name]


SIGNED = ("entries", "excerpts", "fork", "lines", "presence", "statements", "tokens", "bundles")


@pytest.mark.parametrize("section", SIGNED)
def test_signed_data_of_protocol_1_is_unchanged(section: str) -> None:
    """It is in stores and cookies: a change here needs a format number inside the signed bytes, and both must be read."""
    former = json.loads((generate.FOLDER / "protocol-1.json").read_text(encoding="utf-8"))
    assert former[section] == json.loads(generate.PATH.read_text(encoding="utf-8"))[section]


@pytest.mark.parametrize("arguments", [[], ["--replace"]])
def test_the_generator_does_not_overwrite(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = generate.PATH.read_bytes()
    if arguments:
        monkeypatch.setattr(generate, "released", lambda: {generate.PATH.name: ""})
    with pytest.raises(SystemExit, match="released" if arguments else "--replace"):
        generate.main(arguments)
    assert generate.PATH.read_bytes() == before


def test_the_generator_is_one_command() -> None:
    command = [sys.executable, "-m", "tests.vectors.generate"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=generate.FOLDER.parents[1])
    assert ran.returncode == 1
    assert "--replace" in ran.stderr
