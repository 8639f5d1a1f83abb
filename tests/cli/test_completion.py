"""Shells complete commands and names, and are not kept waiting by torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from exdiff.checkpoints import INSTALLABLE, embedded
from exdiff.cli import app, completion
from exdiff.core.recipe import names
from exdiff.model.samplers import SAMPLERS

MAIN = "import sys; sys.argv[0] = 'exdiff'; from exdiff.cli import main; main()"
SCRIPT = Path(sys.executable).with_name("exdiff")


def asked(shell, line):
    """What typer's protocol tells the program when TAB is pressed at the end of `line`."""
    words = line.split(" ")
    if shell == "bash":
        return {"_EXDIFF_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    action = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"} if shell == "fish" else {}
    return {"_EXDIFF_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line, **action}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "offered", "others"),
    [
        ("exdiff do", ["doctor"], ["enhance"]),
        ("exdiff enhance --ste", ["--steps", "--stems"], ["--seed"]),
        ("exdiff enhance --model ", ["speech", "vocals", "vocals-compact"], ["heun"]),
        ("exdiff enhance x.wav --sampler heu", ["heun"], ["bridge_ode"]),
        ("exdiff evaluate data --model voc", ["vocals"], ["speech"]),
        ("exdiff models info sp", ["speech"], ["vocals"]),
        ("exdiff recipes show de", ["debug"], ["speech"]),
    ],
)
def test_shells_are_answered(shell, line, offered, others):
    answer = CliRunner().invoke(app, [], prog_name="exdiff", env=asked(shell, line)).stdout
    for name in offered:
        assert name in answer
    for name in others:
        assert name not in answer


def test_all_names_are_offered():
    assert completion.sampler_names("") == list(SAMPLERS)
    assert completion.recipe_names("") == names()
    assert completion.model_names("") == sorted({*embedded(), *INSTALLABLE})


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["--version"], {}), (["--help"], {}), ([], asked("bash", "exdiff enhance --model s"))],
    ids=["version", "help", "completion"],
)
def test_nobody_waits_for_torch(arguments, environment):
    command = [sys.executable, "-X", "importtime", "-c", MAIN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=True)
    assert done.stdout
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "exdiff.cli" in imported
    assert not imported & {"torch", "numpy", "av", "soundfile", "soxr", "safetensors"}


@pytest.mark.skipif(not (shutil.which("bash") and SCRIPT.exists()), reason="needs bash and the installed command")
def test_bash_completes_with_the_script_that_it_is_given():
    line = 'eval "$(_EXDIFF_COMPLETE=source_bash exdiff)"; COMP_WORDS=(exdiff enhance --model v); COMP_CWORD=3; '
    line += '_exdiff_completion exdiff; echo "${COMPREPLY[@]}"'
    environment = os.environ | {"PATH": f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", line], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "vocals vocals-compact\n"
