"""A model made ready for inference: in evaluation mode, float32, on its device, in the fast memory format."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from exdiff.core.machine import fast_weights, weights_are_fast


def make_ready(model: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Change `model` in place, for a caller who owns it.

    Args:
        model: a module.
        device: where it will run.
        dtype: of the networks' products.

    Returns:
        The same module.
    """
    model.to(device).float().eval()
    fast_weights(model, dtype)
    return model


def ready_copy(model: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """`model` itself if it is ready, otherwise a copy made ready; `model` never changes.

    Example:
        >>> layer = torch.nn.Linear(2, 2)  # in training mode, as every new module
        >>> ready_copy(layer, torch.device("cpu"), torch.float32).training, layer.training
        (False, True)
    """
    if _is_ready(model, device, dtype):
        return model
    return make_ready(_copy(model), device, dtype)


def _copy(model: Any) -> Any:
    # Tensors computed from parameters, which older weight norms keep, refuse to be copied: their values are copied.
    computed = [v for part in model.modules() for v in vars(part).values() if isinstance(v, Tensor) and not v.is_leaf]
    return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in computed})


def _is_ready(model: Any, device: torch.device, dtype: torch.dtype) -> bool:
    exact = torch.empty(0, device=device).device  # "cuda" is "cuda:0", say
    tensors = [*model.parameters(), *model.buffers()]
    here = all(tensor.device == exact for tensor in tensors)
    single = all(tensor.dtype == torch.float32 for tensor in tensors if tensor.is_floating_point())
    return here and single and not any(part.training for part in model.modules()) and weights_are_fast(model, dtype)
