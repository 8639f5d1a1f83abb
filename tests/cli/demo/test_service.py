"""What the page does with a file, without the page."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exdiff.audio import decode
from exdiff.cli.demo import listening
from exdiff.cli.demo.housekeeping import TemporaryFolders
from exdiff.cli.demo.request import Request
from exdiff.cli.demo.service import Service
from exdiff.cli.ending import ENDING
from exdiff.core.errors import AudioError, ConfigError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg makes the files of this test")


@pytest.fixture
def service(model):
    folders = TemporaryFolders()
    yield Service({"speech": model, "vocals": model}, folders, {"device": "cpu"}, most_minutes=0.1)
    folders.close()


@pytest.fixture
def enhance(service):
    """`enhance(path, **request)` -> result, and how far it was at each call."""

    def call(path, **request):
        seen = []
        result = service.enhance(path, Request(**request), seen.append)
        assert seen == sorted(seen) and seen[-1] == pytest.approx(1)
        return result

    return call


def test_the_result_is_that_of_the_command(enhance, noise, run, model, tmp_path):
    noise(tmp_path / "x.wav", rate=44100, channels=2)
    options = ["--model", model, "--steps", 2, "--seed", 3, "--strength", 0.7]
    assert run("enhance", tmp_path / "x.wav", *options).exit_code == 0
    result = enhance(tmp_path / "x.wav", steps=2, seed=3, strength=0.7)
    assert result.files[0].read_bytes() == (tmp_path / "x.enhanced.wav").read_bytes()
    assert result.record["steps"] == 2 and result.record["nfe"] >= 2


def test_stems_add_up_and_the_player_hears_them(enhance, noise, tmp_path):
    noise(tmp_path / "song.flac", rate=16000, channels=2)
    result = enhance(tmp_path / "song.flac", kind="vocals", steps=0)
    song, vocals, rest = (decode(path)[0] for path in (tmp_path / "song.flac", *result.files))
    assert np.array_equal(vocals + rest, song)
    assert [path.name for path in result.files] == ["song.vocals.flac", "song.accompaniment.flac"]
    assert result.player["tracks"] == ["Song", "Vocals", "Accompaniment"]
    assert np.array_equal(decode(result.folder / "before.flac")[0], song)
    assert np.abs(decode(result.folder / "after.flac")[0] - vocals).max() <= 2**-15


def test_each_model_is_loaded_once(enhance, service, noise, tmp_path, monkeypatch):
    from exdiff.inference import loading

    loads, load = [], loading.load
    monkeypatch.setattr(loading, "load", lambda *a, **k: loads.append(a) or load(*a, **k))
    noise(tmp_path / "x.wav", seconds=0.3)
    for steps in (0, 1, 2):
        enhance(tmp_path / "x.wav", steps=steps)
    assert len(loads) == 1


def test_samples_show_where_the_model_is_unsure(enhance, noise, tmp_path):
    noise(tmp_path / "x.wav")
    alone, several = (enhance(tmp_path / "x.wav", steps=1, samples=samples) for samples in (1, 3))
    assert alone.player["uncertainty"] is None
    assert len(several.player["uncertainty"]) == 70 and max(several.player["uncertainty"]) > 0.2
    assert several.files[0].read_bytes() == alone.files[0].read_bytes(), "they change nothing in the result"
    none = enhance(tmp_path / "x.wav", steps=0, samples=3).player
    assert none["uncertainty"] is None and "no uncertainty" in none["notes"][0]


def test_a_long_file_gets_a_smaller_preview_and_a_whole_result(enhance, noise, tmp_path, monkeypatch):
    noise(tmp_path / "x.wav", rate=48000, channels=2, seconds=2.0)
    monkeypatch.setattr(listening, "MOST_SAMPLES", 24000)
    result = enhance(tmp_path / "x.wav", steps=0)
    for name in ("before.flac", "after.flac"):
        preview, rate = decode(result.folder / name)
        assert preview.shape == (1, 24000) and rate == 12000
    assert result.player["smaller"] and result.player["seconds"] == 2
    assert decode(result.files[0])[0].shape == (2, 96000)
    monkeypatch.setattr(listening, "MOST_SAMPLES", 12000)
    result = enhance(tmp_path / "x.wav", steps=0)
    assert (result.player["seconds"], result.player["whole_seconds"]) == (1, 2)
    assert decode(result.folder / "after.flac")[0].shape == (1, 12000)


def test_a_file_that_is_too_long_is_refused_whatever_its_header_says(service, noise, tmp_path):
    noise(tmp_path / "x.wav", rate=8000, seconds=6.1)
    content = bytearray((tmp_path / "x.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"  # as a recorder leaves it that died
    (tmp_path / "y.wav").write_bytes(content)
    for name in ("x.wav", "y.wav"):
        with pytest.raises(AudioError, match=r"longer than 0\.1 minutes"):
            service.enhance(tmp_path / name, Request(steps=0), lambda part: None)
    assert not list(service.folders.root.iterdir())


def test_nothing_is_left_of_what_failed(service, noise, tmp_path, monkeypatch):
    noise(tmp_path / "x.wav", seconds=0.3)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("exdiff.cli.demo.service.write_pictures", fail)
    with pytest.raises(OSError, match="No space"):
        service.enhance(tmp_path / "x.wav", Request(steps=0), lambda part: None)
    assert not list(service.folders.root.iterdir())


def test_a_request_that_has_waited_does_not_begin_after_the_end(service, noise, tmp_path, monkeypatch):
    noise(tmp_path / "x.wav", seconds=0.3)
    monkeypatch.setattr(ENDING, "wanted", True)
    assert service.wait(0)
    monkeypatch.setattr(service, "enhancer", lambda kind: pytest.fail("it begins"))
    with pytest.raises(AudioError, match="the server is being stopped"):
        service.enhance(tmp_path / "x.wav", Request(steps=0), lambda part: None)
    assert not list(service.folders.root.iterdir())


@pytest.mark.parametrize("wrong", [{"kind": "piano"}, {"samples": 0}, {"samples": 5}, {"steps": -1}, {"steps": 101}])
def test_requests_are_checked(wrong):
    with pytest.raises(ConfigError, match="allowed|must be"):
        Request(**wrong).check()


@needs_ffmpeg
def test_a_video_keeps_its_picture(enhance, tmp_path):
    import av

    video = tmp_path / "x.mp4"
    picture = ["-f", "lavfi", "-i", "color=size=32x32:rate=5:duration=1", "-f", "lavfi", "-i", "anoisesrc=duration=1"]
    subprocess.run(["ffmpeg", "-v", "error", *picture, "-shortest", str(video)], check=True)
    result = enhance(video, steps=0)
    assert result.files[0].name == "x.enhanced.mp4"
    with av.open(str(result.files[0])) as container:
        assert len(container.streams.video) == len(container.streams.audio) == 1


def test_pictures_share_one_scale(enhance, noise, tmp_path):
    noise(tmp_path / "x.wav", seconds=0.5)
    folder = enhance(tmp_path / "x.wav", steps=0, strength=0.0).folder
    before, after, removed = (np.asarray(Image.open(folder / f"{name}.png")) for name in ("before", "after", "removed"))
    assert before.shape == (160, 50) and np.array_equal(before, after)
    assert before.max() == 255 and removed.max() == 0, "with strength 0 nothing is removed"


def test_folders_are_deleted_an_hour_after_their_last_change():
    import os
    import time

    folders = TemporaryFolders()
    old, touched, new = folders.new(), folders.new(), folders.new()
    (old / "a").touch()
    (touched / "a").touch()
    loose = folders.root / "upload.part"
    loose.touch()
    past = time.time() - 3601
    for path in (old / "a", old, touched, loose):
        os.utime(path, (past, past))
    assert folders.sweep() == 2
    assert set(folders.root.iterdir()) == {touched, new}
    folders.close()
    assert not folders.root.exists()


def test_what_is_in_use_stays_and_then_has_an_hour():
    import os
    import time

    folders = TemporaryFolders()
    upload, result, other = folders.new(), folders.new(), folders.new()
    past = time.time() - 9000
    with folders.using(upload, result):
        for folder in (upload, result, other):
            os.utime(folder, (past, past))
        assert folders.sweep() == 1 and not other.exists()
    assert folders.sweep() == 0 and upload.exists() and result.exists()
    os.utime(upload, (past, past))
    assert folders.sweep() == 1 and not upload.exists()
    folders.close()


def test_an_upload_that_waited_too_long_is_said_to_be_gone(service, tmp_path):
    with pytest.raises(AudioError, match="waited for an hour"):
        service.enhance(tmp_path / "gone.wav", Request(steps=0), lambda part: None)


def test_a_thread_looks_by_itself():
    import time

    folders = TemporaryFolders(keep_seconds=0.05)
    folder = folders.new()
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not folder.exists()
    folders.close()


def test_the_examples_of_the_page_are_those_of_the_repository():
    embedded = sorted((Path(listening.__file__).parent / "examples").iterdir())
    own = Path(__file__).parents[3] / "examples" / "speech" / "noisy"
    assert [path.name for path in embedded] == ["01_coffee_shop_5dB.flac", "03_crickets_0dB.flac"]
    for path in embedded:
        assert path.read_bytes() == (own / path.name).read_bytes(), "their licences are in examples/README.md"


def test_colours_can_be_read():
    """Contrast of at least 4.5 (WCAG AA) of each text on each ground, in light and in dark."""
    import re

    css = (Path(listening.__file__).parent / "assets" / "page.css").read_text(encoding="utf-8")
    light, dark = (dict(re.findall(r"--xd-([\w-]+): (#\w{6})", block)) for block in css.split("}")[:2])
    for colours in (light, dark):
        pairs = [
            (text, ground) for text in ("text", "quiet", "accent", "alarm") for ground in ("ground", "surface", "tint")
        ]
        for text, ground in [*pairs, ("on-accent", "accent"), ("on-accent", "accent-strong")]:
            ratio = contrast(colours[text], colours[ground])
            assert ratio >= 4.5, f"{text} on {ground}: {ratio:.2f}"


def contrast(one, other):
    def luminance(colour):
        values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
        return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
