"""The manual page tells every command and option, and `man` shows it without a warning."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from exdiff.cli import app

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "exdiff.1"
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "manpage.py"))


def test_it_is_up_to_date():
    assert PAGE.read_text(encoding="ascii") == SCRIPT["page"](), "run: python scripts/manpage.py"


def test_it_tells_every_command_and_option():
    text = PAGE.read_text(encoding="ascii").replace("\\-", "-")
    found = list(SCRIPT["commands"](typer.main.get_command(app)))
    assert {"enhance", "doctor", "data shard", "models install"} <= {name for name, _ in found}
    for name, command in found:
        section = text.split(f".SS exdiff {name}")[1].split(".SS")[0]
        for option in [o for p in command.params if p.param_type_name == "option" for o in p.opts]:
            assert option in section


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
    assert SCRIPT["escaped"](text) == typed


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_has_no_warning():
    done = subprocess.run(["groff", "-man", "-ww", "-z", str(PAGE)], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
