"""What the documents promise exists: links, headings, make targets, commands, options, and the Python in them runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in DOCUMENTS}


def blocks(language):
    pattern = re.compile(rf"^ *```{language}\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    return [(name, dedent(found[1])) for name, text in TEXTS.items() for found in pattern.finditer(text)]


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("name", TEXTS)
def test_relative_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), f"{name} links to {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in map(slug, headings), f"{name} links to {target}"


@pytest.mark.parametrize("name", TEXTS)
def test_make_targets_exist(name):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)`", TEXTS[name], re.MULTILINE))
    assert {a or b for a, b in named} <= targets


@cache
def help_of(command):
    done = subprocess.run(
        [sys.executable, "-c", "from exdiff.cli import main; main()", *command.split(), "--help"],
        capture_output=True,
        text=True,
        env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )
    return done.stdout if done.returncode == 0 else ""


COMMANDS = sorted(
    {
        line.split("#")[0].strip()
        for _, text in [*blocks("console"), *blocks("sh")]
        for line in text.splitlines()
        if line.startswith("exdiff ")
    }
)


def test_the_readme_shows_the_two_commands():
    assert re.search(r"^make demo\b.*\nmake test\b", TEXTS["README.md"], re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_and_options_exist(line):
    words = line.split()[1:]
    groups = {"data", "models", "recipes"}  # their commands have options of their own
    command = " ".join(words[: 2 if words[0] in groups and len(words) > 1 else 1])
    text = help_of(command)
    assert text, f"`exdiff {command} --help` failed"
    for option in re.findall(r"(?<=\s)(-[a-z]|--[a-z][a-z-]+)(?=[\s=]|$)", line):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), f"exdiff {command} has no {option}"


# The blocks of a tutorial build on each other: tests/docs/test_tutorials.py.
ALONE = [(name, code) for name, code in blocks("python") if not name.startswith("docs/tutorials/")]


@pytest.mark.parametrize(("name", "code"), ALONE, ids=lambda value: value.split("\n")[0])
def test_python_in_the_documents_runs(name, code, tmp_path, monkeypatch):
    shutil.copy(ROOT / "examples" / "speech" / "noisy" / "01_coffee_shop_5dB.flac", tmp_path / "noisy.flac")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, name, "exec"), {"__name__": "example"})


def test_every_package_has_its_licence_listed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    wanted = {re.split(r"[\[<>=]", line)[0] for line in lines} - {"exdiff"}
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \| [\d.]", TEXTS["docs/licences.md"], re.MULTILINE))
    assert wanted <= listed
