"""Imports go one way, families do not know each other, and nothing is imported that is not declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "exdiff"
# A part may import parts of the lines above its own, never of its own line or below.
LINES = (
    {"errors", "progress"},
    {"config", "catalogue"},
    {"arrays", "audio", "highband", "layers", "levels", "losses", "machine", "optimiser", "windows"},
    {"winograd"},
    {"transforms", "diffusion", "metrics"},
    {"samplers", "backbones", "extractors", "fusion", "data", "adversary"},
    {"objectives"},
    {"model", "jobs", "interop"},
    {"checkpoint", "cost", "engine"},
    {"enhancer", "install"},
    {"training"},
    {"evaluation"},
    {"comparison"},
    {"cli"},
    {"__init__", "__main__"},
)
LINE_OF = {part: number for number, line in enumerate(LINES) for part in line}
FAMILIES = {"transforms", "diffusion", "metrics", "samplers", "backbones", "extractors", "fusion", "data"}
FAMILY_EXCEPTIONS = {
    ("samplers", "diffusion"),  # a sampler solves the equations of a path
    ("data", "metrics"),  # clips are scored by DNSMOS, so that clean ones can be preferred
    ("extractors", "transforms"),  # an extractor may look at the waveform through a transform of its own
}
PACKAGES = {
    "PIL": "matplotlib",
    "log_wmse_audio_quality": "log-wmse-audio-quality",
    "yaml": "pyyaml",
}  # where the import's name is not the package's
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FILES = sorted(SOURCE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The top-level part a file belongs to: `samplers` for exdiff/samplers/euler.py."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path, tree: ast.AST) -> Iterator[str]:
    """Absolute dotted names of everything that a file imports, inside functions too."""
    package = ["exdiff", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def parts_imported(path: Path) -> set[str]:
    names = (name.split(".") for name in imported(path, ast.parse(path.read_text(encoding="utf-8"))))
    parts = {(name[1] if len(name) > 1 else "__init__") for name in names if name[0] == "exdiff"}
    return parts - {part_of(path), "__version__"}


def test_every_part_has_a_line():
    assert {part_of(path) for path in FILES} <= set(LINE_OF), "add the new part to LINES, where it belongs"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_one_way(path):
    part = part_of(path)
    for other in parts_imported(path):
        assert LINE_OF[other] < LINE_OF[part], f"{part} must not import {other}"
        if part in FAMILIES and other in FAMILIES:
            assert (part, other) in FAMILY_EXCEPTIONS, f"the families {part} and {other} must not know each other"


def test_the_rule_sees_every_form_of_import():
    text = (
        "import exdiff.cli\nfrom exdiff.model import ExDiff\nfrom exdiff import config\ndef f():\n from ..data import x"
    )
    found = {name.split(".")[1] for name in imported(SOURCE / "samplers" / "x.py", ast.parse(text))}
    assert found == {"cli", "model", "config", "data"}


def declared(*extras: str) -> set[str]:
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return {re.split(r"[\[<>=! ]", line)[0] for line in lines}


def package(name: str) -> str:
    top = name.split(".")[0]
    return PACKAGES.get(top, top.replace("_", "-"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_are_declared(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_import = ast.Module([n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], [])
    own = {"exdiff", *sys.stdlib_module_names}
    everywhere = {package(name) for name in imported(path, tree) if name.split(".")[0] not in own}
    first = {package(name) for name in imported(path, at_import) if name.split(".")[0] not in own}
    extras = sorted(PROJECT["optional-dependencies"].keys() - {"all", "dev", "docs"})
    assert first <= declared(), "what an extra brings may only be imported inside the function that needs it"
    assert everywhere <= declared(*extras), "declare the package in pyproject.toml"
