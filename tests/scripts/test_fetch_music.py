"""scripts/fetch_music.py: packages become flat folders of audio, and nothing outside is touched. No network."""

from __future__ import annotations

import runpy
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from exdiff.core.errors import DataError

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "fetch_music.py"))
PACKAGES, RESERVED, fetch_music, run_command = (
    SCRIPT[name] for name in ("PACKAGES", "RESERVED", "fetch_music", "run_command")
)

BIG, SMALL = b"x" * 20_000, b"x" * 11_999
ASTERISK = {
    "usr/share/asterisk/sounds/es/digits/1.g722": SMALL,
    "usr/share/asterisk/sounds/es/digits/2.g722": BIG,
    "usr/share/asterisk/sounds/es/hello.g722": BIG,
    "usr/share/asterisk/sounds/es/silence/10.g722": BIG,
    "usr/share/asterisk/sounds/es/silence10.g722": BIG,
    "usr/share/doc/x/copyright": b"",
}
CONTENT = {name: {"usr/share/games/music/one.ogg": b"1", "usr/share/doc/copyright": b""} for name in PACKAGES}
CONTENT |= {name: ASTERISK for name in PACKAGES if "core-sounds" in name}
CONTENT["singularity-music"] = {
    f"usr/share/music/{n}": b"1" for n in ("win/Kept.ogg", *(f"lose/{r}" for r in RESERVED["singularity-music"]))
}


def zipped(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as out:
        for name, data in members.items():
            out.writestr(name, data)


class Apt:
    """Stands in for apt-get and dpkg-deb, from a table of contents."""

    def __init__(self, pk3=None) -> None:
        self.pk3 = pk3 or {"sound/cdtracks/track.ogg": b"t", "sound/readme.txt": b"r"}
        self.fetched: list[str] = []

    def __call__(self, command, folder):
        if command[:2] == ["apt-get", "download"]:
            self.fetched.append(command[2])
            (folder / f"{command[2]}_1_all.deb").write_text(command[2])
            return
        assert command[:2] == ["dpkg-deb", "-x"]
        package = (folder / command[2]).read_text()
        for name, data in CONTENT[package].items():
            path = folder / command[3] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if package == "nexuiz-music":
            (folder / command[3] / "usr/share/games/music/one.ogg").unlink()
            zipped(folder / command[3] / "usr/share/games/music/data.pk3", self.pk3)
        if package == "ufoai-music":
            (folder / command[3] / "link.ogg").symlink_to("/etc/passwd")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_every_package_becomes_a_flat_folder(tmp_path):
    apt = Apt()
    folders = fetch_music(tmp_path, apt)
    assert apt.fetched == list(PACKAGES)
    assert folders == [tmp_path / place for place in PACKAGES.values()]
    assert names(tmp_path) == ["music", "speech"], "nothing temporary is left"
    assert names(tmp_path / "speech") == ["asterisk_es", "asterisk_fr"]
    assert names(tmp_path / "music" / "wesnoth-1.16-music") == ["one.ogg"]
    assert names(tmp_path / "music" / "nexuiz-music") == ["track.ogg"]
    assert names(tmp_path / "music" / "ufoai-music") == ["one.ogg"], "a link out of the package is not followed"


def test_prompts_that_hold_no_speech_are_left_out(tmp_path):
    fetch_music(tmp_path, Apt())
    assert names(tmp_path / "speech" / "asterisk_es") == ["digits_2.g722", "hello.g722"]


def test_what_is_reserved_for_validation_is_left_out(tmp_path):
    fetch_music(tmp_path, Apt())
    assert names(tmp_path / "music" / "singularity-music") == ["win_Kept.ogg"]


def test_a_second_call_fetches_only_what_is_missing(tmp_path):
    fetch_music(tmp_path, Apt())
    shutil.rmtree(tmp_path / "music" / "ufoai-music")
    again = Apt()
    fetch_music(tmp_path, again)
    assert again.fetched == ["ufoai-music"]


def test_an_interrupted_package_is_fetched_again(tmp_path):
    class Breaks(Apt):
        def __call__(self, command, folder):
            super().__call__(command, folder)
            if command[0] == "dpkg-deb" and len(self.fetched) == 2:
                raise DataError("no space left")

    with pytest.raises(DataError, match="no space left"):
        fetch_music(tmp_path, Breaks())
    assert [p.name for p in (tmp_path / "music").iterdir()] == ["wesnoth-1.16-music"]
    assert names(tmp_path) == ["music"]
    again = Apt()
    fetch_music(tmp_path, again)
    assert again.fetched == list(PACKAGES)[1:]


@pytest.mark.parametrize("name", ["../../evil.ogg", "/tmp/evil.ogg", "a/../../evil.ogg", "..\\evil.ogg", "C:/evil.ogg"])
def test_a_zip_cannot_write_outside(tmp_path, name):
    with pytest.raises(DataError, match="names a file outside itself"):
        fetch_music(tmp_path / "in" / "side", Apt({name: b"x"}))
    assert not list(tmp_path.rglob("*evil*"))


def test_a_damaged_zip_is_a_data_error(tmp_path):
    apt = Apt()

    def damaged(command, folder):
        apt(command, folder)
        for path in folder.rglob("*.pk3"):
            path.write_bytes(b"not a zip")

    with pytest.raises(DataError, match=r"data\.pk3 is damaged"):
        fetch_music(tmp_path, damaged)


def test_a_package_without_audio_is_a_data_error(tmp_path, monkeypatch):
    monkeypatch.setitem(CONTENT, "wesnoth-1.16-music", {"usr/share/doc/copyright": b""})
    with pytest.raises(DataError, match=r"wesnoth-1\.16-music holds no audio"):
        fetch_music(tmp_path, Apt())


def test_no_package_at_all_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="gave 0 packages instead of one"):
        fetch_music(tmp_path, lambda command, folder: None)


def test_a_missing_program_says_what_is_needed(tmp_path):
    with pytest.raises(DataError, match="apt-get-not-here is not installed: fetching needs Debian"):
        run_command(["apt-get-not-here", "download"], tmp_path)


def test_a_failing_program_says_why(tmp_path):
    with pytest.raises(DataError, match="failed: E: no such package; run `apt-get update`"):
        run_command(["sh", "-c", "echo first >&2; echo 'E: no such package' >&2; exit 100"], tmp_path)
    run_command(["sh", "-c", "echo > made"], tmp_path)
    assert (tmp_path / "made").exists()


def test_the_script_fetches_once_and_fails_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fetch_music.py", str(tmp_path / "here")])
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no apt-get
    with pytest.raises(SystemExit, match="fetch_music.py: error: apt-get is not installed") as failed:
        SCRIPT["main"]()
    assert "\n" not in str(failed.value.code)
    for place in PACKAGES.values():
        (tmp_path / "here" / place).mkdir(parents=True)
    SCRIPT["main"]()
    assert f"8 folders are below {tmp_path / 'here'}; recipes find them with EXDIFF_MUSIC=" in capsys.readouterr().err
