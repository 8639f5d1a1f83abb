"""How fast Spleeter's two U-Nets run here as our extractor, compared with a plain port.

    python benchmarks/spleeter.py --threads 2

A stereo song of noise, some blocks of 512 frames (11.8 s) long. The plain port is the obvious one: contiguous
float32 memory, one block at a time, unchanged transposed convolutions. Both have the same weights (the published ones
after `exdiff models install vocals`, else random ones, which are as fast) and run alternately in one process. Prints
Markdown: medians, the ratio, the distance of the estimates.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional

from exdiff.checkpoints.checkpoint import installed, load_model
from exdiff.core.machine import fast_weights, keep_memory, precision
from exdiff.model.extractors import SpleeterExtractor
from exdiff.model.extractors.spleeter_unet import SpleeterUNet

SIZE, HOP, FRAMES, BINS = 4096, 1024, 512, 1024


def plain_unet(net: SpleeterUNet, x: Tensor) -> Tensor:
    """One U-Net as published: magnitudes [1, 2, F, N] -> those of its source."""
    magnitude, skips = x, []
    for i, conv in enumerate(net.down):
        x = conv(functional.pad(x, (1, 2, 1, 2)))
        skips.append(x)
        if i < len(net.down_norm):
            x = functional.leaky_relu(net.down_norm[i](x), 0.2)
    x = skips.pop()
    for conv, norm in zip(net.up, net.up_norm, strict=True):
        full = functional.conv_transpose2d(x, conv.weight, conv.bias, stride=2)  # type: ignore[arg-type]
        x = norm(functional.relu(full[..., 1:-2, 1:-2]))
        x = torch.cat([skips.pop(), x], 1) if skips else x
    return torch.sigmoid(net.mask(x)) * magnitude


def plain(extractor: SpleeterExtractor, song: Tensor) -> Tensor:
    """Vocals [2, T] of a song [2, T]."""
    length, window = song.shape[1], torch.hann_window(SIZE)
    padded = functional.pad(song, (SIZE, SIZE + -length % HOP))
    spectrum = torch.fft.rfft(padded.unfold(1, SIZE, HOP) * window)
    magnitude = functional.pad(spectrum.abs()[..., :BINS], (0, 0, 0, -spectrum.shape[1] % FRAMES))
    masks = []
    for block in magnitude.transpose(1, 2).split(FRAMES, 2):
        vocals, rest = (plain_unet(net, block[None])[0] ** 2 for net in (extractor.vocals, extractor.accompaniment))
        masks.append((vocals + 5e-11) / (vocals + rest + 1e-10))
    mask = torch.cat(masks, 2)[..., : spectrum.shape[1]].transpose(1, 2)
    frames = torch.fft.irfft(spectrum * functional.pad(mask, (0, SIZE // 2 + 1 - BINS)), SIZE) * window
    whole = (1, padded.shape[1])
    wave = functional.fold(frames.transpose(1, 2), whole, (1, SIZE), stride=(1, HOP))[:, 0, 0] / 1.5
    return wave[:, SIZE : SIZE + length]


def seconds(work: Callable[[], Tensor]) -> float:
    """Duration of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def extractors() -> tuple[SpleeterExtractor, SpleeterExtractor]:
    """The same model twice: for the port, whose weights stay contiguous, and for ours."""
    torch.manual_seed(0)
    ours, port = SpleeterExtractor(above="zeros").eval(), SpleeterExtractor(above="zeros").eval()
    if "vocals" in installed():
        known = load_model("vocals")[0].extractor
        assert known is not None
        ours.load_state_dict(known.state_dict())
    port.load_state_dict(ours.state_dict())
    return port, ours


@torch.inference_mode()
def main() -> None:
    """Measure both alternately and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    port, ours = extractors()
    song = 0.2 * torch.randn(2, (options.blocks * FRAMES - 5) * HOP)
    keep_memory()
    dtypes = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if precision() == torch.bfloat16 else {})
    forms: dict[str, Callable[[], Tensor]] = {"plain port, fp32": lambda: plain(port, song)}

    def ready(dtype: torch.dtype) -> Callable[[], Tensor]:
        def work() -> Tensor:
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                return ours(song[None]).estimate[0]

        return work

    forms |= {f"exdiff, {name}": ready(dtype) for name, dtype in dtypes.items()}
    fast_weights(ours, list(dtypes.values())[-1])
    reference = plain(port, song)
    apart = {name: float((work() - reference).norm() / reference.norm()) for name, work in forms.items()}
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(options.rounds):
        for name, work in forms.items():
            times[name].append(seconds(work))
    length = song.shape[1] / 44100
    middle = {name: median(values) for name, values in times.items()}
    first = next(iter(middle.values()))
    weights = "published" if "vocals" in installed() else "random"
    print(f"{length:.1f} s of stereo; {options.threads} threads; {weights} weights; torch {torch.__version__}\n")
    print("| form | seconds | real-time factor | times as fast | estimate apart |\n|---|---|---|---|---|")
    for name, value in middle.items():
        print(f"| {name} | {value:.3f} | {value / length:.4f} | {first / value:.2f} | {apart[name]:.1e} |")


if __name__ == "__main__":
    main()
