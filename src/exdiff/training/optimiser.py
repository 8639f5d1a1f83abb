"""Optimisers by name: AdamW, and Muon for the matrices with AdamW for the rest.

On a GPU the number of operations decides the time, so many parameters are updated by each: AdamW treats those of a
group as one vector, Muon all matrices of one shape as one batch. Neither reads a value back from the device. What
torch's optimisers of these names have saved is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from exdiff.core.config import nearest
from exdiff.core.errors import ConfigError

Group = dict[str, Any]


class _Joint(torch.optim.Optimizer):
    """Keeps a part of the states of several parameters in one vector, of which each state is a view."""

    def __init__(self, groups: Iterable[nn.Parameter] | list[Group], defaults: Group) -> None:
        super().__init__(groups, defaults)
        self._vectors: dict[Any, tuple[list[int], Tensor]] = {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load the state of another run of the same model."""
        super().load_state_dict(dict(state_dict))
        self._vectors.clear()

    def _vector(self, name: str, place: Any, held: Sequence[Tensor], shape: Sequence[int] | None = None) -> Tensor:
        """The states called `name`, one after the other; a state has the shape of its parameter, or the given one.

        The set of parameters at a `place` may change, since one may lack a gradient in some step.
        """
        names, known = [id(p) for p in held], self._vectors.get((name, place))
        if known is not None and known[0] == names:
            return known[1]
        vector = _joined([self.state[p].get(name, torch.zeros_like(p)) for p in held])
        for parameter, part in zip(held, vector.split([p.numel() for p in held]), strict=True):
            self.state[parameter][name] = part.view(parameter.shape if shape is None else tuple(shape))
        self._vectors[name, place] = names, vector
        return vector


class AdamW(_Joint):
    """AdamW (Loshchilov and Hutter 2019); parameters and groups as for torch's.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> optimiser = AdamW(layer.parameters(), lr=0.1)
        >>> layer(torch.ones(1, 3)).sum().backward()
        >>> optimiser.step()
        >>> optimiser.param_groups[0]["count"]
        1
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | list[Group],
        lr: float,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": 1e-8, "count": 0}
        super().__init__(parameters, defaults)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            if "count" not in group:  # torch's AdamW counts the steps of each parameter
                counts = [float(self.state[p].pop("step")) for p in group["params"] if "step" in self.state[p]]
                group["count"] = max(counts, default=0)

    @torch.no_grad()
    def step(self, finite: Tensor | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient.

        Args:
            finite: a truth value on the device; if it is false, nothing changes. Gradients must be finite either way.
        """
        for number, group in enumerate(self.param_groups):
            held = [p for p in group["params"] if p.grad is not None]
            if held:
                self._update(group, number, held, finite)

    def _update(self, group: Group, number: int, held: list[Tensor], finite: Tensor | None) -> None:
        gradient = _joined([p.grad for p in held if p.grad is not None])
        mean, square = (self._vector(name, number, held) for name in ("exp_avg", "exp_avg_sq"))
        first, second = group["betas"]
        group["count"] += 1
        mean.lerp_(gradient, _if(finite, 1 - first))
        square.lerp_(gradient.square(), _if(finite, 1 - second))
        scale = (square / (1 - second ** group["count"])).sqrt_().add_(group["eps"])
        rate = group["lr"] / (1 - first ** group["count"])
        updates = (mean / scale).split([p.numel() for p in held])
        _move(held, updates, rate, group["lr"] * group["weight_decay"], finite)


class Matrices(_Joint):
    """Muon (Jordan et al. 2024) for matrices and convolutions [out, ...], which count as matrices [out, the rest].

    Updates are scaled to the RMS of Adam's (Liu et al. 2025), so that one learning rate fits both.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, finite: Tensor | None = None) -> None:  # type: ignore[override]
        """See `AdamW.step`."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    shapes.setdefault((len(weight), weight.numel() // len(weight)), []).append(weight)
            pace, moved, updates = _if(finite, 1 - group["momentum"]), [], []
            for shape, held in shapes.items():
                gradient = _joined([p.grad for p in held if p.grad is not None]).view(-1, *shape)
                momentum = self._vector("momentum_buffer", shape, held, shape).view_as(gradient)
                momentum.lerp_(gradient, pace)
                update = orthogonalised(gradient.lerp_(momentum, group["momentum"])).float()
                moved += held
                updates += update.mul_(0.2 * math.sqrt(max(shape))).reshape(-1).split(held[0].numel())
            _move(moved, updates, group["lr"], group["lr"] * group["weight_decay"], finite)


class Muon:
    """Muon for matrices and convolutions, AdamW for vectors; used like any optimiser.

    Args:
        parameters: those of a model.
        lr: of both.
        weight_decay: of the matrices.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> optimiser = Muon(layer.parameters(), lr=0.1)
        >>> layer(torch.ones(1, 3)).sum().backward()
        >>> optimiser.step()
        >>> [len(group["params"]) for group in optimiser.param_groups]
        [1, 1]
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 2e-3, weight_decay: float = 0.01) -> None:
        parameters = list(parameters)
        matrices, vectors = [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]
        self._parts: dict[str, Matrices | AdamW] = {}  # torch refuses an optimiser without parameters
        if matrices:
            self._parts["muon"] = Matrices(matrices, lr, weight_decay)
        if vectors:
            self._parts["adamw"] = AdamW(vectors, lr, weight_decay=0.0)

    @property
    def param_groups(self) -> list[Group]:
        """The groups of both, as of any optimiser: set `lr` here."""
        return [group for part in self._parts.values() for group in part.param_groups]

    def step(self, finite: Tensor | None = None) -> None:
        """See `AdamW.step`."""
        for part in self._parts.values():
            part.step(finite)

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for part in self._parts.values():
            part.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to continue bit-exactly."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the state of another run of the same model."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices [n, out, in] with singular values between about 0.7 and 1.2, bfloat16: five Newton-Schulz iterations."""
    a, b, c = 3.4445, -4.7750, 2.0315  # Jordan et al. 2024
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    x = x.mT if tall else x
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def _if(finite: Tensor | None, value: float) -> Tensor | float:
    """The value where `finite` is true, else 0."""
    return value if finite is None else finite * value


def _move(held: Sequence[Tensor], updates: Sequence[Tensor], rate: float, decay: float, finite: Tensor | None) -> None:
    """Subtract `rate` times their updates from the parameters, which have first shrunk by the share `decay`."""
    if held and decay:
        torch._foreach_mul_(held, 1 - _if(finite, decay))  # type: ignore[attr-defined]
    if held:
        steps = torch._foreach_mul(updates, _if(finite, rate))  # type: ignore[attr-defined]
        torch._foreach_sub_(held, [u.view(p.shape) for u, p in zip(steps, held, strict=True)])  # type: ignore[attr-defined]


def adamw(parameters: Iterable[nn.Parameter], lr: float) -> AdamW:
    """AdamW over every parameter, without decay on vectors."""
    parameters = list(parameters)
    matrices, vectors = [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]
    groups: list[Group] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return AdamW([group for group in groups if group["params"]], lr)


Optimiser = AdamW | Muon
OPTIMISERS: dict[str, Callable[..., Optimiser]] = {"adamw": adamw, "muon": Muon}


def make_optimiser(name: str, parameters: Iterable[nn.Parameter], lr: float) -> Optimiser:
    """The optimiser called `name`; ConfigError for an unknown one."""
    if name not in OPTIMISERS:
        raise ConfigError(f"unknown optimiser {name!r}{nearest(name, OPTIMISERS)}")
    trainable: list[nn.Parameter] = [p for p in parameters if p.requires_grad]
    return OPTIMISERS[name](trainable, lr=lr)
