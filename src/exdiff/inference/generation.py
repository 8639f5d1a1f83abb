"""One call of the model: signals of equal length, at its rate and level, become enhanced ones.

Signals of different recordings, and with models that are `ragged` of different lengths, may share a call. Nothing of a
signal depends on the others but its rounding: each has noise of its own, and ends where it ends.

Not here: how signals get to the model's rate and back (`engine.py`) and which ones share a call (`batcher.py`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from exdiff.core.ragged import masked, valid_lengths
from exdiff.inference.options import CallSettings, split_options
from exdiff.inference.signals import Signal
from exdiff.model.samplers import schedule


class Request(NamedTuple):
    """A signal for the model.

    Attributes:
        wave: float32 [C, T] at the model's rate and level.
        signal: where it comes from, which seeds its noise.
        settings: of its call.
    """

    wave: Tensor
    signal: Signal
    settings: CallSettings


class Generated(NamedTuple):
    """A result: float32 [C, T] on the device of the request, and the evaluations of the score network."""

    wave: Tensor
    nfe: int


class Generation:
    """Runs a model.

    Args:
        model: see `Enhancer`.
        device: of the model.
        dtype: of the networks' products.
    """

    def __init__(self, model: Any, device: torch.device, dtype: torch.dtype) -> None:
        self._model, self._dtype = model, dtype
        self._device = torch.empty(0, device=device).device  # "cuda" means another one in another thread

    def kind(self, request: Request) -> Hashable:
        """Requests of one kind may share a call of the model."""
        settings, wave = request.settings, request.wave
        options = tuple(sorted((name, repr(value)) for name, value in settings.options.items()))
        length = 0 if getattr(self._model, "ragged", False) else wave.shape[-1]
        return length, wave.device, settings.steps, settings.sampler, options

    @torch.inference_mode()
    def __call__(self, requests: Sequence[Request]) -> list[Generated]:
        """The results of requests of one kind, in their order."""
        settings, home = requests[0].settings, requests[0].wave.device
        lengths = [request.wave.shape[-1] for request in requests]
        waves = [functional.pad(request.wave, (0, max(lengths) - request.wave.shape[-1])) for request in requests]
        wave = torch.stack(waves).to(self._device)
        frames = [-(-length // self._model.transform.hop_length) + 1 for length in lengths]
        computed = torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)
        with valid_lengths([lengths, frames], self._device), computed:
            condition = self._model.condition(wave)
            result, nfe = condition.estimate, 0
            if settings.steps > 0:
                generators = [request.signal.generator(request.settings.seed) for request in requests]
                result, nfe = self._sample(condition, wave.shape[-1], generators, settings)
        result = result.float().to(home)
        finish(result)
        return [Generated(row[:, :length], nfe) for row, length in zip(result, lengths, strict=True)]

    def _sample(
        self, condition: Any, length: int, generators: Sequence[torch.Generator], settings: CallSettings
    ) -> tuple[Tensor, int]:
        assert settings.sampler is not None
        path = self._model.path
        grid, options = split_options(settings.sampler, settings.options)
        evaluations = 0

        def predict(x_t: Tensor, t: Tensor) -> Any:
            nonlocal evaluations
            evaluations += 1
            return self._model.predict(x_t, t, condition)

        times = schedule(path, settings.steps, **grid)
        noise_scale = options.get("noise_scale", 1.0)
        x = path.prior(condition.y, generators, noise_scale, t=grid.get("t_start"))
        spectrum = settings.sampler(predict, x, times, path=path, generator=generators, **options)
        return self._model.transform.inverse(masked(spectrum), length), evaluations


def finish(audio: Tensor) -> None:
    """Wait until `audio` is computed, if another thread, whose CUDA stream may be another one, is to use it."""
    if audio.is_cuda:
        torch.cuda.current_stream(audio.device).synchronize()
