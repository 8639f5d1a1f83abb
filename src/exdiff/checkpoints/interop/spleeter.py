"""The published weights of Spleeter's 2-stem model under our names."""

from __future__ import annotations

import torch
from torch import Tensor

from exdiff.checkpoints.interop.bundle import read_bundle
from exdiff.core.errors import CheckpointError
from exdiff.model.extractors import SpleeterExtractor

_CONVOLUTION = {"weight": "kernel", "bias": "bias"}
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def spleeter_names(depth: int = 6) -> dict[str, str]:
    """Our name of each weight -> its name in the checkpoint, for U-Nets with `depth` levels.

    TensorFlow numbers layers of one kind in order of creation: those of the vocals' U-Net come first.

    Example:
        >>> spleeter_names()["accompaniment.up_norm.0.bias"]
        'batch_normalization_18/beta'
    """
    names: dict[str, str] = {}
    for k, network in enumerate(("vocals", "accompaniment")):
        layers = {f"down.{i}": ("conv2d", (depth + 1) * k + i) for i in range(depth)}
        layers["mask"] = ("conv2d", (depth + 1) * k + depth)
        layers |= {f"up.{i}": ("conv2d_transpose", depth * k + i) for i in range(depth)}
        layers |= {f"down_norm.{i}": ("batch_normalization", 2 * depth * k + i) for i in range(depth - 1)}
        layers |= {f"up_norm.{i}": ("batch_normalization", 2 * depth * k + depth + i) for i in range(depth)}
        for layer, (kind, number) in layers.items():
            theirs = f"{kind}_{number}" if number else kind
            parts = _NORM if kind == "batch_normalization" else _CONVOLUTION
            names |= {f"{network}.{layer}.{ours}": f"{theirs}/{name}" for ours, name in parts.items()}
    return names


def spleeter_weights(index: bytes, data: bytes, extractor: SpleeterExtractor) -> dict[str, Tensor]:
    """The state of `extractor` that a TensorFlow checkpoint holds; see `read_bundle` for the arguments.

    Raises:
        CheckpointError: damage, or weights that are missing or have the wrong shape.
    """
    published = read_bundle(index, data)
    names = spleeter_names(len(extractor.latent_channels))
    state: dict[str, Tensor] = {}
    for ours, value in extractor.state_dict().items():
        if ours not in names:  # the counters of the norms, which are of no use after training
            state[ours] = torch.zeros_like(value)
            continue
        theirs = names[ours]
        if theirs not in published:
            raise CheckpointError(f"the TensorFlow checkpoint has no {theirs}: it belongs to another network")
        # Kernels are [time, frequency, ...] there and [..., frequency, time] here, transposed convolutions included.
        tensor = published[theirs].transpose().copy()
        if tensor.shape != tuple(value.shape):
            raise CheckpointError(
                f"the TensorFlow checkpoint belongs to another network: {theirs} has the shape {list(tensor.shape)}, "
                f"expected {list(value.shape)}"
            )
        state[ours] = torch.from_numpy(tensor)
    return state
