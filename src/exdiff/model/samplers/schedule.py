"""Time grids: the times at which a sampler stops on its way from t_start down to the end.

A grid of N steps has N + 1 times, and every sampler evaluates the network at the first N of them (`bridge_ode` and
`bridge_sde(arrival=True)`: at the last N). Two conventions are published:

* to t_min, the default: N + 1 equidistant times from t_start to t_end = t_min (the bridge of Jukic et al. 2024);
* `to_zero=True`: N times from t_start to t_min and then a last step to 0 (SGMSE+, BBED, FlowSE), so that the network
  is evaluated at t_min and never below it.

`t_end=0.0` is a third: N + 1 times to 0, which spends no evaluation next to the end; the best for N of 1 to 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import GaussianPath


def schedule(
    path: GaussianPath,
    steps: int,
    *,
    power: float = 1.0,
    t_start: float | None = None,
    t_end: float | None = None,
    to_zero: bool = False,
) -> Tensor:
    """The decreasing times of a sampler, `[steps + 1]`, float32.

    Args:
        path: gives the defaults of both ends.
        steps: N, at least 1.
        power: 1 for equal steps; 2 (quadratic) or more for steps that shrink towards the end.
        t_start: first time, default `path.t_max`; pass it to `path.prior(t=...)` too.
        t_end: where the spaced part ends, default `path.t_min`.
        to_zero: the last of the N steps goes from t_end to 0.

    Raises:
        ConfigError: steps below 1, power not positive or too large, or not 0 <= t_end < t_start <= t_max.

    Example:
        >>> from exdiff.model.diffusion import OUVEPath
        >>> schedule(OUVEPath(t_min=0.5), 2)
        tensor([1.0000, 0.7500, 0.5000])
        >>> schedule(OUVEPath(t_min=0.5), 2, to_zero=True)
        tensor([1.0000, 0.5000, 0.0000])
    """
    start = path.t_max if t_start is None else t_start
    end = path.t_min if t_end is None else t_end
    if steps < 1:
        raise ConfigError(f"got {steps} steps; a sampler needs at least 1")
    if power <= 0:
        raise ConfigError(f"got power {power}; the spacing of times needs a positive one (1 equal, 2 quadratic)")
    if not 0 <= end < start <= path.t_max or (to_zero and end == 0):
        raise ConfigError(
            f"got times from {start} to {end}; needs 0 <= t_end < t_start <= {path.t_max}, and t_end > 0 with to_zero"
        )
    count = steps if to_zero else steps + 1
    times = torch.linspace(start, end, count, dtype=torch.float32)
    if power != 1:
        times = end + (start - end) * torch.linspace(1, 0, count, dtype=torch.float32) ** power
    if not bool((times.diff() < 0).all()):
        raise ConfigError(f"got power {power} for {steps} steps: some times are equal in float32; take less of either")
    return torch.cat([times, times.new_zeros(1)]) if to_zero else times
