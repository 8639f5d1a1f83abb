"""This machine in words, and what is chosen on it, as `exdiff doctor` tells it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from exdiff.core.threads import WAIT_VARIABLES, core_count

_INSTRUCTIONS = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16"),
    *("asimd", "sve", "i8mm", "bf16"),  # ARM
)
_CGROUP = Path("/sys/fs/cgroup")


def processor() -> str:
    """The processor's model."""
    return _cpu_facts().get("model name") or platform.processor() or platform.machine()


def instructions() -> str:
    """The instruction sets that matter for speed."""
    facts = _cpu_facts()
    flags = facts.get("flags", facts.get("Features", "")).split()
    if not flags:
        return "this system does not say"
    return " ".join(name for name in _INSTRUCTIONS if name in flags) or "none that matter"


def cores() -> str:
    """How many cores this process may use."""
    text = f"{core_count()} of {os.cpu_count()}"
    quota, _, period = _limit("cpu.max").partition(" ")
    return f"{text}, for {int(quota) / int(period):g} cores' time (a container's limit)" if quota.isdigit() else text


def memory() -> str:
    """Free memory and all of it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "this system does not say"
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    text = f"{kib['MemAvailable'] * 1024 / 1e9:.1f} GB free of {kib['MemTotal'] * 1024 / 1e9:.1f} GB"
    limit = _limit("memory.max")
    return f"{text}, at most {int(limit) / 1e9:.1f} GB in this container" if limit.isdigit() else text


def torch_build() -> str:
    """PyTorch's version, what it was built for, and the kernels that it uses."""
    import torch

    gpu = (
        f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}" if torch.version.hip else ""
    )
    return f"{torch.__version__}, built for {gpu or 'CPUs'}, {torch.backends.cpu.get_cpu_capability()} kernels"


def devices() -> str:
    """The devices, and the one that `--device auto` takes."""
    import torch

    from exdiff.core.machine import choose_device

    found = ["cpu"]
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        found += [f"cuda:{i} {card.name}, {card.total_memory / 1e9:.1f} GB" for i, card in enumerate(cards)]
    if torch.backends.mps.is_available():
        found.append("mps")
    return f"{'; '.join(found)}; auto is {choose_device('auto')}"


def threads() -> str:
    """How many threads compute."""
    import torch

    return f"{torch.get_num_threads()}, unless --threads says otherwise"


def waiting() -> str:
    """How idle threads of OpenMP wait."""
    return settings(WAIT_VARIABLES) or "left to OpenMP"


def precision() -> str:
    """The precision of the networks' products, and why."""
    from exdiff.core import machine
    from exdiff.core.measure import measured

    device = machine.choose_device("auto").type
    chosen = machine.NAMES[machine.precision("auto", device)]
    if os.environ.get("EXDIFF_PRECISION", "auto") != "auto":
        return f"{chosen}, because EXDIFF_PRECISION says so"
    if device != "cpu":
        return f"{chosen}, by the kind of the device"
    if "bf16" not in measured():
        return f"{chosen}, measured just now, since nothing can be kept in the cache"
    ratio = measured()["bf16"].ratio
    return f"{chosen}: here bf16 takes {ratio:.2f} of the time of fp32, and is chosen below {machine.BF16_BELOW:.2f}"


def memory_format() -> str:
    """The memory format of convolutions at that precision, and why."""
    import torch

    from exdiff.core import machine
    from exdiff.core.measure import CLEARLY, measured

    device = machine.choose_device("auto")
    dtype = machine.precision("auto", device.type)
    x = machine.fast_layout(torch.zeros(1, 2, 2, 2, dtype=dtype, device=device))
    chosen = "channels last" if x.is_contiguous(memory_format=torch.channels_last) else "contiguous"
    answer = measured().get(f"channels_last_{machine.NAMES[dtype]}")
    if device.type != "cpu" or answer is None:
        return chosen
    return f"{chosen}: here channels last takes {answer.ratio:.2f} of contiguous, and is chosen below {CLEARLY:.2f}"


def settings(names: tuple[str, ...]) -> str:
    """Those of the environment variables that are set.

    Example:
        >>> settings(("EXDIFF_NO_SUCH_VARIABLE",))
        ''
    """
    return ", ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)


def _cpu_facts() -> dict[str, str]:
    """What Linux says about the last core; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _limit(name: str) -> str:
    """A limit of the control group that this process sees as its own: "max" if there is none, empty if unknown."""
    try:
        return (_CGROUP / name).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
