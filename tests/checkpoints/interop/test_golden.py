"""Numbers computed with the published code; the folder is named by EXDIFF_GOLDEN."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import exdiff

GOLDEN = os.environ.get("EXDIFF_GOLDEN")
pytestmark = pytest.mark.skipif(GOLDEN is None, reason="EXDIFF_GOLDEN names no folder")


@pytest.fixture(scope="module", params=["ncsnpp_ouve", "ncsnpp_v2_sbve"])
def published(request):
    folder = Path(GOLDEN or "") / request.param
    numbers = {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(folder / "golden.npz").items()}
    # At our own defaults for such a checkpoint, but for what the golden numbers say of steps and noise.
    enhancer = exdiff.load(folder / "model.ckpt", steps=5, sampler_options={"noise_scale": 0.0})
    return enhancer, numbers


def error(got, expected):
    assert got.shape == expected.shape
    return float((got - expected).abs().square().sum().sqrt() / expected.abs().square().sum().sqrt())


@torch.no_grad()
def test_network(published):
    enhancer, golden = published
    assert error(enhancer.model.raw_output(golden["x_t"], golden["spec_padded"], golden["t"]), golden["forward"]) < 1e-5


def test_transform_and_padding(published):
    enhancer, golden = published
    wave = golden["wav"][None, None] / golden["wav"].abs().max()
    assert error(enhancer.model.transform(wave), golden["spec"]) < 1e-5
    assert error(enhancer.model.condition(wave).y, golden["spec_padded"]) < 1e-5


def test_path(published):
    enhancer, golden = published
    y = golden["spec_padded"][0, 0, 10, 5]
    a, b, sigma = enhancer.model.path.coefficients(golden["times"])
    torch.testing.assert_close(a * 0.5 * y + b * y, golden["marginal_mean_f10_n5"])
    torch.testing.assert_close(sigma, golden["marginal_std"], rtol=1e-5, atol=1e-9)


def test_enhanced(published):
    enhancer, golden = published
    expected = next(value for key, value in golden.items() if key.endswith(("sb_ode5_wav", "pc5_zero_noise_wav")))
    assert error(enhancer(golden["wav"], int(golden["sr"])), expected) < 1e-3
