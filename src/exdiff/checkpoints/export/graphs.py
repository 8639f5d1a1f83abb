"""The graphs that a model can be exported as: modules from real tensors to real tensors, for one recording at a time.

    Whole        noisy [, noise] -> enhanced             everything: level, extractor, sampler, inverse transform, floor
    Extraction   noisy -> estimate, gain, spectra, features                                      once for each recording
    Evaluation   x, t, spectra, features -> denoised                       once for each evaluation of the score network
    Waveform     spectrum, gain -> enhanced                                                                  at the end

With `real`, they compute with real numbers alone (`real.py`) and can be traced; otherwise as PyTorch does, to compare.
Complex spectrograms are given as [C, F, N, 2]. Not here: files (`write.py`).
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from exdiff.checkpoints.export.pair import Pair
from exdiff.checkpoints.export.real import GivenNoise, real_numbers
from exdiff.core.recipe import Recipe
from exdiff.model.exdiff import Condition, ExDiff
from exdiff.model.samplers import SAMPLERS, schedule
from exdiff.model.transforms.levels import LEVELS


class Graph(nn.Module, ABC):
    """A graph.

    Attributes:
        name: of the part.
        inputs, outputs: names of the tensors.
        real: see the module's head.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __init__(self, model: ExDiff, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.recipe, self.real = model, recipe, False
        self.register_buffer("one", torch.tensor(1))
        self.one: Tensor
        self.eval()  # the exporter gives everything back the mode in which it found the graph

    @abstractmethod
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs."""

    @abstractmethod
    def example(self, noisy: Tensor) -> tuple[Tensor, ...]:
        """Inputs for a signal [C, T]."""

    def signal(self, seconds: float) -> Tensor:
        """Noise [C, T] that swells and fades, and is silent at times, since levels and masks depend on the signal."""
        rate, channels = self.model.sample_rate, self.model.channels
        noise = torch.randn(channels, round(seconds * rate), generator=torch.Generator().manual_seed(0))
        time = torch.arange(noise.shape[-1]) / rate
        return 0.2 * noise * torch.sin(9 * time) ** 2 * (torch.sin(2 * time) > 0.2)

    @contextmanager
    def numbers(self, noise: Tensor | None = None) -> Iterator[GivenNoise]:
        """What the model's code runs in."""
        with GivenNoise(noise) as given, real_numbers(self.one) if self.real else nullcontext():
            yield given

    def heard(self, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """The signal at the model's level [1, C, T], and its gain [1, 1, T]."""
        gain = LEVELS[self.model.level](noisy[None], self.model.sample_rate)
        return noisy[None] * gain, gain.expand(-1, -1, noisy.shape[-1])

    def complex(self, stacked: Tensor) -> Any:
        """[C, F, N, 2] -> [1, C, F, N]."""
        real, imag = stacked[None, ..., 0], stacked[None, ..., 1]
        return Pair(real, imag) if self.real else torch.complex(real, imag)


def stacked(spectrum: Any) -> Tensor:
    """Undo `Graph.complex`."""
    return torch.stack([spectrum.real, spectrum.imag], -1)[0]


class Whole(Graph):
    """Everything.

    Args:
        model, recipe: as loaded.
        steps: of the recipe's sampler; 0 gives the extractor's estimate.

    Attributes:
        draws: of noise in one call: the size of the first axis of the input `noise`, which is missing if it is 0.
    """

    name, outputs = "whole", ("enhanced",)

    def __init__(self, model: ExDiff, recipe: Recipe, steps: int) -> None:
        super().__init__(model, recipe)
        floor = recipe.enhancer.get("floor_db")
        self.floor = 0.0 if floor is None else 10 ** (floor / 20)
        self.steps, options = steps, dict(recipe.sampler)
        if steps > 0:
            assert model.path is not None
            options.pop("steps", None)
            self.sampler = SAMPLERS[options.pop("type")]
            keys = inspect.signature(schedule).parameters
            grid = {key: options.pop(key) for key in list(options) if key in keys}
            self.times = schedule(model.path, steps, **grid)
            self.start, self.options = grid.get("t_start"), options
        with torch.no_grad(), self.numbers() as given:
            self._enhanced(torch.zeros(recipe.channels, recipe.sample_rate // 10))
        self.draws = given.drawn
        self.inputs = ("noisy", "noise") if self.draws else ("noisy",)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with self.numbers(*inputs[1:]):
            return (self._enhanced(inputs[0]),)

    def example(self, noisy: Tensor) -> tuple[Tensor, ...]:
        if not self.draws:
            return (noisy,)
        shape = self.model.spectrum(noisy[None]).shape[1:]
        return noisy, torch.randn(self.draws, *shape, 2, generator=torch.Generator().manual_seed(1))

    def _enhanced(self, noisy: Tensor) -> Tensor:
        wave, gain = self.heard(noisy)
        condition = self.model.condition(wave)
        enhanced = self._sampled(condition, noisy.shape[-1]) if self.steps else condition.estimate
        enhanced = (enhanced / gain)[0]
        return enhanced if self.floor == 0 else (1 - self.floor) * enhanced + self.floor * noisy

    def _sampled(self, condition: Condition, length: int) -> Tensor:
        path = self.model.path
        assert path is not None
        x = path.prior(condition.y, None, self.options.get("noise_scale", 1.0), t=self.start)
        spectrum = self.sampler(
            lambda x_t, t: self.model.predict(x_t, t, condition), x, self.times, path=path, **self.options
        )
        return self.model.transform.inverse(spectrum, length)


class Extraction(Graph):
    """What is computed once for each recording."""

    name, inputs = "extractor", ("noisy",)

    def __init__(self, model: ExDiff, recipe: Recipe) -> None:
        super().__init__(model, recipe)
        with torch.no_grad():
            condition = model.condition(torch.zeros(1, recipe.channels, recipe.sample_rate // 10))
        self.features = tuple(f"feature_{i}" for i in range(len(condition.features or ())))
        self.outputs = ("estimate", "gain", "mixture_spectrum", "estimate_spectrum", *self.features)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with self.numbers():
            wave, gain = self.heard(inputs[0])
            condition = self.model.condition(wave)
            spectra = stacked(condition.mixture), stacked(condition.estimate_spectrum)
            features = [feature[0] for feature in condition.features or ()]
            return (condition.estimate / gain)[0], gain[0], *spectra, *features

    def example(self, noisy: Tensor) -> tuple[Tensor, ...]:
        return (noisy,)


class Evaluation(Graph):
    """One evaluation of the score network, read as the denoised signal; `x` is the state at time `t` [1]."""

    name, outputs = "score", ("denoised",)

    def __init__(self, model: ExDiff, recipe: Recipe) -> None:
        super().__init__(model, recipe)
        self.extraction = [Extraction(model, recipe)]  # in a list: its weights are no weights of this graph
        estimate = model.estimate_input or model.anchor == "estimate"
        self.spectra = ("mixture_spectrum", "estimate_spectrum")[: 1 + estimate]
        self.inputs = ("x", "t", *self.spectra, *self.extraction[0].features)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        x, t, *given = inputs
        with self.numbers():
            spectra = [self.complex(part) for part in given[: len(self.spectra)]]
            features = tuple(part[None] for part in given[len(self.spectra) :])
            anchor = spectra[-1] if self.model.anchor == "estimate" else spectra[0]
            condition = Condition(anchor, spectra[0], x, spectra[-1], features or None)
            return (stacked(self.model.predict(self.complex(x), t, condition).denoised),)

    def example(self, noisy: Tensor) -> tuple[Tensor, ...]:
        found = dict(zip(self.extraction[0].outputs, self.extraction[0](noisy), strict=True))
        return found["mixture_spectrum"], torch.tensor([0.5]), *(found[name] for name in self.inputs[2:])


class Waveform(Graph):
    """From the spectrogram that a sampler ends with to samples at the recording's level."""

    name, inputs, outputs = "waveform", ("spectrum", "gain"), ("enhanced",)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        spectrum, gain = inputs
        with self.numbers():
            return (self.model.transform.inverse(self.complex(spectrum), gain.shape[-1])[0] / gain,)

    def example(self, noisy: Tensor) -> tuple[Tensor, ...]:
        wave, gain = self.heard(noisy)
        return stacked(self.model.spectrum(wave)), gain[0]
