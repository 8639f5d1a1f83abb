"""The discriminators' networks: one looks at spectrograms, the other at every n-th sample.

Both take signals [B, K, T]: the one to judge and, if the judgement is conditional, what it was made from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from exdiff.core.machine import fast_layout
from exdiff.training.objective.spectra import power, spectra


class Discriminator(nn.Module, ABC):
    """Signals [B, K, T] -> the feature maps of every layer; the last is the verdict (1: real, 0: generated)."""

    def __init__(self, layers: list[nn.Module], width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([weight_norm(layer) for layer in layers])
        self.verdict = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, signals: Tensor) -> list[Tensor]:
        x = fast_layout(self.image(signals))
        maps = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.1)
            maps.append(x)
        return [*maps, self.verdict(x)]

    @abstractmethod
    def image(self, signals: Tensor) -> Tensor:
        """What is looked at, [B, channels, height, width]."""


class SpectralDiscriminator(Discriminator):
    """Looks at compressed spectrograms (Jang et al. 2021, UnivNet).

    Args:
        size: STFT window in samples, hop one half.
        signals: K.
        width: channels of the maps.

    Example:
        >>> [tuple(m.shape) for m in SpectralDiscriminator(256)(torch.zeros(1, 1, 4000))][-1]
        (1, 1, 9, 8)
    """

    def __init__(self, size: int, signals: int = 1, width: int = 32) -> None:
        plan = [(3 * signals, (2, 1)), (width, (2, 2)), (width, (2, 2)), (width, (2, 1))]
        super().__init__([nn.Conv2d(channels, width, (5, 5), stride, 2) for channels, stride in plan], width)
        self.size = size

    def image(self, signals: Tensor) -> Tensor:
        spectrum = spectra(signals.flatten(0, 1), self.size)
        size = (power(spectrum) + 1e-6).sqrt()[:, None]
        image = torch.cat([torch.view_as_real(spectrum).movedim(-1, 1), size], 1) / size.sqrt()
        return image.reshape(len(signals), -1, *image.shape[2:])


class PeriodDiscriminator(Discriminator):
    """Looks at samples that are `period` apart (Kong et al. 2020, HiFi-GAN), which shows whether voices are periodic.

    Args:
        period: in samples; primes see different things.
        signals: K.
        width: channels of the first map; each further one has twice as many.

    Example:
        >>> [tuple(m.shape) for m in PeriodDiscriminator(5)(torch.zeros(1, 1, 4000))][-1]
        (1, 1, 10, 5)
    """

    def __init__(self, period: int, signals: int = 1, width: int = 32) -> None:
        widths = [signals, width, 2 * width, 4 * width, 8 * width]
        strides = [3, 3, 3, 3]
        layers = [
            nn.Conv2d(a, b, (5, 1), (stride, 1), (2, 0))
            for a, b, stride in zip(widths, widths[1:], strides, strict=False)
        ]
        super().__init__([*layers], widths[-1])
        self.period = period

    def image(self, signals: Tensor) -> Tensor:
        whole = functional.pad(signals, (0, -signals.shape[-1] % self.period))
        return whole.unflatten(-1, (-1, self.period))
