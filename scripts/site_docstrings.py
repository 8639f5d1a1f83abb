"""An extension of griffe, which reads docstrings for the site: the sections of this package, as it knows them."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
# `a, b: text` describes two arguments at once; griffe wants a line for each.
SEVERAL = re.compile(r"^(    )((?:\w+, )+\w+): ((?:.+\n?)(?:        .+\n?)*)", re.MULTILINE)


class Sections(griffe.Extension):
    """`Example:` is read as `Examples:`, and an entry for several arguments as an entry for each."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring is not None:
            text = EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
            obj.docstring.value = SEVERAL.sub(_for_each, text)


def _for_each(entry: re.Match[str]) -> str:
    indent, names, text = entry.groups()
    return "".join(f"{indent}{name}: {text.rstrip()}\n" for name in names.split(", "))
