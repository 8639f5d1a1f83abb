"""Same means same: codec, sample format and suffix stay wherever they can be written; options choose."""

import numpy as np
import pytest

from exdiff.audio import AudioReader
from exdiff.audio.info import AudioInfo
from exdiff.audio.layouts import default_layout
from exdiff.audio.targets import choose_target, plan_suffix
from exdiff.audio.writing.writer import AudioWriter
from exdiff.core.errors import AudioError


def written(folder, wanted):
    path = folder / f"x{wanted.suffix}"
    with AudioWriter(path, wanted.sample_rate, 2, target=wanted) as writer:
        writer.write(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 3000)).astype(np.float32))
    return path


SOURCES = [  # codec, container, bits, suffix
    ("alac", "mp4", 16, ".m4a"), ("alac", "mp4", 24, ".m4b"), ("aac", "mp4", 0, ".m4b"), ("aac", "adts", 0, ".aac"),
    ("pcm_s16be", "aiff", 16, ".aif"), ("pcm_s24be", "aiff", 24, ".AIFF"), ("pcm_s24le", "wav", 24, ".wav"),
    ("pcm_f32le", "wav", 0, ".wav"), ("pcm_f64le", "wav", 0, ".wav"), ("pcm_u8", "wav", 8, ".wav"),
    ("pcm_mulaw", "wav", 0, ".wav"), ("pcm_s16le", "mov", 16, ".mov"), ("pcm_s24le", "rf64", 24, ".wav"),
    ("pcm_s16le", "w64", 16, ".w64"), ("pcm_f32be", "caf", 0, ".caf"), ("pcm_mulaw", "au", 0, ".au"),
    ("flac", "flac", 24, ".flac"), ("flac", "ogg", 16, ".oga"), ("opus", "ogg", 0, ".opus"),
    ("opus", "webm", 0, ".webm"),
    ("opus", "ogg", 0, ".ogg"), ("vorbis", "ogg", 0, ".ogg"), ("vorbis", "mkv", 0, ".mka"), ("mp3", "mp3", 0, ".MP3"),
    ("ac3", "ac3", 0, ".ac3"), ("eac3", "mkv", 0, ".mkv"), ("mp2", "ts", 0, ".ts"), ("wavpack", "wv", 24, ".wv"),
    ("tta", "tta", 16, ".tta"), ("pcm_s32le", "wav", 32, ".wav"), ("mp3", "mp4", 0, ".m4a"),
    ("alac", "mp4", 24, ".mov"),
]  # fmt: skip


@pytest.mark.parametrize(("codec", "container", "bits", "suffix"), SOURCES)
def test_same_means_same(tmp_path, codec, container, bits, suffix):
    info = AudioInfo(48000, 2, None, "", codec, container, None, ("FL", "FR"), bits)
    assert plan_suffix(f"x{suffix}") == (suffix, "")
    wanted, notes = choose_target(info, suffix)
    assert (wanted.codec, wanted.bits, wanted.suffix, notes) == (codec, bits, suffix, [])
    with AudioReader(written(tmp_path, wanted)) as reader:
        assert suffix == ".ts" or reader.info.codec.removesuffix("le").removesuffix("be") == codec.removesuffix(
            "le"
        ).removesuffix("be")
        assert reader.info.bits == bits


@pytest.mark.parametrize(("suffix", "codec", "container", "bits", "result", "written"), [
    (".wma", "wmav2", "asf", 0, ".m4a", "aac"), (".dts", "dts", "dts", 0, ".m4a", "aac"),
    (".amr", "amr_nb", "amr", 0, ".m4a", "aac"), (".spx", "speex", "ogg", 0, ".opus", "opus"),
    (".ape", "ape", "ape", 16, ".flac", "flac"), (".tak", "tak", "tak", 24, ".flac", "flac"),
    (".avi", "mp3", "avi", 0, ".mka", "mp3"), (".vob", "ac3", "mpeg", 0, ".mka", "ac3"),
    (".voc", "pcm_u8", "voc", 8, ".wav", "pcm_u8"), (".3gp", "aac", "mp4", 0, ".m4a", "aac"),
])  # fmt: skip
def test_what_cannot_be_written_becomes_the_nearest_and_one_line_says_so(
    suffix, codec, container, bits, result, written
):
    planned, line = plan_suffix(f"a/x{suffix}")
    info = AudioInfo(48000, 1, None, "", codec, container, None, ("FC",), bits)
    wanted, notes = choose_target(info, planned)
    assert (planned, wanted.codec, wanted.bits) == (result, written, bits)
    assert len([text for text in (line, *notes) if text]) == 1


def test_a_codec_that_cannot_be_written_in_a_container_that_can():
    info = AudioInfo(48000, 6, None, "", "dts", "mkv", 1_500_000, default_layout(6), 0)
    wanted, notes = choose_target(info, ".mkv")
    assert (wanted.codec, wanted.container) == ("aac", "mkv")
    assert notes == ["dts cannot be written in .mkv; aac is written instead"]


def test_options_choose():
    deep = AudioInfo(48000, 2, None, "", "pcm_s24le", "wav", None, ("FL", "FR"), 24)
    assert choose_target(deep, ".wav", bit_depth=16)[0].codec == "pcm_s16le"
    assert choose_target(deep, ".wav", bit_depth="float")[0].codec == "pcm_f32le"
    assert choose_target(deep, ".flac", format="flac", bit_depth="16")[0].bits == 16
    assert choose_target(deep, ".mp3", format="mp3", bitrate=96)[0].bit_rate == 96_000
    assert choose_target(deep, ".m4a", format="m4a")[0].codec == "aac"
    assert choose_target(deep, ".aiff", format="aiff")[0].codec == "pcm_s24be"
    assert choose_target(deep, ".wav", bitrate=96)[1] == ["--bitrate has no effect on pcm_s24le, which is lossless"]
    assert choose_target(deep, ".mp3", format="mp3", bit_depth=24)[1] == [
        "--bit-depth has no effect on mp3, which has no sample depth"
    ]
    with pytest.raises(AudioError, match="flac stores 8 or 16 or 24 bits, got --bit-depth 32; choose wav"):
        choose_target(deep, ".flac", format="flac", bit_depth=32)
    with pytest.raises(AudioError, match=r"unknown format 'flacc'; did you mean 'flac'"):
        choose_target(deep, ".flac", format="flacc")
