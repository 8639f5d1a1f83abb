"""A multi-resolution discriminator: a loss that a mean of possible answers cannot satisfy.

A regression converges to the average of all plausible answers, which sounds dull where the noise is loud. The
discriminator (Jang et al. 2021, UnivNet; least-squares objective of Mao et al. 2017) tells such averages from speech,
on compressed spectrograms at several resolutions. It is needed only during training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from exdiff.core.machine import fast_layout
from exdiff.training.objective.gradients import Average, gradients, no_average

SIZES = (256, 512, 1024)  # STFT windows in samples, hop one half


class Discriminator(nn.Module):
    """Waveform [B, 1, T] -> the feature maps of every layer; the last is the verdict (1: real, 0: generated)."""

    def __init__(self, size: int, width: int = 32) -> None:
        super().__init__()
        self.size = size
        plan = [(3, width, (2, 1)), (width, width, (2, 2)), (width, width, (2, 2)), (width, width, (2, 1))]
        self.layers = nn.ModuleList([weight_norm(nn.Conv2d(a, b, (5, 5), s, 2)) for a, b, s in plan])
        self.verdict = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> list[Tensor]:
        window = torch.hann_window(self.size, device=wave.device)
        spectrum = torch.stft(
            wave.squeeze(1), self.size, self.size // 2, window=window, pad_mode="constant", return_complex=True
        )
        size = (spectrum.real.square() + spectrum.imag.square() + 1e-6).sqrt()
        x = fast_layout(torch.stack([spectrum.real, spectrum.imag, size], 1) / size.sqrt()[:, None])
        maps = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.1)
            maps.append(x)
        return [*maps, self.verdict(x)]


class Adversary:
    """Discriminators at all `SIZES`, with their own optimiser.

    `generator_loss` stores the pair it is given; `step` then trains the discriminators on that pair.

    Args:
        learning_rate: of the discriminators' AdamW.
        matching: weight of feature matching relative to the verdict.
        average: averages over processes, since feature matching divides by means over the whole batch.
    """

    def __init__(self, learning_rate: float = 5e-4, matching: float = 2.0, average: Average = no_average) -> None:
        self.average, self.matching = average, matching
        self.discriminators = nn.ModuleList([Discriminator(size) for size in SIZES])
        self.optimiser = torch.optim.AdamW(
            self.discriminators.parameters(), lr=learning_rate, betas=(0.5, 0.9), weight_decay=0.01
        )
        self._pair: tuple[Tensor, Tensor] | None = None

    def to(self, device: torch.device | str) -> Adversary:
        """Move the discriminators to `device`."""
        self.discriminators.to(device)
        return self

    def parameters(self) -> Iterator[nn.Parameter]:
        """The discriminators' parameters."""
        return self.discriminators.parameters()

    def generator_loss(self, made: Tensor, real: Tensor) -> Tensor:
        """Least-squares loss of the generated waveforms [B, 1, T], plus the distance of their features to the real."""
        self._pair = made.detach(), real.detach()
        total = made.new_zeros(())
        self.discriminators.requires_grad_(False)
        for discriminator in self.discriminators:
            with torch.no_grad():
                *wanted, _ = discriminator(real)
            *features, verdict = discriminator(made)
            sizes = [b.abs().float().mean() for b in wanted]
            self.average(sizes)
            total = total + (verdict.float() - 1).square().mean()
            for a, b, size in zip(features, wanted, sizes, strict=True):
                total = total + self.matching * (a - b).abs().float().mean() / (size + 1e-3)
        self.discriminators.requires_grad_(True)
        return total / len(self.discriminators)

    def step(self) -> Tensor:
        """Train the discriminators on the stored pair; returns their loss (0.25 if they cannot tell the two apart)."""
        assert self._pair is not None, "generator_loss() comes first"
        made, real = self._pair
        losses = [
            (d(real)[-1].float() - 1).square().mean() + d(made)[-1].float().square().mean() for d in self.discriminators
        ]
        loss = torch.stack(losses).mean() / 2
        self.optimiser.zero_grad()
        loss.backward()
        loss = loss.detach()
        self.average([*gradients(self.parameters()), loss])
        self.optimiser.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimiser, for a checkpoint."""
        return {"weights": self.discriminators.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of another run, also one saved when the weights' names began with `discriminators.`."""
        weights = {name.removeprefix("discriminators."): value for name, value in state["weights"].items()}
        self.discriminators.load_state_dict(weights)
        self.optimiser.load_state_dict(state["optimiser"])
