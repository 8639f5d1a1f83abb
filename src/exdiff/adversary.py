"""A multi-resolution discriminator: a loss that a mean of possible answers cannot satisfy.

A regression answers with the average of what could have been said, which sounds dull where the noise is loud. The
discriminator (Jang et al. 2021, UnivNet; least-squares objective of Mao et al. 2017) sees compressed spectrograms at
several resolutions and tells averages from speech. It lives only during training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from exdiff.machine import fast_layout
from exdiff.optimiser import gradients

# Puts into each tensor its mean over the processes that have a part of the batch each; with one there is nothing to do.
Average = Callable[[Sequence[Tensor]], None]

SIZES = (256, 512, 1024)  # STFT windows in samples, hop one half


def _alone(tensors: Sequence[Tensor]) -> None:
    del tensors


class Discriminator(nn.Module):
    """Waveform [B, 1, T] -> the maps of every layer, the last one the verdict (1 real, 0 made)."""

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


class Adversary(nn.Module):
    """Discriminators at all `SIZES` with their own optimiser.

    `judge` gives the generator's loss and remembers the pair; `learn` then improves the discriminators on it.

    Args:
        learning_rate: of the discriminators' AdamW.
        matching: weight of the feature matching against the verdict.
        average: over processes. Feature matching and the balance divide by means over the whole batch, which are no
            means of the parts' own quotients.
    """

    def __init__(self, learning_rate: float = 5e-4, matching: float = 2.0, average: Average = _alone) -> None:
        super().__init__()
        self.average = average
        self.discriminators = nn.ModuleList([Discriminator(size) for size in SIZES])
        self.matching = matching
        self.optimiser = torch.optim.AdamW(self.parameters(), lr=learning_rate, betas=(0.5, 0.9), weight_decay=0.01)
        self._pair: tuple[Tensor, Tensor] | None = None

    def judge(self, made: Tensor, real: Tensor) -> Tensor:
        """How easily the made waveforms [B, 1, T] are told from the real ones, and how far their features lie apart."""
        self._pair = made.detach(), real.detach()
        total = made.new_zeros(())
        self.requires_grad_(False)
        for discriminator in self.discriminators:
            with torch.no_grad():
                *wanted, _ = discriminator(real)
            *features, verdict = discriminator(made)
            sizes = [b.abs().float().mean() for b in wanted]
            self.average(sizes)
            total = total + (verdict.float() - 1).square().mean()
            for a, b, size in zip(features, wanted, sizes, strict=True):
                total = total + self.matching * (a - b).abs().float().mean() / (size + 1e-3)
        self.requires_grad_(True)
        return total / len(self.discriminators)

    def learn(self) -> Tensor:
        """One step on the remembered pair; its loss (0.25 when the discriminators cannot tell)."""
        assert self._pair is not None, "judge() comes first"
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

    def progress(self) -> dict[str, Any]:
        """Weights and optimiser, for a checkpoint."""
        return {"weights": self.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, progress: dict[str, Any]) -> None:
        """Undo `progress`."""
        self.load_state_dict(progress["weights"])
        self.optimiser.load_state_dict(progress["optimiser"])


def balanced(main: Tensor, adversarial: Tensor, at: Tensor, ratio: float, average: Average = _alone) -> Tensor:
    """A loss whose gradient at the output `at` is that of `adversarial`, with `ratio` times the norm of `main`'s.

    Esser et al. 2021, Eq. (7): no weight to tune, whatever the discriminators' scale. Its value says nothing; being
    linear in `at` it spares a second walk back through the discriminators.
    """
    (wanted,) = torch.autograd.grad(main, at, retain_graph=True)
    (got,) = torch.autograd.grad(adversarial, at, retain_graph=True)
    powers = [wanted.abs().square().sum(), got.abs().square().sum()]
    average(powers)  # of the parts of a batch: their gradients are those of the whole but for one common factor
    scale = ratio * powers[0].sqrt() / (powers[1].sqrt() + 1e-8)
    slope = torch.view_as_real(scale * got) if got.is_complex() else scale * got
    value = torch.view_as_real(at) if at.is_complex() else at
    return (slope * (value - value.detach())).sum()
