"""A hook of mkdocs: sounds to listen to, made by the embedded models while the site is built, so they are never stale.

Where a page says `<!-- listen: NAME -->`, a player of that clip is put: its versions, each with a spectrogram on one
scale and a file. Without JavaScript these are plain audio elements; docs/assets/listen.js turns them into one player.
"""

from __future__ import annotations

import io
import posixpath
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from matplotlib import image
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import exdiff
from exdiff.core.threads import limit_spinning
from exdiff.evaluation.metrics import si_sdr

limit_spinning()  # before the first model loads PyTorch
EXAMPLES = Path(__file__).parents[1] / "examples"
SONG = runpy.run_path(str(EXAMPLES / "make_song.py"))

MARK = re.compile(r"<!-- listen: (\w+) -->")
DECIBELS = 65.0  # from black to white
COLUMNS = 900


class Version(NamedTuple):
    """One version of a clip.

    Attributes:
        label: on the switch.
        note: a sentence about it.
        samples: float, [C, T].
    """

    label: str
    note: str
    samples: np.ndarray


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a sound and a spectrogram for each version of each clip, and remember the players."""
    players.clear()
    for name, rate, versions in clips():
        loudest = max(_power(version.samples, rate).max() for version in versions)
        figures = []
        for number, version in enumerate(versions):
            sound, picture = f"listen/{name}-{number}.flac", f"listen/{name}-{number}.webp"
            files.append(File.generated(config, sound, content=_flac(version.samples, rate)))
            files.append(File.generated(config, picture, content=_picture(version.samples, rate, loudest)))
            figures.append(
                f'<figure><figcaption data-label="{version.label}"><b>{version.label}.</b> {version.note}</figcaption>'
                f'<img src="@{picture}" alt="Spectrogram: {version.label}" loading="lazy">'
                f'<audio controls preload="none" src="@{sound}"></audio></figure>'
            )
        players[name] = f'<div class="listen">{"".join(figures)}</div>'
    return files


players: dict[str, str] = {}


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the players where a page asks for them."""
    up = posixpath.relpath(".", posixpath.dirname(page.file.dest_uri) or ".")
    return MARK.sub(lambda mark: players[mark[1]].replace("@", f"{up}/"), markdown)


def clips() -> Iterator[tuple[str, int, list[Version]]]:
    """Name, rate and versions of every clip: the recordings in examples/speech, and a song."""
    enhancer = exdiff.load("speech", device="cpu")
    for path in sorted((EXAMPLES / "speech" / "noisy").glob("*.flac")):
        noisy, rate = soundfile.read(path, dtype="float32")
        clean, _ = soundfile.read(EXAMPLES / "speech" / "clean" / path.name, dtype="float32")
        after = np.asarray(enhancer(noisy, rate))
        versions = [
            Version("Before", f"The recording. SI-SDR {_si_sdr(noisy, clean, noisy, rate)}.", noisy),
            Version("After", f"What exdiff made of it. SI-SDR {_si_sdr(after, clean, noisy, rate)}.", after),
            Version("Removed", "Before minus after: what you hear of the voice here is lost.", noisy - after),
            Version("Reference", "The voice before noise was added, which exdiff never saw.", clean),
        ]
        yield path.stem, rate, [version._replace(samples=version.samples[None]) for version in versions]
    yield "song", SONG["RATE"], song()


def song() -> list[Version]:
    """The song of make_song.py, and its two stems."""
    parts = {name: part.astype(np.float32) / 32768 for name, part in SONG["parts"]().items()}
    vocals, mixture = parts["vocals"], parts["song"]
    made = exdiff.load("vocals-compact", device="cpu").separate(mixture, SONG["RATE"])
    before, after = (
        _si_sdr(part.mean(0), vocals.mean(0), mixture.mean(0), SONG["RATE"]) for part in (mixture, made["vocals"])
    )
    return [
        Version("Song", f"Voice and band. SI-SDR of the voice {before}.", mixture),
        Version("Vocals", f"What vocals-compact took out of it. SI-SDR {after}.", made["vocals"]),
        Version("Accompaniment", "The song minus these vocals.", made["accompaniment"]),
    ]


def _si_sdr(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, rate: int) -> str:
    score = round(si_sdr(estimate, clean, mixture, rate)["si_sdr"], 1)
    return f"{score + 0.0:.1f} dB"  # never -0.0


def _flac(samples: np.ndarray, rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _picture(samples: np.ndarray, rate: int, loudest: float) -> bytes:
    level = 10 * np.log10(_power(samples, rate) / loudest + 1e-12)
    file = io.BytesIO()
    image.imsave(file, level, vmin=-DECIBELS, vmax=0, cmap="magma", origin="lower", format="webp")
    return file.getvalue()


def _power(samples: np.ndarray, rate: int, *, top: float = 8000.0) -> np.ndarray:
    """Power [F, N] below `top` Hz of the mean of the channels, in frames of 32 ms."""
    mono = samples.mean(0)
    size = round(0.032 * rate)
    starts = np.linspace(0, len(mono), COLUMNS).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(mono, size // 2 + 1), size)[starts]
    spectrum = np.fft.rfft(frames * np.hanning(size)).T
    return np.abs(spectrum[: 1 + round(top * size / rate)]) ** 2
