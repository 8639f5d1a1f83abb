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
    """A signal [1 or 2, n] to enhance, and by number the window and the channel that it comes from."""

    window: int
    channel: int
    signal: np.ndarray


# Of each channel of a window: the item that it is part of, and its row there; None for silence.
_Home = tuple[int, int] | None


class Engine:
    """Runs windows through a model.

    Args:
        model: see `Enhancer`.
        device: where.
        dtype: of the networks' products.
        batch: signals at once.
    """

    def __init__(self, model: Any, device: torch.device, dtype: torch.dtype, batch: int) -> None:
        self.model, self.device, self.dtype, self.batch = model, device, dtype, batch

    def process(self, windows: Iterator[np.ndarray], job: Job, run: Run) -> Iterator[np.ndarray]:
        """Windows [C, n] in; enhanced ones out, or [2C, n] with the rest below for stems."""
        group: list[np.ndarray] = []
        first = 0
        for window in windows:
            # A batch holds one length: only the last window may be shorter.
            signals = len(group) * -(-len(window) // self.model.channels)
            if group and (signals >= self.batch or window.shape != group[0].shape):
                yield from self._group(group, first, job, run)
                first, group = first + len(group), []
            group.append(window)
        if group:
            yield from self._group(group, first, job, run)

    def _group(self, windows: Sequence[np.ndarray], first: int, job: Job, run: Run) -> Iterator[np.ndarray]:
        start = time.perf_counter()
        items, homes = _distinct(windows, first, self.model.channels)
        results: list[np.ndarray] = []
        for begin in range(0, len(items), self.batch):
            results += self._enhance(items[begin : begin + self.batch], job, run)
        outputs = []
        for window, rows in zip(windows, homes, strict=True):
            silence = np.zeros(window.shape[-1], np.float32)
            enhanced = np.stack([silence if home is None else results[home[0]][home[1]] for home in rows])
            enhanced = job.share * enhanced + (1 - job.share) * window if job.share != 1 else enhanced
            outputs.append(np.concatenate([enhanced, window - enhanced]) if job.stems else enhanced)
        run.windows += len(windows)
        run.seconds += time.perf_counter() - start
        yield from outputs

    def _enhance(self, items: Sequence[_Item], job: Job, run: Run) -> list[np.ndarray]:
        """Equally long signals -> the same, enhanced; what is mono is heard, and averaged, as equal channels."""
        rate, channels = self.model.sample_rate, self.model.channels
        signals = np.stack([np.broadcast_to(item.signal, (channels, item.signal.shape[-1])) for item in items])
        peak = np.abs(signals).max(axis=(-1, -2), keepdims=True)
        # A power of two: dividing and multiplying by it rounds nothing.
        scale = np.exp2(np.ceil(np.log2(np.maximum(peak, _LOUD) / _LOUD))).astype(np.float32)
        flat = (signals / scale).reshape(-1, signals.shape[-1])
        heard = resample(flat, job.rate, rate)
        length = max(heard.shape[-1], round(_SHORTEST_SECONDS * rate))
        padded = np.pad(heard, ((0, 0), (0, length - heard.shape[-1]))).reshape(len(items), channels, length)
        enhanced = self._generate(torch.from_numpy(padded), items, job, run).reshape(-1, length)[:, : heard.shape[-1]]
        if job.rate != rate:
            size = flat.shape[-1]
            low, back = (resample(x, rate, job.rate)[:, :size] for x in (heard, enhanced))
            enhanced = extend(flat, low, back, job.rate, min(rate, job.rate) / 2)
        with np.errstate(over="ignore"):
            result = enhanced.reshape(signals.shape) * scale
        result = np.clip(result, np.finfo(np.float32).min, np.finfo(np.float32).max)
        return [r if len(r) == len(i.signal) else r.mean(0, keepdims=True) for r, i in zip(result, items, strict=True)]

    @torch.inference_mode()
    def _generate(self, signals: Tensor, items: Sequence[_Item], job: Job, run: Run) -> np.ndarray:
        """[B, C, T] at the model's rate -> [B, C, T]: level, condition, sample, and back."""
        mixture = signals.to(self.device)
        gain = LEVELS[self.model.level](mixture, self.model.sample_rate)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            condition = self.model.condition(mixture * gain)
            wave = condition.estimate if job.steps == 0 else self._sample(condition, mixture.shape[-1], items, job, run)
        result = (wave.float() / gain).cpu().numpy()
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


def _distinct(windows: Sequence[np.ndarray], first: int, together: int) -> tuple[list[_Item], list[list[_Home]]]:
    """The signals worth computing, of 1 or 2 channels that are heard `together`, and where each channel finds its own.

    Digital silence stays silent, and equal channels (a mono recording in a stereo file) are computed once, which also
    keeps them equal. Of more than two channels neighbours make pairs; the last of an odd number is mono.
    """
    items: list[_Item] = []
    homes: list[list[_Home]] = []
    for number, window in enumerate(windows, first):
        twins = [next(c for c in range(k + 1) if np.array_equal(window[c], x)) for k, x in enumerate(window)]
        known: dict[tuple[int, ...], int] = {}
        rows: list[_Home] = []
        for start in range(0, len(window), together):
            pair = twins[start : start + together]
            parts = tuple(dict.fromkeys(pair))
            if not any(window[c].any() for c in parts):
                rows += [None] * len(pair)
                continue
            if parts not in known:
                known[parts] = len(items)
                items.append(_Item(number, parts[0], window[list(parts)]))
            rows += [(known[parts], parts.index(c)) if window[c].any() else None for c in pair]
        homes.append(rows)
    return items, homes


def _generator(seed: int, item: _Item) -> torch.Generator:
    """Independent streams for neighbouring seeds, windows and channels; on the CPU, so that every device agrees."""
    state = np.random.SeedSequence([seed, item.window, item.channel]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))
