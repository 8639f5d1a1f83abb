"""TensorBoard: losses and scores as curves, spectrograms and audio of a few validation examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from exdiff.core.errors import ConfigError
from exdiff.core.recipe import Recipe
from exdiff.training.validation import Example

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RANGE_DB = 70.0


class TensorBoard:
    """Writes to `out`/tensorboard; what an earlier run wrote there after `step` is hidden.

    Raises:
        ConfigError: the extra `train` is not installed.
    """

    def __init__(self, out: Path, step: int) -> None:
        try:
            import matplotlib  # noqa: F401
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError("training.tensorboard needs the extra: pip install 'exdiff[train]'") from None
        self._writer = SummaryWriter(out / "tensorboard", purge_step=step + 1)

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Add one point to each curve."""
        for name, value in values.items():
            if name != "step":
                self._writer.add_scalar(f"{group}/{name}", value, step)
        self._writer.flush()

    def examples(self, examples: Sequence[Example], recipe: Recipe, step: int) -> None:
        """Add spectrograms, side by side, and audio of each mixture, estimate and clean signal."""
        for number, example in enumerate(examples, 1):
            signals = {"mixture": example.mixture, "estimate": example.estimate, "clean": example.clean}
            self._writer.add_figure(f"example {number}", spectrograms(signals, recipe.sample_rate), step)
            for name, wave in signals.items():
                sound = torch.from_numpy(np.clip(wave, -1, 1)[None])
                self._writer.add_audio(f"example {number}/{name}", sound, step, recipe.sample_rate)
        self._writer.flush()

    def close(self) -> None:
        """Write what is pending."""
        self._writer.close()


def spectrograms(signals: Mapping[str, np.ndarray], rate: int) -> Figure:
    """A figure with one panel for each waveform [T], on a common scale in dB below the loudest bin."""
    from matplotlib.figure import Figure

    size = 2 * round(0.016 * rate)
    window = torch.hann_window(size)
    levels = {}
    for name, wave in signals.items():
        spectrum = torch.stft(torch.from_numpy(wave), size, size // 4, window=window, return_complex=True)
        levels[name] = 20 * torch.log10(spectrum.abs() + 1e-8).numpy()
    top = max(level.max() for level in levels.values())
    figure = Figure(figsize=(4 * len(levels), 3), layout="constrained")
    panels = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    images = []
    for panel, (name, level) in zip(panels, levels.items(), strict=True):
        extent = (0, len(signals[name]) / rate, 0, rate / 2000)
        style = {"cmap": "magma", "aspect": "auto", "origin": "lower", "vmin": -_RANGE_DB, "vmax": 0}
        images.append(panel.imshow(level - top, extent=extent, **style))
        panel.set(title=name, xlabel="s")
    panels[0].set_ylabel("kHz")
    figure.colorbar(images[0], ax=panels, label="dB")
    return figure
