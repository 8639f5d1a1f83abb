"""Fetch free music and more speech from Debian's archive (1.2 GB), for the recipes that train on them.

    python scripts/fetch_music.py /data/debian
    export EXDIFF_MUSIC=/data/debian

It needs Debian or Ubuntu, but not root. `apt-get download` checks the packages against Debian's signatures and
`dpkg-deb -x` only unpacks them. Packages that are there already are not fetched again. All clips of a package end up in
one flat folder, because exdiff takes the folder of a clip as its speaker.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path, PurePosixPath

from exdiff.audio.files import audio_files, is_audio
from exdiff.core.errors import DataError
from exdiff.core.progress import track

# Package -> folder. All are music without (known) vocals, or speech, under licences of tier B by their copyright files.
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

RunCommand = Callable[[Sequence[str], Path], None]


def run_command(command: Sequence[str], folder: Path) -> None:
    """Run `command` in `folder`.

    Raises:
        DataError: there is no such program, or it fails.
    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise DataError(
            f"{command[0]} is not installed: fetching needs Debian or Ubuntu; a container will do"
        ) from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"{' '.join(command)} failed: {reason}; run `apt-get update` as root and try again")


def fetch_music(folder: Path, run: RunCommand = run_command) -> list[Path]:
    """Put the music and speech of `PACKAGES` into `folder`; packages that are there already are skipped.

    Args:
        folder: for music/PACKAGE/ and speech/asterisk_{es,fr}/.
        run: runs a command in a folder; tests replace it.

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


def _fetch(package: str, work: Path, run: RunCommand) -> Path:
    """The audio of one package, in a new folder below `work`."""
    run(["apt-get", "download", package], work)
    archives = sorted(work.glob("*.deb"))
    if len(archives) != 1:
        raise DataError(f"apt-get download {package} gave {len(archives)} packages instead of one")
    tree, audio = work / "tree", work / "audio"
    audio.mkdir()
    run(["dpkg-deb", "-x", archives[0].name, tree.name], work)
    for archive in _without_links(tree.rglob("*.[pP][kK]3")):
        _unzip(archive, archive.with_suffix(""))
    _flatten(_without_links(audio_files(tree)), RESERVED.get(package, frozenset()), audio)
    if not any(audio.iterdir()):
        raise DataError(f"the package {package} holds no audio that can be used")
    return audio


def _without_links(files: Iterable[Path]) -> list[Path]:
    """The files that are not symbolic links: those of a package may point anywhere."""
    return sorted(path for path in files if path.is_file() and not path.is_symlink())


def _unzip(archive: Path, target: Path) -> None:
    """Unpack the audio in a zip below `target` and nowhere else."""
    try:
        with zipfile.ZipFile(archive) as source:
            for info in source.infolist():
                name = PurePosixPath(info.filename)
                if info.is_dir() or not is_audio(Path(name)):
                    continue
                if name.is_absolute() or ".." in name.parts or "\\" in info.filename or ":" in info.filename:
                    raise DataError(f"{archive.name} names a file outside itself: {info.filename!r}")
                out = target / name
                out.parent.mkdir(parents=True, exist_ok=True)
                with source.open(info) as member, out.open("wb") as copy:
                    shutil.copyfileobj(member, copy)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive.name} is damaged: {error}") from None


def _flatten(files: Sequence[Path], reserved: Set[str], audio: Path) -> None:
    """Move the usable files into one folder; their names keep those of the sub-folders they came from."""
    root = Path(os.path.commonpath([p.parent for p in files])) if files else Path()
    for file in files:
        name = file.relative_to(root)
        telephone = file.suffix.lower() == ".g722"  # prompts, some of them silence or single syllables
        usable = not (telephone and (name.parts[0].startswith("silence") or file.name.startswith("silence")))
        if usable and file.name not in reserved and not (telephone and file.stat().st_size < MINIMUM_BYTES):
            file.rename(audio / "_".join(name.parts))


def main() -> None:
    """Fetch into the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where music/ and speech/ are made")
    folder = parser.parse_args().folder.absolute()
    try:
        places = fetch_music(folder)
    except DataError as error:
        sys.exit(f"fetch_music.py: error: {error}")
    print(f"{len(places)} folders are below {folder}; recipes find them with EXDIFF_MUSIC={folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
