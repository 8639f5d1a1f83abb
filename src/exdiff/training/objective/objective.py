"""What training minimises: which states the score network is trained on, and how its output is measured.

    denoised            a weighted sum of distances of the denoised estimate to the clean signal (distances.py)
    score, noise, ...   |z - z_hat|^2, which for a score network is the published weighting sigma^2 |s - s_hat|^2
                        (Eq. (12) of Richter et al. 2023)
    last_step           the states that the model's own sampler reaches, after an idea of Lay et al. 2024

An extractor without a backbone is trained on its estimate. With one it is frozen or, if `joint`, learns from its own
loss and from the diffusion loss. Nothing here is needed for inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from exdiff.checkpoints.checkpoint import load_model
from exdiff.core.config import build
from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import GaussianPath, Generators, PathSample, Prediction, uniform
from exdiff.model.exdiff import Condition, ExDiff
from exdiff.model.samplers import Predict, exponential, schedule
from exdiff.model.transforms.levels import LEVELS
from exdiff.training.objective.distances import distance, has_terms, with_defaults
from exdiff.training.objective.gradients import Average, balanced


class Judge(Protocol):
    """What the objective needs of an adversary (training/adversary.py)."""

    average: Average

    def generator_loss(self, made: Tensor, real: Tensor, seen: Sequence[Tensor]) -> Tensor | None:
        """A loss of generated waveforms [B, C, T], made from those `seen`; None as long as it teaches nothing."""
        ...


def build_objective(model: ExDiff, section: Mapping[str, Any]) -> Objective:
    """The objective that a recipe's `objective` section describes; ConfigError for a wrong key or value."""
    return build({"objective": Objective}, {"type": "objective", **section}, model=model)


class Objective:
    """The training objective of a model; creating it freezes an extractor that is not trained.

    Args:
        model: the model to train.
        joint: train the extractor too, on its own loss and the diffusion loss, instead of freezing it.
        detach: with `joint`, the diffusion loss reaches the extractor through the latents only, not the estimate,
            be it an input or the anchor.
        denoise_targets: share of the recordings' own noise that an extractor removes from the targets first: a
            generative model would otherwise learn to produce it. True is all of it, 0.97 leaves what is 30 dB lower.
        denoiser: the model whose extractor does that, a name or a folder; by default this one, if it is frozen.
        weights: of the terms of the diffusion loss, see `WEIGHTS`; `total` scales it whatever the model's output.
        extractor_weights: the same for the extractor's estimate, whether it is trained alone or jointly.
        focus: share of the training times placed at t_max, where sampling starts.
        last_step: if set, train only the last of this many evaluations of the exponential sampler, by the distances.

    Raises:
        ValueError: an unknown weight, weights that leave nothing to learn from, a focus outside [0, 1], a negative
            last_step, a share outside [0, 1], `joint` without an extractor, or a denoiser that is missing, unfit or
            has nothing to do.
        CheckpointError: `denoiser` cannot be loaded.

    Example:
        >>> from exdiff.checkpoints import build_model
        >>> from exdiff.core.recipe import Recipe
        >>> objective = Objective(build_model(Recipe.load("debug")), joint=True)
        >>> clean = 0.1 * torch.randn(1, 1, 2000)
        >>> sorted(objective(clean, clean + 0.1 * torch.randn(1, 1, 2000), torch.Generator()))
        ['diffusion', 'extractor', 'loss']
    """

    def __init__(
        self,
        model: ExDiff,
        *,
        joint: bool = False,
        detach: bool = False,
        denoise_targets: bool | float = False,
        denoiser: str | None = None,
        weights: Mapping[str, float] | None = None,
        extractor_weights: Mapping[str, float] | None = None,
        focus: float = 0.0,
        last_step: int = 0,
    ) -> None:
        self.model, self.joint, self.detach, self.denoise_targets = model, joint, detach, denoise_targets
        self.weights, self.extractor_weights = with_defaults(weights), with_defaults(extractor_weights)
        self.focus, self.last_step = focus, last_step
        self._grid = schedule(model.path, last_step, t_end=0.0) if model.path is not None and last_step > 0 else None
        if not 0 <= focus <= 1 or last_step < 0:
            raise ValueError(f"got focus {focus}, last_step {last_step}; needs 0 <= focus <= 1, last_step >= 0")
        if not 0 <= denoise_targets <= 1:
            raise ValueError(f"denoise_targets must be a share from 0 to 1, got {denoise_targets}")
        if denoiser is not None and not denoise_targets:
            raise ValueError(f"denoiser={denoiser} has no effect without a share in denoise_targets; leave it out")
        self._denoiser = self._find_denoiser(denoiser) if denoise_targets else None
        if joint and model.extractor is None:
            raise ValueError("joint=true trains the extractor too, and this model has none; set objective.joint=false")
        measured = {"weights": self.measures_estimates, "extractor_weights": model.backbone is None}
        for name in (name for name, is_used in measured.items() if is_used):
            if not has_terms(getattr(self, name)):
                raise ValueError(f"without a distance in {name} there is nothing to learn from; give one a weight")
        if model.extractor is not None and not self.extractor_learns:
            model.extractor.requires_grad_(False).eval()

    @property
    def extractor_learns(self) -> bool:
        """Whether the extractor is trained: alone, or jointly with the diffusion model."""
        return self.joint or self.model.backbone is None

    @property
    def measures_estimates(self) -> bool:
        """Whether the diffusion loss is the distances of a denoised estimate, rather than that of the noise."""
        return self.model.backbone is not None and (self.model.output == "denoised" or self.last_step > 0)

    def __call__(
        self, clean: Tensor, mixture: Tensor, generators: Generators = None, adversary: Judge | None = None
    ) -> dict[str, Tensor]:
        """The losses of waveforms [B, C, T]; the entry `loss` is the one to minimise.

        Args:
            clean: waveforms at any level.
            mixture: the same with noise.
            generators: for times and noise, one for the batch, one per example, or keys.
            adversary: adds its loss of the denoised estimates.

        Raises:
            ConfigError: the data do not have the model's number of channels.
        """
        model = self.model
        if model.backbone is not None and mixture.shape[1] != model.channels:
            raise ConfigError(
                f"the data has {mixture.shape[1]} channel(s), the model expects {model.channels}; "
                f"set data.channels={model.channels}, or channels of the recipe"
            )
        if self._denoiser is not None:
            clean = self._denoised(clean, self._denoiser)
        gain = LEVELS[model.level](mixture, model.sample_rate)
        clean, mixture = clean * gain, mixture * gain
        target = model.spectrum(clean)
        condition = model.condition(mixture)
        terms: dict[str, Tensor] = {}
        if model.extractor is not None and self.extractor_learns:
            estimate, spectrum = condition.estimate, condition.estimate_spectrum
            terms["extractor"] = distance(estimate, spectrum, clean, target, self.extractor_weights, model.sample_rate)
        if model.backbone is not None:
            terms["diffusion"] = self._diffusion(clean, mixture, target, condition, generators, adversary)
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    def _find_denoiser(self, name: str | None) -> ExDiff:
        """The model that cleans the targets; another one than `model` goes to its device when it is needed."""
        model = self.model
        if name is None:
            if model.extractor is None or self.extractor_learns:
                raise ValueError("denoise_targets needs an extractor that is frozen; name one with denoiser=speech")
            return model
        other, _ = load_model(name)
        if other.extractor is None or (other.sample_rate, other.channels) != (model.sample_rate, model.channels):
            raise ValueError(
                f"denoiser {name!r} must have an extractor of {model.channels} channel(s) at {model.sample_rate} Hz"
            )
        return other.requires_grad_(False).eval()

    @torch.no_grad()
    def _denoised(self, clean: Tensor, denoiser: ExDiff) -> Tensor:
        assert denoiser.extractor is not None  # checked above
        if next(denoiser.parameters()).device != clean.device:
            denoiser.to(clean.device)
        gain = LEVELS[denoiser.level](clean, denoiser.sample_rate)
        denoised = denoiser.extractor(clean * gain).estimate.float() / gain
        return torch.lerp(clean, denoised, float(self.denoise_targets))

    def _diffusion(
        self,
        clean: Tensor,
        mixture: Tensor,
        target: Tensor,
        condition: Condition,
        generators: Generators,
        adversary: Judge | None,
    ) -> Tensor:
        if self.detach:
            spectra = condition.y.detach(), condition.estimate_spectrum.detach()  # the anchor may be the estimate
            condition = replace(condition, y=spectra[0], estimate_spectrum=spectra[1])
        predict = partial(self.model.predict, condition=condition)
        sample = self.sample(predict, target, condition.y.detach(), generators)
        prediction = predict(sample.x_t, sample.t)
        if not self.measures_estimates:
            return self._noise_loss(prediction, sample)
        seen = mixture, condition.estimate
        return self._estimate_loss(prediction.denoised, clean, target, seen, adversary)

    def sample(self, predict: Predict, target: Tensor, y: Tensor, generators: Generators) -> PathSample:
        """States x_t between the clean `target` and the anchor `y`, both [B, C, F, N], each example at its own time."""
        path = self.model.path
        assert path is not None  # there is a backbone
        if self._grid is None:
            return path.sample(target, y, self._times(path, y, generators), generators)
        x = path.prior(y, generators)
        if self.last_step > 1:
            with torch.no_grad():
                x = exponential(predict, x, self._grid[:-1], path=path)
        return PathSample(x, torch.zeros_like(x), x.real.new_full((len(x),), float(self._grid[-2])), target, y)

    def _times(self, path: GaussianPath, y: Tensor, generators: Generators) -> Tensor:
        share, chosen = uniform(2, len(y), generators, y.device)
        times = path.t_min + (path.t_max - path.t_min) * share
        return torch.where(chosen < self.focus, path.t_max, times)

    def _noise_loss(self, prediction: Prediction, sample: PathSample) -> Tensor:
        return self.weights["total"] * (prediction.noise - sample.z).abs().square().mean()

    def _estimate_loss(
        self, spectrum: Tensor, clean: Tensor, target: Tensor, seen: Sequence[Tensor], adversary: Judge | None
    ) -> Tensor:
        """The distance of the denoised estimate, plus the adversary's loss if there is one."""
        wave = self.model.transform.inverse(spectrum, clean.shape[-1])
        loss = distance(wave, spectrum, clean, target, self.weights, self.model.sample_rate)
        adversarial = None if adversary is None else adversary.generator_loss(wave, clean, seen)
        if adversary is None or adversarial is None:
            return loss
        return balanced(loss, adversarial, spectrum, self.weights["adversary"], adversary.average)
