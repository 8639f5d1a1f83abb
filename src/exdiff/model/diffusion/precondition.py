"""Scaling of a score network F's inputs and output (Karras et al. 2022, Eq. (7)).

    output = c_skip(t) x_t + c_out(t) scaling(t) F(c_in(t) x_t, c_in(t) y, t)

The choices are those of Richter et al. 2024 ("Investigating Training Objectives for Generative Speech Enhancement",
Table 1) and of the first SGMSE+, whose score is minus its network. sigma is the path's, and d = sigma_data:

    c_in       1, edm: 1 / sqrt(sigma^2 + d^2)
    c_out      1, -1, sigma, 1/sigma, 1/sigma^2, edm: sigma d / sqrt(sigma^2 + d^2)
    c_skip     0, -1/sigma^2, edm: d^2 / (sigma^2 + d^2)
    scaling    1, 1/sigma, 1/t

To read a denoising network as a score, (F - x_t) / sigma^2, take c_skip -1/sigma^2 and c_out 1/sigma^2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from exdiff.core.config import nearest
from exdiff.core.errors import ConfigError
from exdiff.model.diffusion.path import FLOOR_SIGMA, GaussianPath, broadcast_over

Network = Callable[[Sequence[Tensor]], Tensor]
Coefficient = Callable[[Tensor, Tensor, float], Tensor]

C_IN: dict[str, Coefficient] = {
    "1": lambda s, t, d: torch.ones_like(s),
    "edm": lambda s, t, d: (s**2 + d**2) ** -0.5,
}
C_OUT: dict[str, Coefficient] = {
    "1": lambda s, t, d: torch.ones_like(s),
    "-1": lambda s, t, d: -torch.ones_like(s),
    "sigma": lambda s, t, d: s,
    "1/sigma": lambda s, t, d: 1 / s,
    "1/sigma^2": lambda s, t, d: 1 / s**2,
    "edm": lambda s, t, d: s * d * (s**2 + d**2) ** -0.5,
}
C_SKIP: dict[str, Coefficient] = {
    "0": lambda s, t, d: torch.zeros_like(s),
    "-1/sigma^2": lambda s, t, d: -1 / s**2,
    "edm": lambda s, t, d: d**2 / (s**2 + d**2),
}
SCALING: dict[str, Coefficient] = {
    "1": lambda s, t, d: torch.ones_like(s),
    "1/sigma": lambda s, t, d: 1 / s,
    "1/t": lambda s, t, d: 1 / t,
}


class Precondition:
    """The four coefficients by name; see the module's head.

    Args:
        c_in, c_out, c_skip, scaling: as listed there.
        sigma_data: d, the deviation of the data.

    Raises:
        ConfigError: an unknown coefficient, or a sigma_data that is not positive.

    Example:
        >>> from exdiff.model.diffusion import OUVEPath
        >>> flipped, x, t = Precondition(c_out="-1"), torch.ones(1, 2), torch.ones(1)
        >>> flipped(lambda inputs: inputs[0] + inputs[1], x, [x], OUVEPath(), t)
        tensor([[-2., -2.]])
    """

    def __init__(
        self, c_in: str = "1", c_out: str = "1", c_skip: str = "0", scaling: str = "1", sigma_data: float = 0.1
    ) -> None:
        self.c_in, self.c_out = _choose("c_in", c_in, C_IN), _choose("c_out", c_out, C_OUT)
        self.c_skip, self.scaling = _choose("c_skip", c_skip, C_SKIP), _choose("scaling", scaling, SCALING)
        if sigma_data <= 0:
            raise ConfigError(f"precondition: got sigma_data {sigma_data}; it is a deviation and must be positive")
        self.sigma_data = float(sigma_data)

    def __call__(
        self, network: Network, x_t: Tensor, others: Sequence[Tensor], path: GaussianPath, t: Tensor
    ) -> Tensor:
        """The output at state `x_t` [B, ...] and times `t` [B]; `others` are the network's further inputs."""
        sigma = path.coefficients(t).sigma.clamp_min(FLOOR_SIGMA)
        c_in, c_out, c_skip, scaling = (
            broadcast_over(choice(sigma, t, self.sigma_data), x_t)
            for choice in (self.c_in, self.c_out, self.c_skip, self.scaling)
        )
        output = scaling * network([c_in * part for part in (x_t, *others)])
        return c_skip * x_t + c_out * output


def _choose(what: str, name: str, table: dict[str, Coefficient]) -> Coefficient:
    if name not in table:
        raise ConfigError(f"precondition: unknown {what} {name!r}{nearest(str(name), table)}")
    return table[name]
