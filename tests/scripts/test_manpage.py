"""The manual page tells every command and option, and `man` shows it without a warning."""

from __future__ import annotations

import doctest
import shutil
import subprocess
from pathlib import Path

import commands
import manpage
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "exdiff.1"


def test_it_is_up_to_date():
    assert PAGE.read_text(encoding="ascii") == manpage.page(), "run: python scripts/manpage.py"


def test_it_tells_every_command_and_option():
    text = PAGE.read_text(encoding="ascii").replace("\\-", "-")
    found = list(commands.all_commands())
    assert {"exdiff enhance", "exdiff doctor", "exdiff data shard", "exdiff models install"} <= {c.name for c in found}
    for command in found[1:]:
        section = text.split(f".SS {command.name}")[1].split(".SS")[0]
        for parameter in command.parameters:
            assert all(name in section for name in parameter.names)


@pytest.mark.parametrize("module", [commands, manpage], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module):
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("a - b", r"a \- b"),
        (".wav", r"\&.wav"),
        ("it's `x`", r"it\(aqs \(gax\(ga"),
        ("C:\\", r"C:\e"),
        ("~/x", r"\(ti/x"),
    ],
)
def test_what_man_would_read_as_its_own_is_escaped(text, typed):
    assert manpage.escaped(text) == typed


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_has_no_warning():
    done = subprocess.run(["groff", "-man", "-ww", "-z", str(PAGE)], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
