"""SI-SDR, SI-SIR, SI-SAR: by hand, by least squares, and by another library."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exdiff.evaluation.metrics import si_sdr
from exdiff.evaluation.metrics.si_sdr import LIMIT


def decibels(ratio):
    return 10 * math.log10(ratio)


def test_orthogonal_by_hand():
    clean, noise = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    scores = si_sdr(np.array([2.0, 0.2, 0.02]), clean, clean + noise, 16000)
    assert scores["si_sir"] == pytest.approx(20.0)
    assert scores["si_sar"] == pytest.approx(40.0)
    assert scores["si_sdr"] == pytest.approx(decibels(4 / (0.04 + 0.0004)))


def test_correlated_by_hand_each_projection_alone():
    clean, noise = np.array([1.0, 0.0]), np.array([1.0, 1.0])
    scores = si_sdr(np.array([3.0, 1.0]), clean, clean + noise, 16000)
    # target (3, 0), interference (2, 2), so artefacts (-2, -1)
    assert scores["si_sdr"] == pytest.approx(decibels(9 / 1))
    assert scores["si_sir"] == pytest.approx(decibels(9 / 8))
    assert scores["si_sar"] == pytest.approx(decibels(9 / 5))


@pytest.mark.parametrize("seed", range(3))
def test_against_least_squares(seed):
    clean, noise, estimate = np.random.default_rng(seed).normal(size=(3, 400)) + 0.1
    (gain,), _, *_ = np.linalg.lstsq(clean[:, None], estimate, rcond=None)
    (leak,), _, *_ = np.linalg.lstsq(noise[:, None], estimate, rcond=None)
    energy = np.sum((gain * clean) ** 2)
    scores = si_sdr(estimate, clean, clean + noise, 16000)
    assert scores["si_sdr"] == pytest.approx(decibels(energy / np.sum((estimate - gain * clean) ** 2)))
    assert scores["si_sir"] == pytest.approx(decibels(energy / np.sum((leak * noise) ** 2)))
    rest = estimate - gain * clean - leak * noise
    assert scores["si_sar"] == pytest.approx(decibels(energy / np.sum(rest**2)))


def test_against_fast_bss_eval():
    fast_bss_eval = pytest.importorskip("fast_bss_eval")
    clean, noise, estimate = np.random.default_rng(3).normal(size=(3, 4000))
    estimate = clean + 0.3 * noise + 0.1 * estimate
    ours = si_sdr(estimate, clean, clean + noise, 16000)
    assert ours["si_sdr"] == pytest.approx(float(fast_bss_eval.si_sdr(clean[None], estimate[None])[0]), abs=1e-6)
    # BSS-Eval's joint projection equals ours once the sources are orthogonal; its SAR is (target + noise) / artefacts
    noise = noise - clean * (clean @ noise) / (clean @ clean)
    ours = si_sdr(estimate, clean, clean + noise, 16000)
    both, estimates = np.stack([clean, noise]), np.stack([estimate, 0.1 * estimate + noise])
    theirs = fast_bss_eval.si_bss_eval_sources(both, estimates, compute_permutation=False)
    sdr, sir, sar = (float(values[0]) for values in theirs)
    assert ours["si_sdr"] == pytest.approx(sdr, abs=1e-5)
    assert ours["si_sir"] == pytest.approx(sir, abs=1e-5)
    assert ours["si_sar"] == pytest.approx(sar - decibels(1 + 10 ** (-sir / 10)), abs=1e-5)


def test_the_level_does_not_matter_but_an_offset_does(signals):
    first = si_sdr(signals.estimate, signals.clean, signals.mixture, 16000)
    assert si_sdr(1e-6 * signals.estimate, signals.clean, signals.mixture, 16000) == pytest.approx(first, abs=1e-6)
    assert si_sdr(-2 * signals.estimate, signals.clean, signals.mixture, 16000) == pytest.approx(first, abs=1e-6)
    assert si_sdr(signals.estimate + 0.1, signals.clean, signals.mixture, 16000)["si_sdr"] < first["si_sdr"] - 3


def test_very_quiet_signals_do_not_underflow(signals):
    first = si_sdr(signals.estimate, signals.clean, signals.mixture, 16000)
    quiet = [1e-40 * s.astype(np.float64) for s in (signals.estimate, signals.clean, signals.mixture)]
    assert si_sdr(*quiet, 16000) == pytest.approx(first, abs=1e-3)


def test_edges_are_finite_or_undefined(signals):
    clean, mixture = signals.clean, signals.mixture
    assert si_sdr(clean, clean, mixture, 16000)["si_sdr"] == LIMIT
    orthogonal = si_sdr(np.array([0.0, 1.0]), np.array([1.0, 0.0]), np.array([1.0, 1.0]), 16000)
    assert orthogonal["si_sdr"] == -LIMIT
    assert math.isnan(si_sdr(0 * clean, clean, mixture, 16000)["si_sdr"])
    assert math.isnan(si_sdr(clean, 0 * clean, mixture, 16000)["si_sdr"])
    no_noise = si_sdr(signals.estimate, clean, clean, 16000)
    assert math.isnan(no_noise["si_sir"])
    assert no_noise["si_sar"] == no_noise["si_sdr"]
