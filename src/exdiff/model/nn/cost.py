"""The cost of a model: parameters, and multiply-accumulates per second of audio, counted while the layers run."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn


def parameters(module: nn.Module | None) -> int:
    """Number of weights.

    Example:
        >>> parameters(nn.Linear(3, 2))
        8
    """
    return sum(p.numel() for p in module.parameters()) if module is not None else 0


def gmac_per_second(model: Any, seconds: float = 4.0) -> dict[str, float]:
    """GMAC of an `ExDiff` per second of audio: `extraction` (once) and `evaluation` (each time the score network runs).

    For mono audio, or stereo if the model processes both channels together. `fusion_once` and `fusion_each` are the
    fusion's share of the two. Counted are convolutions, linear and recurrent layers, and modules with a `macs` method;
    norms, activations and transforms are not.
    """
    mixture = 0.1 * torch.randn(1, model.channels, round(seconds * model.sample_rate))
    with torch.no_grad():
        with Counter(model) as once, Counter(model.fusion) as fusion_once:
            condition = model.condition(mixture)
        with Counter(model) as each, Counter(model.fusion) as fusion_each:
            if model.backbone is not None:
                model.predict(condition.y, torch.ones(1), condition)
    counters = {"extraction": once, "evaluation": each, "fusion_once": fusion_once, "fusion_each": fusion_each}
    return {name: counter.macs / seconds / 1e9 for name, counter in counters.items()}


class Counter:
    """Context manager that counts the multiply-accumulates of `module` and all its submodules.

    A module that multiplies without such layers, as attention does, implements `macs(*inputs)`.

    Example:
        >>> layer = nn.Conv1d(4, 8, 3)
        >>> with Counter(layer) as counter:
        ...     _ = layer(torch.zeros(1, 4, 12))
        >>> counter.macs == 10 * 8 * 4 * 3
        True
    """

    def __init__(self, module: nn.Module | None) -> None:
        self.macs = 0.0
        self._module = module
        self._handles: list[Any] = []

    def __enter__(self) -> Counter:
        for layer in self._module.modules() if self._module is not None else ():
            if isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear, nn.RNNBase)) or hasattr(layer, "macs"):
                self._handles.append(layer.register_forward_hook(self._count))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _count(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        if hasattr(layer, "macs"):
            self.macs += cast("Any", layer).macs(*inputs)
        elif isinstance(layer, nn.RNNBase):
            matrices = sum(p.numel() for name, p in layer.named_parameters() if name.startswith("weight"))
            self.macs += inputs[0].numel() / inputs[0].shape[-1] * matrices
        else:
            weight = layer.weight
            assert isinstance(weight, Tensor)
            # Each output value costs one row of the weight matrix; in a transposed convolution, each input value.
            transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
            self.macs += (inputs[0] if transposed else output).numel() * weight[0].numel()
