"""Ex-Diff: extract once, then diffuse (arXiv 2409.09642).

    mixture --extractor--> estimate, latents --fusion--> features      once a window, nothing depends on t
    x_t, t, anchor, estimate, features --backbone--> Prediction        once an evaluation

The anchor y, at which the reverse process starts, is the mixture (the paper, SGMSE+) or the extractor's estimate
(as in StoRM). Everything here works on level-scaled waveforms (levels.py); `loss` scales by itself, the Enhancer does
it for inference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from exdiff.adversary import Adversary
from exdiff.backbones import Backbone
from exdiff.config import check_names
from exdiff.diffusion import KINDS, GaussianPath, Generators, Precondition, Prediction
from exdiff.errors import ConfigError
from exdiff.extractors import Extractor
from exdiff.fusion import Fusion
from exdiff.levels import LEVELS
from exdiff.losses import complete, distance
from exdiff.objectives import Objective
from exdiff.transforms import PADDINGS, CompressedSTFT, pad_frames

ANCHORS = ("mixture", "estimate")


@dataclass(frozen=True)
class Condition:
    """What guides the diffusion, computed once per window.

    Attributes:
        y: the anchor, complex [B, C, F, N].
        mixture: the mixture's spectrogram, complex [B, C, F, N].
        estimate: the extractor's waveform [B, C, T]; the mixture itself where there is no extractor.
        estimate_spectrum: its spectrogram, complex [B, C, F, N].
        features: the fused latents, one for each resolution of the backbone, or None; see `Fusion`.
    """

    y: Tensor
    mixture: Tensor
    estimate: Tensor
    estimate_spectrum: Tensor
    features: tuple[Tensor, ...] | None


class ExDiff(nn.Module):
    """The whole system as one module.

    Args:
        transform: invertible time-frequency transform.
        path, backbone: Gaussian path and score network; None for an extractor alone (sampled with 0 steps).
        extractor: discriminative model, or None (plain diffusion, as SGMSE+).
        fusion: how latents reach the backbone.
        sample_rate: Hz inside the model.
        channels: that are heard together, 1 or 2; waveforms and spectrograms then have C of so many.
        level: name of the level scaling.
        anchor: where the reverse process starts.
        output: what the backbone's output means.
        residual: the output is added to the estimate (denoised outputs only).
        estimate_input: the backbone is given the estimate; if not, latents alone guide, and the mixture replaces it.
        joint: the extractor learns from the diffusion loss too, instead of being frozen.
        detach: of a joint extractor the diffusion's loss reaches the latents only: the estimate is its own loss's.
        weights: of the diffusion's loss terms, see `WEIGHTS`.
        extractor_weights: the same for the extractor's estimate; its `total` weighs it against the diffusion's loss.
        denoise_targets: the frozen extractor cleans the targets first: what it makes of an almost clean recording has
            less of the recording's own noise, which a generative model would learn to make.
        focus, last_step: see `Objective`.
        precondition: arguments of `Precondition`; None feeds the backbone and reads its output as they are.
        frames_multiple, frames_padding: lengthen spectrograms so far, with "zeros" or "reflected", as published.

    Raises:
        ValueError: an unknown level, anchor, output, weight or padding, or parts that do not belong together.

    Example:
        >>> from exdiff.checkpoint import build_model
        >>> from exdiff.config import Recipe
        >>> model = build_model(Recipe.load("debug"))
        >>> condition = model.condition(torch.randn(1, 1, 2000))
        >>> model.predict(condition.y, torch.ones(1), condition).denoised.shape == condition.y.shape
        True
    """

    def __init__(
        self,
        transform: CompressedSTFT,
        path: GaussianPath | None = None,
        *,
        extractor: Extractor | None = None,
        backbone: Backbone | None = None,
        fusion: Fusion | None = None,
        sample_rate: int = 16000,
        channels: int = 1,
        level: str = "local",
        anchor: Literal["mixture", "estimate"] = "mixture",
        output: Literal["denoised", "score", "noise", "velocity"] = "denoised",
        residual: bool = True,
        estimate_input: bool = True,
        joint: bool = False,
        detach: bool = False,
        denoise_targets: bool = False,
        weights: Mapping[str, float] | None = None,
        extractor_weights: Mapping[str, float] | None = None,
        focus: float = 0.0,
        last_step: int = 0,
        precondition: Mapping[str, Any] | None = None,
        frames_multiple: int = 1,
        frames_padding: str = "zeros",
    ) -> None:
        super().__init__()
        self.transform, self.path, self.extractor = transform, path, extractor
        self.backbone, self.fusion = backbone, fusion
        self.sample_rate, self.channels = sample_rate, channels
        self.level, self.anchor, self.output = level, anchor, output
        self.residual, self.estimate_input = residual and output == "denoised", estimate_input
        self.joint, self.detach, self.denoise_targets = joint, detach, denoise_targets
        self.precondition = Precondition(**precondition) if precondition is not None else None
        self.frames_multiple, self.frames_padding = frames_multiple, frames_padding
        self.objective = Objective(output, complete(weights), focus, last_step, sample_rate)
        self.extractor_weights = complete(extractor_weights)
        check_names("level", [level], LEVELS)
        check_names("anchor", [anchor], ANCHORS)
        check_names("output", [output], KINDS)
        check_names("frames_padding", [frames_padding], PADDINGS)
        if channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, got {channels}")
        if anchor == "estimate" and extractor is None:
            raise ValueError("anchor 'estimate' needs an extractor")
        if denoise_targets and (extractor is None or self.extractor_learns):
            raise ValueError("denoise_targets needs an extractor that is frozen")
        if backbone is not None and path is None:
            raise ValueError("a backbone needs a path")
        if backbone is None and extractor is None:
            raise ValueError("a model needs an extractor, a backbone, or both")
        self.train()

    @property
    def extractor_learns(self) -> bool:
        """Whether training reaches the extractor: alone, or jointly with the diffusion."""
        return self.joint or self.backbone is None

    @property
    def alignment(self) -> int:
        """Samples: windows that start at multiples of it see the same frames, grouped alike, in all parts."""
        frames = self.backbone.alignment if self.backbone is not None else 1
        extractor = self.extractor.alignment if self.extractor is not None else 1
        return math.lcm(self.transform.hop_length * frames, extractor)

    def train(self, mode: bool = True) -> ExDiff:
        """As every module's; but a frozen extractor never goes into training mode, where dropout and norms change."""
        super().train(mode)
        if self.extractor is not None and not self.extractor_learns:
            self.extractor.eval()
        return self

    def condition(self, mixture: Tensor) -> Condition:
        """Extract: level-scaled mixture [B, C, T] -> everything the diffusion is guided by."""
        spectrum = self._spectrum(mixture)
        if self.extractor is None:
            return Condition(spectrum, spectrum, mixture, spectrum, None)
        # The extractor alone: the fusion's own weights always learn.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.extractor_learns):
            extraction = self.extractor(mixture)
        estimate = self._spectrum(extraction.estimate)
        features = None
        if self.fusion is not None and self.backbone is not None:
            bins, frames = spectrum.shape[-2:]
            # An extractor that hears one channel at a time has latents of each: they come side by side.
            latents = [m.reshape(len(mixture), -1, *m.shape[2:]) for m in extraction.latents]
            features = tuple(self.fusion(latents, self.backbone.feature_sizes(bins, frames)))
        y = estimate if self.anchor == "estimate" else spectrum
        return Condition(y, spectrum, extraction.estimate, estimate, features)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        """One evaluation of the network at state x_t, complex [B, C, F, N], and times t [B]."""
        others = [condition.mixture]
        if self.extractor is not None and self.estimate_input:
            others.append(condition.estimate_spectrum)
        path, output = self._evaluate(x_t, others, t, condition.features)
        if self.residual:
            output = output + others[-1]
        return Prediction(output, self.output, path, x_t, condition.y, t)

    def raw_output(self, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """What the network says, before any residual: for a published checkpoint what its own forward gives.

        State and mixture are complex [B, 1, F, N] of any N, scaled and transformed, times [B]; so is what is returned,
        of the kind `output`. ConfigError: there is no backbone, or an extractor, which guides it by more than y.
        """
        if self.extractor is not None:
            raise ConfigError("raw_output is for models without an extractor; use condition() and predict()")
        frames = x_t.shape[-1]
        x_t, y = (pad_frames(s, self.frames_multiple, self.frames_padding) for s in (x_t, y))
        return self._evaluate(x_t, [y], t, None)[1][..., :frames]

    def _spectrum(self, wave: Tensor) -> Tensor:
        return pad_frames(self.transform(wave), self.frames_multiple, self.frames_padding)

    def _evaluate(
        self, x_t: Tensor, others: Sequence[Tensor], t: Tensor, features: Sequence[Tensor] | None
    ) -> tuple[GaussianPath, Tensor]:
        """The path, and the preconditioned backbone's complex output."""
        backbone, path = self.backbone, self.path
        if backbone is None or path is None:
            raise ConfigError("this model is an extractor alone: it can only be used with --steps 0")
        # Addition is what every backbone does by itself.
        inject = None if self.fusion is None or self.fusion.adds else partial(self.fusion.combine, time=t)
        network = partial(backbone.on_spectra, time=t, condition=features, inject=inject)
        if self.precondition is None:
            return path, network([x_t, *others])
        return path, self.precondition(network, x_t, others, path, t)

    def loss(
        self,
        clean: Tensor,
        mixture: Tensor,
        generator: Generators = None,
        adversary: Adversary | None = None,
    ) -> dict[str, Tensor]:
        """Training losses of waveforms [B, C, T]; the entry `loss` is the one to minimise.

        An extractor alone learns its estimate. With a backbone the extractor is frozen, or, if `joint`, learns from
        both its own loss and the diffusion's. An adversary judges the denoised estimates. ConfigError: the number of
        channels is not the model's.
        """
        if self.backbone is not None and mixture.shape[1] != self.channels:
            raise ConfigError(
                f"the data has {mixture.shape[1]} channel(s), the model hears {self.channels}; "
                f"set data.channels={self.channels}, or channels of the recipe"
            )
        if self.denoise_targets:
            clean = self._denoised(clean)
        gain = LEVELS[self.level](mixture, self.sample_rate)
        clean, mixture = clean * gain, mixture * gain
        target = self._spectrum(clean)
        condition = self.condition(mixture)
        terms: dict[str, Tensor] = {}
        if self.extractor is not None and self.extractor_learns:
            estimate, spectrum = condition.estimate, condition.estimate_spectrum
            terms["extractor"] = distance(estimate, spectrum, clean, target, self.extractor_weights, self.sample_rate)
        if self.backbone is not None:
            terms["diffusion"] = self._diffusion_loss(clean, target, condition, generator, adversary)
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    @torch.no_grad()
    def _denoised(self, clean: Tensor) -> Tensor:
        assert self.extractor is not None  # checked when the model was built
        gain = LEVELS[self.level](clean, self.sample_rate)
        return self.extractor(clean * gain).estimate.float() / gain

    def _diffusion_loss(
        self,
        clean: Tensor,
        target: Tensor,
        condition: Condition,
        generator: Generators,
        adversary: Adversary | None,
    ) -> Tensor:
        assert self.path is not None  # there is a backbone
        if self.detach:
            condition = replace(condition, estimate_spectrum=condition.estimate_spectrum.detach())
        predict = partial(self.predict, condition=condition)
        sample = self.objective.sample(self.path, predict, target, condition.y.detach(), generator)
        prediction = predict(sample.x_t, sample.t)
        if not self.objective.measures_estimate:
            return self.objective.of_noise(prediction, sample)
        wave = self.transform.inverse(prediction.denoised, clean.shape[-1])
        return self.objective.of_estimate(wave, prediction.denoised, clean, target, adversary)
