"""Every tutorial works as it is written: its blocks are run in order, and what they show is what comes out.

`console` runs each command, `python` all of them in one namespace, a block with a title is a file. `text` is what the
block before it printed, with ... for what may differ. Other languages (sh, yaml) are shown and not run.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from exdiff.cli import app

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted(path for path in (ROOT / "docs" / "tutorials").glob("*.md") if path.stem != "index")
BLOCK = re.compile(r'^```(\w+)(?: title="(\S+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COMPARED = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# The checkpoint of the tutorial about SGMSE, written as the published code does. It has four levels, as published
# networks have: with fewer, the attention in the middle is wide and slow.
write = runpy.run_path(str(ROOT / "tests" / "checkpoints" / "interop" / "conftest.py"))["write"]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_works_as_it_is_written(path, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    if path.stem == "sgmse":
        request.getfixturevalue("write")(name="model.ckpt", options={"attn_resolutions": [], "ch_mult": [1, 1, 1, 1]})
    blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
    assert any(language == "console" for language, _, _ in blocks)
    said, variables = "", {"__name__": "tutorial"}
    for language, title, body in blocks:
        if title:
            (tmp_path / title).write_text(body, encoding="utf-8")
        elif language == "console":
            said = "".join(run_line(line) for line in body.replace("\\\n", "").splitlines())
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(body, str(path), "exec"), variables)
            said = output.getvalue()
        elif language == "text":
            assert doctest.OutputChecker().check_output(body, said, COMPARED), f"shown:\n{body}\nsaid:\n{said}"


def run_line(line):
    """What a command says; its exit code is 0, or the one that its comment names."""
    command, _, comment = line.partition("  # ")
    wanted = int(re.search(r"exit code (\d)", comment)[1]) if "exit code" in comment else 0
    name, *arguments = shlex.split(command)
    if name == "exdiff" and not {"<", ">", "|"} & set(arguments):
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        code, said = result.exit_code, result.output
    else:
        assert name in ("exdiff", "python"), f"the tests cannot run {line}"
        functions = f'{name}() {{ "{sys.executable}" {"-m exdiff" if name == "exdiff" else ""} "$@"; }}\n'
        done = subprocess.run(["bash", "-c", functions + command], capture_output=True, text=True)
        code, said = done.returncode, done.stdout + done.stderr
    assert code == wanted, f"{line}: exit code {code}\n{said}"
    return said


def test_every_tutorial_is_listed():
    index = (ROOT / "docs" / "tutorials" / "index.md").read_text(encoding="utf-8")
    assert {f"{path.stem}.md" for path in TUTORIALS} <= set(re.findall(r"\]\((\w+\.md)\)", index))
