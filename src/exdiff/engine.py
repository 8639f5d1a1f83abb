"""What happens to one batch of windows: to the model's rate and level, through the model, and all the way back.

Not here: where windows lie (`windows.py`) and what users call (`enhancer.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from exdiff.audio import resample
from exdiff.errors import ExDiffError
from exdiff.highband import extend
from exdiff.jobs import Job, Run, split_options
from exdiff.levels import LEVELS
from exdiff.samplers import schedule

_SHORTEST_SECONDS = 0.5  # what a network is given at least; a shorter signal is followed by silence
_LOUD = 16.0  # peak beyond which a signal is brought down first, so that its energy stays within float32


class _Item(NamedTuple):
    """A mono signal to enhance: window and channel by number, and where it is used (copies share the work)."""

    window: int
    channel: int
    signal: np.ndarray


class Engine:
    """Runs windows through a model.

    Args:
        model: see `Enhancer`.
        device: where.
        dtype: of the networks' products.
        batch: mono windows at once.
    """

    def __init__(self, model: Any, device: torch.device, dtype: torch.dtype, batch: int) -> None:
        self.model, self.device, self.dtype, self.batch = model, device, dtype, batch

    def process(self, windows: Iterator[np.ndarray], job: Job, run: Run) -> Iterator[np.ndarray]:
        """Windows [C, n] in; enhanced ones out, or [2C, n] with the rest below for stems."""
        group: list[np.ndarray] = []
        first = 0
        for window in windows:
            # A batch holds one length: only the last window may be shorter.
            if group and (len(group) * len(window) >= self.batch or window.shape != group[0].shape):
                yield from self._group(group, first, job, run)
                first, group = first + len(group), []
            group.append(window)
        if group:
            yield from self._group(group, first, job, run)

    def _group(self, windows: Sequence[np.ndarray], first: int, job: Job, run: Run) -> Iterator[np.ndarray]:
        start = time.perf_counter()
        items, homes = _distinct(windows, first)
        results: list[np.ndarray] = []
        for begin in range(0, len(items), self.batch):
            results += self._enhance(items[begin : begin + self.batch], job, run)
        outputs = []
        for window, rows in zip(windows, homes, strict=True):
            silence = np.zeros(window.shape[-1], np.float32)
            enhanced = np.stack([silence if row is None else results[row] for row in rows])
            enhanced = job.strength * enhanced + (1 - job.strength) * window if job.strength != 1 else enhanced
            outputs.append(np.concatenate([enhanced, window - enhanced]) if job.stems else enhanced)
        run.windows += len(windows)
        run.seconds += time.perf_counter() - start
        yield from outputs

    def _enhance(self, items: Sequence[_Item], job: Job, run: Run) -> Sequence[np.ndarray]:
        """Equally long mono signals -> the same, enhanced."""
        rate = self.model.sample_rate
        signals = np.stack([item.signal for item in items])
        peak = np.abs(signals).max(axis=-1, keepdims=True)
        # A power of two: dividing and multiplying by it rounds nothing.
        scale = np.exp2(np.ceil(np.log2(np.maximum(peak, _LOUD) / _LOUD))).astype(np.float32)
        signals = signals / scale
        heard = resample(signals, job.rate, rate)
        length = max(heard.shape[-1], round(_SHORTEST_SECONDS * rate))
        padded = np.pad(heard, ((0, 0), (0, length - heard.shape[-1])))
        enhanced = self._generate(torch.from_numpy(padded), items, job, run)[:, : heard.shape[-1]]
        if job.rate != rate:
            size = signals.shape[-1]
            low, back = (resample(x, rate, job.rate)[:, :size] for x in (heard, enhanced))
            enhanced = extend(signals, low, back, job.rate, min(rate, job.rate) / 2)
        with np.errstate(over="ignore"):
            result = enhanced * scale
        return list(np.clip(result, np.finfo(np.float32).min, np.finfo(np.float32).max))

    @torch.inference_mode()
    def _generate(self, signals: Tensor, items: Sequence[_Item], job: Job, run: Run) -> np.ndarray:
        """[B, T] at the model's rate -> [B, T]: level, condition, sample, and back."""
        mixture = signals[:, None].to(self.device)
        gain = LEVELS[self.model.level](mixture, self.model.sample_rate)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            condition = self.model.condition(mixture * gain)
            wave = condition.estimate if job.steps == 0 else self._sample(condition, mixture.shape[-1], items, job, run)
        result = (wave.float() / gain)[:, 0].cpu().numpy()
        if not np.isfinite(result).all():
            raise ExDiffError(
                f"the sampler diverged in window {items[0].window} (its output is not finite); "
                "use another --sampler or more --steps"
            )
        return result

    def _sample(self, condition: Any, length: int, items: Sequence[_Item], job: Job, run: Run) -> Tensor:
        assert job.sampler is not None
        path = self.model.path
        generators = [_generator(job.seed, item) for item in items]
        grid, options = split_options(job.sampler, job.options)
        evaluations = 0

        def predict(x_t: Tensor, t: Tensor) -> Any:
            nonlocal evaluations
            evaluations += 1
            return self.model.predict(x_t, t, condition)

        times = schedule(path, job.steps, **grid)
        noise_scale = options.get("noise_scale", 1.0)
        x = path.prior(condition.y, generators, noise_scale, t=grid.get("t_start"))
        spectrum = job.sampler(predict, x, times, path=path, generator=generators, **options)
        run.nfe = max(run.nfe, evaluations)
        return self.model.transform.inverse(spectrum, length)


def _distinct(windows: Sequence[np.ndarray], first: int) -> tuple[list[_Item], list[list[int | None]]]:
    """The signals worth computing, and for each window and channel the number of its signal, None for silence.

    Digital silence stays silent, and equal channels (a mono recording in a stereo file) are computed once, which also
    keeps them equal.
    """
    items: list[_Item] = []
    homes: list[list[int | None]] = []
    for number, window in enumerate(windows, first):
        rows: list[int | None] = []
        for channel, signal in enumerate(window):
            twin = next((c for c in range(channel) if np.array_equal(window[c], signal)), None)
            if twin is not None:
                rows.append(rows[twin])
            elif not signal.any():
                rows.append(None)
            else:
                rows.append(len(items))
                items.append(_Item(number, channel, signal))
        homes.append(rows)
    return items, homes


def _generator(seed: int, item: _Item) -> torch.Generator:
    """Independent streams for neighbouring seeds, windows and channels; on the CPU, so that every device agrees."""
    state = np.random.SeedSequence([seed, item.window, item.channel]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))
