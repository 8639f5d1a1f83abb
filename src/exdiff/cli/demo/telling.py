"""What the player is told about a result, in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exdiff.audio import AudioInfo
from exdiff.cli.demo.spectrogram import RANGE_DB
from exdiff.cli.enhancing.options import RESULT
from exdiff.core.stems import STEMS

_DOWNLOADS = {RESULT: "Enhanced", STEMS[0]: "Vocals", STEMS[1]: "Accompaniment"}


def player_data(
    record: Mapping[str, Any], files: Sequence[Path], whats: Sequence[str], info: AudioInfo, samples: int
) -> dict[str, Any]:
    """Names, lengths and lines to read.

    Args:
        record: of the result.
        files: the results, one for each of `whats`.
        whats: "enhanced", or the stems.
        info: of the input.
        samples: that were asked for.
    """
    notes = list(record["warnings"])
    if samples > 1 and not record["steps"]:
        notes.append("Without a sampling step nothing is drawn at random, so there is no uncertainty to show.")
    return {
        "title": record["input"],
        "tracks": ["Before", "After", "Removed"] if whats == (RESULT,) else ["Song", "Vocals", "Accompaniment"],
        "whole_seconds": record["duration"],
        "range_db": RANGE_DB,
        "samples": samples,
        "notes": notes,
        "facts": _facts(record, info),
        "downloads": [
            {"label": _DOWNLOADS[what], "name": file.name, "bytes": file.stat().st_size}
            for what, file in zip(whats, files, strict=True)
        ],
    }


def _facts(record: Mapping[str, Any], info: AudioInfo) -> list[str]:
    """What the line beside the title says.

    Example:
        >>> record = {"duration": 5.16, "model": "speech", "steps": 1, "seed": 0, "seconds": 0.5}
        >>> _facts(record, AudioInfo(44100, 2, None, "pcm_s16le"))
        ['5.2 s', '44.1 kHz stereo', 'speech, 1 step, seed 0', 'computed in 0.5 s']
    """
    channels = {1: "mono", 2: "stereo"}.get(info.channels, f"{info.channels} channels")
    steps = record["steps"]
    return [
        f"{record['duration']:.1f} s",
        f"{info.sample_rate / 1000:g} kHz {channels}",
        f"{record['model']}, {steps} {'step' if steps == 1 else 'steps'}, seed {record['seed']}",
        f"computed in {record['seconds']:.1f} s",
    ]
