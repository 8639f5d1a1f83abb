"""Optimisers by name: AdamW, and Muon for the matrices with AdamW for the rest.

torch's Muon takes matrices only; a convolution's weight is one, [out, in * height * width], seen through a view that
shares its storage.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from exdiff.config import nearest
from exdiff.errors import ConfigError


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
    """Muon (Jordan et al. 2024) on matrices and convolutions, AdamW on vectors; the interface of an optimiser.

    Args:
        parameters: all of a model.
        lr: of both; Muon's updates are scaled to the RMS of Adam's, so one rate serves.
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
        self._matrices = [p for p in parameters if p.ndim >= 2]
        self._views = [nn.Parameter(p.detach().view(p.shape[0], -1)) for p in self._matrices]
        vectors = [p for p in parameters if p.ndim < 2]
        self._parts: dict[str, torch.optim.Optimizer] = {}  # torch refuses an optimiser of nothing
        if self._views:
            self._parts["muon"] = torch.optim.Muon(
                self._views, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw", momentum=0.95
            )
        if vectors:
            self._parts["adamw"] = torch.optim.AdamW(vectors, lr=lr, weight_decay=0.0, betas=(0.9, 0.98))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both, as an optimiser has them: set `lr` here."""
        return [group for part in self._parts.values() for group in part.param_groups]

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for parameter, view in zip(self._matrices, self._views, strict=True):
            view.grad = None if parameter.grad is None else parameter.grad.reshape(view.shape)
        for part in self._parts.values():
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._matrices:
            parameter.grad = None
        for part in self._parts.values():
            part.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on to the bit."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state of another run of the same model."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


Optimiser = AdamW | Muon
OPTIMISERS = {"adamw": AdamW, "muon": Muon}


def make_optimiser(name: str, parameters: Iterable[nn.Parameter], lr: float) -> Optimiser:
    """The optimiser called `name`; ConfigError for an unknown one."""
    if name not in OPTIMISERS:
        raise ConfigError(f"unknown optimiser {name!r}{nearest(name, OPTIMISERS)}")
    trainable: list[nn.Parameter] = [p for p in parameters if p.requires_grad]
    return OPTIMISERS[name](trainable, lr=lr)


def gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """The gradients that there are."""
    return [p.grad for p in parameters if p.grad is not None]


def grad_norm(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Clip the gradients' norm at `limit` and give what it was."""
    return nn.utils.clip_grad_norm_(list(parameters), limit)
