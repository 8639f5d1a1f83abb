"""The table of formats agrees with libsndfile and with itself."""

import pytest
import soundfile

from exdiff.audio.formats import FORMATS, SUFFIXES, check_channels, codec_for, rate_for, same_format
from exdiff.core.errors import AudioError


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "m4a"])
@pytest.mark.parametrize("source", ["PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW", "VORBIS", "aac"])
def test_every_chosen_codec_can_be_written(name, source):
    assert soundfile.check_format(FORMATS[name].container, codec_for(name, source))


@pytest.mark.parametrize("name", FORMATS)
def test_a_rate_that_the_format_knows_stays(name):
    for rate in FORMATS[name].rates or (8000, 44100, 192000):
        assert rate_for(name, rate) == rate


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_readable_suffix_has_a_format_to_stay_in(suffix):
    assert same_format(f".{suffix.upper()}") in FORMATS


def test_too_many_channels_are_refused_with_a_way_out():
    check_channels("mp3", 2)
    with pytest.raises(AudioError, match="mp3 holds 1 to 2 channels, got 3; choose wav or flac"):
        check_channels("mp3", 3)
