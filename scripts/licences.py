"""Print the licence tables of docs/licences.md, read from the metadata of the packages installed here.

    pip install -e ".[all]" && python scripts/licences.py

A package that states no licence is listed as such; one that is not installed is an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import metadata, requires
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
GROUPS = {
    "dependencies": "always",
    "scores": "extra scores",
    "eval": "extra eval",
    "log-wmse": "extra log-wmse",
    "words": "extra words",
    "compare": "extra compare",
    "export": "extra export",
    "shards": "extra shards",
    "live": "extra live",
    "batch": "extra batch",
    "demo": "extra demo",
    "train": "extra train",
    "docs": "extra docs",
    "dev": "extra dev",
}


def name_of(requirement: str) -> str:
    """The normalised package name in a requirement line.

    Example:
        >>> name_of("PyYAML>=6; python_version > '3'")
        'pyyaml'
    """
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~;( ]", requirement)[0]).lower()


def direct() -> dict[str, str]:
    """Package -> what it is needed for, as pyproject.toml has it."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    tables = {"dependencies": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, str] = {}
    for group, label in GROUPS.items():
        for requirement in tables[group]:
            found.setdefault(name_of(requirement), label)
    found.pop("exdiff", None)
    return found


def indirect(packages: Iterable[str]) -> set[str]:
    """Everything that `packages` bring along on this machine, without the packages themselves."""
    seen, waiting = set(packages), list(packages)
    first = set(seen)
    while waiting:
        for requirement in requires(waiting.pop()) or []:
            name = name_of(requirement)
            if "extra ==" not in requirement and name not in seen and installed(name):
                seen.add(name)
                waiting.append(name)
    return seen - first


def installed(name: str) -> bool:
    """Whether a package is here; one for another platform only is not."""
    try:
        metadata(name)
    except ModuleNotFoundError:
        return False
    return True


def licence(name: str) -> str:
    """What the package's metadata say: an SPDX expression, else its classifiers, else the first line of the text."""
    about = metadata(name)
    if "License-Expression" in about:
        return about["License-Expression"]
    classifiers = [c.split(" :: ")[-1] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    stated = "".join(about.get_all("License") or []).strip().split("\n")[0][:60]
    return ", ".join(c for c in classifiers if c != "OSI Approved") or stated or "none stated"


def main() -> None:
    """Print both tables."""
    wanted = direct()
    print("| package | version read | licence | needed |\n|---|---|---|---|")
    for name, label in wanted.items():
        print(f"| {name} | {metadata(name)['Version']} | {licence(name)} | {label} |")
    print("\nBrought along by these:\n\n| package | version read | licence |\n|---|---|---|")
    for name in sorted(indirect(wanted)):
        print(f"| {name} | {metadata(name)['Version']} | {licence(name)} |")


if __name__ == "__main__":
    main()
