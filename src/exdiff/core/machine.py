"""What is used on this machine: device, precision and memory format.

On a CPU with bf16 matrix instructions bfloat16 is several times faster than float32, on one without them several
hundred times slower; the same holds, more mildly, for channels-last convolutions. So both are measured, never assumed:
see `measure.py`. EXDIFF_PRECISION (fp32 or bf16) overrides the precision.
"""

from __future__ import annotations

import ctypes
import functools
import os

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.core.errors import ConfigError
from exdiff.core.measure import clearly_faster, remembered, time_ratio

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
NAMES = {dtype: name for name, dtype in PRECISIONS.items()}
BF16_BELOW = 0.75  # of float32's time: less is not worth the rounding
_EMULATED = 30.0  # times float32's time for a small product: bf16 without instructions of its own


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" prefers CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: unknown, or not on this machine.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind in ("cuda", "mps") if present[kind]), "cpu"))
    if name.partition(":")[0] not in present:
        raise ConfigError(f"unknown device {name!r}; allowed: auto, {', '.join(present)}")
    if not present[name.partition(":")[0]]:
        raise ConfigError(f"device {name!r} is not available on this machine; use auto or cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"unknown device {name!r}; a number may follow the colon, as in cuda:0") from None
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        raise ConfigError(f"device {name!r} is not on this machine, which has {count} of them; the first is number 0")
    return device


def precision(choice: str = "auto", device: str = "cpu") -> torch.dtype:
    """The dtype of the networks' products: as chosen, or the faster one on this device.

    Args:
        choice: "auto", "fp32" or "bf16".
        device: "cpu", "cuda" or "mps".

    Raises:
        ConfigError: an unknown choice.
    """
    if choice == "auto":
        choice = os.environ.get("EXDIFF_PRECISION", "auto")
    if choice == "auto":
        return torch.bfloat16 if _bf16_is_faster(device) else torch.float32
    if choice not in PRECISIONS:
        raise ConfigError(f"unknown precision {choice!r}; allowed: auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[choice]


def keep_memory() -> bool:
    """Make this process reuse the memory of freed tensors; False if that is not possible here.

    By default the C library returns large blocks to the system at once, and every new tensor costs page faults: a
    quarter of the time of a training step, a third of NCSN++'s. The setting affects the whole process, so only commands
    call this, never the library. Linux with glibc; elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))


def computed_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which a convolution of `x` is computed: that of autocast if it is on, otherwise that of `x`."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def fast_layout(x: Tensor) -> Tensor:
    """`x` [B, C, F, N] in the memory format that is faster for convolutions on this device and at this precision."""
    if torch.compiler.is_compiling():  # the compiler chooses layouts itself
        return x
    return x.contiguous(memory_format=_fast_format(computed_dtype(x), x.device))


def fast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """Give the convolutions' weights the memory format that `fast_layout` gives to maps of `dtype`; values stay.

    Otherwise each call reorders them first, which takes a fifth of the time of a large network.
    """
    for parameter in module.parameters():
        if parameter.ndim == 4:
            layout = _fast_format(dtype, parameter.device)
            parameter.data = parameter.data.contiguous(memory_format=layout)


def weights_are_fast(module: nn.Module, dtype: torch.dtype) -> bool:
    """Whether `fast_weights` would change nothing."""
    return all(
        parameter.is_contiguous(memory_format=_fast_format(dtype, parameter.device))
        for parameter in module.parameters()
        if parameter.ndim == 4
    )


def _fast_format(dtype: torch.dtype, device: torch.device) -> torch.memory_format:
    last = _channels_last_is_faster(NAMES.get(dtype, "fp32"), device.type)
    return torch.channels_last if last else torch.contiguous_format


@functools.cache
def _bf16_is_faster(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and remembered("bf16", _bf16_ratio, below=BF16_BELOW)


@functools.cache
def _channels_last_is_faster(name: str, device: str) -> bool:
    if device != "cpu":
        return device == "cuda"
    dtype = PRECISIONS[name]
    x, weight = torch.ones(1, 64, 64, 64, dtype=dtype), torch.ones(64, 64, 3, 3, dtype=dtype)
    last = x.contiguous(memory_format=torch.channels_last)
    return clearly_faster(
        f"channels_last_{name}", lambda: functional.conv2d(last, weight), lambda: functional.conv2d(x, weight)
    )


def _bf16_ratio() -> float:
    def ratio(size: int) -> float:
        a, b = (torch.ones(size, size, dtype=dtype) for dtype in (torch.bfloat16, torch.float32))
        return time_ratio(lambda: a @ a, lambda: b @ b)

    # Small sizes first: where bf16 is emulated, even this product takes long enough to tell.
    small = ratio(64)
    return small if small > _EMULATED else ratio(512)
