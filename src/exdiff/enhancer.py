"""The Enhancer: any rate, any length, any number of channels, through one engine.

    chunks -> windows on an absolute grid -> [model's rate -> level -> condition -> sample -> undo] -> cross-fades

Each window is a signal of its own: its noise comes from a generator seeded by (seed, window, channel), its
resampling and its level see nothing beyond it. So a file enhanced whole, as a stream in chunks of any size, or in
batches of windows comes out the same to rounding, and memory does not grow with its length. Each channel is a mono
signal of its own, unless the model hears two of them together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from exdiff.arrays import Audio, Form, check_rate, to_float
from exdiff.config import Recipe, build
from exdiff.engine import Engine
from exdiff.errors import AudioError, ConfigError
from exdiff.jobs import CallOptions, Job, Run, check_use, choose_device, resolve_sampler, sampler_keys
from exdiff.machine import fast_weights
from exdiff.machine import precision as choose_precision
from exdiff.samplers import Sampler
from exdiff.windows import Grid, cut, join

STEMS = ("vocals", "accompaniment")
_FADE_SECONDS = 0.1


class Enhancer:
    """Enhances waveforms with a model and a sampler.

    Args:
        model: an `ExDiff`, or a module with its sample_rate, channels, level, alignment, path, transform, extractor,
            condition and predict.
        sampler: a sampler or its name; None is for models that are an extractor alone.
        steps: of the sampler; 0 gives the extractor's estimate.
        sampler_options: further keyword arguments of the sampler and of `schedule`.
        segment_seconds: length of a window, context included.
        floor_db: level, re its own, at which the input stays audible below the result; None takes away all that the
            model would. What a network removes altogether it often removes wrongly: a soft floor hides the holes.
        overlap_seconds: what two neighbouring windows share at least; each throws half of it away. It grows until
            windows begin where the model's frames do: half a frame's shift alone changes an estimate by -30 dB.
        batch_windows: windows, each of what is heard together, computed at once; None is 1 on a CPU, where more gains
            little, and 8 elsewhere.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto", "fp32" or "bf16".

    Attributes:
        last: what the last call did (`nfe`, `rtf`, `seconds`, `windows`).
        model: the module itself.

    Raises:
        ConfigError: an unknown sampler, option or device, or a number out of range.
    """

    def __init__(
        self,
        model: Any,
        sampler: Sampler | str | None = None,
        *,
        steps: int = 1,
        sampler_options: Mapping[str, Any] | None = None,
        segment_seconds: float = 10.0,
        overlap_seconds: float = 2.0,
        floor_db: float | None = None,
        batch_windows: int | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        where = choose_device(device)
        if batch_windows is not None and batch_windows < 1:
            raise ConfigError(f"batch_windows must be 1 or more, got {batch_windows}")
        if floor_db is not None and not floor_db <= 0:
            raise ConfigError(f"floor_db must be 0 or less, got {floor_db!r}")
        dtype = choose_precision(precision, where.type)
        self.model = model.to(where).eval()
        fast_weights(self.model, dtype)
        self.sampler = resolve_sampler(sampler)
        self.sampler_options = dict(sampler_options or {})
        self.steps = steps
        self.segment_seconds, self.overlap_seconds = segment_seconds, overlap_seconds
        self._floor = 0.0 if floor_db is None else 10 ** (floor_db / 20)
        self.last = Run()
        batch = batch_windows or (1 if where.type == "cpu" else 8)
        self._engine = Engine(self.model, where, dtype, batch)
        # Wrong arguments are refused here, not at the first call.
        self._grid(model.sample_rate)
        self._job(model.sample_rate)

    def __call__(
        self,
        audio: Audio,
        sample_rate: int,
        *,
        seed: int = 0,
        steps: int | None = None,
        strength: float = 1.0,
        sampler: Sampler | str | None = None,
    ) -> Audio:
        """Enhance a whole signal.

        Args:
            audio: numpy or torch, [T] or [C, T]; integers are taken as PCM.
            sample_rate: Hz.
            seed: of the noise; the same seed gives the same result.
            steps: instead of the enhancer's own; 0 gives the extractor's estimate alone.
            strength: s in [0, 1] gives s * enhanced + (1 - s) * input.
            sampler: instead of the enhancer's own.

        Returns:
            An array of the same type, shape and sample format.

        Raises:
            AudioError: wrong type, shape or rate, or NaN or infinite values.
            ConfigError: an option out of range, or steps=0 without an extractor.
        """
        job = self._job(sample_rate, seed=seed, steps=steps, strength=strength, sampler=sampler)
        samples, form = to_float(audio)
        return form.restore(self._whole(samples, job))

    def separate(self, song: Audio, sample_rate: int, **options: Unpack[CallOptions]) -> dict[str, Audio]:
        """`{"vocals": ..., "accompaniment": ...}`: what the model keeps, and the rest of the song; see `__call__`."""
        job = self._job(sample_rate, stems=True, **options)
        samples, form = to_float(song)
        return _stems(self._whole(samples, job), form)

    def stream(self, chunks: Iterable[Audio], sample_rate: int, **options: Unpack[CallOptions]) -> Iterator[Audio]:
        """Enhance a stream: chunks [T] or [C, T] of any sizes in, chunks of other sizes and the same total length out.

        Memory stays bounded by a few windows. The options and the errors are those of `__call__`.
        """
        job = self._job(sample_rate, **options)
        return (form.restore(part) for part, form in self._stream(chunks, job))

    def separate_stream(
        self, chunks: Iterable[Audio], sample_rate: int, **options: Unpack[CallOptions]
    ) -> Iterator[dict[str, Audio]]:
        """`separate` for a stream: each item holds the same stretch of both stems."""
        job = self._job(sample_rate, stems=True, **options)
        return (_stems(part, form) for part, form in self._stream(chunks, job))

    def _job(
        self,
        sample_rate: int,
        *,
        stems: bool = False,
        seed: int = 0,
        steps: int | None = None,
        strength: float = 1.0,
        sampler: Sampler | str | None = None,
    ) -> Job:
        """The choices of a call, checked; every option that `CallOptions` lists has its place here."""
        steps = self.steps if steps is None else steps
        check_use(sampler, steps)
        sampler = resolve_sampler(sampler)
        options = self.sampler_options
        if sampler is not None and sampler is not self.sampler:
            # Options meant for the enhancer's own sampler, its snr say, mean nothing to another one.
            known = sampler_keys(sampler)
            options = {key: value for key, value in options.items() if key in known}
        return Job(
            rate=check_rate(sample_rate),
            seed=seed,
            steps=steps,
            strength=strength,
            floor=self._floor,
            sampler=self.sampler if sampler is None else sampler,
            options=options,
            stems=stems,
        ).check(self.model)

    def _grid(self, sample_rate: int) -> Grid:
        grid = Grid.of_seconds(self.segment_seconds, self.overlap_seconds, _FADE_SECONDS, sample_rate)
        return grid.aligned(Fraction(self.model.alignment * sample_rate, self.model.sample_rate))

    def _whole(self, samples: np.ndarray, job: Job) -> np.ndarray:
        parts = list(self._run(iter([samples]), job))
        rows = len(samples) * (2 if job.stems else 1)
        return np.concatenate(parts, axis=-1) if parts else np.zeros((rows, 0), np.float32)

    def _stream(self, chunks: Iterable[Any], job: Job) -> Iterator[tuple[np.ndarray, Form]]:
        source = (to_float(chunk) for chunk in chunks)
        first = next(source, None)
        if first is None:
            self.last = Run()
            return
        channels, form = len(first[0]), first[1]

        def plain() -> Iterator[np.ndarray]:
            for samples, other in itertools.chain([first], source):
                if (len(samples), other) != (channels, form):
                    raise AudioError("the chunks of a stream must agree in channels, number of axes and sample format")
                yield samples

        for part in self._run(plain(), job):
            yield part, form

    def _run(self, chunks: Iterator[np.ndarray], job: Job) -> Iterator[np.ndarray]:
        """Float32 [C, any] in, [C, any] out, or [2C, any] for stems; the same total length."""
        self.last = run = Run()

        def counted() -> Iterator[np.ndarray]:
            for chunk in chunks:
                run.audio_seconds += chunk.shape[-1] / job.rate
                yield chunk

        grid = self._grid(job.rate)
        return join(self._engine.process(cut(counted(), grid), job, run), grid)


def _stems(both: np.ndarray, form: Form) -> dict[str, Any]:
    return {name: form.restore(part) for name, part in zip(STEMS, np.split(both, 2), strict=True)}


def load(
    name: str | Path,
    *,
    steps: int | None = None,
    sampler: str | None = None,
    trust_code: bool = False,
    **options: Any,
) -> Enhancer:
    """An enhancer from an embedded model's name or a checkpoint's path, set up as its recipe says.

    Args:
        name: see `exdiff.checkpoint.load_model`; published SGMSE checkpoints (.ckpt) are read too.
        steps: instead of the recipe's.
        sampler: by name, instead of the recipe's.
        trust_code: run code that the checkpoint names, see `exdiff.checkpoint.load_model`.
        options: further arguments of `Enhancer` (device, precision, segment_seconds, batch_windows, ...); its
            sampler_options are added to the recipe's.

    Raises:
        CheckpointError: no such model, or it is damaged.
        ConfigError: an option that is unknown or out of range.
    """
    from exdiff.checkpoint import load_model

    model, recipe = load_model(name, trust_code=trust_code)
    return from_recipe(model, recipe, steps=steps, sampler=sampler, **options)


def from_recipe(
    model: Any, recipe: Recipe, *, steps: int | None = None, sampler: str | None = None, **options: Any
) -> Enhancer:
    """`load` for a model that is in memory already, as during training; it is put into evaluation mode."""
    own = dict(recipe.sampler)
    kind, own_steps = own.pop("type", None), own.pop("steps", 1)
    if model.path is None or kind is None:
        own_steps = 0  # nothing to sample with: the extractor's estimate
    chosen_steps = int(own_steps) if steps is None else steps
    check_use(sampler, chosen_steps)
    if sampler is not None and sampler != kind:
        chosen = resolve_sampler(sampler)
        assert chosen is not None
        kind, own = sampler, {key: value for key, value in own.items() if key in sampler_keys(chosen)}
    own |= options.pop("sampler_options", {})
    section = {"type": "enhancer", **recipe.enhancer, **options}
    return build(
        {"enhancer": Enhancer},
        section,
        model=model,
        sampler=kind,
        steps=chosen_steps,
        sampler_options=own,
    )
