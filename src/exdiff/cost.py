"""What a model costs: parameters, and multiply-accumulates per second of audio, counted as the layers run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from exdiff.model import ExDiff


def parameters(module: nn.Module | None) -> int:
    """Number of weights.

    Example:
        >>> parameters(nn.Linear(3, 2))
        8
    """
    return sum(p.numel() for p in module.parameters()) if module is not None else 0


def gmac_per_second(model: ExDiff, seconds: float = 4.0) -> dict[str, float]:
    """GMAC per second of mono audio: `extraction` (once) and `evaluation` (for each step of the sampler).

    Counts convolutions, linear layers and recurrent layers; norms, activations and transforms are left out.
    """
    mixture = 0.1 * torch.randn(1, 1, round(seconds * model.sample_rate))
    with torch.no_grad():
        with Counter(model) as once:
            condition = model.condition(mixture)
        evaluation = 0.0
        if model.backbone is not None:
            with Counter(model) as each:
                model.predict(condition.y, torch.ones(1), condition)
            evaluation = each.macs
    return {"extraction": once.macs / seconds / 1e9, "evaluation": evaluation / seconds / 1e9}


class Counter:
    """Counts multiply-accumulates of everything below `module` while it is entered."""

    def __init__(self, module: nn.Module) -> None:
        self.macs = 0.0
        self._module = module
        self._handles: list[Any] = []

    def __enter__(self) -> Counter:
        for layer in self._module.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear, nn.LSTM)):
                self._handles.append(layer.register_forward_hook(self._count))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _count(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        if isinstance(layer, nn.LSTM):
            batch, steps, _ = inputs[0].shape  # batch first, as everywhere in this package
            matrices = sum(p.numel() for name, p in layer.named_parameters() if name.startswith("weight"))
            self.macs += batch * steps * matrices
        else:
            weight = layer.weight
            assert isinstance(weight, Tensor)
            # Each output value costs one row of the weight matrix.
            self.macs += output.numel() * weight[0].numel()
