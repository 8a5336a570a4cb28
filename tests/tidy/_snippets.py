"""Finds the code blocks of a Markdown page and runs them as a reader would.

How to write a page (README.md and everything under docs/):

- Every fence names its language. ```python, ```bash and ```console blocks are run; each must end
  with exit code 0 and no warning within a minute. In ```console only lines that begin with "$ " are
  commands (a trailing backslash continues them); the others show output, which is not compared.
  Anything else (```toml, ```json, ```text, …) is only read.
- Every block starts in an empty folder of its own, with this project's commands on the PATH, and
  with HOME and the runtime folder inside it.
- An HTML comment on its own line directly above the fence changes that:
  ``<!-- file: NAME -->`` writes the block as file NAME into the folder of every later block of the
  page; ``<!-- continues -->`` runs the block in the folder of the one before, python blocks after its
  text; ``<!-- not executed: reason -->`` leaves it out. There is no leaving out without a reason.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN = {"python", "bash", "console"}
# Other spellings of the above, which would slip through unrun.
REFUSED = {"", "py", "pycon", "python3", "sh", "shell", "shell-session", "zsh"}
TIMEOUT_S = 60


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    comment: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """All fenced blocks of a page, in order."""
    lines = page.splitlines()
    at = 0
    while at < len(lines):
        opening = re.fullmatch(r"\s*(`{3,}|~{3,})\s*([\w-]*).*", lines[at])
        if not opening:
            at += 1
            continue
        end = at + 1
        while end < len(lines) and lines[end].strip() != opening[1]:
            end += 1
        above = lines[at - 1].strip() if at else ""
        comment = re.fullmatch(r"<!--\s*(.*?)\s*-->", above)
        yield Block(
            line=at + 1,
            language=opening[2],
            comment=comment[1] if comment else "",
            text=textwrap.dedent("\n".join(lines[at + 1 : end])) + "\n",
        )
        at = end + 1


def faults(page: str, scratch: Path) -> Iterator[str]:
    """Run a page; every complaint begins with the line of its block."""
    files: dict[str, str] = {}
    folder, said = scratch, ""
    for block in blocks(page):
        if block.language in REFUSED:
            yield f"{block.line}: say python, bash, console, or text, not {block.language!r}"
            continue
        if block.comment.startswith("file:"):
            files[block.comment.removeprefix("file:").strip()] = block.text
            continue
        if block.language not in RUN:
            continue
        if block.comment.startswith("not executed"):
            if not block.comment.removeprefix("not executed").lstrip(": "):
                yield f"{block.line}: not executed, but no reason given"
            continue
        if block.comment == "continues":
            said += block.text if block.language == "python" else ""
        else:
            folder, said = scratch / f"line-{block.line}", block.text
            folder.mkdir()
            for name, text in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text, encoding="utf-8")
        source = said if block.language == "python" else block.text
        if fault := _run(block.language, source, folder):
            yield f"{block.line}: {fault}"


def _run(language: str, source: str, folder: Path) -> str | None:
    bin_folder = Path(sys.executable).parent
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    environment = kept | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PYTHONWARNINGS": "error",
        "NO_COLOR": "1",
    }
    if language == "python":
        command = [sys.executable, "-c", source]
    else:
        bash = shutil.which("bash") or "bash"
        script = _commands(source) if language == "console" else source
        command = [bash, "-euo", "pipefail", "-c", script]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"still running after {TIMEOUT_S} s"
    if done.returncode != 0:
        return f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    return None


def _commands(console: str) -> str:
    commands, continued = [], False
    for line in console.splitlines():
        if line.startswith("$ ") or continued:
            commands.append(line.removeprefix("$ ").removeprefix("> " if continued else ""))
            continued = line.endswith("\\")
    return "\n".join(commands)
