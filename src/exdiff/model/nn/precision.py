"""Autocast switched off, above all for the operations whose result is heard or measured as a waveform.

Autocast runs convolutions and matrix products in bfloat16, which keeps 8 bits: enough for a network, not for a filter.
A sample rate conversion in bfloat16 has an SNR of 54 dB.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device_type: str) -> AbstractContextManager[object]:
    """Switch autocast off for tensors on `device_type` ("cpu", "cuda", ...); does nothing where it is off already.

    Inputs that are bfloat16 stay so: convert them with `.float()` first.

    Example:
        >>> x = torch.ones(2, 2)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     with full_precision("cpu"):
        ...         inside = x @ x
        ...     (x @ x).dtype, inside.dtype
        (torch.bfloat16, torch.float32)
    """
    if not (torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)
