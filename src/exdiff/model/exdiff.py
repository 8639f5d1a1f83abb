"""Ex-Diff: extract once, then diffuse (arXiv 2409.09642).

    condition    mixture --extractor--> estimate, latents --fusion--> features       once per window: t plays no part
    predict      x_t, mixture, estimate, t, features --backbone--> Prediction        once per evaluation

The reverse process starts at the anchor y: the mixture (the paper, SGMSE+) or the extractor's estimate (as in StoRM).
Waveforms in here are level-scaled (transforms/levels.py): by the Enhancer in inference, by the objective in training.
Not here: what training minimises (exdiff.training.objective) and the walk from y to clean (exdiff.model.samplers).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from exdiff.core.config import build, check_names
from exdiff.core.errors import ConfigError
from exdiff.model.backbones import Backbone
from exdiff.model.diffusion import PREDICTIONS, GaussianPath, Precondition, Prediction
from exdiff.model.extractors import Extractor
from exdiff.model.fusion import Fusion
from exdiff.model.transforms import PADDINGS, CompressedSTFT, pad_frames
from exdiff.model.transforms.levels import LEVELS

ANCHORS = ("mixture", "estimate")


@dataclass(frozen=True)
class Condition:
    """Everything that guides the diffusion, computed once per window.

    Attributes:
        y: the anchor, complex [B, C, F, N].
        mixture: the mixture's spectrogram, complex [B, C, F, N].
        estimate: the extractor's waveform [B, C, T]; without an extractor, the mixture.
        estimate_spectrum: its spectrogram, complex [B, C, F, N].
        features: the fused latents, one for each resolution of the backbone, or None; see `Fusion`.
    """

    y: Tensor
    mixture: Tensor
    estimate: Tensor
    estimate_spectrum: Tensor
    features: tuple[Tensor, ...] | None


class ExDiff(nn.Module):
    """The whole system as one module: an extractor, a score network, or both.

    Args:
        transform: invertible time-frequency transform.
        path: the diffusion process; needed with a backbone.
        extractor: discriminative model, or None for plain diffusion, as in SGMSE+.
        backbone: score network, or None for an extractor alone, which is run with 0 steps.
        fusion: how the extractor's latents enter the backbone; None ignores them.
        sample_rate: of the waveforms, in Hz.
        channels: C, processed together: 1 or 2.
        level: how waveforms are scaled before they come here, a key of `LEVELS`.
        anchor: where the reverse process starts.
        output: what the network predicts.
        residual: add the estimate to the network's output; without an estimate among its inputs, the mixture. For
            denoised outputs only.
        estimate_input: give the estimate to the backbone; otherwise only the latents guide it.
        precondition: arguments of `Precondition`; None leaves the backbone's input and output as they are.
        frames_multiple: pad spectrograms to a multiple of this many frames.
        frames_padding: with "zeros" or "reflected" frames, as published.

    Raises:
        ValueError: an unknown level, anchor, output or padding, channels other than 1 or 2, or parts that do not fit
            together.

    Example:
        >>> from exdiff.checkpoints.checkpoint import build_model
        >>> from exdiff.core.recipe import Recipe
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
        precondition: Mapping[str, Any] | None = None,
        frames_multiple: int = 1,
        frames_padding: str = "zeros",
    ) -> None:
        super().__init__()
        check_names("level", [level], LEVELS)
        check_names("anchor", [anchor], ANCHORS)
        check_names("output", [output], PREDICTIONS)
        check_names("frames_padding", [frames_padding], PADDINGS)
        if channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, got {channels}")
        if frames_multiple < 1:
            raise ValueError(f"frames_multiple must be at least 1, got {frames_multiple}")
        if anchor == "estimate" and extractor is None:
            raise ValueError("anchor 'estimate' needs an extractor")
        if backbone is not None and path is None:
            raise ValueError("a backbone needs a path")
        if backbone is None and extractor is None:
            raise ValueError("a model needs an extractor, a backbone, or both (with stage=extractor the former)")
        self.transform, self.path = transform, path
        self.extractor, self.backbone, self.fusion = extractor, backbone, fusion
        self.sample_rate, self.channels, self.level = sample_rate, channels, level
        self.anchor, self.output = anchor, output
        self.residual = residual and output == "denoised"
        self.estimate_input = estimate_input and extractor is not None
        kinds = {"precondition": Precondition}
        self.precondition = None if precondition is None else build(kinds, {"type": "precondition", **precondition})
        self.frames_multiple, self.frames_padding = frames_multiple, frames_padding
        self.train()

    def condition(self, mixture: Tensor) -> Condition:
        """Extract: from the level-scaled mixture [B, C, T], everything that guides the diffusion."""
        spectrum = self.spectrum(mixture)
        if self.extractor is None:
            return Condition(spectrum, spectrum, mixture, spectrum, None)
        # A frozen extractor needs no graph; the fusion behind it always learns.
        with torch.set_grad_enabled(torch.is_grad_enabled() and _is_trained(self.extractor)):
            extraction = self.extractor(mixture)
        estimate = self.spectrum(extraction.estimate)
        features = None
        if self.fusion is not None and self.backbone is not None:
            bins, frames = spectrum.shape[-2:]
            # An extractor of one channel has latents of [B * C, ...]: a signal's channels are stacked side by side.
            latents = [m.reshape(len(mixture), -1, *m.shape[2:]) for m in extraction.latents]
            features = tuple(self.fusion(latents, self.backbone.feature_sizes(bins, frames)))
        y = estimate if self.anchor == "estimate" else spectrum
        return Condition(y, spectrum, extraction.estimate, estimate, features)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        """Diffuse: one evaluation of the network at states x_t, complex [B, C, F, N], and times t [B]."""
        others = [condition.mixture]
        if self.estimate_input:
            others.append(condition.estimate_spectrum)
        output = self._evaluate(x_t, others, t, condition.features)
        if self.residual:
            output = output + others[-1]
        assert self.path is not None  # a backbone has one
        return Prediction(output, self.output, self.path, x_t, condition.y, t)

    def raw_output(self, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """The preconditioned network alone, without residual: for a published checkpoint, the output of its forward.

        Args:
            x_t: states, complex [B, 1, F, N] with any N.
            y: spectrogram of the scaled mixture, like `x_t`.
            t: times [B].

        Returns:
            A prediction of the kind `output`, like `x_t`.

        Raises:
            ConfigError: there is no backbone, or there is an extractor, which would guide it beyond y.
        """
        if self.extractor is not None:
            raise ConfigError("raw_output is for models without an extractor; use condition() and predict()")
        frames = x_t.shape[-1]
        x_t, y = (pad_frames(s, self.frames_multiple, self.frames_padding) for s in (x_t, y))
        return self._evaluate(x_t, [y], t, None)[..., :frames]

    def spectrum(self, wave: Tensor) -> Tensor:
        """Waveform [B, C, T] -> complex [B, C, F, N], N padded to a multiple of `frames_multiple`."""
        return pad_frames(self.transform(wave), self.frames_multiple, self.frames_padding)

    def _evaluate(self, x_t: Tensor, others: Sequence[Tensor], t: Tensor, features: Sequence[Tensor] | None) -> Tensor:
        """c_skip x_t + c_out F(c_in x_t, c_in others, t, features), complex [B, C, F, N]; F is the backbone."""
        if self.backbone is None or self.path is None:
            raise ConfigError("this model is an extractor alone: it can only be used with --steps 0")
        # Every backbone adds features by itself, which is faster.
        inject = None if self.fusion is None or self.fusion.adds else partial(self.fusion.combine, time=t)
        network = partial(self.backbone.on_spectra, time=t, condition=features, inject=inject)
        if self.precondition is None:
            return network([x_t, *others])
        return self.precondition(network, x_t, others, self.path, t)

    @property
    def alignment(self) -> int:
        """Samples: windows that start at multiples of this have the same frames, grouped alike, in all parts."""
        frames = self.backbone.alignment if self.backbone is not None else 1
        extractor = self.extractor.alignment if self.extractor is not None else 1
        return math.lcm(self.transform.hop_length * frames, extractor)

    @property
    def ragged(self) -> bool:
        """Whether signals of different lengths may share a batch, see `exdiff.core.ragged`."""
        hops = {self.transform.hop_length if self.transform.ragged else 0}
        if self.extractor is not None:
            hops.add(self.extractor.ragged_hop)
        networks = self.backbone is None or (self.backbone.ragged and self.frames_multiple == 1)
        networks = networks and (self.fusion is None or self.fusion.ragged)
        return networks and len(hops) == 1 and 0 not in hops and not _is_compiled(self)

    def train(self, mode: bool = True) -> ExDiff:
        """As for every module, except that a frozen extractor stays in evaluation mode (dropout, batch norm)."""
        super().train(mode)
        if self.extractor is not None and not _is_trained(self.extractor):
            self.extractor.eval()
        return self


def _is_compiled(module: nn.Module) -> bool:
    """Whether any part of it is; asked with every window, which `modules()` is too slow for."""
    return module._compiled_call_impl is not None or any(map(_is_compiled, filter(None, module._modules.values())))


def _is_trained(module: nn.Module) -> bool:
    """Whether any of its weights are trained."""
    return any(p.requires_grad for p in module.parameters())
