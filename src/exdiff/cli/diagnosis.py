"""The facts that `exdiff doctor` reports. Each is found by itself, so one that cannot be found hides no other."""

from __future__ import annotations

import base64
import hashlib
import importlib
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from exdiff import __version__
from exdiff.cli import hardware
from exdiff.cli.common import check_folder
from exdiff.core.errors import AudioError, CheckpointError
from exdiff.core.folders import cache_folder

# What each extra is for; those for development are not reported.
PURPOSES = {
    "scores": "the metrics estoi and dnsmos, `exdiff data score`",
    "eval": "the same and pesq, which needs a C compiler",
    "log-wmse": "the metric log_wmse",
    "words": "the metric wer, word errors",
    "compare": "the page of `exdiff compare`",
    "train": "training by several processes, TensorBoard",
    "export": "models as ONNX files, and ONNX files as extractors",
    "shards": "data sets as tar files",
    "batch": "object stores and clusters for `exdiff batch`",
    "demo": "the web page, `exdiff demo`",
    "live": "microphones and loudspeakers in `exdiff live`",
}
SETTINGS = (
    *("EXDIFF_PRECISION", "EXDIFF_CACHE", "EXDIFF_DEBUG", "XDG_CACHE_HOME", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    *("CUDA_VISIBLE_DEVICES", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"),
)


class Fact(NamedTuple):
    """One line of the report.

    Attributes:
        name: what it is about.
        find: gives the text; raises if that is broken.
        needed: enhancing does not work without it.
    """

    name: str
    find: Callable[[], str]
    needed: bool = False


def versions() -> Iterator[Fact]:
    """Of exdiff, Python and the packages that enhancing needs."""
    yield Fact("exdiff", lambda: f"{__version__} in {Path(__file__).parents[1]}")
    yield Fact("python", lambda: f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}")
    yield Fact("torch", hardware.torch_build, needed=True)
    yield Fact("numpy", lambda: importlib.import_module("numpy").__version__, needed=True)
    for package, library, attribute in (
        ("soxr", "libsoxr", "__libsoxr_version__"),
        ("soundfile", "libsndfile", "__libsndfile_version__"),
        ("av", "FFmpeg", "ffmpeg_version_info"),
    ):
        yield Fact(package, partial(_version_with_library, package, library, attribute), needed=True)
    for package in ("pyyaml", "rich", "safetensors", "typer"):
        yield Fact(package, partial(metadata.version, package), needed=True)


def machine() -> Iterator[Fact]:
    """System, processor and memory."""
    yield Fact("system", platform.platform)
    yield Fact("processor", hardware.processor)
    yield Fact("instructions", hardware.instructions)
    yield Fact("cores", hardware.cores)
    yield Fact("memory", hardware.memory)


def computing() -> Iterator[Fact]:
    """What is chosen on this machine, and why."""
    yield Fact("devices", hardware.devices)
    yield Fact("threads", hardware.threads, needed=True)
    yield Fact("waiting", hardware.waiting)
    yield Fact("precision", hardware.precision, needed=True)
    yield Fact("memory format", hardware.memory_format, needed=True)
    yield Fact("settings", lambda: hardware.settings(SETTINGS) or "no environment variables")


def cache() -> Iterator[Fact]:
    """The folder for what can be made again; enhancing works without it."""
    folder = cache_folder()
    yield Fact("folder", lambda: f"{folder}{'' if folder.is_dir() else ', not there yet'}")
    yield Fact("disk", lambda: _free_disk(folder))
    yield Fact("writing", partial(_writable, folder))


def models() -> Iterator[Fact]:
    """Embedded and installed models, read whole."""
    from exdiff.checkpoints.catalogue import INSTALLABLE, install_hint
    from exdiff.checkpoints.checkpoint import embedded, installed

    for name in [*embedded(), *installed()]:
        yield Fact(name, partial(_model, name), needed=True)
    for name in sorted(INSTALLABLE.keys() - set(installed())):
        yield Fact(name, partial("not installed; {}".format, install_hint(name)))


def extras() -> Iterator[Fact]:
    """Optional packages."""
    try:
        offered = metadata.metadata("exdiff").get_all("Provides-Extra") or ()
    except metadata.PackageNotFoundError:
        yield Fact("all", lambda: "unknown: exdiff runs from its source tree, and is not installed")
        return
    for extra in (name for name in PURPOSES if name in offered):
        yield Fact(extra, partial(_extra, extra))


def trial() -> Iterator[Fact]:
    """A sound's whole way, in small."""
    yield Fact("enhance", _enhance_noise, needed=True)
    yield Fact("files", _write_and_read, needed=True)


SECTIONS: dict[str, Callable[[], Iterator[Fact]]] = {
    "versions": versions,
    "machine": machine,
    "computing": computing,
    "cache": cache,
    "models": models,
    "extras": extras,
    "trial": trial,
}


def _version_with_library(package: str, library: str, attribute: str) -> str:
    module = importlib.import_module(package)
    return f"{module.__version__} ({library} {getattr(module, attribute)})"


def _writable(folder: Path) -> str:
    check_folder(folder)
    return "works"


def _free_disk(folder: Path) -> str:
    place = next(p for p in (folder, *folder.parents) if p.exists())
    return f"{shutil.disk_usage(place).free / 1e9:.1f} GB free"


def _model(name: str) -> str:
    """Size, licence and fingerprint of a model, if it can be loaded and is what was installed."""
    from exdiff.checkpoints.checkpoint import WEIGHTS, load_model, locate
    from exdiff.model.nn.cost import parameters

    model, recipe = load_model(name)
    if not all(bool(value.isfinite().all()) for value in model.state_dict().values()):
        raise CheckpointError(f"the weights of {name} are damaged: not all of them are finite; install exdiff again")
    file = locate(name) / WEIGHTS
    digest = hashlib.sha256(file.read_bytes()).digest()
    recorded = _recorded_hash(file)
    if recorded not in (None, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()):
        raise CheckpointError(f"{file} has changed since it was installed; install exdiff again")
    size = f"{file.stat().st_size / 1e6:.1f} MB, {parameters(model) / 1e6:.2f} million parameters"
    state = "readable" if recorded is None else "intact"
    return f"{size}, {recipe.licence}, SHA-256 {digest.hex()[:12]}, {state}"


def _recorded_hash(file: Path) -> str | None:
    """The hash of a file in the record of the installed package; None without a record, as in a source tree."""
    try:
        entries = metadata.files("exdiff") or ()
    except metadata.PackageNotFoundError:
        return None
    own = (entry for entry in entries if entry.name == file.name and Path(str(entry.locate())) == file)
    return next((entry.hash.value for entry in own if entry.hash is not None), None)


def _extra(extra: str) -> str:
    lines = [line for line in metadata.requires("exdiff") or () if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    names = sorted({re.split(r"[\[<>=!~;( ]", line)[0] for line in lines})
    missing = [name for name in names if not any(metadata.distributions(name=name))]
    if not missing:
        return "installed"
    return f'not installed ({", ".join(missing)}): {PURPOSES[extra]}; type: pip install "exdiff[{extra}]"'


def _enhance_noise() -> str:
    import numpy as np

    from exdiff.inference.loading import load

    began = time.perf_counter()
    enhancer = load("speech")
    loaded = time.perf_counter() - began
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 24000).astype(np.float32)
    result, run = enhancer.run(noise, 48000)  # a rate that is not the model's
    if np.shape(result) != noise.shape or not np.isfinite(result).all():
        raise AudioError("the result is not finite, or not as long as the input; please report this")
    return f"0.5 s of noise in {run.seconds:.2f} s, and {loaded:.2f} s to load the model; the result is finite"


def _write_and_read() -> str:
    import numpy as np

    from exdiff.audio import decode, encode

    sound = np.sin(np.arange(8000, dtype=np.float32) / 10)[None] / 2
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("flac", "m4a"):
            file = Path(folder) / f"tone.{suffix}"
            encode(file, sound, 16000)
            error = float(np.mean((decode(file)[0] - sound) ** 2) / np.mean(sound**2))
            if not error < 0.01:
                raise AudioError(f"{suffix}: {error:.1%} of a tone's power is wrong; please report this")
    return "FLAC (libsndfile) and AAC (FFmpeg) written and read back"
