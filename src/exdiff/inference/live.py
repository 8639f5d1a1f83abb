"""A live stream: chunks in, chunks of the same size out, each sample a fixed time later.

Chunks may have any size, and the result does not depend on it. The engines (live_engines.py) give what is ready; here
it waits until it is due, so that nothing that uses a stream has to know about frames or windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from exdiff.core.errors import AudioError, ConfigError
from exdiff.inference.arrays import ArrayFormat, Audio, to_float
from exdiff.inference.engine import Engine
from exdiff.inference.live_engines import FrameEngine, LiveGrid, WindowEngine, too_short
from exdiff.inference.options import CallSettings, Run


class Live:
    """A stream through a model; made by `Enhancer.live`.

    Models with a causal extractor, used without sampling, work frame by frame, with a latency of tens of milliseconds.
    Others work on windows; theirs is about a second. The time that computing takes comes on top: a chunk that completes
    a frame or a window waits for it.

    Args:
        engine: with a batch of 1.
        settings: of the stream.
        latency_ms: at most; None is what suits the model.

    Attributes:
        latency_samples: by which the output is late, constant.
        latency_seconds: the same in seconds: what an output sample waits for, at the rate of the stream.
        hop_seconds: of audio that are computed at a time.
        frame_by_frame: whether the model is causal.
        run: the record of the stream.

    Raises:
        ConfigError: the model needs a longer latency.

    Example:
        >>> import exdiff
        >>> live = exdiff.load("speech", device="cpu", steps=0).live(8000, latency_ms=1000)
        >>> live.latency_seconds, [live.process(np.zeros(n, np.float32)).shape for n in (160, 1)]
        (1.0, [(160,), (1,)])
        >>> live.flush().shape
        (8000,)
    """

    def __init__(self, engine: Engine, settings: CallSettings, latency_ms: float | None = None) -> None:
        if latency_ms is not None and not 0 < latency_ms < float("inf"):
            raise ConfigError(f"latency_ms must be a positive number of milliseconds, got {latency_ms!r}")
        self.run, rate = Run(), settings.rate
        self._rate, self._channels_last = rate, settings.channels_last
        self._engine: FrameEngine | WindowEngine
        self.frame_by_frame = settings.steps == 0 and hasattr(engine.model.extractor, "step")
        if self.frame_by_frame:
            self._engine = FrameEngine(engine.model, settings, self.run)
        else:
            grid = LiveGrid.of_latency(engine.model, rate, None if latency_ms is None else latency_ms / 1000)
            self._engine = WindowEngine(engine, grid, settings, self.run)
        self.latency_samples, self.latency_seconds = self._engine.delay, self._engine.delay / rate
        self.hop_seconds = self._engine.hop / rate
        if latency_ms is not None and 1000 * self.latency_seconds > latency_ms:
            raise too_short(1000 * self.latency_seconds, latency_ms)
        self._form: tuple[ArrayFormat, int] | None = None  # of the chunks, and their channels
        self._due = np.zeros((0, 0), np.float32)

    def process(self, chunk: Audio, *, bypass: bool = False) -> Audio:
        """The output that is due with the next samples of the stream; at first it is silence.

        Args:
            chunk: numpy or torch, [T] or [C, T] (or [T, C] with channels_last), any T; integers are taken as PCM.
            bypass: give up on what would be computed now, and let the input through instead, aligned and cross-faded.
                For programs that cannot wait.

        Returns:
            An array like `chunk`.

        Raises:
            AudioError: not such an array, not like the chunks before, or NaN or infinite values.
        """
        samples, form = to_float(chunk, channels_last=self._channels_last)
        if len(samples) > 1 or form.axes > 2:
            raise AudioError(f"a live stream takes chunks [T] or [C, T], got the shape {list(chunk.shape)}")
        audio = samples[0].cpu().numpy()
        if self._form is None:
            self._engine.begin(len(audio))
            self._due = np.zeros((len(audio), self.latency_samples), np.float32)
            self._form = form, len(audio)
        if self._form != (form, len(audio)):
            raise AudioError("the chunks of a live stream must agree in channels, axes, dtype and device")
        self.run.audio_seconds += audio.shape[1] / self._rate
        self._due = np.concatenate([self._due, self._engine.feed(audio, bypass=bypass)], 1)
        return self._give(audio.shape[1])

    def flush(self) -> np.ndarray | torch.Tensor | None:
        """The last `latency_samples` samples, as one chunk like those before; None before any chunk.

        What comes next is a new stream.
        """
        if self._form is None:
            return None
        self._due = np.concatenate([self._due, self._engine.finish()], 1)
        result = self._give(self.latency_samples)
        self._form = None
        return result

    def _give(self, count: int) -> Any:
        assert self._form is not None and self._due.shape[1] >= count  # the engine keeps its delay
        given, self._due = np.split(self._due, [count], 1)
        return self._form[0].restore(torch.from_numpy(given.copy())[None])
