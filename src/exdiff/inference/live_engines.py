"""The two ways to enhance a stream with little delay: frame by frame, or in short overlapping windows.

    FrameEngine    models whose extractor has `step` (extractors/causal.py): tens of milliseconds
    WindowEngine   all others: windows of a second or two through the engine that enhances files

Both take chunks at the stream's rate, float32 [C, any], and give what is ready of the result, of which sample 0 is that
of the stream. `delay` says by how many samples the result is behind at most. What callers see is in live.py.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exdiff.core.errors import ConfigError
from exdiff.inference.engine import Engine
from exdiff.inference.live_resample import LiveResampler
from exdiff.inference.options import CallSettings, Run
from exdiff.inference.windows import Grid, cut, overlap_add

_BAND = (0.5, 0.8)  # of the lower Nyquist frequency: as in high_band.py, up to where `LiveResampler` begins to fall
_GAIN_SECONDS = 0.06  # over which the gain above the model's band is measured, about
_FLOOR = 1e-10  # energy a sample: digital silence on both sides counts as unchanged
_USUAL_SECONDS = 1.0  # latency of windows, unless asked for
_FADE_SECONDS, _PAST_SECONDS = 0.05, 0.6
_LEAST_SECONDS = 0.2, 0.1  # from window to window, and ahead


class FrameEngine:
    """Hop by hop through the `step` of a causal extractor.

    Args:
        model: see `Enhancer`; its extractor has `step`, `hop_length` and `latency`.
        settings: of the stream.
        run: its record.

    Attributes:
        hop: samples that are computed at a time, about.
        delay: samples.
    """

    def __init__(self, model: Any, settings: CallSettings, run: Run) -> None:
        self._extractor, self._rate, self._settings, self._run = model.extractor, model.sample_rate, settings, run
        self._device = next(model.parameters()).device
        ratio = settings.rate / self._rate
        self.hop = math.ceil(self._extractor.hop_length * ratio)
        self.begin(1)
        ahead = (0, 0) if self._filters is None else [each.ahead for each in self._filters]
        self.delay = math.ceil((self._extractor.latency - 1 + ahead[1]) * ratio) + ahead[0]

    def begin(self, channels: int) -> None:
        """A new stream."""
        hop, rate, other = self._extractor.hop_length, self._rate, self._settings.rate
        self._filters = None
        if rate != other:
            self._filters = LiveResampler(other, rate, channels), LiveResampler(rate, other, 3 * channels)
        self._state: tuple[Tensor, ...] | None = None
        nothing = np.zeros((channels, 0), np.float32)
        self._original = nothing  # what is not given yet
        self._low = self._late = nothing  # at the model's rate: what is not computed yet, and what the step holds back
        self._history = torch.zeros(2, channels, 2 * hop)  # of the input and the estimate
        self._energy, self._gain = torch.zeros(2, channels), torch.ones(channels, 1)

    def feed(self, audio: np.ndarray, *, bypass: bool = False) -> np.ndarray:
        """With `bypass`, what is computed now is the input itself."""
        start = time.perf_counter()
        self._original = np.concatenate([self._original, audio], 1)
        low = np.concatenate([self._low, audio if self._filters is None else self._filters[0].feed(audio)], 1)
        size = low.shape[1] - low.shape[1] % self._extractor.hop_length
        self._low = low[:, size:]
        result = self._computed(low[:, :size], bypass) if size else low[:, :0]
        original, self._original = np.split(self._original, [result.shape[1]], 1)
        share = self._settings.share
        self._run.seconds += time.perf_counter() - start
        return result if share == 1 else share * result + (1 - share) * original

    def finish(self) -> np.ndarray:
        """What is left, and more: silence follows the stream."""
        return self.feed(np.zeros((len(self._original), self.delay), np.float32))

    @torch.inference_mode()
    def _computed(self, low: np.ndarray, bypass: bool) -> np.ndarray:
        """Hops at the model's rate -> what is ready at the stream's."""
        hop = self._extractor.hop_length
        wave = torch.from_numpy(low)[:, None].to(self._device)
        estimate, self._state = self._extractor.step(wave, self._state, bypass=bypass)
        heard = np.concatenate([self._late, low], 1)
        heard, self._late = heard[:, :-hop], heard[:, -hop:]
        estimate = estimate[:, 0].cpu()[:, low.shape[1] - heard.shape[1] :]  # without what precedes the stream
        if self._filters is None or not heard.size:
            return estimate.numpy()
        both = torch.stack([torch.from_numpy(heard), estimate])
        rows = torch.cat([*both, 1 - self._gains(both)]).numpy()  # zero where nothing is changed, as before the stream
        before, after, loss = np.split(self._filters[1].feed(rows), 3)
        return after + (1 - loss) * (self._original[:, : before.shape[1]] - before)

    def _gains(self, both: Tensor) -> Tensor:
        """Of the band above the model's, which does what the top of the model's did lately (high_band.py): [C, n]."""
        gains, hop = [], self._extractor.hop_length
        edges = [round(edge * min(self._rate, self._settings.rate) * hop / self._rate) for edge in _BAND]
        window = torch.hann_window(2 * hop)
        rise = torch.arange(1, hop + 1) / hop
        for part in both.split(hop, -1):
            self._history = torch.cat([self._history[..., hop:], part], -1)
            spectrum = torch.fft.rfft(self._history * window)[..., slice(*edges)]
            energy = spectrum.abs().square().sum(-1) + _FLOOR * hop**2
            self._energy += (1 - math.exp(-hop / (_GAIN_SECONDS * self._rate))) * (energy - self._energy)
            gain = (self._energy[1] / self._energy[0]).clamp(max=1).sqrt()[:, None]
            gains.append(self._gain + (gain - self._gain) * rise)
            self._gain = gain
        return torch.cat(gains, 1)


@dataclass(frozen=True)
class LiveGrid(Grid):
    """Windows with less behind the seam than before it: the past costs no latency.

    Attributes:
        ahead: samples of a window behind its last seam.

    Example:
        >>> grid = LiveGrid(100, 40, 10, ahead=20)
        >>> grid.seam, grid.delay
        (30, 70)
    """

    ahead: int = 0

    @property
    def seam(self) -> int:
        return self.length - self.hop - self.fade - self.ahead

    @property
    def delay(self) -> int:
        """Samples: a result waits until the window that follows its own is whole."""
        return self.hop + self.fade + self.ahead

    @classmethod
    def of_latency(cls, model: Any, rate: int, seconds: float | None) -> LiveGrid:
        """The grid for a latency of at most `seconds`; None is about a second, or what the model needs.

        Raises:
            ConfigError: the model needs more.
        """
        unit = Fraction(model.alignment * rate, model.sample_rate)  # windows begin where the model's frames do

        def aligned(hop: int) -> int:
            return Grid(hop, hop, 0).aligned(unit).hop

        fade, past, hop, ahead = (round(part * rate) for part in (_FADE_SECONDS, _PAST_SECONDS, *_LEAST_SECONDS))
        hop = aligned(hop + math.ceil(unit) - 1)
        least = hop + fade + ahead
        wanted = max(least, round(_USUAL_SECONDS * rate)) if seconds is None else round(seconds * rate)
        if wanted < least:
            raise too_short(1000 * least / rate, 1000 * wanted / rate)
        hop = max(hop, aligned((wanted - fade) * 6 // 10))
        return cls(past + wanted, hop, fade, ahead=wanted - fade - hop)


def too_short(least_ms: float, wanted_ms: float) -> ConfigError:
    """What to say to whoever wants a latency that the model cannot have."""
    return ConfigError(
        f"latency_ms must be {math.ceil(least_ms)} or more with this model at this rate, got {wanted_ms:g}; "
        "for less, use a causal model"
    )


class WindowEngine:
    """Short overlapping windows through the engine that enhances files.

    Args:
        engine: with a batch of 1.
        grid: where windows lie.
        settings: of the stream.
        run: its record.

    Attributes:
        hop, delay: see `FrameEngine`.
    """

    def __init__(self, engine: Engine, grid: LiveGrid, settings: CallSettings, run: Run) -> None:
        self._engine, self._grid, self._settings, self._run = engine, grid, settings, run
        self.hop, self.delay = grid.hop, grid.delay
        self.begin(1)

    def begin(self, channels: int) -> None:
        """A new stream."""
        # Silence first, as the past of the first window: its result waits no longer than others.
        self._chunks = deque([torch.zeros(1, channels, self._grid.seam)])
        self._fed = self._surplus = self._grid.seam  # samples that have come; of the result, that are not to be given
        self._windows, self._bypass, self._nothing = 0, False, torch.zeros(1, channels, 0)
        self._parts = overlap_add(self._enhanced(cut(self._arrived(), self._grid)), self._grid)

    def feed(self, audio: np.ndarray, *, bypass: bool = False) -> np.ndarray:
        """With `bypass`, windows that are complete now keep the input itself."""
        self._bypass = bypass
        self._chunks.append(torch.from_numpy(audio)[None])
        self._fed += audio.shape[1]
        # Those that `cut` gives from what has come: it must not ask for more, or the stream would end.
        complete = -(-(self._fed - self._grid.length) // self._grid.hop)
        parts = [next(self._parts) for _ in range(self._windows, complete)]
        self._windows = max(self._windows, complete)
        return self._given(parts)

    def finish(self) -> np.ndarray:
        """What is left."""
        return self._given(list(self._parts))

    def _given(self, parts: list[Tensor]) -> np.ndarray:
        result = torch.cat([self._nothing, *parts], -1)[0]
        surplus = min(self._surplus, result.shape[1])
        self._surplus -= surplus
        return result[:, surplus:].numpy()

    def _arrived(self) -> Iterator[Tensor]:
        while self._chunks:
            yield self._chunks.popleft()

    def _enhanced(self, windows: Iterator[Tensor]) -> Iterator[Tensor]:
        """Each window enhanced or, with `bypass`, as it is."""
        waiting: deque[Tensor] = deque()

        def chosen() -> Iterator[Tensor]:
            while waiting:
                yield waiting.popleft()

        results = self._engine.process(chosen(), self._settings, self._run)
        for window in windows:
            if self._bypass:
                yield window
            else:
                waiting.append(window)
                yield next(results)
