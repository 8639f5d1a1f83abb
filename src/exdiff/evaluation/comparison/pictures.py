"""Pictures as PNG: waveform over spectrogram, curves along time, differences file by file. Drawn with matplotlib."""

from __future__ import annotations

import importlib.util
import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exdiff.core.errors import ExDiffError
from exdiff.evaluation.comparison.segments import Curve, times_of

RANGE_DB = 80.0  # from the loudest point of a case to the darkest colour
MAP = "magma"
LEFT, RIGHT = 0.105, 0.985  # shares of a picture's width at which time begins and ends, also used by the page's cursor
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # distinguishable for the colour-blind
_GREY = "#8a8f98"
_FRAME_SECONDS = 0.032


def require_matplotlib() -> None:
    """Raise before the work begins.

    Raises:
        ExDiffError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ExDiffError("the page needs matplotlib, which is not installed; run pip install 'exdiff[compare]'")


def spectrum_db(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power in dB [F, N] of a mono signal [T], frames of 32 ms; 0 dB is a sine of full scale.

    Example:
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
        >>> round(float(spectrum_db(tone, 16000).max()), 1)
        0.0
    """
    size = max(16, round(_FRAME_SECONDS * sample_rate))
    padded = np.pad(signal.astype(np.float64), size // 2, mode="reflect" if signal.size > size else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 4]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    magnitude = np.abs(np.fft.rfft(frames * window, axis=-1)).T / (window.sum() / 2)
    return 20 * np.log10(np.maximum(magnitude, 1e-9))


def tile(signal: np.ndarray, sample_rate: int, start: float, top_db: float, peak: float) -> bytes:
    """The waveform of a mono signal [T] over its spectrogram.

    Args:
        signal: the part of a file to draw.
        sample_rate: Hz.
        start: of the signal within the file, in seconds.
        top_db: level of the brightest colour, see `spectrum_db`; 80 dB below it is the darkest.
        peak: range of the waveform's axis.
    """
    figure = _figure(5.6, 2.9)
    wave, picture = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3.2])
    end = start + signal.size / sample_rate
    step = max(1, signal.size // 1400)
    parts = np.array_split(signal, max(1, signal.size // step))
    times = np.linspace(start, end, len(parts))
    low, high = (np.array([edge(part) for part in parts]) for edge in (np.min, np.max))
    wave.fill_between(times, low, high, color="#3b4252", linewidth=0.4)
    wave.set(ylim=(-peak, peak), yticks=[], xlim=(start, end))
    wave.tick_params(labelbottom=False)
    picture.imshow(
        spectrum_db(signal, sample_rate),
        origin="lower",
        aspect="auto",
        extent=(start, end, 0, sample_rate / 2000),
        vmin=top_db - RANGE_DB,
        vmax=top_db,
        cmap=MAP,
        interpolation="nearest",
    )
    picture.set(xlabel="seconds", ylabel="kHz")
    figure.subplots_adjust(left=LEFT, right=RIGHT, top=0.98, bottom=0.165, hspace=0.06)
    return _png(figure, palette=True)


def curves(
    lines: Mapping[str, Curve], span: tuple[float, float], trust: Mapping[str, Mapping[str, Any]] | None = None
) -> bytes:
    """SI-SDR along time, the second system's lead over the first, and the uncertainty of the systems that have it.

    Args:
        lines: name -> score of each segment; the last is the mixture.
        span: start and end of the time axis, in seconds.
        trust: name -> see `exdiff.evaluation.trust.assess`; flagged seconds are shaded.
    """
    trust, names = trust or {}, list(lines)
    heights = [2.2, *([1.0] if len(names) > 2 else []), *([1.0] if trust else [])]
    figure = _figure(11.6, 1.1 + 0.85 * sum(heights))
    axes = list(np.atleast_1d(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)))
    values = {name: np.array(line, dtype=np.float64) for name, line in lines.items()}
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names[:-1])} | {names[-1]: _GREY}
    for name, line in values.items():
        style = {"linewidth": 1.2, "linestyle": "--"} if name == names[-1] else {"linewidth": 1.8}
        axes[0].plot(times_of(len(line)), line, color=colours[name], label=_label(name), marker=".", **style)
    axes[0].set_ylabel("SI-SDR (dB)")
    if len(names) > 2:
        lead = values[names[1]] - values[names[0]]
        tint = [colours[names[int(value > 0)]] for value in lead]
        axes[1].bar(times_of(len(lead)), np.nan_to_num(lead), width=0.2, color=tint)
        axes[1].axhline(0, color="#3b4252", linewidth=0.8)
        axes[1].set_ylabel("lead (dB)")
    for name, table in trust.items():
        steps = np.asarray(table["uncertainty"])
        axes[-1].stairs(steps, np.arange(steps.size + 1), color=colours[name], linewidth=1.6, baseline=None)
        for flag, axis in itertools.product(table["flags"], axes):
            axis.axvspan(flag["start"], flag["end"], color=colours[name], alpha=0.12, linewidth=0)
    if trust:
        axes[-1].set_ylabel("uncert. (dB)")
    _finish(figure, axes, span)
    return _png(figure)


def _finish(figure: Any, axes: Sequence[Any], span: tuple[float, float]) -> None:
    for axis in axes:
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.set_xlim(*span)
    figure.align_ylabels(axes)
    axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, fontsize=8)
    axes[-1].set_xlabel("seconds")
    inch = 1 / figure.get_figheight()
    figure.subplots_adjust(left=0.055, right=0.992, top=1 - 0.32 * inch, bottom=0.44 * inch, hspace=0.14)


def differences(leads: Mapping[str, float], shown: Sequence[str], first: str, second: str) -> bytes:
    """SI-SDR of `second` minus `first`, one bar per file in increasing order; the files in `shown` are darker."""
    figure = _figure(11.6, 2.6)
    axis = figure.subplots()
    order = sorted(leads, key=lambda file: leads[file])
    heights = [leads[file] for file in order]
    colours = [_COLOURS[1] if height > 0 else _COLOURS[0] for height in heights]
    bars = axis.bar(range(len(order)), heights, color=colours, width=0.8)
    for bar, file in zip(bars, order, strict=True):
        bar.set_alpha(1.0 if file in shown else 0.35)
    axis.axhline(0, color="#3b4252", linewidth=0.8)
    margin = 0.8 + max(0, 12 - len(order)) / 2
    axis.set(ylabel="difference (dB)", xticks=[], xlim=(-margin, len(order) - 1 + margin))
    axis.set_title(
        f"SI-SDR file by file: up, {_label(second)} is better; down, {_label(first)}", fontsize=9, loc="left"
    )
    axis.grid(alpha=0.25, linewidth=0.6, axis="y")
    figure.subplots_adjust(left=0.055, right=0.992, top=0.88, bottom=0.05)
    return _png(figure)


def colour_bar() -> bytes:
    """The colour scale of all spectrograms."""
    figure = _figure(4.2, 0.52)
    axis = figure.subplots()
    axis.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=MAP, extent=(-RANGE_DB, 0, 0, 1))
    axis.set(yticks=[], xticks=np.arange(-RANGE_DB, 1, 20))
    figure.subplots_adjust(left=0.03, right=0.97, top=0.95, bottom=0.5)
    return _png(figure)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, facecolor="white")


def _png(figure: Any, *, palette: bool = False) -> bytes:
    """Encode; `palette` uses 256 colours, a third of the size without a visible difference in spectrograms."""
    for axis in figure.axes:
        axis.tick_params(labelsize=8, color="#8a8f98")
        axis.xaxis.label.set_size(8)
        axis.yaxis.label.set_size(8)
        for side in axis.spines.values():
            side.set_color("#c5c9d1")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    if not palette:
        return buffer.getvalue()
    from PIL import Image

    image, smaller = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE), io.BytesIO()
    image.save(smaller, "PNG", optimize=True)
    return smaller.getvalue()


def _label(name: str) -> str:
    """Escape a name: matplotlib reads $ as mathematics and hides names that begin with an underscore."""
    text = name if len(name) <= 48 else f"{name[:20]}…{name[-27:]}"
    text = text.replace("$", r"\$")
    return f"\u200b{text}" if text.startswith("_") else text
