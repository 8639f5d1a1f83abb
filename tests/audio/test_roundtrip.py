"""What is written is what is read: exact length in every format at many rates, samples within the codec's precision."""

import numpy as np
import pytest
import soundfile

from exdiff.audio import FORMATS, AudioReader, AudioWriter, decode, decode_mono, encode
from exdiff.audio.formats import rate_for

RATES = (8000, 11025, 16000, 22050, 44100, 48000, 96000)
LENGTHS = (1, 100, 1152, 5003, 30001)


def tone(channels, length, rate, seed=0):
    time = np.arange(length) / rate
    rng = np.random.default_rng(seed)
    waves = [np.sin(2 * np.pi * f * time + p) for f, p in rng.uniform((200, 0), (900, 6), (channels, 2))]
    return (0.4 * np.stack(waves)).astype(np.float32)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rate", RATES)
def test_length_is_exact(tmp_path, name, rate):
    for length in LENGTHS:
        encode(tmp_path / f"x.{name}", tone(2, length, rate), rate)
        got, got_rate = decode(tmp_path / f"x.{name}")
        assert got_rate == rate_for(name, rate)
        if got_rate == rate:
            assert got.shape == (2, length)
        else:
            assert abs(got.shape[1] - length * got_rate / rate) <= 1


@pytest.mark.parametrize(
    ("name", "least_db"), [("wav", 80), ("flac", 80), ("mp3", 20), ("ogg", 20), ("opus", 8), ("m4a", 20)]
)
def test_samples_come_back_in_their_place(tmp_path, name, least_db):
    clean = tone(2, 48000, 48000)
    encode(tmp_path / f"x.{name}", clean, 48000)
    error = decode(tmp_path / f"x.{name}")[0] - clean
    middle = slice(4800, -4800)
    assert 10 * np.log10((clean[:, middle] ** 2).sum() / (error[:, middle] ** 2).sum()) > least_db


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wav_keeps_the_depth(tmp_path, subtype):
    encode(tmp_path / "x.wav", tone(1, 500, 8000), 8000, source_subtype=subtype)
    assert soundfile.info(tmp_path / "x.wav").subtype == subtype


def test_blocks_are_the_whole_in_pieces(tmp_path):
    for name in ("flac", "m4a"):
        encode(tmp_path / f"x.{name}", tone(2, 20000, 16000), 16000)
        whole, _ = decode(tmp_path / f"x.{name}")
        with AudioReader(tmp_path / f"x.{name}") as reader:
            blocks = list(reader.blocks(seconds=0.2))
        assert len(blocks) > 3
        assert max(block.shape[1] for block in blocks) < 5000
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)


def test_blocks_of_any_size_write_the_same_file(tmp_path):
    audio = tone(2, 10007, 44100)
    for name in ("wav", "m4a", "opus"):
        encode(tmp_path / f"whole.{name}", audio, 44100)
        with AudioWriter(tmp_path / f"blocks.{name}", 44100, 2) as writer:
            for block in np.split(audio, [1, 1, 77, 5000], axis=1):
                writer.write(block)
        a, b = decode(tmp_path / f"whole.{name}")[0], decode(tmp_path / f"blocks.{name}")[0]
        np.testing.assert_allclose(a, b, atol=1e-6 if name == "wav" else 0.02)


def test_mono_is_the_mean_at_the_asked_rate(tmp_path):
    left = tone(1, 48000, 48000)
    encode(tmp_path / "x.wav", np.concatenate([left, np.zeros_like(left)]), 48000, source_subtype="FLOAT")
    mono = decode_mono(tmp_path / "x.wav", 16000)
    assert mono.shape == (16000,)
    np.testing.assert_allclose(mono[500:-500], 0.5 * left[0, ::3][500:-500], atol=2e-4)


def test_integers_clip_with_a_warning_and_floats_do_not(tmp_path):
    loud = np.array([[0.5, 1.5, -2.0, -0.5]], np.float32)
    with pytest.warns(UserWarning, match="2 samples beyond full scale were clipped"):
        encode(tmp_path / "x.flac", loud, 8000)
    np.testing.assert_allclose(decode(tmp_path / "x.flac")[0], [[0.5, 1.0, -1.0, -0.5]], atol=1e-4)
    encode(tmp_path / "x.wav", loud, 8000, source_subtype="FLOAT")
    np.testing.assert_array_equal(decode(tmp_path / "x.wav")[0], loud)


@pytest.mark.parametrize("name", FORMATS)
def test_reading_in_blocks_is_silent(tmp_path, name, capfd):
    """Libmpg123 writes complaints straight to standard error when it has to seek."""
    rng = np.random.default_rng(0)
    encode(tmp_path / f"x.{name}", rng.uniform(-0.5, 0.5, (1, 40000)).astype(np.float32), 16000)
    with AudioReader(tmp_path / f"x.{name}") as reader:
        assert sum(block.shape[1] for block in reader.blocks(0.1)) == 40000
    assert capfd.readouterr() == ("", "")
