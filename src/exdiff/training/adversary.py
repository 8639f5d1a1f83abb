"""An adversary: a loss that a mean of possible answers cannot satisfy.

A regression converges to the average of all plausible answers, which sounds dull where the noise is loud.
Discriminators (objective/discriminators.py) learn to tell such averages from speech (least-squares objective of Mao et
al. 2017). They are needed only during training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from exdiff.core.config import limited
from exdiff.training.objective.discriminators import PeriodDiscriminator, SpectralDiscriminator
from exdiff.training.objective.gradients import Average, clip, join_gradients, no_average
from exdiff.training.optimiser import AdamW

_MATCHING = 2.0  # weight of feature matching relative to the verdict


@dataclass(frozen=True)
class AdversaryOptions:
    """The table `training.adversary` of a recipe."""

    learning_rate: float = limited(5e-4, above=0)  # of the discriminators' AdamW
    # The step from which the model learns from them; below 1, a share of the run. They learn from the first step.
    start: float = limited(0.0, least=0)
    conditional: bool = False  # they are shown the mixture and the extractor's estimate too
    resolutions: tuple[int, ...] = limited((256, 512, 1024), above=7)  # STFT windows in samples, one discriminator each
    periods: tuple[int, ...] = limited((), above=1)  # in samples, one discriminator each

    def __post_init__(self) -> None:
        if not self.resolutions and not self.periods:
            raise ValueError("without resolutions and periods there is nothing that could judge")


class Adversary:
    """Discriminators with their own optimiser.

    `generator_loss` stores the pair it is given; `step` then trains the discriminators on that pair.

    Args:
        options: see `AdversaryOptions`.
        steps: of the run.
        average: averages over processes, since feature matching divides by means over the whole batch.

    Attributes:
        first_step: from which the model is to learn from the discriminators.
        teaches: whether it does.

    Example:
        >>> adversary, real = Adversary(), torch.randn(2, 1, 2000)
        >>> loss = adversary.generator_loss(0.5 * real, real)
        >>> adversary.step().shape
        torch.Size([])
    """

    def __init__(self, options: AdversaryOptions | None = None, steps: int = 1, average: Average = no_average) -> None:
        options = options or AdversaryOptions()
        self.average, self.conditional = average, options.conditional
        self.first_step = round(options.start if options.start >= 1 else options.start * steps)
        self.teaches = True
        signals = 3 if options.conditional else 1
        self.discriminators = nn.ModuleList([SpectralDiscriminator(size, signals) for size in options.resolutions])
        self.discriminators.extend([PeriodDiscriminator(period, signals) for period in options.periods])
        self.optimiser = AdamW(self.parameters(), options.learning_rate, betas=(0.5, 0.9))
        self._pair: tuple[Tensor, Tensor] | None = None

    def to(self, device: torch.device | str) -> Adversary:
        """Move the discriminators to `device`."""
        self.discriminators.to(device)
        return self

    def parameters(self) -> Iterator[nn.Parameter]:
        """The discriminators' parameters."""
        return self.discriminators.parameters()

    def generator_loss(self, made: Tensor, real: Tensor, seen: Sequence[Tensor] = ()) -> Tensor | None:
        """Least-squares loss of generated waveforms, plus the distance of their features to the real; None at first.

        Args:
            made: waveforms [B, C, T], of which each channel is judged by itself.
            real: what they should be.
            seen: what they were made from: the mixture and the estimate. Conditional discriminators need both.
        """
        made, real = (self._signals(wave, seen) for wave in (made, real))
        self._pair = made.detach(), real.detach()
        if not self.teaches:
            return None
        verdicts, distances, sizes = [], [], []
        self.discriminators.requires_grad_(False)
        with parametrize.cached():  # or each call would compute the weights anew
            for discriminator in self.discriminators:
                with torch.no_grad():
                    *wanted, _ = discriminator(real)
                *features, verdict = discriminator(made)
                verdicts.append((verdict.float() - 1).square().mean())
                distances += [(a - b).abs().float().mean() for a, b in zip(features, wanted, strict=True)]
                sizes += [b.abs().float().mean() for b in wanted]
        self.discriminators.requires_grad_(True)
        size = torch.stack(sizes)
        self.average([size])
        matching = (torch.stack(distances) / (size + 1e-3)).sum()
        return (torch.stack(verdicts).sum() + _MATCHING * matching) / len(self.discriminators)

    def step(self, finite: Tensor | None = None) -> Tensor:
        """Train the discriminators on the stored pair; returns their loss (0.25 if they cannot tell the two apart).

        Args:
            finite: a truth value on the device: where it is false, nothing changes.
        """
        assert self._pair is not None, "generator_loss() comes first"
        both, count = torch.cat(self._pair), len(self._pair[0])
        losses = []
        for discriminator in self.discriminators:
            made, real = discriminator(both)[-1].float().split(count)
            losses.append((real - 1).square().mean() + made.square().mean())
        loss = torch.stack(losses).mean() / 2
        self.optimiser.zero_grad()
        loss.backward()
        loss, gradient = loss.detach(), join_gradients(self.parameters())
        self.average([gradient, loss])
        own = clip(gradient, torch.inf).isfinite()
        self.optimiser.step(own if finite is None else own & finite)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimiser, for a checkpoint."""
        return {"weights": self.discriminators.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of another run, also one saved when the weights' names began with `discriminators.`."""
        weights = {name.removeprefix("discriminators."): value for name, value in state["weights"].items()}
        self.discriminators.load_state_dict(weights)
        self.optimiser.load_state_dict(state["optimiser"])

    def _signals(self, wave: Tensor, seen: Sequence[Tensor]) -> Tensor:
        """[B, C, T] -> [B C, 1, T], or [B C, 3, T] with what the judgement is conditional on."""
        waves = [wave, *(s.detach() for s in seen)] if self.conditional else [wave]
        return torch.stack([w.flatten(0, 1) for w in waves], 1)
