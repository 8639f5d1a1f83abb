"""A hook of mkdocs: what the code declares is written into pages, and the rest of the repository joins the site.

Pages of docs/reference/ ask for their content with a line `*Written when the site is built: NAME.*`: every command with
its options, every recipe, or the parts of a family, from the table that recipes choose from. Nothing of it is kept, so
nothing of it can be out of date.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from commands import EXITS, FILES, VARIABLES, Command, all_commands
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from exdiff.core.recipe import Recipe, names

ROOT = Path(__file__).parents[1]
# Files of the repository that documents link to; they keep their paths.
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "examples/*.md", "examples/*.py", "model_cards/*.md")
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s#]+)")

MARK = re.compile(r"^\*Written when the site is built: (\w+)\.\*$", re.MULTILINE)


class Family(NamedTuple):
    """A family of parts.

    Attributes:
        module: its package.
        table: the name of its table there.
        shared: what its parts have in common, within the package, in the order in which it is explained.
    """

    module: str
    table: str
    shared: tuple[str, ...] = ()


FAMILIES = {
    "paths": Family("exdiff.model.diffusion", "PATHS", ("path.GaussianPath", "prediction.Prediction")),
    "samplers": Family("exdiff.model.samplers", "SAMPLERS", ("schedule.schedule", "evaluations")),
    "extractors": Family("exdiff.model.extractors", "EXTRACTORS", ("base.Extractor", "base.Extraction")),
    "fusions": Family("exdiff.model.fusion", "FUSIONS", ("base.Fusion", "base.regrid")),
    "backbones": Family("exdiff.model.backbones", "BACKBONES", ("base.Backbone",)),
    "transforms": Family("exdiff.model.transforms", "TRANSFORMS"),
    "datasets": Family("exdiff.data.datasets", "DATASETS"),
    "metrics": Family("exdiff.evaluation.metrics", "METRICS"),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the rest of the repository."""
    for path in sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern)):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write what the page asks for; point links between docs/ and the rest of the repository to where both are."""
    here = page.file.src_uri
    outside = (ROOT / here).is_file()
    markdown = LINK.sub(partial(_moved, here if outside else f"docs/{here}", here), markdown)
    return MARK.sub(lambda mark: written(mark[1]), markdown)


def written(name: str) -> str:
    """The content that a page of docs/reference/ asks for."""
    if name in FAMILIES:
        return parts_of(FAMILIES[name])
    return {"commands": commands, "recipes": recipes}[name]()


def _moved(in_repository: str, in_site: str, link: re.Match[str]) -> str:
    target = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository), link[1]))
    if not (ROOT / target).is_file():
        return link[0]
    return f"]({posixpath.relpath(target.removeprefix('docs/'), posixpath.dirname(in_site) or '.')}"


def commands() -> str:
    """Every command with its arguments and options, then exit codes, variables and files."""
    lines = [line for command in all_commands() for line in _command(command)]
    for title, table in (("Exit codes", EXITS), ("Environment variables", VARIABLES), ("Files", FILES)):
        lines += [f"## {title}", "", *(line for term in table.items() for line in _term(*term))]
    return "\n".join(lines)


def _command(command: Command) -> Iterator[str]:
    depth = 2 if command.name.count(" ") < 2 else 3
    yield from (f"{'#' * depth} {command.name}", "")
    if command.usage:
        yield from ("```text", f"{command.name} {command.usage}", "```", "")
    for paragraph in command.paragraphs:
        yield from (_text(paragraph), "")
    for parameter in command.parameters:
        value = f" *{_text(parameter.value)}*" if parameter.value else ""
        yield from _term(", ".join(parameter.names), parameter.text, value)


def _term(names: str, meaning: str, value: str = "") -> Iterator[str]:
    yield from (f"`{names}`".replace(", ", "`, `") + value, f":   {_text(meaning)}", "")


def _text(plain: str) -> str:
    r"""Plain text as Markdown: its `code` stays code, and nothing else is markup.

    Example:
        >>> print(_text("S * result, see `a*b`"))
        S \* result, see `a*b`
    """
    parts = plain.split("`")
    parts[::2] = [re.sub(r"([\\*_<>\[\]{}|])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def recipes() -> str:
    """Every recipe of the package, with its base merged in."""
    lines = []
    for name in names():
        recipe = Recipe.load(name)
        shown = yaml.safe_dump(recipe.to_dict(), sort_keys=False)
        lines += [f"## {name}", "", _text(recipe.description), "", f'??? note "{name}.yaml, resolved"', ""]
        lines += ["    ```yaml", *(f"    {line}" for line in shown.splitlines()), "    ```", ""]
    return "\n".join(lines)


def parts_of(family: Family) -> str:
    """The parts of a family: its package's own words, what they share, then each under the name that recipes use."""
    lines = [
        f"::: {family.module}",
        "    options: {members: false, show_root_heading: false, show_root_toc_entry: false}",
        "",
    ]
    for name in family.shared:
        lines += [f"::: {family.module}.{name}", ""]
    parts: dict[str, list[str]] = {}
    for name, part in getattr(import_module(family.module), family.table).items():
        parts.setdefault(_place(part), []).append(name)
    for place, aliases in parts.items():
        heading = ", ".join(aliases)
        lines += [f"::: {place}", f'    options: {{heading: "{heading}", toc_label: "{heading}"}}', ""]
    return "\n".join(lines)


def _place(part: partial[Any] | Callable[..., Any]) -> str:
    function = part.func if isinstance(part, partial) else part
    return f"{function.__module__}.{function.__qualname__}"
