"""Windows: to the model's rate and level, through the model, and all the way back.

Audio stays on its own device, with two exceptions: it visits the model's device, if that is another one, and the CPU,
if its rate is not the model's (soxr resamples there). Calls may overlap: with a batch of one, each computes for itself;
otherwise they share batches, and a call reads on while its windows are computed.

Not here: where windows lie (`windows.py`), which signals they hold (`signals.py`), what a batch computes
(`generation.py`), which signals share one (`batcher.py`), and what users call (`enhancer.py`).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from exdiff.audio import resample
from exdiff.core.errors import DivergenceError
from exdiff.inference.batcher import Batcher
from exdiff.inference.generation import Generated, Generation, Request, finish
from exdiff.inference.high_band import restore_high_band
from exdiff.inference.options import CallSettings, Run
from exdiff.inference.signals import Places, Signal, distinct_signals, gather, scatter
from exdiff.model.transforms.levels import LEVELS

_SHORTEST_SECONDS = 0.5  # a network's input is at least this long; a shorter signal is followed by silence
_LOUD = 16.0  # peak beyond which a signal is brought down first, so that its energy stays within float32
_LARGEST = torch.finfo(torch.float32).max


class _Heard(NamedTuple):
    """A signal as the model hears it.

    Attributes:
        request: for the model; it may be longer than the signal.
        original: float32 [C, n] at the input's rate, divided by `scale`.
        low: [C, m] at the model's rate.
        gain: [1, length of the request] that brings it to the model's level.
    """

    request: Request
    original: Tensor
    low: Tensor
    gain: Tensor
    scale: float


class _Window(NamedTuple):
    """A window on its way: its samples [B, C, n], where results belong, and the results to come."""

    rows: Tensor
    places: Places
    flying: list[tuple[_Heard, Future[Generated]]]


class Engine:
    """Runs windows through a model.

    Args:
        model: see `Enhancer`.
        device: of the model.
        dtype: of the networks' products.
        batch: whole windows computed at once, or shorter signals that are as long together.
        segment_seconds: length of a whole window.
    """

    def __init__(
        self, model: Any, device: torch.device, dtype: torch.dtype, batch: int, segment_seconds: float
    ) -> None:
        self.model = model
        self._generation = Generation(model, device, dtype)
        room = batch * round(segment_seconds * model.sample_rate)
        self._batcher = Batcher(self._generation, room) if batch > 1 else None

    def process(self, windows: Iterator[Tensor], settings: CallSettings, run: Run) -> Iterator[Tensor]:
        """Windows [B, C, n] in; enhanced ones out, or [B, 2C, n] with the rest below for stems."""
        if self._batcher is not None:
            yield from self._shared(windows, settings, run, self._batcher)
            return
        for number, rows in enumerate(windows):
            start = time.perf_counter()
            signals, places = self._signals(rows, number)
            heard = (self._heard(rows, signal, settings) for signal in signals)
            results = [self._result(part, self._generation([part.request])[0], settings, run) for part in heard]
            yield self._put_together(rows, places, results, settings, run, start)

    def cancel(self) -> None:
        """Cancel what other threads wait for; their calls raise CancelledError."""
        if self._batcher is not None:
            self._batcher.cancel()

    def _shared(
        self, windows: Iterator[Tensor], settings: CallSettings, run: Run, batcher: Batcher[Request, Generated]
    ) -> Iterator[Tensor]:
        """Windows whose batches are shared with other calls."""
        waiting: deque[_Window] = deque()

        def landed() -> Tensor:
            start = time.perf_counter()
            rows, places, flying = waiting[0]
            results = [self._result(part, batcher.result(future), settings, run) for part, future in flying]
            waiting.popleft()
            return self._put_together(rows, places, results, settings, run, start)

        try:
            with batcher.call():
                for number, rows in enumerate(windows):
                    waiting.append(self._submitted(rows, number, settings, run, batcher))
                    while waiting and (batcher.crowded or all(future.done() for _, future in waiting[0].flying)):
                        yield landed()
                while waiting:
                    yield landed()
        finally:
            for window in waiting:
                for _, future in window.flying:
                    future.cancel()

    def _submitted(
        self, rows: Tensor, number: int, settings: CallSettings, run: Run, batcher: Batcher[Request, Generated]
    ) -> _Window:
        start = time.perf_counter()
        signals, places = self._signals(rows, number)
        flying = []
        for signal in signals:
            part = self._heard(rows, signal, settings)
            finish(part.request.wave)
            kind, size = self._generation.kind(part.request), part.request.wave.shape[-1]
            flying.append((part, batcher.submit(part.request, kind, size)))
        run.seconds += time.perf_counter() - start
        return _Window(rows, places, flying)

    def _signals(self, rows: Tensor, number: int) -> tuple[list[Signal], Places]:
        return distinct_signals(rows, [number] * len(rows), self.model.channels)

    def _heard(self, rows: Tensor, signal: Signal, settings: CallSettings) -> _Heard:
        """Mono is given to a stereo model as equal channels."""
        rate = self.model.sample_rate
        # Powers of two: dividing and multiplying by them rounds nothing.
        scale = 2.0 ** math.ceil(math.log2(max(signal.peak, _LOUD) / _LOUD))
        original = gather(rows, [signal], self.model.channels)[0] / scale
        low = _resampled(original, settings.rate, rate)
        wave = functional.pad(low, (0, max(0, round(_SHORTEST_SECONDS * rate) - low.shape[-1])))
        gain = LEVELS[self.model.level](wave[None], rate)[0]
        return _Heard(Request(wave * gain, signal, settings), original, low, gain, scale)

    def _result(self, part: _Heard, generated: Generated, settings: CallSettings, run: Run) -> Tensor:
        """A signal [1 or 2, n], enhanced; the channels of a stereo model are averaged for mono."""
        rate, signal = self.model.sample_rate, part.request.signal
        run.nfe = max(run.nfe, generated.nfe)
        enhanced = (generated.wave / part.gain)[:, : part.low.shape[-1]]
        if not bool(enhanced.isfinite().all()):
            raise DivergenceError(
                f"the sampler diverged in window {signal.window} (its output is not finite); "
                "use another --sampler or more --steps"
            )
        original = part.original
        if settings.rate != rate:
            low, back = (_resampled(x, rate, settings.rate)[:, : original.shape[-1]] for x in (part.low, enhanced))
            enhanced = restore_high_band(original, low, back, settings.rate, min(rate, settings.rate) / 2)
        result = (enhanced * part.scale).clamp(-_LARGEST, _LARGEST)
        return result if len(signal.channels) == self.model.channels else result.mean(0, keepdim=True)

    def _put_together(
        self,
        rows: Tensor,
        places: Places,
        results: Sequence[Tensor],
        settings: CallSettings,
        run: Run,
        start: float,
    ) -> Tensor:
        enhanced = scatter(results, places, rows)
        if settings.share != 1:
            enhanced = settings.share * enhanced + (1 - settings.share) * rows
        if settings.stems:
            enhanced = torch.cat([enhanced, rows - enhanced], dim=1)
        run.windows += len(rows)
        run.seconds += time.perf_counter() - start
        return enhanced


def _resampled(audio: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """`resample` for a tensor, which visits the CPU only if the rates differ."""
    if source_rate == target_rate:
        return audio
    return torch.from_numpy(resample(audio.cpu().numpy(), source_rate, target_rate)).to(audio.device)
