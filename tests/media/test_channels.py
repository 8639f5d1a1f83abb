"""One tone for each channel: it comes back in its channel whatever the codec calls it, for 1 to 8 channels."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from exdiff.audio import AudioReader
from exdiff.audio.codecs import CODECS, CONTAINERS, rate_of
from exdiff.audio.encode import AudioWriter
from exdiff.audio.info import AudioInfo
from exdiff.audio.layouts import back_for_side, default_layout, layout_of, mask_of, reorder, vorbis_layout, wav_order
from exdiff.audio.targets import choose_target
from exdiff.core.errors import AudioError

RATE = 48000
FRAMES = 24000
# One container for each codec, and each container's own way of storing a layout.
PAIRS = [
    ("wav", "pcm_s16le"), ("rf64", "pcm_s24le"), ("w64", "pcm_s16le"), ("aiff", "pcm_s16be"), ("caf", "pcm_f32le"),
    ("au", "pcm_s16be"), ("flac", "flac"), ("ogg", "flac"), ("ogg", "vorbis"), ("mkv", "vorbis"), ("ogg", "opus"),
    ("webm", "opus"), ("mp4", "aac"), ("adts", "aac"), ("mkv", "aac"), ("mp4", "alac"), ("mov", "pcm_s16le"),
    ("mkv", "pcm_s16le"), ("ac3", "ac3"), ("mkv", "eac3"), ("ts", "ac3"), ("mp3", "mp3"), ("mp2", "mp2"),
    ("wv", "wavpack"), ("tta", "tta"),
]  # fmt: skip
FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
# Layouts other than the usual ones. Codecs that call a channel something else keep it in its place.
OTHERS = ["FL FR LFE", "FL FR FC BC", "FL FR SL SR", "FL FR FC SL SR", "FL FR FC LFE SL SR", "FL FR FC LFE BL BR BC",
          "FL FR FC BL BR BC", "FL FR FC LFE BC"]  # fmt: skip


def tones(layout):
    """[C, T]: 300, 500, 700, ... Hz in the order of `layout`; 60 Hz for low-frequency effects."""
    time = np.arange(FRAMES) / RATE
    pitches = [60 if name == "LFE" else 300 + 200 * number for number, name in enumerate(layout)]
    return pitches, 0.2 * np.sin(2 * np.pi * np.array(pitches)[:, None] * time).astype(np.float32)


def heard(sound):
    """The strongest frequency of each channel, in Hz, to 20 Hz."""
    middle = sound[:, sound.shape[1] // 4 :][:, : FRAMES // 2] * np.hanning(FRAMES // 2)
    return [round(float(np.abs(np.fft.rfft(row)).argmax()) * 2 * RATE / FRAMES / 20) * 20 for row in middle]


def write(folder, container, codec, layout):
    pitches, sound = tones(layout)
    suffix = ".opus" if (container, codec) == ("ogg", "opus") else f".{CONTAINERS[container].suffixes[0]}"
    info = AudioInfo(RATE, len(layout), None, "", codec, container, None, tuple(layout), (*CODECS[codec].bits, 0)[0])
    target, notes = choose_target(info, suffix)
    assert target.codec == codec
    assert rate_of(codec, RATE) == RATE
    with AudioWriter(folder / f"x{suffix}", RATE, len(layout), target=target) as writer:
        writer.write(sound)
    return folder / f"x{suffix}", pitches, notes + writer.notes


def by_ffmpeg(path, layout):
    """The channels as FFmpeg gives them, which is in WAV order, with its name for the layout."""
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-"], capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32).reshape(-1, len(layout)).T


@FFMPEG
@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize(("container", "codec"), PAIRS)
def test_each_tone_is_heard_in_its_channel(tmp_path, container, codec, channels):
    layout = default_layout(channels)
    spec = CODECS[codec]
    if channels > spec.max_channels or (spec.layouts and layout not in (*spec.layouts, *spec.nameless)):
        with pytest.raises(AudioError, match="choose wav or flac"):
            write(tmp_path, container, codec, layout)
        return
    path, pitches, notes = write(tmp_path, container, codec, layout)
    assert notes == []
    with AudioReader(path) as reader:
        assert heard(np.concatenate(list(reader.blocks()), axis=1)) == pitches
        assert reader.info.layout in ((), layout) or {"SL", "BL"} & set(reader.info.layout)
    assert heard(by_ffmpeg(path, layout)) == pitches


@FFMPEG
@pytest.mark.parametrize(("container", "codec", "layout"), [
    (*pair, layout) for pair in PAIRS for layout in OTHERS if len(layout.split()) <= CODECS[pair[1]].max_channels
])  # fmt: skip
def test_other_layouts_stay_in_place_or_are_refused(tmp_path, container, codec, layout):
    layout = tuple(layout.split())
    try:
        path, pitches, notes = write(tmp_path, container, codec, layout)
    except AudioError as error:
        assert "cannot store the channels" in str(error)
        assert CODECS[codec].layouts
        assert layout not in (*CODECS[codec].layouts, *CODECS[codec].nameless)
        return
    with AudioReader(path) as reader:
        assert heard(np.concatenate(list(reader.blocks()), axis=1)) == pitches
        kept = reader.info.layout == layout
    assert kept or notes or back_for_side(reader.info.layout or default_layout(len(layout))) == back_for_side(layout)
    assert heard(by_ffmpeg(path, layout)) == pitches
    if container in ("wav", "rf64", "flac", "caf"):
        assert kept
        assert notes == []


@pytest.mark.parametrize("container", ["wav", "rf64"])
@pytest.mark.parametrize("layout", [*OTHERS, "FL FR", "BL BR", "FC", "FL FR FC", "FL FR FC LFE BL BR SL SR"])
def test_the_mask_in_the_header_is_that_of_the_layout(tmp_path, container, layout):
    path, _, _ = write(tmp_path, container, CONTAINERS[container].codecs[0], tuple(layout.split()))
    data = path.read_bytes()
    at = data.index(b"fmt ") + 8
    extensible = data[at : at + 2] == b"\xfe\xff"
    mask = int.from_bytes(data[at + 20 : at + 24], "little") if extensible else 0
    assert mask == mask_of(layout.split()) or (layout in ("FL FR", "FC") and not extensible)
    assert soundfile.info(path).channels == len(layout.split())


@pytest.mark.parametrize("channels", range(1, 9))
def test_orders_are_permutations_of_each_other(channels):
    wav, vorbis = default_layout(channels), vorbis_layout(channels)
    assert wav_order(vorbis) == wav
    assert layout_of(mask_of(wav), channels) == wav
    block = np.arange(channels)[:, None]
    there = reorder(block, wav, vorbis)
    assert [wav[number] for number in there[:, 0]] == list(vorbis)
    np.testing.assert_array_equal(reorder(there, vorbis, wav), block)


def test_reordering_refuses_what_does_not_fit():
    block = np.zeros((3, 5))
    assert reorder(block, (), ("FL", "FR", "FC")) is block
    with pytest.raises(AudioError, match=r"3 channels \(FL FR LFE\) cannot be arranged as FL FC FR"):
        reorder(block, ("FL", "FR", "LFE"), ("FL", "FC", "FR"))
    with pytest.raises(AudioError, match="cannot be arranged"):
        reorder(block, ("FL", "FR"), ("FR", "FL"))
    assert layout_of(0x3F, 5) == ()
    assert mask_of(("FL", "NONE")) == mask_of(("FL", "FL")) == 0


def test_side_channels_become_back_channels_in_opus_and_a_line_says_so(tmp_path):
    layout = ("FL", "FR", "FC", "LFE", "SL", "SR")
    info = AudioInfo(RATE, 6, None, "", "pcm_s16le", "wav", None, layout, 16)
    target, notes = choose_target(info, ".opus", format="opus")
    assert target.layout == default_layout(6)
    assert notes == ["opus does not have the layout FL FR FC LFE SL SR; its side channels are stored as back channels"]


@pytest.mark.parametrize("channels", [1, 2, 5, 9, 32])
def test_channels_without_names_are_kept(tmp_path, channels):
    for name in ("x.wav", "x.mka", "x.caf", "x.wv") if channels <= 8 else ("x.wav", "x.caf"):
        info = AudioInfo(RATE, channels, None, "", "wavpack" if name == "x.wv" else "pcm_s16le", "", None, (), 16)
        target, _ = choose_target(info, name[1:])
        sound = np.random.default_rng(channels).uniform(-0.5, 0.5, (channels, 999)).astype(np.float32)
        with AudioWriter(tmp_path / name, RATE, channels, target=target) as writer:
            writer.write(sound)
        with AudioReader(tmp_path / name) as reader:
            np.testing.assert_allclose(np.concatenate(list(reader.blocks()), axis=1), sound, atol=2e-5)
