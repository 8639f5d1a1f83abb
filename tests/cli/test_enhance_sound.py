"""Options about the sound itself reach the reader and the writer; stems add up exactly."""

import json

import av
import numpy as np
import pytest
import soundfile

from exdiff.cli.enhancing.stems import split_exactly


@pytest.fixture
def film(tmp_path):
    """Two seconds of picture with two tracks of sound, of 8000 and 16000 Hz."""
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tracks = [container.add_stream("pcm_s16le", rate=rate, layout="mono") for rate in (8000, 16000)]
        container.metadata["title"] = "a film"
        for number in range(20):
            for packet in video.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 9, np.uint8))):
                container.mux(packet)
        for track in tracks:
            samples = np.random.default_rng(3).integers(-9000, 9000, (1, 2 * track.rate)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = track.rate, 0
            for packet in [*track.encode(frame), *track.encode(None)]:
                container.mux(packet)
        for packet in video.encode(None):
            container.mux(packet)
    return path


def test_a_track_is_chosen_and_said(tmp_path, run, model, film):
    result = run("enhance", film, "--model", model, "--json", "--format", "wav")
    assert result.exit_code == 0
    assert f"exdiff: warning: {film}: " in result.stderr and "2 audio" in result.stderr
    assert json.loads(result.stdout)["sample_rate"] == 8000
    assert any("2 audio" in line for line in json.loads(result.stdout)["warnings"])
    result = run("enhance", film, "--model", model, "--json", "--format", "wav", "--stream", 1, "--overwrite")
    assert json.loads(result.stdout)["sample_rate"] == 16000
    result = run("enhance", film, "--model", model, "--stream", 2, "-o", tmp_path / "none.wav")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert not (tmp_path / "none.wav").exists()


def test_the_picture_is_kept_on_request(tmp_path, run, model, film):
    assert run("enhance", film, "--model", model, "--keep-video", "-o", tmp_path / "out.mkv").exit_code == 0
    with av.open(str(film)) as old, av.open(str(tmp_path / "out.mkv")) as new:
        pictures = [[bytes(p) for p in container.demux(video=0) if p.size] for container in (old, new)]
    assert len(pictures[0]) == 20 and pictures[0] == pictures[1]
    with av.open(str(film)) as old, av.open(str(tmp_path / "out.mkv")) as new:
        assert [stream.type for stream in old.streams] == ["video", "audio", "audio"]
        assert [stream.type for stream in new.streams] == ["video", "audio"], "in the order of the film"
    assert run("enhance", film, "--model", model, "--keep-video").exit_code == 0
    assert (tmp_path / "film.enhanced.mkv").exists()


def test_tags_are_kept_unless_stripped(tmp_path, run, model, film):
    for options, title in (([], "a film"), (["--strip-metadata"], None)):
        assert run("enhance", film, "--model", model, "--overwrite", *options).exit_code == 0
        with av.open(str(tmp_path / "film.enhanced.mkv")) as container:
            assert container.metadata.get("title") == title


@pytest.mark.parametrize(
    ("depth", "subtype"), [("16", "PCM_16"), ("24", "PCM_24"), ("32", "PCM_32"), ("float", "FLOAT")]
)
def test_depth(tmp_path, run, noise, model, depth, subtype):
    noise(tmp_path / "x.wav", source_subtype="PCM_24" if depth == "16" else "PCM_16")
    assert run("enhance", tmp_path / "x.wav", "--model", model, "--bit-depth", depth).exit_code == 0
    assert soundfile.info(tmp_path / "x.enhanced.wav").subtype == subtype


def test_bit_rate(tmp_path, run, noise, model):
    noise(tmp_path / "x.wav", seconds=4, rate=44100)
    sizes = []
    for rate in (64, 192):
        out = tmp_path / f"{rate}.mp3"
        assert run("enhance", tmp_path / "x.wav", "-o", out, "--model", model, "--bitrate", rate).exit_code == 0
        sizes.append(out.stat().st_size)
    assert sizes[0] == pytest.approx(4 * 8000, rel=0.1) and sizes[1] == pytest.approx(4 * 24000, rel=0.1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--bit-depth", "24", "--bitrate", "64"], "leave one out"),
        (["--raw", "s16le,8000,1", "--stream", "1"], "leave --stream or --raw out"),
        (["--raw", "s16le,8000,1", "--keep-video"], "leave --keep-video or --raw out"),
        (["--keep-video", "--format", "wav"], "leave it or --format out"),
        (["--keep-video", "-o", "x.wav"], "x.wav cannot hold a picture"),
        (["--raw", "s17le,8000,1"], "unknown format 's17le'"),
        (["--part", "4/3"], "give I/N with I from 1 to N"),
        (["--name", "{stem}{title}{suffix}"], "unknown field {title}"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, run, film, options, match):
    result = run("enhance", film, "--model", "none-is-loaded", *options)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert match in result.stderr


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_stems_add_up_exactly_where_they_clip(tmp_path, run, model, bits):
    song = np.random.default_rng(2).integers(-(1 << 31), 1 << 31, (20_000, 2)).astype(np.int32)
    song = song >> (32 - bits) << (32 - bits)
    soundfile.write(tmp_path / "x.wav", song, 44100, subtype=f"PCM_{bits}")
    result = run("enhance", tmp_path / "x.wav", "-o", tmp_path / "out", "--stems", "--model", model)
    assert result.exit_code == 0
    parts = [soundfile.read(tmp_path / "out" / f"x.{w}.wav", dtype="int32")[0] for w in ("vocals", "accompaniment")]
    assert np.array_equal(parts[0].astype(np.int64) + parts[1], song)
    single = run("enhance", tmp_path / "x.wav", "--stem", "accompaniment", "--model", model)
    assert single.exit_code == 0
    np.testing.assert_array_equal(soundfile.read(tmp_path / "x.accompaniment.wav", dtype="int32")[0], parts[1])


def test_a_split_is_exact_at_the_limits():
    edges = np.array([-32768, -32767, -1, 0, 1, 32766, 32767])
    song, first = (part.ravel() for part in np.meshgrid(edges, edges))
    parts = split_exactly(song, first, 16)
    assert np.array_equal(parts[0] + parts[1], song)
    assert all(part.min() >= -32768 and part.max() <= 32767 for part in parts)
    same = np.abs(song - first) < 32767
    assert np.array_equal(parts[0][same], first[same])
