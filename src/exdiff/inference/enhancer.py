"""The Enhancer: any rate, any length, any number of channels, through one engine.

    chunks -> windows on an absolute grid -> [model's rate -> level -> condition -> sample -> undo] -> cross-fades

Windows are independent: the noise of each comes from a generator seeded by (seed, window, channel), and its resampling
and level depend on nothing outside it. So a file enhanced whole, as a stream in chunks of any size, in batches of
windows or beside other files comes out the same to rounding, and memory does not grow with its length. Channels are
independent mono signals, unless the model takes two of them together; the items of a batch are independent recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import Any, Unpack

import torch
from torch import Tensor

from exdiff.core.errors import AudioError, ConfigError
from exdiff.core.machine import choose_device
from exdiff.core.machine import precision as choose_precision
from exdiff.core.stems import STEMS
from exdiff.inference.arrays import ArrayFormat, Audio, check_rate, to_float
from exdiff.inference.batcher import default_batch
from exdiff.inference.engine import Engine
from exdiff.inference.live import Live
from exdiff.inference.options import CallOptions, CallSettings, Run, check_use, resolve_sampler, sampler_keys
from exdiff.inference.ready import ready_copy
from exdiff.inference.stream import Item, Stream
from exdiff.inference.windows import Grid, cut, overlap_add
from exdiff.model.samplers import Sampler

_FADE_SECONDS = 0.1


class Enhancer:
    """Enhances waveforms with a model and a sampler.

    Calls and streams of one enhancer may overlap, in threads or interleaved: each gives the same as on its own. Unless
    batch_windows is 1, their windows are computed together.

    Args:
        model: an `ExDiff`, or a module with its sample_rate, channels, level, alignment, path, transform, extractor,
            condition and predict. It is never changed: one in training mode, on another device, or of another dtype or
            memory format than is used here is copied, and later changes of the original have no effect.
        sampler: a sampler or its name; None is for models that are an extractor alone.
        steps: of the sampler; 0 gives the extractor's estimate.
        sampler_options: further keyword arguments of the sampler and of `schedule`.
        segment_seconds: length of a window, context included.
        overlap_seconds: overlap of two neighbouring windows, at least; each contributes half of it. It grows until
            windows begin where the model's frames do: half a frame's shift alone changes an estimate by -30 dB.
        floor_db: level of the input that is kept below the result, 0 dB being the input itself; None keeps nothing.
            What a network removes altogether it often removes wrongly: a soft floor hides the holes.
        batch_windows: windows computed at once, of all channels, items of a batch and calls that overlap; of shorter
            signals more. None is 1 on a CPU, where more gains little, with CUDA one for 2 GiB of its memory, at most
            32, and 8 elsewhere. On CUDA, fewer are computed at once if the memory does not suffice.
        device: of the model: "auto", "cpu", "cuda" or "mps".
        precision: "auto", "fp32" or "bf16".

    Attributes:
        name: of the model, if it was loaded; otherwise of its class.
        last: the record of the call that was started last (`nfe`, `rtf`, `seconds`, `windows`). Where calls overlap,
            use the record that `run` returns, or `Stream.run`.
        model: the module that is used: `model`, or the copy.
        batch_windows: as chosen.

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
        self.sampler = resolve_sampler(sampler)
        self.sampler_options = dict(sampler_options or {})
        self.steps = steps
        self.segment_seconds, self.overlap_seconds = segment_seconds, overlap_seconds
        self._floor = 0.0 if floor_db is None else 10 ** (floor_db / 20)
        self.model, self.name = model, type(model).__name__
        # Wrong arguments are refused here, not at the first call.
        self._grid(model.sample_rate)
        self._settings(model.sample_rate)
        self.model = ready_copy(model, where, dtype)
        self.last = Run()
        self.batch_windows = default_batch(where) if batch_windows is None else batch_windows
        self._place = where, dtype
        self.engine = Engine(self.model, where, dtype, self.batch_windows, segment_seconds)

    def __repr__(self) -> str:
        steps = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        if self.steps:
            steps += f" of {getattr(self.sampler, '__name__', self.sampler)}"
        return f"<Enhancer {self.name}: {self.model.sample_rate} Hz, {steps}, {self._place[0]}>"

    def __call__(
        self,
        audio: Audio,
        sample_rate: int,
        *,
        seed: int = 0,
        steps: int | None = None,
        strength: float = 1.0,
        sampler: Sampler | str | None = None,
        channels_last: bool = False,
    ) -> Audio:
        """Enhance a whole signal, or a batch of signals of equal length.

        A tensor stays on its device, with these exceptions: resampling, if its rate is not the model's, and ONNX
        extractors run on the CPU; if the model is on another device, windows are copied there and back.

        Args:
            audio: numpy or torch, [T], [C, T] or [B, C, T]; integers are taken as PCM. Each item of a batch is enhanced
                as it would be alone, with the same seed.
            sample_rate: Hz.
            seed: of the noise; the same seed gives the same result.
            steps: instead of the enhancer's own; 0 gives the extractor's estimate alone.
            strength: s in [0, 1] gives s * enhanced + (1 - s) * input.
            sampler: instead of the enhancer's own.
            channels_last: `audio` is [T, C] or [B, T, C], as soundfile gives it, and so is the result.

        Returns:
            An array of the same type, shape, sample format and device.

        Raises:
            AudioError: wrong type, shape or rate, or NaN or infinite values.
            ConfigError: an option out of range, or steps=0 without an extractor.
        """
        options: CallOptions = {"seed": seed, "steps": steps, "strength": strength, "sampler": sampler}
        options["channels_last"] = channels_last
        return self.run(audio, sample_rate, **options)[0]

    def run(self, audio: Audio, sample_rate: int, **options: Unpack[CallOptions]) -> tuple[Audio, Run]:
        """The result of `__call__`, with its options and errors, and the record of this call."""
        samples, form, run = self._whole(audio, self._settings(sample_rate, **options))
        return form.restore(samples), run

    def separate(self, song: Audio, sample_rate: int, **options: Unpack[CallOptions]) -> dict[str, Audio]:
        """`{"vocals": ..., "accompaniment": ...}`: the model's result, and the rest of the song; see `__call__`."""
        samples, form, _ = self._whole(song, self._settings(sample_rate, stems=True, **options))
        return _stems(samples, form)

    def stream(self, chunks: Iterable[Audio], sample_rate: int, **options: Unpack[CallOptions]) -> Stream[Audio]:
        """Enhance a stream: chunks of any sizes in, chunks of other sizes and the same total length out.

        Memory stays bounded by a few windows or two batches. Chunks are what `__call__` takes, all with one number of
        channels; so are the options and the errors. The iterator's `run` is the record of this stream.
        """
        settings = self._settings(sample_rate, **options)
        return self._stream(chunks, settings, lambda samples, form: form.restore(samples))

    def separate_stream(
        self, chunks: Iterable[Audio], sample_rate: int, **options: Unpack[CallOptions]
    ) -> Stream[dict[str, Audio]]:
        """`separate` for a stream: each chunk holds the same stretch of both stems."""
        return self._stream(chunks, self._settings(sample_rate, stems=True, **options), _stems)

    def live(self, sample_rate: int, *, latency_ms: float | None = None, **options: Unpack[CallOptions]) -> Live:
        """A live stream, chunk by chunk; options as for `__call__`, their errors, and those of `Live`."""
        engine = Engine(self.model, *self._place, 1, self.segment_seconds)
        return Live(engine, self._settings(sample_rate, **options), latency_ms)

    def _settings(
        self,
        sample_rate: int,
        *,
        stems: bool = False,
        seed: int = 0,
        steps: int | None = None,
        strength: float = 1.0,
        sampler: Sampler | str | None = None,
        channels_last: bool = False,
    ) -> CallSettings:
        """The settings of a call, checked; every option of `CallOptions` is a parameter here."""
        steps = self.steps if steps is None else steps
        check_use(sampler, steps)
        sampler = resolve_sampler(sampler)
        options = self.sampler_options
        if sampler is not None and sampler is not self.sampler:
            # Options meant for the enhancer's own sampler, its snr say, mean nothing to another one.
            known = sampler_keys(sampler)
            options = {key: value for key, value in options.items() if key in known}
        return CallSettings(
            rate=check_rate(sample_rate),
            seed=seed,
            steps=steps,
            strength=strength,
            sampler=self.sampler if sampler is None else sampler,
            options=options,
            stems=stems,
            channels_last=channels_last,
            floor=self._floor,
        ).check(self.model)

    def _grid(self, sample_rate: int) -> Grid:
        grid = Grid.of_seconds(self.segment_seconds, self.overlap_seconds, _FADE_SECONDS, sample_rate)
        return grid.aligned(Fraction(self.model.alignment * sample_rate, self.model.sample_rate))

    def _whole(self, audio: Any, settings: CallSettings) -> tuple[Tensor, ArrayFormat, Run]:
        samples, form = to_float(audio, channels_last=settings.channels_last)
        self.last = run = Run()
        parts = list(self._parts(iter([samples]), settings, run))
        if parts:
            return torch.cat(parts, dim=-1), form, run
        batch, channels, _ = samples.shape
        return samples.new_zeros(batch, channels * (2 if settings.stems else 1), 0), form, run

    def _stream(
        self, chunks: Iterable[Any], settings: CallSettings, finish: Callable[[Tensor, ArrayFormat], Item]
    ) -> Stream[Item]:
        self.last = run = Run()

        def parts() -> Iterator[Item]:
            source = map(partial(to_float, channels_last=settings.channels_last), chunks)
            first = next(source, None)
            if first is None:
                return
            pattern, form = first[0].shape[:2], first[1]

            def samples() -> Iterator[Tensor]:
                for chunk, other in chain([first], source):
                    if (chunk.shape[:2], other) != (pattern, form):
                        raise AudioError("the chunks of a stream must agree in channels, axes, dtype and device")
                    yield chunk

            for part in self._parts(samples(), settings, run):
                yield finish(part, form)

        return Stream(parts(), run)

    def _parts(self, chunks: Iterator[Tensor], settings: CallSettings, run: Run) -> Iterator[Tensor]:
        """Float32 [B, C, any] in, [B, C, any] out, or [B, 2C, any] for stems; the same total length."""

        def counted() -> Iterator[Tensor]:
            samples = 0
            for chunk in chunks:
                samples += len(chunk) * chunk.shape[-1]
                run.audio_seconds = samples / settings.rate
                yield chunk

        grid = self._grid(settings.rate)
        return overlap_add(self.engine.process(cut(counted(), grid), settings, run), grid)


def _stems(both: Tensor, form: ArrayFormat) -> dict[str, Any]:
    return {name: form.restore(part) for name, part in zip(STEMS, both.chunk(2, dim=1), strict=True)}
