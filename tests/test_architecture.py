"""Imports go one way, families do not know each other, and nothing is imported that is not declared."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "exdiff"
# A room may import from the rooms of the lines above its own, never from its own line or from below.
LINES = (
    {"core"},
    {"audio", "model/nn", "model/transforms", "model/diffusion", "evaluation/metrics"},
    {"model/samplers", "model/backbones", "model/extractors", "model/fusion", "data"},
    {"model"},
    {"checkpoints/interop"},
    {"checkpoints"},
    {"inference"},
    {"evaluation"},
    {"evaluation/comparison"},
    {"training/objective"},
    {"training"},
    {"cli"},
    {"exdiff"},
)
LINE_OF = {room: number for number, line in enumerate(LINES) for room in line}
FAMILIES = {room for line in LINES[1:3] for room in line if room.startswith("model/")} - {"model/nn"}
FAMILY_EXCEPTIONS = {
    ("model/samplers", "model/diffusion"),  # a sampler solves the equations of a path
    ("model/extractors", "model/transforms"),  # an extractor may look at the waveform through a transform of its own
}
MOST_ENTRIES = 10  # at the top of the package, where a newcomer begins
PACKAGES = {
    "PIL": "matplotlib",
    "log_wmse_audio_quality": "log-wmse-audio-quality",
    "starlette": "gradio",  # comes with it
    "triton": "torch",  # comes with it where there is CUDA
    "yaml": "pyyaml",
}  # where the import's name is not the package's
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Imported only where the extra was found to be there; their functions have gradio's types.
BEHIND_A_CHECK = {"cli/demo/actions.py": "demo", "cli/demo/layout.py": "demo"}
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(parts: Sequence[str]) -> str:
    """The room of a dotted name below `exdiff`, or of a path there: `model/samplers` for model.samplers.heun.heun."""
    pair = "/".join(parts[:2])
    return pair if pair in LINE_OF else parts[0] if parts and parts[0] in LINE_OF else "exdiff"


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


def rooms_imported(path: Path) -> set[str]:
    names = (name.split(".") for name in imported(path, ast.parse(path.read_text(encoding="utf-8"))))
    own = room_of(path.relative_to(SOURCE).parts)
    return {room_of(name[1:]) for name in names if name[0] == "exdiff" and name[-1] != "__version__"} - {own}


def test_a_newcomer_can_read_the_top_of_the_tree_at_a_glance():
    entries = {p.name for p in SOURCE.iterdir() if not p.name.startswith("__") and p.name != "py.typed"}
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_one_way(path):
    room = room_of(path.relative_to(SOURCE).parts)
    for other in rooms_imported(path):
        assert LINE_OF[other] < LINE_OF[room], f"{room} must not import {other}"
        if room in FAMILIES and other in FAMILIES:
            assert (room, other) in FAMILY_EXCEPTIONS, f"the families {room} and {other} must not know each other"


def test_no_file_imports_itself_by_a_detour():
    modules = {".".join(["exdiff", *p.relative_to(SOURCE).with_suffix("").parts]): p for p in FILES}
    arrows = {}
    for name, path in modules.items():
        found = imported(path, ast.parse(path.read_text(encoding="utf-8")))
        # `from package import part` means the part's file where there is one; a package's own file only re-exports.
        arrows[name] = {n for f in found for n in (f, f.rpartition(".")[0]) if n in modules and n != name}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        for other in arrows.pop(name, ()):
            visit(other, (*trail, name))

    for name in list(arrows):
        visit(name, ())


def test_enhancing_imports_nothing_that_is_for_training_alone():
    code = (
        "import exdiff, sys, numpy; exdiff.load('speech', device='cpu')(numpy.zeros(1600, 'float32'), 16000); "
        "print([m for m in sys.modules if m.startswith(('exdiff.training', 'exdiff.data', 'exdiff.evaluation'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_rule_sees_every_form_of_import():
    text = (
        "import exdiff.cli\nfrom exdiff.model import exdiff\nfrom exdiff import core\ndef f():\n from ...data import x"
    )
    path = SOURCE / "model" / "samplers" / "x.py"
    found = {name.split(".")[1] for name in imported(path, ast.parse(text))}
    assert found == {"cli", "model", "core", "data"}


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
    extra = BEHIND_A_CHECK.get(path.relative_to(SOURCE).as_posix())
    allowed = declared(extra) if extra else declared()
    assert first <= allowed, "what an extra brings may only be imported inside the function that needs it"
    assert everywhere <= declared(*extras), "declare the package in pyproject.toml"
