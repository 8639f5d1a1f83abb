"""What every metric of the table promises, whatever it measures."""

from __future__ import annotations

import importlib.util
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import soxr

from exdiff.core.errors import AudioError, ExDiffError
from exdiff.evaluation.metrics import LOWER_IS_BETTER, METRICS, MULTICHANNEL, PACKAGES
from exdiff.evaluation.metrics.signals import REMEDIES, at_rate, require


def installed(name):
    """The metric's packages are not all in the development environment: some are large, or need old versions."""
    absent = [package for package in PACKAGES.get(name, ()) if importlib.util.find_spec(package) is None]
    return pytest.param(name, marks=pytest.mark.skipif(bool(absent), reason=f"needs {absent}"))


NAMES = [installed(name) for name in sorted(METRICS)]
# The stand-in for speech has no words; test_others.py has some for the recogniser.
WORDLESS = [installed(name) for name in sorted(METRICS) if name not in LOWER_IS_BETTER]


@pytest.mark.parametrize("name", WORDLESS)
def test_it_gives_floats_and_touches_nothing(name, signals):
    given = (signals.estimate, signals.clean, signals.mixture)
    copies = [signal.copy() for signal in given]
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    scores = METRICS[name](*given, 16000)
    assert scores and all(type(value) is float and math.isfinite(value) for value in scores.values())
    assert all(np.array_equal(a, b) for a, b in zip(given, copies, strict=True))
    assert np.array_equal(np.random.get_state()[1], before), "the caller's random numbers must not change"


@pytest.mark.parametrize("name", WORDLESS)
def test_less_noise_scores_higher(name, signals):
    better = METRICS[name](signals.estimate, signals.clean, signals.mixture, 16000)
    worse = METRICS[name](signals.clean + 3 * signals.noise, signals.clean, signals.mixture, 16000)
    first = next(iter(better))
    assert better[first] > worse[first]


@pytest.mark.parametrize("name", WORDLESS)
def test_another_rate_gives_nearly_the_same_score(name, signals):
    given = [signals.estimate, signals.clean, signals.mixture]
    low = [soxr.resample(signal, 16000, 12000) for signal in given]  # nothing is left near the edge of the band
    first = METRICS[name](*(soxr.resample(signal, 12000, 16000) for signal in low), 16000)
    other = METRICS[name](*(soxr.resample(signal, 12000, 44100) for signal in low), 44100)
    assert other == pytest.approx(first, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_silence_is_undefined_not_an_exception(name):
    silence = np.zeros(16000, np.float32)
    assert all(math.isnan(value) for value in METRICS[name](silence, silence, silence, 16000).values())


@pytest.mark.parametrize("name", NAMES)
def test_wrong_signals_are_refused(name):
    good, stereo = np.ones(100), np.ones((2, 100))
    if name in MULTICHANNEL:
        assert METRICS[name](0.9 * stereo, stereo, 2 * stereo, 16000)
        stereo = stereo[None]
    for wrong, message in [
        (stereo, r"\[T\]"),
        (np.ones(99), "99 samples"),
        (np.ones(0), "T > 0"),
        (np.full(100, np.nan), "NaN"),
    ]:
        with pytest.raises(AudioError, match=message):
            METRICS[name](wrong, good, good, 16000)


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_missing_package_is_named_with_its_extra(name, signals, monkeypatch):
    from exdiff.evaluation.metrics.dnsmos import _session

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    _session.cache_clear()
    remedy = re.escape(REMEDIES.get(name, "pip install 'exdiff[eval]'"))
    with pytest.raises(ExDiffError, match=rf"{PACKAGES[name][0]}.*{remedy}"):
        METRICS[name](signals.estimate, signals.clean, signals.mixture, 16000)
    with pytest.raises(ExDiffError, match="not installed"):
        require(name, PACKAGES[name])


def test_packages_belong_to_metrics():
    assert set(PACKAGES) <= set(METRICS)


def test_a_tone_keeps_its_pitch_and_level_when_resampled():
    tone = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.allclose(at_rate(tone, 48000, 16000)[500:-500], expected[500:-500], atol=1e-3)


def test_importing_them_imports_no_heavy_package():
    heavy = {"torch", "scipy", "librosa"} | {package for every in PACKAGES.values() for package in every}
    code = f"import sys, exdiff.evaluation.metrics; print(sorted({heavy!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
