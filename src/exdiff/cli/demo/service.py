"""Enhances a file for the page, as `exdiff enhance` does, and prepares what the player shows of it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from exdiff.audio import AudioInfo, AudioReader
from exdiff.audio.av_open import open_to_read
from exdiff.cli.demo.housekeeping import TemporaryFolders
from exdiff.cli.demo.listening import Overheard, Previews
from exdiff.cli.demo.request import Request
from exdiff.cli.demo.spectrogram import Spectrograms, spread, write_pictures
from exdiff.cli.demo.telling import player_data
from exdiff.cli.ending import ENDING
from exdiff.cli.enhancing.file import enhance_file
from exdiff.cli.enhancing.names import BESIDE, VIDEO
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import plan_tasks
from exdiff.core.errors import AudioError
from exdiff.inference.enhancer import Enhancer

# The models' own samplers are deterministic. What a model is unsure of shows in solutions of the reverse SDE.
_DRAWING, _DRAWING_STEPS = "euler_maruyama", 4


@dataclass(frozen=True)
class Result:
    """What became of a request.

    Attributes:
        folder: holds everything.
        files: results, in the input's format.
        record: as of `exdiff enhance --json`, without folders.
        player: what the player is told.
    """

    folder: Path
    files: list[Path]
    record: dict[str, Any]
    player: dict[str, Any]


class _Job(NamedTuple):
    source: Path
    folder: Path
    request: Request  # with its number of steps
    enhancer: Enhancer
    info: AudioInfo
    frames: int
    advance: Callable[[float], None]


class Service:
    """Enhances files for the page, one after the other; each model is loaded once, when it is first asked for.

    Args:
        models: name or path of the model for each kind.
        folders: where results go.
        loading: further arguments of `exdiff.inference.loading.load`.
        most_minutes: longer files are refused.
    """

    def __init__(
        self, models: Mapping[str, str], folders: TemporaryFolders, loading: Mapping[str, Any], most_minutes: float
    ) -> None:
        self.folders = folders
        self._models, self._loading, self._minutes = models, dict(loading), most_minutes
        self._enhancers: dict[str, Enhancer] = {}
        self._lock, self._busy = threading.Lock(), threading.Lock()

    def enhancer(self, kind: str) -> Enhancer:
        """The enhancer for a kind of sound.

        Raises:
            ExDiffError: the model cannot be loaded.
        """
        from exdiff.inference.loading import load

        with self._lock:
            if kind not in self._enhancers:
                self._enhancers[kind] = load(self._models[kind], **self._loading)
            return self._enhancers[kind]

    def enhance(self, source: Path, request: Request, progress: Callable[[float], Any]) -> Result:
        """Enhance a file.

        Args:
            source: an upload.
            request: how.
            progress: is called with what part is done, from 0 to 1.

        Raises:
            ExDiffError: the file cannot be read or is too long, or the request cannot be done.
        """
        folder = self.folders.new()
        try:
            with self._busy, self.folders.using(folder, source.parent):
                ENDING.check()  # a request that has waited does not begin after `wait`
                if not source.exists():
                    raise AudioError("it has waited for an hour, so that it was deleted; choose it again")
                return self._enhance(source, folder, request.check(), progress)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, KeyboardInterrupt):
                raise AudioError("the server is being stopped; try again later") from None
            raise

    def wait(self, seconds: float) -> bool:
        """Wait until the file that is under way has noticed the end; whether it has."""
        ended = self._busy.acquire(timeout=seconds)
        if ended:
            self._busy.release()
        return ended

    def _enhance(self, source: Path, folder: Path, request: Request, progress: Callable[[float], Any]) -> Result:
        start = time.perf_counter()
        enhancer = self.enhancer(request.kind)
        request = replace(request, steps=enhancer.steps if request.steps is None else request.steps)
        info, frames = _measure(source, self._minutes)
        draws = request.samples if request.steps and request.samples > 1 else 0
        done, whole = 0.0, (1 + draws) * frames / info.sample_rate

        def advance(seconds: float) -> None:
            nonlocal done
            done += seconds
            progress(min(done / whole, 1.0))

        job = _Job(source, folder, request, enhancer, info, frames, advance)
        files, record, player = _enhance(job)
        drawn = [_draw(job, request.seed + number) for number in range(draws)]
        record |= {"model": self._models[request.kind], "steps": request.steps, "seed": request.seed}
        record |= {"strength": request.strength, "seconds": round(time.perf_counter() - start, 3)}
        player |= player_data(record, files, request.whats, info, request.samples)
        player["uncertainty"] = spread(drawn) if drawn else None
        return Result(folder, files, record, player)


def _measure(source: Path, most_minutes: float) -> tuple[AudioInfo, int]:
    """What a file is, and how many samples it holds: they are decoded, since a header may say anything."""
    frames = 0
    with AudioReader(source) as reader:
        for block in ENDING.watch(reader.blocks()):
            frames += block.shape[-1]
            if frames > 60 * most_minutes * reader.info.sample_rate:
                raise AudioError(
                    f"longer than {most_minutes:g} minutes, which is the limit here; choose a shorter piece, or "
                    "install exdiff, which has none"
                )
        return reader.info, frames


def _enhance(job: _Job) -> tuple[list[Path], dict[str, Any], dict[str, Any]]:
    """Results, record, and what the player needs to know of previews and pictures."""
    rate, folder = job.info.sample_rate, job.folder
    spectrograms = Spectrograms(rate, job.frames)
    with Previews((folder / "before.flac", folder / "after.flac"), rate, job.info.channels, job.frames) as previews:

        def listener(before: np.ndarray, after: np.ndarray) -> None:
            previews.add(before, after)
            spectrograms.add(before.mean(0), after.mean(0))

        files, record = _write_results(job, Overheard(job.enhancer, job.request.steps, listener))
    write_pictures(spectrograms.finish(), [folder / f"{name}.png" for name in ("before", "after", "removed")])
    return (
        files,
        record,
        {
            "rate": previews.rate,
            "smaller": previews.smaller,
            "seconds": previews.seconds,
            "frequencies": [round(float(frequency), 1) for frequency in spectrograms.frequencies],
        },
    )


def _write_results(job: _Job, enhancer: Overheard) -> tuple[list[Path], dict[str, Any]]:
    """The results as `exdiff enhance` writes them, and its record."""
    options = Options(
        seed=job.request.seed,
        strength=job.request.strength,
        whats=job.request.whats,
        name=BESIDE,
        keep_video=job.source.suffix.lower().removeprefix(".") in VIDEO and _has_picture(job.source),
    ).check()
    [task] = plan_tasks([str(job.source)], job.folder, options).tasks
    record = enhance_file(task, cast(Enhancer, enhancer), options, job.advance)
    return list(task.outputs), record | {
        "input": job.source.name,
        "output": [path.name for path in task.outputs],
        "warnings": [
            warning.removeprefix(f"{job.source}: ").replace(f"{job.folder}/", "") for warning in record["warnings"]
        ],
    }


def _has_picture(source: Path) -> bool:
    with open_to_read(source) as container:
        return bool(container.streams.video)


def _draw(job: _Job, seed: int) -> np.ndarray:
    """The spectrogram of one solution of the reverse SDE."""
    spectrograms = Spectrograms(job.info.sample_rate, job.frames)
    with AudioReader(job.source) as reader:
        drawn = job.enhancer.stream(
            ENDING.watch(reader.blocks()),
            job.info.sample_rate,
            seed=seed,
            steps=max(job.request.steps or 0, _DRAWING_STEPS),
            strength=job.request.strength,
            sampler=_DRAWING,
        )
        for part in drawn:
            mono = np.asarray(part).mean(0)
            spectrograms.add(mono, mono)
            job.advance(len(mono) / job.info.sample_rate)
    return spectrograms.finish()[1]
