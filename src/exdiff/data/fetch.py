"""Free music and more speech from Debian's archive, so that training needs no download by hand.

`apt-get download` checks the packages against Debian's signatures and needs no root; `dpkg-deb -x` only unpacks. Every
clip of a package ends in one flat folder, because a clip's folder is its speaker (`clips.read_folder`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Sequence, Set
from pathlib import Path, PurePosixPath

from exdiff.data.clips import AUDIO_SUFFIXES
from exdiff.errors import DataError
from exdiff.progress import track

# Package -> folder. All are music without (known) vocals, or speech; licence tier B, as their copyright files say.
PACKAGES = {
    "wesnoth-1.16-music": "music/wesnoth-1.16-music",
    "warzone2100-music": "music/warzone2100-music",
    "ufoai-music": "music/ufoai-music",
    "nexuiz-music": "music/nexuiz-music",
    "singularity-music": "music/singularity-music",
    "asterisk-moh-opsound-g722": "music/asterisk-moh-opsound-g722",
    "asterisk-core-sounds-es-g722": "speech/asterisk_es",
    "asterisk-core-sounds-fr-g722": "speech/asterisk_fr",
}
# The last two of singularity-music by name and the last two by path are reserved for validation.
RESERVED = {
    "singularity-music": {"Through Space.ogg", "Apex Aleph.ogg", "Orbital Elevator.ogg", "March Thee to Dis.ogg"}
}
MINIMUM_BYTES = 12_000  # of a G.722 file, 64 kbit/s: 1.5 s

Run = Callable[[Sequence[str], Path], None]


def run_command(command: Sequence[str], folder: Path) -> None:
    """Run `command` in `folder`.

    Raises:
        DataError: no such program, or it failed.
    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise DataError(
            f"{command[0]} is not installed: fetching needs Debian or Ubuntu, a container will do"
        ) from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"{' '.join(command)} failed: {reason}; run `apt-get update` as root and try again")


def fetch_music(folder: Path, run: Run = run_command) -> list[Path]:
    """Bring the music and speech of `PACKAGES` below `folder`; what is there already is not fetched again.

    Args:
        folder: where music/PACKAGE/ and speech/asterisk_{es,fr}/ are made.
        run: runs a command in a folder; another one for tests.

    Returns:
        The folders, ready for a recipe's `data.folders`.

    Raises:
        DataError: apt-get is missing or fails, or a package is damaged or holds no audio.
    """
    folder.mkdir(parents=True, exist_ok=True)
    targets = []
    for package, place in track(list(PACKAGES.items()), "fetching music"):
        target = folder / place
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=f".{package}-") as temporary:
                _fetch(package, Path(temporary), run).rename(target)
        targets.append(target)
    return targets


def _fetch(package: str, work: Path, run: Run) -> Path:
    """One package's audio in a new folder below `work`."""
    run(["apt-get", "download", package], work)
    archives = sorted(work.glob("*.deb"))
    if len(archives) != 1:
        raise DataError(f"apt-get download {package} gave {len(archives)} packages instead of one")
    tree, audio = work / "tree", work / "audio"
    audio.mkdir()
    run(["dpkg-deb", "-x", archives[0].name, tree.name], work)
    for archive in _files(tree, {".pk3"}):
        _unzip(archive, archive.with_suffix(""))
    _flatten(_files(tree, AUDIO_SUFFIXES), RESERVED.get(package, frozenset()), audio)
    if not any(audio.iterdir()):
        raise DataError(f"the package {package} holds no audio that can be used")
    return audio


def _files(tree: Path, suffixes: Set[str]) -> list[Path]:
    """Not symbolic links: a package's may point anywhere."""
    return sorted(p for p in tree.rglob("*") if p.suffix.lower() in suffixes and p.is_file() and not p.is_symlink())


def _unzip(archive: Path, target: Path) -> None:
    """The audio in a zip, unpacked below `target` and nowhere else."""
    try:
        with zipfile.ZipFile(archive) as source:
            for info in source.infolist():
                name = PurePosixPath(info.filename)
                if info.is_dir() or name.suffix.lower() not in AUDIO_SUFFIXES:
                    continue
                if name.is_absolute() or ".." in name.parts or "\\" in info.filename or ":" in info.filename:
                    raise DataError(f"{archive.name} names a file outside of itself: {info.filename!r}")
                out = target / name
                out.parent.mkdir(parents=True, exist_ok=True)
                with source.open(info) as member, out.open("wb") as copy:
                    shutil.copyfileobj(member, copy)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive.name} is damaged: {error}") from None


def _flatten(files: Sequence[Path], reserved: Set[str], audio: Path) -> None:
    """Move what is of use into one folder; a name tells the sub-folder that the file came from."""
    root = Path(os.path.commonpath([p.parent for p in files])) if files else Path()
    for file in files:
        name = file.relative_to(root)
        telephone = file.suffix.lower() == ".g722"  # prompts, among them stretches of silence and single syllables
        of_use = not (telephone and (name.parts[0].startswith("silence") or file.name.startswith("silence")))
        if of_use and file.name not in reserved and not (telephone and file.stat().st_size < MINIMUM_BYTES):
            file.rename(audio / "_".join(name.parts))
