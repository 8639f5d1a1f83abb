"""Integers: rounded where they come from floats, unchanged where they are given as integers."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from exdiff.audio import decode
from exdiff.audio.info import AudioInfo
from exdiff.audio.tags.metadata import Metadata
from exdiff.audio.targets import choose_target
from exdiff.audio.writing.writer import AudioWriter
from exdiff.core.errors import AudioError


@pytest.mark.parametrize(("suffix", "subtype", "bits"), [
    (".wav", "PCM_16", 16), (".wav", "PCM_U8", 8), (".wav", "PCM_24", 24), (".wav", "PCM_32", 32),
    (".flac", "PCM_24", 24), (".flac", "PCM_16", 16), (".aiff", "PCM_16", 16), (".wv", "PCM_16", 16),
    (".caf", "PCM_24", 24),
])  # fmt: skip
def test_integers_are_rounded_not_floored(tmp_path, suffix, subtype, bits):
    wave = np.random.default_rng(5).uniform(-0.9, 0.9, (1, 20000)).astype(np.float32)
    with AudioWriter(tmp_path / f"x{suffix}", 16000, 1, source_subtype=subtype) as writer:
        assert writer.exact
        writer.write(wave)
        whole = writer.quantise(wave)
    got, _ = decode(tmp_path / f"x{suffix}")
    error = (got.astype(np.float64) - wave) * 2 ** (bits - 1)
    if bits < 24:  # float32 holds the sample itself beyond that
        assert abs(error.mean()) < 0.01
    assert np.abs(error).max() <= (0.5 if bits < 24 else 1)
    np.testing.assert_array_equal(
        whole, np.clip(np.rint(wave.astype(np.float64) * 2 ** (bits - 1)), None, 2 ** (bits - 1) - 1)
    )


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize(("suffix", "subtype"), [
    (".wav", "PCM_16"), (".wav", "PCM_24"), (".wav", "PCM_32"), (".flac", "PCM_24"), (".aiff", "PCM_24"),
    (".m4a", "ALAC_24"), (".m4a", "ALAC_16"), (".wv", "PCM_24"), (".tta", "PCM_24"), (".mka", "PCM_32"),
])  # fmt: skip
def test_exact_integers_come_back_as_they_are(tmp_path, suffix, subtype):
    bits = int(subtype[-2:])
    full = 1 << (bits - 1)
    whole = np.random.default_rng(6).integers(-full, full, (2, 9000), dtype=np.int64).astype(np.int32)
    whole[:, :2] = [[-full, full - 1]] * 2
    codec = {".m4a": "alac", ".wv": "wavpack", ".tta": "tta", ".flac": "flac"}.get(suffix, f"pcm_s{bits}le")
    info = AudioInfo(48000, 2, None, "", codec, "", None, ("FL", "FR"), bits)
    wanted, _ = choose_target(info, suffix)
    assert wanted.bits == bits
    with AudioWriter(tmp_path / f"x{suffix}", 48000, 2, target=wanted) as writer:
        writer.write_exact(whole[:, :4000])
        writer.write_exact(whole[:, 4000:])
    assert writer.clipped == 0
    out = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", tmp_path / f"x{suffix}", "-f", "s32le", "-"], capture_output=True, check=True
    ).stdout
    np.testing.assert_array_equal(np.frombuffer(out, np.int32).reshape(-1, 2).T >> (32 - bits), whole)


def test_exact_integers_beyond_full_scale_are_clipped_and_counted(tmp_path):
    with AudioWriter(tmp_path / "x.wav", 8000, 1) as writer:
        writer.write_exact(np.array([[32767, 32768, -32768, -40000]], np.int32))
    assert writer.clipped == 2
    np.testing.assert_array_equal(soundfile.read(tmp_path / "x.wav", dtype="int16")[0], [32767, 32767, -32768, -32768])


def test_floats_and_resampled_sounds_are_not_exact(tmp_path):
    for name, subtype, rate in (("x.wav", "FLOAT", 44100), ("x.mp3", "", 44100), ("x.opus", "", 44100)):
        with AudioWriter(tmp_path / name, rate, 1, source_subtype=subtype) as writer:
            assert not writer.exact
            with pytest.raises(ValueError, match="use write"):
                writer.write_exact(np.zeros((1, 10), np.int32))
            writer.write(np.zeros((1, 100), np.float32))


@pytest.mark.parametrize("name", ["x.wav", "x.aiff"])
def test_a_sound_that_outgrows_its_container_is_refused(tmp_path, monkeypatch, name):
    """4 GB are too many for a test: the limit is lowered."""
    from exdiff.audio.writing import soundfile_sink

    monkeypatch.setattr(soundfile_sink, "_RIFF_LIMIT", 10_000)
    with (
        pytest.raises(AudioError, match="holds 4 GB; choose w64, rf64, caf or flac"),
        AudioWriter(tmp_path / name, 8000, 1) as writer,
    ):
        writer.write(np.zeros((1, 4000), np.float32))
        writer.write(np.zeros((1, 4000), np.float32))
    assert list(tmp_path.iterdir()) == []
    with AudioWriter(tmp_path / "long.wav", 8000, 1, frames=8000) as writer:
        writer.write(np.zeros((1, 8000), np.float32))
    assert soundfile.info(tmp_path / "long.wav").format == "RF64"


def test_no_samples_and_tags_give_one_line(tmp_path):
    """Libsndfile writes nothing at all into an empty FLAC."""
    with (
        pytest.raises(AudioError, match="no samples to write"),
        AudioWriter(tmp_path / "x.flac", 8000, 1, metadata=Metadata({"title": "T"})),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
