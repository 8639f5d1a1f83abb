"""Optimisers by name: AdamW, and Muon for the matrices with AdamW for the rest.

torch's Muon takes matrices only. A convolution's weight [out, in, height, width] is updated as the matrix
[out, in * height * width], a view where the memory format allows one (contiguous weights) and a copy otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from exdiff.core.config import nearest
from exdiff.core.errors import ConfigError


class AdamW(torch.optim.AdamW):
    """AdamW over every parameter, without decay on vectors."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 1e-3, weight_decay: float = 0.01) -> None:
        parameters = list(parameters)
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        super().__init__([g for g in groups if g["params"]], lr=lr, betas=(0.9, 0.98))


class Muon:
    """Muon (Jordan et al. 2024) for matrices and convolutions, AdamW for vectors; used like any optimiser.

    Args:
        parameters: those of a model.
        lr: of both; Muon's updates are scaled to the RMS of Adam's, so one rate fits both.
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
        self._weights = [p for p in parameters if p.ndim >= 2]
        self._matrices = [nn.Parameter(_as_matrix(p)) for p in self._weights]
        vectors = [p for p in parameters if p.ndim < 2]
        self._parts: dict[str, torch.optim.Optimizer] = {}  # torch refuses an optimiser without parameters
        if self._matrices:
            self._parts["muon"] = torch.optim.Muon(
                self._matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw", momentum=0.95
            )
        if vectors:
            self._parts["adamw"] = torch.optim.AdamW(vectors, lr=lr, weight_decay=0.0, betas=(0.9, 0.98))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both, as of any optimiser: set `lr` here."""
        return [group for part in self._parts.values() for group in part.param_groups]

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for weight, matrix in zip(self._weights, self._matrices, strict=True):
            matrix.data = _as_matrix(weight)  # anew each time: the weight may have moved or changed its memory format
            matrix.grad = None if weight.grad is None else weight.grad.reshape(matrix.shape)
        for part in self._parts.values():
            part.step()
        with torch.no_grad():
            for weight, matrix in zip(self._weights, self._matrices, strict=True):
                if weight.grad is not None and matrix.data_ptr() != weight.data_ptr():  # a copy
                    weight.copy_(matrix.view(weight.shape))

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for weight in self._weights:
            weight.grad = None
        for part in self._parts.values():
            part.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to continue bit-exactly."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of another run of the same model."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


def _as_matrix(weight: Tensor) -> Tensor:
    """[out, the rest]: shares the storage of a contiguous weight, copies one in another memory format."""
    return weight.detach().reshape(weight.shape[0], -1)


Optimiser = AdamW | Muon
OPTIMISERS = {"adamw": AdamW, "muon": Muon}


def make_optimiser(name: str, parameters: Iterable[nn.Parameter], lr: float) -> Optimiser:
    """The optimiser called `name`; ConfigError for an unknown one."""
    if name not in OPTIMISERS:
        raise ConfigError(f"unknown optimiser {name!r}{nearest(name, OPTIMISERS)}")
    trainable: list[nn.Parameter] = [p for p in parameters if p.requires_grad]
    return OPTIMISERS[name](trainable, lr=lr)
