"""What this machine does fast: precision and memory format are measured, never assumed.

On a CPU with bf16 matrix instructions bfloat16 is several times faster than float32, on one without them several
hundred times slower; the same holds, more mildly, for channels-last convolutions. What was measured is kept in a file
(`exdiff/machine.json` in the cache folder), so that a busy moment cannot make tomorrow's choice, and with it the
rounding of a result, differ from today's. EXDIFF_PRECISION (fp32 or bf16) overrides the precision.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.errors import ConfigError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
NAMES = {dtype: name for name, dtype in PRECISIONS.items()}


def precision(choice: str = "auto", device: str = "cpu") -> torch.dtype:
    """The data type for training: as chosen, or the faster one on this device.

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
    """Let this process keep the memory of freed tensors for the next ones; whether that could be arranged.

    The C library gives large blocks back to the system at once, which hands out zeroed pages, one fault after another,
    for the next tensor: a quarter of the time of a training step, a third of NCSN++'s. It concerns the whole process,
    so that commands ask for it and the library never does. Linux with glibc; elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))


def computed_dtype(x: Tensor) -> torch.dtype:
    """The type in which a convolution of `x` is computed: that of autocast, if it is on, or its own."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def fast_layout(x: Tensor) -> Tensor:
    """`x` [B, C, F, N] in the memory format in which convolutions are faster here, at the precision now in force."""
    if torch.compiler.is_compiling():  # which finds layouts by itself
        return x
    last = _channels_last_is_faster(NAMES.get(computed_dtype(x), "fp32"), x.device.type)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def fast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """Put the convolutions' weights into the memory format in which `fast_layout` brings maps of `dtype`.

    Otherwise each call reorders them first: a fifth of the time of a large network. Their values stay.
    """
    for parameter in module.parameters():
        if parameter.ndim == 4:
            last = _channels_last_is_faster(NAMES.get(dtype, "fp32"), parameter.device.type)
            layout = torch.channels_last if last else torch.contiguous_format
            parameter.data = parameter.data.contiguous(memory_format=layout)


@functools.cache
def _bf16_is_faster(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and remembered("bf16", _measure_bf16)


@functools.cache
def _channels_last_is_faster(name: str, device: str) -> bool:
    if device != "cpu":
        return device == "cuda"
    return remembered(f"channels_last_{name}", lambda: _measure_channels_last(PRECISIONS[name]))


def _measure_bf16() -> bool:
    def seconds(size: int, dtype: torch.dtype) -> float:
        a = torch.ones(size, size, dtype=dtype)
        return best_seconds(lambda: a @ a)

    # Small sizes first: where bf16 is emulated, even this product takes long enough to tell.
    if seconds(64, torch.bfloat16) > 30 * seconds(64, torch.float32):
        return False
    return seconds(512, torch.bfloat16) < 0.75 * seconds(512, torch.float32)


def _measure_channels_last(dtype: torch.dtype) -> bool:
    x, weight = torch.ones(1, 64, 64, 64, dtype=dtype), torch.ones(64, 64, 3, 3, dtype=dtype)
    last = x.contiguous(memory_format=torch.channels_last)
    return best_seconds(lambda: functional.conv2d(last, weight)) < best_seconds(lambda: functional.conv2d(x, weight))


def remembered(question: str, measure: Callable[[], bool]) -> bool:
    """The answer of the first time on this kind of machine; a cache that cannot be written only costs the measuring."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = folder / "exdiff" / "machine.json"
    kind = f"{_processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    answers = known.setdefault(kind, {})
    if question not in answers:
        answers[question] = measure()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps(known, indent=2), encoding="utf-8")
            temporary.replace(path)
        except OSError:
            pass
    return bool(answers[question])


@functools.cache
def _processor() -> str:
    """The CPU's model; its instruction sets where the name says nothing (virtual machines)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line and line.startswith(("model", "flags")))
    wide = [f for f in facts.get("flags\t\t", "").split() if f.startswith(("avx", "amx"))]
    name = next((v.strip() for k, v in facts.items() if k.startswith("model name")), platform.machine())
    return f"{name} ({' '.join(wide)})" if wide else name


def best_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The shortest of a few runs, after one that warms up."""
    times = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return min(times[1:])
