"""One batch of windows: to the model's rate and level, through the model, and all the way back.

Audio stays on its own device, with two exceptions: it visits the model's device, if that is another one, and the CPU,
if its rate is not the model's (soxr resamples there). An engine keeps no state between calls, so calls may overlap.

Not here: where windows lie (`windows.py`), which signals they hold (`signals.py`) and what users call (`enhancer.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from exdiff.audio import resample
from exdiff.core.errors import ExDiffError
from exdiff.inference.high_band import restore_high_band
from exdiff.inference.options import CallSettings, Run, split_options
from exdiff.inference.signals import Signal, distinct_signals, gather, scatter
from exdiff.model.samplers import schedule
from exdiff.model.transforms.levels import LEVELS

_SHORTEST_SECONDS = 0.5  # a network's input is at least this long; a shorter signal is followed by silence
_LOUD = 16.0  # peak beyond which a signal is brought down first, so that its energy stays within float32
_LARGEST = torch.finfo(torch.float32).max


class Engine:
    """Runs windows through a model.

    Args:
        model: see `Enhancer`.
        device: of the model.
        dtype: of the networks' products.
        batch: signals computed at once.
    """

    def __init__(self, model: Any, device: torch.device, dtype: torch.dtype, batch: int) -> None:
        self.model, self.device, self.dtype, self.batch = model, device, dtype, batch

    def process(self, windows: Iterator[Tensor], settings: CallSettings, run: Run) -> Iterator[Tensor]:
        """Windows [B, C, n] in; enhanced ones out, or [B, 2C, n] with the rest below for stems."""
        group: list[Tensor] = []
        first = 0
        for window in windows:
            # A batch holds one length: only the last window may be shorter.
            each = len(window) * -(-window.shape[1] // self.model.channels)
            if group and ((len(group) + 1) * each > self.batch or window.shape != group[0].shape):
                yield from self._group(group, first, settings, run)
                first, group = first + len(group), []
            group.append(window)
        if group:
            yield from self._group(group, first, settings, run)

    def _group(self, windows: Sequence[Tensor], first: int, settings: CallSettings, run: Run) -> Iterator[Tensor]:
        start = time.perf_counter()
        rows = torch.cat(list(windows))  # one window of one item each
        numbers = [first + i for i, window in enumerate(windows) for _ in window]
        signals, places = distinct_signals(rows, numbers, self.model.channels)
        results: list[Tensor] = []
        for begin in range(0, len(signals), self.batch):
            results += self._enhance(rows, signals[begin : begin + self.batch], settings, run)
        enhanced = scatter(results, places, rows)
        if settings.share != 1:
            enhanced = settings.share * enhanced + (1 - settings.share) * rows
        if settings.stems:
            enhanced = torch.cat([enhanced, rows - enhanced], dim=1)
        run.windows += len(rows)
        run.seconds += time.perf_counter() - start
        yield from enhanced.split([len(window) for window in windows])

    def _enhance(self, rows: Tensor, signals: Sequence[Signal], settings: CallSettings, run: Run) -> list[Tensor]:
        """Each signal [1 or 2, n], enhanced; mono is given to a stereo model as equal channels, and averaged."""
        rate, channels = self.model.sample_rate, self.model.channels
        original = gather(rows, signals, channels)
        # Powers of two: dividing and multiplying by them rounds nothing.
        scales = [2.0 ** math.ceil(math.log2(max(signal.peak, _LOUD) / _LOUD)) for signal in signals]
        scale = torch.tensor(scales, dtype=torch.float32, device=rows.device)[:, None, None]
        flat = (original / scale).flatten(0, 1)
        heard = _resampled(flat, settings.rate, rate)
        length = max(heard.shape[-1], round(_SHORTEST_SECONDS * rate))
        padded = functional.pad(heard, (0, length - heard.shape[-1])).unflatten(0, (len(signals), channels))
        generated = self._generate(padded.to(self.device), signals, settings, run).to(rows.device)
        enhanced = generated.flatten(0, 1)[:, : heard.shape[-1]]
        if settings.rate != rate:
            low, back = (_resampled(x, rate, settings.rate)[:, : flat.shape[-1]] for x in (heard, enhanced))
            enhanced = restore_high_band(flat, low, back, settings.rate, min(rate, settings.rate) / 2)
        result = (enhanced.unflatten(0, (len(signals), channels)) * scale).clamp(-_LARGEST, _LARGEST)
        return [
            r if len(signal.channels) == channels else r.mean(0, keepdim=True)
            for r, signal in zip(result, signals, strict=True)
        ]

    @torch.inference_mode()
    def _generate(self, wave: Tensor, signals: Sequence[Signal], settings: CallSettings, run: Run) -> Tensor:
        """[B, C, T] at the model's rate -> [B, C, T]: level, condition, sample, and back."""
        gain = LEVELS[self.model.level](wave, self.model.sample_rate)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            condition = self.model.condition(wave * gain)
            if settings.steps == 0:
                result = condition.estimate
            else:
                result = self._sample(condition, wave.shape[-1], signals, settings, run)
        result = result.float() / gain
        finite = result.isfinite().flatten(1).all(1)
        if not bool(finite.all()):
            window = signals[int(finite.int().argmin())].window
            raise ExDiffError(
                f"the sampler diverged in window {window} (its output is not finite); "
                "use another --sampler or more --steps"
            )
        return result

    def _sample(
        self, condition: Any, length: int, signals: Sequence[Signal], settings: CallSettings, run: Run
    ) -> Tensor:
        assert settings.sampler is not None
        path = self.model.path
        generators = [signal.generator(settings.seed) for signal in signals]
        grid, options = split_options(settings.sampler, settings.options)
        evaluations = 0

        def predict(x_t: Tensor, t: Tensor) -> Any:
            nonlocal evaluations
            evaluations += 1
            return self.model.predict(x_t, t, condition)

        times = schedule(path, settings.steps, **grid)
        noise_scale = options.get("noise_scale", 1.0)
        x = path.prior(condition.y, generators, noise_scale, t=grid.get("t_start"))
        spectrum = settings.sampler(predict, x, times, path=path, generator=generators, **options)
        run.nfe = max(run.nfe, evaluations)
        return self.model.transform.inverse(spectrum, length)


def _resampled(audio: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """`resample` for a tensor, which visits the CPU only if the rates differ."""
    if source_rate == target_rate:
        return audio
    return torch.from_numpy(resample(audio.cpu().numpy(), source_rate, target_rate)).to(audio.device)
