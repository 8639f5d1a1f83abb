"""Preconditioning against the formulas of Karras et al. 2022 and Richter et al. 2024."""

from __future__ import annotations

import itertools

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import BridgePath, OUVEPath, Precondition
from exdiff.model.diffusion.precondition import C_IN, C_OUT, C_SKIP, SCALING

D = 0.3
T = torch.tensor([0.2, 0.7], dtype=torch.float64)


@pytest.mark.parametrize("path", [OUVEPath(), BridgePath()])
@pytest.mark.parametrize(("c_in", "c_out", "c_skip", "scaling"), list(itertools.product(C_IN, C_OUT, C_SKIP, SCALING)))
def test_every_combination(path, c_in, c_out, c_skip, scaling):
    x, y = torch.randn(2, 2, 1, 3, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    s, t = path.coefficients(T).sigma[:, None, None, None], T[:, None, None, None]
    values = {"1": 1.0, "-1": -1.0, "0": 0.0, "sigma": s, "1/sigma": 1 / s, "1/sigma^2": s**-2, "-1/sigma^2": -(s**-2)}
    inward = 1 / torch.sqrt(s**2 + D**2) if c_in == "edm" else 1.0
    outward = s * D / torch.sqrt(s**2 + D**2) if c_out == "edm" else values[c_out]
    skip = D**2 / (s**2 + D**2) if c_skip == "edm" else values[c_skip]
    scale = 1 / t if scaling == "1/t" else values[scaling]
    precondition = Precondition(c_in, c_out, c_skip, scaling, D)
    got = precondition(lambda inputs: inputs[0] ** 2 + inputs[1], x, [y], path, T)
    torch.testing.assert_close(got, skip * x + outward * scale * ((inward * x) ** 2 + inward * y))


def test_edm_gives_the_input_where_there_is_no_noise():
    """Karras et al. 2022, Eq. (7): at small sigma the denoiser is its input, at large sigma its network."""
    precondition = Precondition("edm", "edm", "edm", sigma_data=0.5)
    x = torch.ones(1, 4)
    path = BridgePath()
    almost = precondition(lambda inputs: torch.zeros_like(inputs[0]), x, [], path, torch.tensor([1e-6]))
    torch.testing.assert_close(almost, x, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"c_in": "edn"}, "unknown c_in 'edn'; did you mean 'edm'"),
        ({"c_out": "sigm"}, "did you mean 'sigma'"),
        ({"c_skip": "2"}, "unknown c_skip '2'"),
        ({"scaling": "t"}, "unknown scaling 't'"),
        ({"sigma_data": 0.0}, "sigma_data 0.0"),
    ],
)
def test_wrong_names(options, message):
    with pytest.raises(ConfigError, match=message):
        Precondition(**options)
