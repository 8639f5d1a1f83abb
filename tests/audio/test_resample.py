"""Resampling keeps time: a tone stays where it is, and there and back is the identity within the band."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exdiff.audio import resample

RATES = st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 96000])


@settings(deadline=None, max_examples=60)
@given(length=st.integers(0, 3000), source=RATES, target=RATES)
def test_length_is_the_duration_rounded_up(length, source, target):
    got = resample(np.zeros((2, length), np.float32), source, target)
    assert got.shape == (2, -(-length * target // source))
    assert got.dtype == np.float32


@pytest.mark.parametrize(("source", "target"), [(48000, 16000), (16000, 44100), (11025, 16000)])
def test_a_tone_keeps_its_phase(source, target):
    def wave(rate):
        return np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)

    got = resample(wave(source), source, target)
    np.testing.assert_allclose(got[target // 20 : -target // 20], wave(target)[target // 20 : -target // 20], atol=1e-3)
